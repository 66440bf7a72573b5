package peers.kafka;

import java.io.IOException;
import java.time.Duration;
import java.util.Collection;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.ExecutionException;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.ShareMemberDescription;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.KafkaShareConsumer;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.config.ConfigResource;
import peers.Setup;

/** Apache Kafka with a share group: one partition, whose records are locked and acked singly. */
public final class SharePeer extends KafkaPeer {
    private static final int ASK_MS = 100;

    @Override
    public String name() {
        return "kafka-share";
    }

    @Override
    public String note() {
        return "one broker; each send waits for its answer, a batch waits once; consumers share a"
                + " partition, whose records are locked for one of them and acked singly";
    }

    @Override
    int partitions(Setup setup) {
        return 1;
    }

    @Override
    public void create(Setup setup) throws Exception {
        super.create(setup);
        // A new share group would begin behind what is there already.
        ConfigResource group = new ConfigResource(ConfigResource.Type.GROUP, setup.queue());
        ConfigEntry begin = new ConfigEntry("share.auto.offset.reset", "earliest");
        AlterConfigOp set = new AlterConfigOp(begin, AlterConfigOp.OpType.SET);
        try (Admin admin = Broker.admin(setup.folder())) {
            admin.incrementalAlterConfigs(Map.of(group, List.of(set))).all().get();
        }
    }

    @Override
    public Consumer consumer(Setup setup) throws Exception {
        return new Member(setup);
    }

    /** A member of the share group, which does not poll before all of them stand ready. */
    private static final class Member implements Consumer {
        private final KafkaShareConsumer<byte[], byte[]> consumer;
        private final Setup setup;

        Member(Setup setup) throws IOException {
            Map<String, Object> config = consumerConfig(setup);
            // Never more than was asked for, though records lie in larger batches.
            config.put(ConsumerConfig.SHARE_ACQUIRE_MODE_CONFIG, "record_limit");
            this.consumer = new KafkaShareConsumer<>(config);
            this.setup = setup;
        }

        @Override
        public void join() throws Exception {
            consumer.subscribe(List.of(setup.queue()));
            // Nothing is assigned yet that could be taken: this is what makes it join.
            if (!consumer.poll(Duration.ZERO).isEmpty()) {
                throw new IllegalStateException("expected no records of a group just joined");
            }
            long deadline = System.nanoTime() + PATIENCE.toNanos();
            try (Admin admin = Broker.admin(setup.folder())) {
                while (!allAreThere(admin)) {
                    if (System.nanoTime() > deadline) {
                        throw new IllegalStateException(
                                "expected " + setup.consumers() + " members in the share group");
                    }
                    Thread.sleep(ASK_MS);
                }
            }
        }

        private boolean allAreThere(Admin admin) throws InterruptedException {
            try {
                Collection<ShareMemberDescription> members =
                        admin.describeShareGroups(List.of(setup.queue()))
                                .all()
                                .get()
                                .get(setup.queue())
                                .members();
                long assigned =
                        members.stream()
                                .filter(one -> !one.assignment().topicPartitions().isEmpty())
                                .count();
                return assigned >= setup.consumers();
            } catch (ExecutionException notYet) {
                // The group is there with its first member.
                return false;
            }
        }

        @Override
        public int take(Duration wait, Each each) {
            ConsumerRecords<byte[], byte[]> records = consumer.poll(wait);
            if (records.isEmpty()) {
                return 0;
            }
            for (ConsumerRecord<byte[], byte[]> record : records) {
                each.take(record.value());
            }
            for (Optional<KafkaException> failure : consumer.commitSync().values()) {
                if (failure.isPresent()) {
                    throw failure.get();
                }
            }
            return records.count();
        }

        @Override
        public void close() {
            consumer.close(GOODBYE);
        }
    }
}
