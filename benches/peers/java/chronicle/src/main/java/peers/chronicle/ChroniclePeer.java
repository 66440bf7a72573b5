package peers.chronicle;

import java.io.IOException;
import java.io.InputStream;
import java.time.Duration;
import java.util.List;
import java.util.Objects;
import java.util.Properties;
import net.openhft.chronicle.bytes.Bytes;
import net.openhft.chronicle.bytes.SyncMode;
import net.openhft.chronicle.queue.ChronicleQueue;
import net.openhft.chronicle.queue.ExcerptAppender;
import net.openhft.chronicle.queue.ExcerptTailer;
import net.openhft.chronicle.queue.impl.single.SingleChronicleQueueBuilder;
import net.openhft.chronicle.threads.Pauser;
import net.openhft.chronicle.wire.DocumentContext;
import peers.Peer;
import peers.Setup;

/** Chronicle Queue: files that are mapped by all, each reader with a place of its own. */
public final class ChroniclePeer implements Peer {
    @Override
    public String name() {
        return "chronicle-queue";
    }

    @Override
    public String version() throws IOException {
        String file = "/META-INF/maven/net.openhft/chronicle-queue/pom.properties";
        try (InputStream stream = ChronicleQueue.class.getResourceAsStream(file)) {
            Properties properties = new Properties();
            properties.load(Objects.requireNonNull(stream, file));
            return properties.getProperty("version");
        }
    }

    @Override
    public List<String> works() {
        return List.of("W1", "W3", "W4", "W5");
    }

    @Override
    public String note() {
        return "no acks and no groups: a named tailer keeps its place, past a message as soon as"
                + " that is read";
    }

    @Override
    public String lacks() {
        return "it has no batch to send in, and each tailer reads every message";
    }

    @Override
    public AutoCloseable prepare(Setup setup) {
        return () -> {};
    }

    @Override
    public void create(Setup setup) {
        open(setup).close();
    }

    private static ChronicleQueue open(Setup setup) {
        return SingleChronicleQueueBuilder.binary(setup.folder().resolve(setup.queue()))
                .syncMode(setup.sync() ? SyncMode.SYNC : SyncMode.NONE)
                .build();
    }

    @Override
    public Sender sender(Setup setup) {
        return new Appending(open(setup), setup.sync());
    }

    @Override
    public Consumer consumer(Setup setup) {
        return new Tailing(open(setup), setup);
    }

    @Override
    public long held(Setup setup) {
        long held = 0;
        try (ChronicleQueue queue = open(setup);
                ExcerptTailer tailer = queue.createTailer()) {
            while (true) {
                try (DocumentContext document = tailer.readingDocument()) {
                    if (!document.isPresent()) {
                        return held;
                    }
                    held++;
                }
            }
        }
    }

    /** An excerpt a message. */
    private static final class Appending implements Sender {
        private final ChronicleQueue queue;
        private final ExcerptAppender appender;
        private final boolean sync;

        Appending(ChronicleQueue queue, boolean sync) {
            this.queue = queue;
            this.appender = queue.createAppender();
            this.sync = sync;
        }

        @Override
        public void send(byte[] payload) {
            try (DocumentContext document = appender.writingDocument()) {
                document.wire().bytes().write(payload);
            }
            if (sync) {
                appender.sync();
            }
        }

        @Override
        public void sendBatch(List<byte[]> payloads) {
            payloads.forEach(this::send);
        }

        @Override
        public void close() {
            appender.close();
            queue.close();
        }
    }

    /** The place is kept when a document is closed, so each is looked at before that. */
    private static final class Tailing implements Consumer {
        private final ChronicleQueue queue;
        private final ExcerptTailer tailer;
        private final Pauser pauser = Pauser.balanced();
        private final int most;
        private byte[] payload;

        Tailing(ChronicleQueue queue, Setup setup) {
            this.queue = queue;
            this.tailer = queue.createTailer("work");
            this.most = setup.takes();
            this.payload = new byte[setup.size()];
        }

        @Override
        public int take(Duration wait, Each each) {
            if (!one(each)) {
                long deadline = System.nanoTime() + wait.toNanos();
                pauser.reset();
                while (!one(each)) {
                    if (System.nanoTime() > deadline) {
                        return 0;
                    }
                    pauser.pause();
                }
            }
            int taken = 1;
            while (taken < most && one(each)) {
                taken++;
            }
            return taken;
        }

        private boolean one(Each each) {
            try (DocumentContext document = tailer.readingDocument()) {
                if (!document.isPresent()) {
                    return false;
                }
                Bytes<?> bytes = document.wire().bytes();
                int size = (int) bytes.readRemaining();
                if (size != payload.length) {
                    payload = new byte[size];
                }
                bytes.read(payload);
                each.take(payload);
                return true;
            }
        }

        @Override
        public void close() {
            tailer.close();
            queue.close();
        }
    }
}
