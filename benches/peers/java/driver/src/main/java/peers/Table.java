package peers;

import java.util.LinkedHashMap;
import java.util.Map;

/** The peers of this program, each with the class that speaks to it. */
final class Table {
    static final Map<String, String> CLASSES = new LinkedHashMap<>();

    static {
        CLASSES.put("chronicle-queue", "peers.chronicle.ChroniclePeer");
        CLASSES.put("kafka", "peers.kafka.KafkaPeer");
        CLASSES.put("kafka-share", "peers.kafka.SharePeer");
    }

    private Table() {}

    /** The peer of that name, if the module that speaks to it was built. */
    static Peer load(String name) throws NotHereException {
        String found = CLASSES.get(name);
        if (found == null) {
            String known = String.join(", ", CLASSES.keySet());
            throw new NotHereException(name + " is none of " + known + ".");
        }
        try {
            return (Peer) Class.forName(found).getDeclaredConstructor().newInstance();
        } catch (ReflectiveOperationException | LinkageError missing) {
            throw new NotHereException(
                    name + " is not installed (" + missing + "): run benches/peers/install.sh.");
        }
    }

    /** This peer, or this work on it, cannot be had; the text says why in one sentence. */
    static final class NotHereException extends Exception {
        private static final long serialVersionUID = 1L;

        NotHereException(String why) {
            super(why);
        }
    }
}
