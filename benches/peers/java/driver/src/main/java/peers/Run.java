package peers;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.stream.LongStream;

/** One run: its processes, senders first, what they report, and whether it agrees. */
final class Run {
    /** How long a run may stand still before it counts as failed. */
    private static final long STALL_NS = 120_000_000_000L;
    /** Between two looks at how far they are: rarely, for the driver has no core to itself. */
    private static final int LOOK_MS = 5;

    private final Peer peer;
    private final Setup setup;
    private final Works works;
    private final int rate;
    private final Progress progress;
    private final List<Jvm> children = new ArrayList<>();
    /** Of each process: how many, the sum of their numbers, when it was done. */
    private long[][] reports;
    private boolean going;
    private String wrong;

    Run(Peer peer, Setup setup, Works works, int rate) throws IOException {
        this.peer = peer;
        this.setup = setup;
        this.works = works;
        this.rate = rate;
        this.progress = new Progress(setup.folder(), works.senders() + works.consumers());
    }

    /** Seconds from the word to go to the last ack, or to the last send where none takes. */
    double measure() throws Exception {
        try (AutoCloseable servers = peer.prepare(setup)) {
            peer.create(setup);
            if (works.preloaded()) {
                preload();
            }
            try {
                start();
                going = true;
                long began = System.nanoTime();
                for (Jvm child : children) {
                    child.go();
                }
                hear();
                int from = works.consumers() > 0 ? works.senders() : 0;
                long ended = 0;
                for (long[] report : Arrays.copyOfRange(reports, from, reports.length)) {
                    ended = Math.max(ended, report[2] - began);
                }
                wrong = compare();
                return ended / 1e9;
            } finally {
                end();
            }
        }
    }

    private void preload() throws Exception {
        Setup ahead = Works.ahead(setup);
        try (Peer.Sender sender = peer.sender(ahead)) {
            Messages.send(sender, ahead, 0, setup.count(), progress, 1);
        }
        progress.set(1, 0);
    }

    private void start() throws Exception {
        int senders = works.senders();
        int all = senders + works.consumers();
        for (int i = 0; i < all; i++) {
            boolean sends = i < senders;
            long first = sends ? (long) setup.count() * i / senders : 0;
            long share = sends ? (long) setup.count() * (i + 1) / senders - first : 0;
            Task task = new Task(peer.name(), 1 + i, all, sends, first, share, rate, setup);
            Path log = setup.folder().resolve("log-" + (1 + i));
            children.add(Jvm.start(Main.class, task.words(), log));
        }
        String[] said = new String[all];
        waitFor(said);
        for (String line : said) {
            if (!line.equals("ready")) {
                throw new IllegalStateException("expected \"ready\" of a process, got " + line);
            }
        }
    }

    private void hear() throws Exception {
        String[] said = new String[children.size()];
        waitFor(said);
        reports = new long[said.length][];
        for (int i = 0; i < said.length; i++) {
            String[] words = said[i].split(" ");
            reports[i] = Arrays.stream(words).mapToLong(Long::parseLong).toArray();
        }
    }

    /** A line of each process; tells consumers to stop when all messages are acked. */
    private void waitFor(String[] said) throws Exception {
        long[] seen = new long[said.length];
        long deadline = System.nanoTime() + STALL_NS;
        int missing = said.length;
        while (missing > 0) {
            for (int i = 0; i < said.length; i++) {
                if (said[i] != null) {
                    continue;
                }
                boolean alive = children.get(i).isAlive();
                said[i] = children.get(i).line();
                if (said[i] != null) {
                    missing--;
                } else if (!alive) {
                    throw new IllegalStateException(
                            "a process ended before it reported:\n"
                                    + children.get(i).lastWords());
                }
            }
            long[] now = new long[said.length];
            Arrays.setAll(now, i -> progress.get(1 + i));
            if (!Arrays.equals(now, seen)) {
                seen = now;
                deadline = System.nanoTime() + STALL_NS;
            } else if (System.nanoTime() > deadline) {
                throw new IllegalStateException("nothing moved, at " + Arrays.toString(now));
            }
            if (going && works.consumers() > 0 && taken(now) >= setup.count()) {
                progress.set(Progress.STOP, 1);
            }
            if (missing > 0) {
                Thread.sleep(LOOK_MS);
            }
        }
    }

    private long taken(long[] now) {
        return Arrays.stream(now, works.senders(), now.length).sum();
    }

    /** What does not agree with what was sent, or null. */
    private String compare() throws Exception {
        long count = setup.count();
        if (works.consumers() == 0) {
            long held = peer.held(setup);
            return held >= count ? null : count + " messages sent, it holds " + held;
        }
        long taken = 0;
        long total = 0;
        for (long[] report : Arrays.copyOfRange(reports, works.senders(), reports.length)) {
            taken += report[0];
            total += report[1];
        }
        if (taken != count) {
            return count + " messages sent, " + taken + " deliveries";
        }
        boolean same = total == count * (count - 1) / 2;
        return same ? null : "as many messages as sent, but not the same ones";
    }

    /** What {@link #measure} found wrong, or null. */
    String wrong() {
        return wrong;
    }

    /** How long each message was on its way, sorted; none where the run was not paced. */
    long[] waits() throws IOException {
        if (rate == 0) {
            return new long[0];
        }
        LongStream all = LongStream.empty();
        for (int slot = works.senders() + 1; slot <= children.size(); slot++) {
            Path file = Child.waitsFile(setup.folder(), slot);
            long[] waits = new long[(int) (Files.size(file) / Long.BYTES)];
            ByteBuffer.wrap(Files.readAllBytes(file)).asLongBuffer().get(waits);
            all = LongStream.concat(all, Arrays.stream(waits));
        }
        return all.sorted().toArray();
    }

    private void end() throws InterruptedException {
        for (Jvm child : children) {
            child.end();
        }
    }
}
