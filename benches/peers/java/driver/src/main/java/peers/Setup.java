package peers;

import java.nio.file.Path;
import java.util.List;

/**
 * How a run wants the peer set up: {@code sync} asks that a sent message survives power loss,
 * {@code sends} and {@code takes} are the messages of one step, {@code consumers} is how many
 * processes share the queue's messages.
 */
public record Setup(
        Path folder,
        String queue,
        boolean sync,
        int size,
        int count,
        int sends,
        int takes,
        int consumers) {

    /** For a queue that a process keeps to itself to warm up on: the disk is left alone. */
    Setup alone(String name) {
        return new Setup(folder, name, false, size, count, sends, takes, 1);
    }

    List<String> words() {
        return List.of(
                folder.toString(),
                queue,
                Boolean.toString(sync),
                Integer.toString(size),
                Integer.toString(count),
                Integer.toString(sends),
                Integer.toString(takes),
                Integer.toString(consumers));
    }

    static Setup from(List<String> words) {
        return new Setup(
                Path.of(words.get(0)),
                words.get(1),
                Boolean.parseBoolean(words.get(2)),
                Integer.parseInt(words.get(3)),
                Integer.parseInt(words.get(4)),
                Integer.parseInt(words.get(5)),
                Integer.parseInt(words.get(6)),
                Integer.parseInt(words.get(7)));
    }
}
