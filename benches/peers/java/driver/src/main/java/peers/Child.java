package peers;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Arrays;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;

/** A process of the run: warm-up on a queue of its own, ready, the driver's word, work, report. */
final class Child {
    private static final Duration WAIT = Duration.ofMillis(100);
    /** Until the code is compiled, or so many nanoseconds: none of the time goes into the row. */
    private static final int WARM_MESSAGES = 20_000;

    private static final long WARM_NS = 2_000_000_000L;
    private static final int WARM_STEP = 100;
    private static final int IDLE_MS = 5;

    private final Task task;
    private final Peer peer;
    private final Progress progress;
    private final CountDownLatch word = new CountDownLatch(1);
    private long count;
    private long total;
    private long ended;
    private final long[] waits;
    private int waited;

    Child(Task task) throws Exception {
        this.task = task;
        this.peer = Table.load(task.peer());
        this.progress = new Progress(task.setup().folder(), task.slots());
        this.waits = new long[task.rate() > 0 ? task.setup().count() : 0];
    }

    static Path waitsFile(Path folder, int slot) {
        return folder.resolve("waits-" + slot);
    }

    void run() throws Exception {
        Jvm.watchDriver(word);
        warmUp();
        if (task.sends()) {
            send();
        } else {
            take();
        }
        System.out.println(count + " " + total + " " + ended);
    }

    private void warmUp() throws Exception {
        Setup alone = task.setup().alone("warm-" + task.slot());
        peer.create(alone);
        long sent = 0;
        long deadline = System.nanoTime() + WARM_NS;
        // A consumer's messages are only there to be taken, and may go in steps.
        Setup ahead = task.sends() ? alone : Works.ahead(alone);
        try (Peer.Sender sender = peer.sender(ahead)) {
            while (sent < WARM_MESSAGES && System.nanoTime() < deadline) {
                Messages.send(sender, ahead, sent, WARM_STEP, progress, task.slot());
                sent += WARM_STEP;
            }
        }
        if (!task.sends()) {
            try (Peer.Consumer consumer = peer.consumer(alone)) {
                consumer.join();
                consumer.start();
                deadline = System.nanoTime() + WARM_NS;
                while (count < sent && System.nanoTime() < deadline) {
                    count += consumer.take(WAIT, this::add);
                }
            }
        }
        count = 0;
        total = 0;
        progress.set(task.slot(), 0);
    }

    private void send() throws Exception {
        try (Peer.Sender sender = peer.sender(task.setup())) {
            System.out.println("ready");
            word.await();
            if (task.rate() > 0) {
                Messages.sendPaced(sender, task, progress);
            } else {
                Messages.send(
                        sender, task.setup(), task.first(), task.share(), progress, task.slot());
            }
            ended = System.nanoTime();
            count = task.share();
        }
    }

    private void take() throws Exception {
        Peer.Each each = task.rate() > 0 ? this::addWithWait : this::add;
        try (Peer.Consumer consumer = peer.consumer(task.setup())) {
            consumer.join();
            System.out.println("ready");
            while (!word.await(IDLE_MS, TimeUnit.MILLISECONDS)) {
                consumer.idle();
            }
            consumer.start();
            while (progress.get(Progress.STOP) == 0) {
                int taken = consumer.take(WAIT, each);
                if (taken > 0) {
                    count += taken;
                    ended = System.nanoTime();
                    progress.set(task.slot(), count);
                }
            }
        }
        writeWaits();
    }

    private void add(byte[] payload) {
        if (payload.length != task.setup().size()) {
            throw new IllegalStateException(
                    "a message of " + task.setup().size() + " bytes came with " + payload.length);
        }
        total += Messages.number(payload);
    }

    private void addWithWait(byte[] payload) {
        add(payload);
        if (waited < waits.length) {
            waits[waited++] = System.nanoTime() - Messages.sent(payload);
        }
    }

    private void writeWaits() throws IOException {
        ByteBuffer bytes = ByteBuffer.allocate(waited * Long.BYTES);
        bytes.asLongBuffer().put(Arrays.copyOf(waits, waited));
        Files.write(waitsFile(task.setup().folder(), task.slot()), bytes.array());
    }
}
