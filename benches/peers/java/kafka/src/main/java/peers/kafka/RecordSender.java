package peers.kafka;

import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Future;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerConfig;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.serialization.ByteArraySerializer;
import peers.Peer;
import peers.Setup;

/** Sends to the partitions by turns, and waits for the broker's answer. */
final class RecordSender implements Peer.Sender {
    /** A batch is flushed as a whole; one record alone goes at once. */
    private static final int LINGER_MS = 5;

    private final KafkaProducer<byte[], byte[]> producer;
    private final String topic;
    private final int partitions;
    private final List<Future<RecordMetadata>> answers = new ArrayList<>();
    private int turn;

    RecordSender(Setup setup, int partitions) throws IOException {
        this.topic = setup.queue();
        this.partitions = partitions;
        this.producer =
                new KafkaProducer<>(
                        Map.of(
                                ProducerConfig.BOOTSTRAP_SERVERS_CONFIG,
                                Broker.address(setup.folder()),
                                ProducerConfig.ACKS_CONFIG,
                                "all",
                                ProducerConfig.LINGER_MS_CONFIG,
                                setup.sends() > 1 ? LINGER_MS : 0,
                                ProducerConfig.KEY_SERIALIZER_CLASS_CONFIG,
                                ByteArraySerializer.class,
                                ProducerConfig.VALUE_SERIALIZER_CLASS_CONFIG,
                                ByteArraySerializer.class));
        // The first send would ask for this otherwise, with the clock running.
        producer.partitionsFor(topic);
    }

    private Future<RecordMetadata> start(byte[] payload) {
        turn = (turn + 1) % partitions;
        return producer.send(new ProducerRecord<>(topic, turn, null, payload));
    }

    @Override
    public void send(byte[] payload) throws ExecutionException, InterruptedException {
        start(payload).get();
    }

    @Override
    public void sendBatch(List<byte[]> payloads) throws ExecutionException, InterruptedException {
        answers.clear();
        for (byte[] payload : payloads) {
            answers.add(start(payload));
        }
        producer.flush();
        for (Future<RecordMetadata> answer : answers) {
            answer.get();
        }
    }

    @Override
    public void close() {
        producer.close();
    }
}
