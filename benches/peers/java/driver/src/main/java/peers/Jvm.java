package peers;

import java.io.IOException;
import java.lang.management.ManagementFactory;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.CountDownLatch;

/**
 * A process of the run. It lives as long as its standard input stays open, which the kernel closes
 * with the driver, whatever ended that.
 */
public final class Jvm {
    private static final int LINES_SHOWN = 12;
    /** Where libraries unpack native code: it goes with the run. */
    private static final List<String> TEMPORARY = List.of("java.io.tmpdir", "jna.tmpdir");

    private static final Collection<Process> STARTED = new ConcurrentLinkedQueue<>();
    private final Process process;
    private final Path log;

    private Jvm(Process process, Path log) {
        this.process = process;
        this.log = log;
    }

    /** Starts a class with the class path and the options of this process. */
    public static Jvm start(Class<?> main, List<String> words, Path log) throws IOException {
        List<String> command = new ArrayList<>();
        command.add(Path.of(System.getProperty("java.home"), "bin", "java").toString());
        command.addAll(ManagementFactory.getRuntimeMXBean().getInputArguments());
        for (String property : TEMPORARY) {
            command.add("-D" + property + "=" + log.getParent());
        }
        command.addAll(List.of("-cp", System.getProperty("java.class.path"), main.getName()));
        command.addAll(words);
        ProcessBuilder builder = new ProcessBuilder(command);
        Process process = builder.redirectError(log.toFile()).start();
        STARTED.add(process);
        return new Jvm(process, log);
    }

    /** For the driver itself, before it loads any of them. */
    static void unpackInto(Path folder) {
        TEMPORARY.forEach(property -> System.setProperty(property, folder.toString()));
    }

    /** For the process itself: counts down at the driver's word, ends with the driver. */
    public static void watchDriver(CountDownLatch word) {
        Thread watch =
                new Thread(
                        () -> {
                            try {
                                while (System.in.read() >= 0) {
                                    word.countDown();
                                }
                            } catch (IOException gone) {
                                System.err.println("the driver's line broke: " + gone);
                            }
                            Runtime.getRuntime().halt(1);
                        });
        watch.setDaemon(true);
        watch.start();
    }

    public boolean isAlive() {
        return process.isAlive();
    }

    void go() throws IOException {
        process.getOutputStream().write('\n');
        process.getOutputStream().flush();
    }

    /** A line that it printed, or null as long as there is none. */
    String line() throws IOException {
        if (process.getInputStream().available() == 0) {
            return null;
        }
        StringBuilder line = new StringBuilder();
        int next = process.getInputStream().read();
        while (next >= 0 && next != '\n') {
            line.append((char) next);
            next = process.getInputStream().read();
        }
        return line.toString();
    }

    /** The end of what it said about itself. */
    public String lastWords() throws IOException {
        List<String> lines = Files.readAllLines(log);
        int from = Math.max(lines.size() - LINES_SHOWN, 0);
        return String.join("\n", lines.subList(from, lines.size()));
    }

    /** For the end of the driver: none of its processes writes to the run's folder any more. */
    static void endAll() {
        STARTED.forEach(Process::destroyForcibly);
        STARTED.forEach(process -> process.onExit().join());
    }

    /** No process is left when this returns; what it held on disk is thrown away with the run. */
    public void end() throws InterruptedException {
        process.destroyForcibly().waitFor();
    }
}
