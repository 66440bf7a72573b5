package peers;

import java.io.IOException;
import java.lang.invoke.MethodHandles;
import java.lang.invoke.VarHandle;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;

/**
 * How far each process is, in memory that all of them map: a store is all it costs. Slot 0 is the
 * driver's word to stop, the others belong to one process each.
 */
final class Progress {
    static final int STOP = 0;
    private static final VarHandle SLOT =
            MethodHandles.byteBufferViewVarHandle(long[].class, ByteOrder.nativeOrder());
    private final ByteBuffer slots;

    Progress(Path folder, int processes) throws IOException {
        Path file = folder.resolve("progress");
        int bytes = (1 + processes) * Long.BYTES;
        try (FileChannel channel =
                FileChannel.open(
                        file,
                        StandardOpenOption.CREATE,
                        StandardOpenOption.READ,
                        StandardOpenOption.WRITE)) {
            slots = channel.map(FileChannel.MapMode.READ_WRITE, 0, bytes);
        }
    }

    void set(int slot, long value) {
        SLOT.setRelease(slots, slot * Long.BYTES, value);
    }

    long get(int slot) {
        return (long) SLOT.getAcquire(slots, slot * Long.BYTES);
    }
}
