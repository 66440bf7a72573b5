package peers.kafka;

import java.io.IOException;
import java.time.Duration;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.ListOffsetsResult.ListOffsetsResultInfo;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.consumer.CloseOptions;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.utils.AppInfoParser;
import peers.Peer;
import peers.Setup;

/** Apache Kafka with a consumer group: a partition for each consumer process. */
public class KafkaPeer implements Peer {
    static final Duration PATIENCE = Duration.ofSeconds(120);
    static final Duration STEP = Duration.ofMillis(20);
    static final Duration GOODBYE = Duration.ofSeconds(5);

    @Override
    public String name() {
        return "kafka";
    }

    @Override
    public String version() {
        return AppInfoParser.getVersion();
    }

    @Override
    public List<String> works() {
        return List.of("W1", "W2", "W3", "W4", "W5", "W6", "W7");
    }

    @Override
    public String note() {
        return "one broker; each send waits for its answer, a batch waits once; a partition for"
                + " each consumer, whose ack is the committed offset";
    }

    /** How many parts the queue has. */
    int partitions(Setup setup) {
        return setup.consumers();
    }

    @Override
    public AutoCloseable prepare(Setup setup) throws Exception {
        return Broker.start(setup.folder());
    }

    @Override
    public void create(Setup setup) throws Exception {
        NewTopic topic = new NewTopic(setup.queue(), partitions(setup), (short) 1);
        if (setup.sync()) {
            topic.configs(Map.of("flush.messages", "1"));
        }
        try (Admin admin = Broker.admin(setup.folder())) {
            admin.createTopics(List.of(topic)).all().get();
        }
    }

    @Override
    public Sender sender(Setup setup) throws Exception {
        return new RecordSender(setup, partitions(setup));
    }

    @Override
    public Consumer consumer(Setup setup) throws Exception {
        return new Member(setup);
    }

    @Override
    public long held(Setup setup) throws Exception {
        Map<TopicPartition, OffsetSpec> ends =
                IntStream.range(0, partitions(setup))
                        .mapToObj(number -> new TopicPartition(setup.queue(), number))
                        .collect(Collectors.toMap(one -> one, one -> OffsetSpec.latest()));
        try (Admin admin = Broker.admin(setup.folder())) {
            Collection<ListOffsetsResultInfo> found = admin.listOffsets(ends).all().get().values();
            return found.stream().mapToLong(ListOffsetsResultInfo::offset).sum();
        }
    }

    static Map<String, Object> consumerConfig(Setup setup) throws IOException {
        Map<String, Object> config = new HashMap<>();
        config.put(ConsumerConfig.BOOTSTRAP_SERVERS_CONFIG, Broker.address(setup.folder()));
        config.put(ConsumerConfig.GROUP_ID_CONFIG, setup.queue());
        config.put(ConsumerConfig.MAX_POLL_RECORDS_CONFIG, setup.takes());
        config.put(ConsumerConfig.KEY_DESERIALIZER_CLASS_CONFIG, ByteArrayDeserializer.class);
        config.put(ConsumerConfig.VALUE_DESERIALIZER_CLASS_CONFIG, ByteArrayDeserializer.class);
        return config;
    }

    /** A member of the group; its partition is paused until all members stand ready. */
    private static final class Member implements Consumer, ConsumerRebalanceListener {
        private final KafkaConsumer<byte[], byte[]> consumer;
        private final String topic;
        private boolean started;

        Member(Setup setup) throws IOException {
            Map<String, Object> config = consumerConfig(setup);
            config.put(ConsumerConfig.AUTO_OFFSET_RESET_CONFIG, "earliest");
            config.put(ConsumerConfig.ENABLE_AUTO_COMMIT_CONFIG, false);
            consumer = new KafkaConsumer<>(config);
            topic = setup.queue();
        }

        @Override
        public void join() {
            consumer.subscribe(List.of(topic), this);
            long deadline = System.nanoTime() + PATIENCE.toNanos();
            // The first to come has all partitions until the last one has come.
            while (consumer.assignment().size() != 1) {
                if (System.nanoTime() > deadline) {
                    throw new IllegalStateException(
                            "expected one partition, got " + consumer.assignment());
                }
                consumer.poll(STEP);
            }
        }

        @Override
        public void idle() {
            consumer.poll(STEP);
        }

        @Override
        public void start() {
            started = true;
            consumer.resume(consumer.assignment());
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
            consumer.commitSync();
            return records.count();
        }

        @Override
        public void onPartitionsAssigned(Collection<TopicPartition> partitions) {
            if (!started) {
                consumer.pause(partitions);
            }
        }

        @Override
        public void onPartitionsRevoked(Collection<TopicPartition> partitions) {
            // What was taken is acked before the next poll, and only a poll takes partitions away.
        }

        @Override
        public void close() {
            consumer.close(CloseOptions.timeout(GOODBYE));
        }
    }
}
