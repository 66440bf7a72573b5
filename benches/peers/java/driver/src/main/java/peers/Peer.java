package peers;

import java.io.IOException;
import java.time.Duration;
import java.util.List;

/** What each system is to the driver: a queue that is made, sent to and taken from. */
public interface Peer {
    String name();

    String version() throws IOException;

    List<String> works();

    String note();

    /** Why it does not do the other works. */
    default String lacks() {
        return "it is not made for it";
    }

    /** Starts what serves the queues; closing it ends that. */
    AutoCloseable prepare(Setup setup) throws Exception;

    /** Makes the queue that the set-up names. */
    void create(Setup setup) throws Exception;

    Sender sender(Setup setup) throws Exception;

    Consumer consumer(Setup setup) throws Exception;

    /** How many messages the queue holds, after all senders are gone. */
    long held(Setup setup) throws Exception;

    default String durability(boolean sync) {
        return sync ? "sync" : "process";
    }

    /** One process's end to send with. */
    interface Sender extends AutoCloseable {
        /** The message is accepted when this returns. */
        void send(byte[] payload) throws Exception;

        /** All of them are accepted when this returns. */
        void sendBatch(List<byte[]> payloads) throws Exception;
    }

    /** One process's end to take with. */
    interface Consumer extends AutoCloseable {
        /** Waits for its part of the queue, where that is shared out; takes nothing yet. */
        default void join() throws Exception {}

        /** Called again and again while other processes are not ready. */
        default void idle() throws Exception {}

        /** All stand ready: from here on it takes. */
        default void start() throws Exception {}

        /**
         * Takes up to as many as the set-up says and waits so long for the first; calls
         * {@code each} with every payload and acks all of them before it returns.
         */
        int take(Duration wait, Each each) throws Exception;
    }

    /** What happens to a payload; the bytes are valid during the call. */
    @FunctionalInterface
    interface Each {
        void take(byte[] payload);
    }
}
