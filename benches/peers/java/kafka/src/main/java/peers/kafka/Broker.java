package peers.kafka;

import java.io.IOException;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutionException;
import kafka.Kafka;
import kafka.tools.StorageTool;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AdminClientConfig;
import org.apache.kafka.clients.admin.DescribeClusterOptions;
import org.apache.kafka.common.Uuid;
import peers.Jvm;

/** A broker that is its own controller, on loopback, with its logs in the run's folder. */
public final class Broker implements AutoCloseable {
    private static final String ADDRESS = "kafka.address";
    private static final Duration PATIENCE = Duration.ofSeconds(120);
    private static final int ANSWER_MS = 5_000;
    private static final int ASK_MS = 100;
    private final Jvm jvm;

    private Broker(Jvm jvm) {
        this.jvm = jvm;
    }

    /** Returns when it answers. */
    static Broker start(Path folder) throws Exception {
        Path config = folder.resolve("server.properties");
        String address;
        // Both are open at once so that they differ; the broker binds them a moment later.
        try (ServerSocket clients = free();
                ServerSocket controller = free()) {
            address = "127.0.0.1:" + clients.getLocalPort();
            String voters = "127.0.0.1:" + controller.getLocalPort();
            Files.writeString(config, properties(folder, address, voters));
        }
        Files.writeString(folder.resolve(ADDRESS), address);
        Jvm jvm = Jvm.start(Broker.class, List.of(config.toString()), folder.resolve("broker.log"));
        Broker broker = new Broker(jvm);
        try {
            broker.waitForAnswer(folder);
        } catch (Exception failure) {
            broker.close();
            throw failure;
        }
        return broker;
    }

    private static ServerSocket free() throws IOException {
        return new ServerSocket(0, 1, InetAddress.getLoopbackAddress());
    }

    static String address(Path folder) throws IOException {
        return Files.readString(folder.resolve(ADDRESS));
    }

    static Admin admin(Path folder) throws IOException {
        return Admin.create(Map.of(AdminClientConfig.BOOTSTRAP_SERVERS_CONFIG, address(folder)));
    }

    private void waitForAnswer(Path folder) throws Exception {
        long deadline = System.nanoTime() + PATIENCE.toNanos();
        DescribeClusterOptions soon = new DescribeClusterOptions().timeoutMs(ANSWER_MS);
        try (Admin admin = admin(folder)) {
            while (true) {
                try {
                    if (!admin.describeCluster(soon).nodes().get().isEmpty()) {
                        return;
                    }
                } catch (ExecutionException notYet) {
                    if (!jvm.isAlive() || System.nanoTime() > deadline) {
                        throw new IllegalStateException(
                                "the broker does not answer:\n" + jvm.lastWords(), notYet);
                    }
                }
                Thread.sleep(ASK_MS);
            }
        }
    }

    private static String properties(Path folder, String address, String voters) {
        return String.join(
                "\n",
                "process.roles=broker,controller",
                "node.id=1",
                "controller.quorum.voters=1@" + voters,
                "listeners=PLAINTEXT://" + address + ",CONTROLLER://" + voters,
                "listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
                "controller.listener.names=CONTROLLER",
                "log.dirs=" + folder.resolve("kafka"),
                "auto.create.topics.enable=false",
                // One broker holds the only copy of its own topics too.
                "offsets.topic.replication.factor=1",
                "offsets.topic.num.partitions=1",
                "share.coordinator.state.topic.replication.factor=1",
                "share.coordinator.state.topic.min.isr=1",
                "share.coordinator.state.topic.num.partitions=1",
                // A group need not wait for members that may still come: the driver does.
                "group.initial.rebalance.delay.ms=0",
                "group.share.assignment.interval.ms=0",
                "group.share.heartbeat.interval.ms=500",
                "group.share.min.heartbeat.interval.ms=500",
                // What a member was handed while others were not ready stays with it.
                "group.share.record.lock.duration.ms=60000",
                "");
    }

    @Override
    public void close() throws InterruptedException {
        jvm.end();
    }

    /** The process of the broker: formats its folder and serves until the driver is gone. */
    public static void main(String[] args) {
        Jvm.watchDriver(new CountDownLatch(1));
        String id = Uuid.randomUuid().toString();
        String[] format = {"format", "--cluster-id", id, "--config", args[0]};
        int code = StorageTool.execute(format, System.err);
        if (code != 0) {
            System.exit(code);
        }
        Kafka.main(args);
    }
}
