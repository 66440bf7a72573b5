"""The workloads through the Python package: ROLE ARGUMENT...

The roles, their arguments and what is printed are those of `src/workers/mod.rs`, which starts this
program, so that the figures of all languages are verified in one place.
"""

import array
import platform
import select
import struct
import sys
import time
from pathlib import Path
from typing import Literal

import libqueue
from libqueue import _native

NUMBER = 8
# How long one who sleeps does so before it looks whether its input has ended; after so many empty
# looks one who spins does. Nothing came for so long: something is wrong.
LOOK = 0.02
LOOKS = 10_000
LONG = 60.0
# What is sent is made before the clock runs: so many different payloads, as the other programs send
# in a batch, of so many bytes at most.
RING = 100
RING_BYTES = 64 << 20

Said = tuple[int, int, int, int, int]
Durability = Literal["process", "sync"]


def number_of(payload: bytes) -> int:
    return int.from_bytes(payload[:NUMBER], "little")


def numbered(size: int, number: int) -> bytes:
    return number.to_bytes(NUMBER, "little") + b"x" * (size - NUMBER)


def wait_for_word() -> int:
    """Say that all is open, and return the time at which the work begins."""
    print("ready", flush=True)
    if not sys.stdin.buffer.read(1):
        sys.exit("the driver has ended")
    return time.monotonic_ns()


def has_ended() -> bool:
    return bool(select.select([sys.stdin], [], [], 0)[0])


def send_paced(topic: libqueue.Topic, size: int, count: int, pace: int) -> int:
    """Send each when it is due: sleeps to just before, and spins."""
    began, filler, total = time.monotonic_ns(), b"x" * (size - 2 * NUMBER), 0
    for number in range(count):
        due = began + number * 1_000_000_000 // pace
        while (left := due - time.monotonic_ns()) > 0:
            if left > 60_000:
                time.sleep((left - 55_000) / 1e9)
        head = number.to_bytes(NUMBER, "little")
        total += number
        topic.send(head + time.monotonic_ns().to_bytes(NUMBER, "little") + filler)
    return total


def send(path: str, durability: Durability, size: int, count: int, batch: int, pace: int) -> Said:
    with libqueue.open(path, durability=durability) as store:
        topic = store.topic("bench")
        length = max(min(RING, RING_BYTES // size, count) // batch, 1) * batch
        ring = [numbered(size, number) for number in range(length)]
        total = sum(number % length for number in range(count))
        batches = [ring[first : first + batch] for first in range(0, length, batch)]
        began = wait_for_word()
        if pace > 0:
            total = send_paced(topic, size, count, pace)
        elif batch == 1:
            call = topic.send
            for _ in range(count // length):
                for payload in ring:
                    call(payload)
            for payload in ring[: count % length]:
                call(payload)
        else:
            call_many = topic.send_many
            for number in range(count // batch):
                call_many(batches[number % len(batches)])
        ended = time.monotonic_ns()
        del topic
    return count, total, count * size, began, ended


class Receiver:
    """What one who receives wants, and what came so far."""

    def __init__(self, size: int, count: int, batch: int, spins: bool) -> None:
        self.size, self.count, self.batch, self.spins = size, count, batch, spins
        self.seen = 0
        # Added up after the clock has stopped. The payloads themselves go when they were looked at,
        # as those of any consumer do: to keep them measures how fast the kernel gives memory.
        self.numbers: list[int] = []
        # Raises where a payload has another size.
        self.numbers_of = struct.Struct(f"<Q{size - NUMBER}x").unpack
        self.waits = array.array("Q")
        self.ended = 0

    def iterate(self, consumer: libqueue.Consumer) -> None:
        """One by one, as long as there are some to come."""
        keep, numbers_of, seen, count = self.numbers.extend, self.numbers_of, 0, self.count
        for delivery in consumer:
            keep(numbers_of(delivery.payload))
            delivery.ack()
            seen += 1
            if seen == count:
                break
        self.seen, self.ended = seen, time.monotonic_ns()

    def receive(self, consumer: libqueue.Consumer, timed: bool) -> None:
        """In batches, until all came that was wanted, or the input has ended."""
        keep, numbers_of, batch, count = (
            self.numbers.extend,
            self.numbers_of,
            self.batch,
            self.count,
        )
        timeout = 0.0 if self.spins else LOOK
        empty, since = 0, time.monotonic()
        while count == 0 or self.seen < count:
            deliveries = consumer.receive(batch, timeout=timeout)
            if not deliveries:
                empty += 1
                if self.spins and empty % LOOKS:
                    continue
                if count == 0 and has_ended():
                    return
                if time.monotonic() - since > LONG:
                    sys.exit(f"only {self.seen} of {count} messages came")
                continue
            if empty:
                empty, since = 0, time.monotonic()
            if timed:
                now = time.monotonic_ns()
                for delivery in deliveries:
                    sent = number_of(delivery.payload[NUMBER:])
                    self.waits.append(max(now - sent, 0))
            for delivery in deliveries:
                keep(numbers_of(delivery.payload))
            consumer.ack(deliveries)
            self.seen += len(deliveries)
            if count == 0:
                self.ended = time.monotonic_ns()
        self.ended = time.monotonic_ns()


def receive(path: str, group: str, size: int, count: int, batch: int, how: str, waits: str) -> Said:
    one = Receiver(size, count, batch, how == "spin")
    with libqueue.open(path) as store:
        with store.topic("bench").consumer(group) as consumer:
            began = one.ended = wait_for_word()
            if batch == 1 and count > 0:
                one.iterate(consumer)
            else:
                one.receive(consumer, waits != "-")
    if waits != "-":
        with Path(waits).open("wb") as file:
            one.waits.tofile(file)
    total = sum(one.numbers) & (2**64 - 1)
    return one.seen, total, one.seen * size, began, one.ended


def empty(size: int, count: int) -> Said:
    """Call what does nothing, with a send's arguments: what calling a native function takes."""
    payload = numbered(size, 0)
    # It is not in the stub: no part of the package.
    call = _native._probe  # type: ignore[attr-defined]
    began = wait_for_word()
    for _ in range(count):
        call(payload)
    return count, 0, 0, began, time.monotonic_ns()


def main() -> None:
    role, args = sys.argv[1], sys.argv[2:]
    if role == "send":
        path, durability = args[:2]
        size, count, batch, pace = (int(one) for one in args[2:])
        said = send(path, "sync" if durability == "sync" else "process", size, count, batch, pace)
    elif role == "receive":
        size, count, batch = (int(one) for one in args[2:5])
        said = receive(args[0], args[1], size, count, batch, *args[5:])
    elif role == "empty":
        said = empty(*(int(one) for one in args))
    elif role == "version":
        print(platform.python_implementation(), platform.python_version())
        return
    else:
        sys.exit("usage: bench.py send|receive|empty ARGUMENT..., bench.py version")
    print(*said, flush=True)


if __name__ == "__main__":
    main()
