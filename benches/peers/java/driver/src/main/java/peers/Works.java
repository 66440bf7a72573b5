package peers;

/**
 * The works W1 to W7: how many processes send and take, in what steps, and whether each message
 * is to survive power loss.
 */
record Works(
        int senders, int consumers, int sends, int takes, boolean preloaded, boolean sync) {
    private static final int STEP = 100;
    private static final int MANY = 4;

    /**
     * A number that is not given (0) is the work's own. Producers send one by one where consumers
     * stand beside them: the batch is the consumers' then.
     */
    static Works of(String work, int senders, int consumers, int batch) {
        int some = given(batch, STEP);
        return switch (work) {
            case "W1" -> new Works(1, 0, 1, 1, false, false);
            case "W2" -> new Works(1, 0, some, 1, false, false);
            case "W3" -> new Works(given(senders, 1), 0, 1, 1, false, true);
            case "W4" -> new Works(0, 1, 1, some, true, false);
            case "W5" -> new Works(1, 1, 1, some, false, false);
            case "W6" -> new Works(0, given(consumers, MANY), 1, some, true, false);
            case "W7" ->
                    new Works(given(senders, MANY), given(consumers, MANY), 1, some, false, false);
            default -> throw new IllegalArgumentException("--work is W1 to W7, got " + work);
        };
    }

    /** Messages of one step, whichever side takes them. */
    int batch() {
        return Math.max(sends, takes);
    }

    private static int given(int number, int otherwise) {
        return number > 0 ? number : otherwise;
    }

    /** What is sent before the clock runs goes in steps, and is not synced. */
    static Setup ahead(Setup setup) {
        return new Setup(
                setup.folder(),
                setup.queue(),
                false,
                setup.size(),
                setup.count(),
                STEP,
                setup.takes(),
                setup.consumers());
    }
}
