package peers;

import java.io.IOException;
import java.nio.file.FileVisitResult;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.SimpleFileVisitor;
import java.nio.file.attribute.BasicFileAttributes;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/** The program: "list" tells the peers, "run" does one work on one of them, prints one line. */
public final class Main {
    private static final int FAILED = 1;
    private static final int USAGE = 2;
    private static final int NOT_HERE = 3;
    private static final String HELP =
            "usage: list | run --peer NAME --work W1..W7 --dir FOLDER [--size BYTES] [--count N]"
                    + " [--batch B] [--senders S] [--consumers C] [--rate R]";

    private Main() {}

    /** Exits 0, 3 where the peer or the work is not to be had, 2 for bad words, 1 otherwise. */
    public static void main(String[] args) {
        List<String> words = Arrays.asList(args);
        int code;
        try {
            code =
                    switch (words.isEmpty() ? "" : words.get(0)) {
                        case "list" -> list();
                        case "run" -> run(options(words.subList(1, words.size())));
                        case "child" -> child(words.subList(1, words.size()));
                        default -> throw new IllegalArgumentException(HELP);
                    };
        } catch (Table.NotHereException why) {
            System.err.println(why.getMessage());
            code = NOT_HERE;
        } catch (IllegalArgumentException wrong) {
            System.err.println(wrong.getMessage());
            code = USAGE;
        } catch (Exception failure) {
            System.err.println(failure);
            code = FAILED;
        }
        // Threads of a peer that are still there do not keep the program.
        System.exit(code);
    }

    private static int child(List<String> words) throws Exception {
        new Child(Task.from(words)).run();
        return 0;
    }

    private static int list() throws IOException {
        for (String name : Table.CLASSES.keySet()) {
            Json line = new Json().add("peer", name).add("language", "Java");
            try {
                Peer peer = Table.load(name);
                line.add("installed", true).add("version", peer.version());
                line.add("works", peer.works()).add("note", peer.note());
            } catch (Table.NotHereException why) {
                line.add("installed", false).add("version", null);
                line.add("works", List.of()).add("note", why.getMessage());
            }
            System.out.println(line);
        }
        return 0;
    }

    private static Map<String, String> options(List<String> words) {
        Map<String, String> options = new HashMap<>();
        options.putAll(Map.of("--size", "100", "--count", "100000", "--batch", "0"));
        options.putAll(Map.of("--senders", "0", "--consumers", "0", "--rate", "0"));
        for (int i = 0; i < words.size(); i += 2) {
            boolean known = HELP.contains(words.get(i) + " ");
            if (!known || i + 1 == words.size()) {
                throw new IllegalArgumentException(HELP);
            }
            options.put(words.get(i), words.get(i + 1));
        }
        if (!options.keySet().containsAll(List.of("--peer", "--work", "--dir"))) {
            throw new IllegalArgumentException(HELP);
        }
        return options;
    }

    private static int number(Map<String, String> options, String name, int least) {
        int value = Integer.parseInt(options.get(name));
        if (value < least) {
            throw new IllegalArgumentException(name + " is " + least + " or more, got " + value);
        }
        return value;
    }

    private static int run(Map<String, String> options) throws Exception {
        Peer peer = Table.load(options.get("--peer"));
        String work = options.get("--work");
        int senders = number(options, "--senders", 0);
        int consumers = number(options, "--consumers", 0);
        Works works = Works.of(work, senders, consumers, number(options, "--batch", 0));
        if (!peer.works().contains(work)) {
            throw new Table.NotHereException(
                    peer.name() + " does not do " + work + ": " + peer.lacks() + ".");
        }
        boolean together = works.senders() > 0 && works.consumers() > 0;
        int rate = together ? number(options, "--rate", 0) : 0;
        Path folder = Files.createTempDirectory(Path.of(options.get("--dir")), "peer-");
        Thread sweep = new Thread(() -> sweep(folder));
        Runtime.getRuntime().addShutdownHook(sweep);
        Jvm.unpackInto(folder);
        Setup setup =
                new Setup(
                        folder,
                        "bench",
                        works.sync(),
                        number(options, "--size", Messages.HEAD),
                        number(options, "--count", 1),
                        works.sends(),
                        works.takes(),
                        Math.max(works.consumers(), 1));
        Run run = new Run(peer, setup, works, rate);
        double seconds = run.measure();
        Json line = new Json().add("peer", peer.name()).add("version", peer.version());
        line.add("language", "Java").add("work", work).add("size", setup.size());
        line.add("count", setup.count()).add("batch", works.batch()).add("rate", rate);
        line.add("senders", works.senders()).add("consumers", works.consumers());
        line.add("durability", peer.durability(works.sync())).add("seconds", seconds);
        line.add("checksum", run.wrong() == null).add("latency_ns", latency(run.waits()));
        System.out.println(line.add("note", peer.note()));
        if (run.wrong() != null) {
            System.err.println(peer.name() + ", " + work + ": " + run.wrong() + ".");
            return FAILED;
        }
        return 0;
    }

    private static Json latency(long[] waits) {
        if (waits.length == 0) {
            return null;
        }
        Json parts = new Json();
        parts.add("p50", waits[(int) (waits.length * 0.5)]);
        parts.add("p99", waits[(int) (waits.length * 0.99)]);
        parts.add("p999", waits[(int) (waits.length * 0.999)]);
        return parts.add("p9999", waits[(int) (waits.length * 0.9999)]);
    }

    /** Leaves the folder as it was, also when the program is told to end. */
    private static void sweep(Path folder) {
        Jvm.endAll();
        try {
            Files.walkFileTree(folder, new Sweeper());
        } catch (IOException left) {
            System.err.println("could not remove " + folder + ": " + left);
        }
    }

    /** A server that is being ended may take files away meanwhile. */
    private static final class Sweeper extends SimpleFileVisitor<Path> {
        @Override
        public FileVisitResult visitFile(Path file, BasicFileAttributes of) throws IOException {
            Files.deleteIfExists(file);
            return FileVisitResult.CONTINUE;
        }

        @Override
        public FileVisitResult visitFileFailed(Path file, IOException why) throws IOException {
            if (why instanceof NoSuchFileException) {
                return FileVisitResult.CONTINUE;
            }
            throw why;
        }

        @Override
        public FileVisitResult postVisitDirectory(Path folder, IOException why)
                throws IOException {
            Files.deleteIfExists(folder);
            return FileVisitResult.CONTINUE;
        }
    }
}
