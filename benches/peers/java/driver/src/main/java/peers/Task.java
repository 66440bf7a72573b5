package peers;

import java.util.ArrayList;
import java.util.List;

/**
 * What one process is to do: senders send {@code share} messages numbered from {@code first} on,
 * consumers take until the driver says stop.
 */
record Task(
        String peer, int slot, int slots, boolean sends, long first, long share, int rate,
        Setup setup) {

    List<String> words() {
        List<String> words = new ArrayList<>();
        words.add("child");
        words.add(peer);
        words.add(Integer.toString(slot));
        words.add(Integer.toString(slots));
        words.add(Boolean.toString(sends));
        words.add(Long.toString(first));
        words.add(Long.toString(share));
        words.add(Integer.toString(rate));
        words.addAll(setup.words());
        return words;
    }

    /** From the words behind "child". */
    static Task from(List<String> words) {
        return new Task(
                words.get(0),
                Integer.parseInt(words.get(1)),
                Integer.parseInt(words.get(2)),
                Boolean.parseBoolean(words.get(3)),
                Long.parseLong(words.get(4)),
                Long.parseLong(words.get(5)),
                Integer.parseInt(words.get(6)),
                Setup.from(words.subList(7, words.size())));
    }
}
