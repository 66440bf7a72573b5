package peers;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.locks.LockSupport;

/** Messages: eight bytes of number, eight of the time it was sent at, the rest filler. */
final class Messages {
    static final int HEAD = 16;
    /** What a sleep may be late by, and is spun instead: as the benches' other programs do. */
    private static final long SPIN_NS = 60_000;

    private Messages() {}

    static byte[] blank(int size) {
        byte[] payload = new byte[size];
        Arrays.fill(payload, (byte) 'x');
        return payload;
    }

    static List<byte[]> blanks(int size, int count) {
        List<byte[]> payloads = new ArrayList<>();
        for (int i = 0; i < count; i++) {
            payloads.add(blank(size));
        }
        return payloads;
    }

    private static ByteBuffer head(byte[] payload) {
        return ByteBuffer.wrap(payload).order(ByteOrder.LITTLE_ENDIAN);
    }

    static void write(byte[] payload, long number, long sent) {
        head(payload).putLong(number).putLong(sent);
    }

    static long number(byte[] payload) {
        return head(payload).getLong(0);
    }

    static long sent(byte[] payload) {
        return head(payload).getLong(Long.BYTES);
    }

    /** Sends these in steps of as many as the set-up says. */
    static void send(
            Peer.Sender sender, Setup setup, long first, long share, Progress progress, int slot)
            throws Exception {
        if (setup.sends() == 1) {
            byte[] payload = blank(setup.size());
            for (long number = first; number < first + share; number++) {
                write(payload, number, System.nanoTime());
                sender.send(payload);
                progress.set(slot, number);
            }
            return;
        }
        List<byte[]> payloads = blanks(setup.size(), setup.sends());
        for (long number = first; number < first + share; number += setup.sends()) {
            int these = (int) Math.min(setup.sends(), first + share - number);
            long now = System.nanoTime();
            for (int i = 0; i < these; i++) {
                write(payloads.get(i), number + i, now);
            }
            sender.sendBatch(payloads.subList(0, these));
            progress.set(slot, number);
        }
    }

    /** One message each period: asleep until shortly before it is due, then awake. */
    static void sendPaced(Peer.Sender sender, Task task, Progress progress) throws Exception {
        byte[] payload = blank(task.setup().size());
        long began = System.nanoTime();
        for (long number = 0; number < task.share(); number++) {
            long due = began + number * 1_000_000_000L / task.rate();
            for (long left = due - System.nanoTime(); left > 0; left = due - System.nanoTime()) {
                if (left > SPIN_NS) {
                    LockSupport.parkNanos(left - SPIN_NS);
                } else {
                    Thread.onSpinWait();
                }
            }
            write(payload, task.first() + number, System.nanoTime());
            sender.send(payload);
            progress.set(task.slot(), number);
        }
    }
}
