"""litequeue: a queue with acks in one SQLite table."""

from typing import Any

import litequeue

from .peer import CLEAN_EVERY, LOCK_WAIT, Consumer, Each, Peer, Sender, Setup, look_until


def opened(setup: Setup) -> Any:
    queue = litequeue.LiteQueue(str(setup.folder / "litequeue.db"), timeout=LOCK_WAIT)
    # It opens in WAL mode with NORMAL; its connection is there for the other levels.
    queue.conn.execute(f"PRAGMA synchronous = {'FULL' if setup.sync else 'OFF'}")
    return queue


class QueueSender(Sender):
    """A put, or a transaction of puts; the bytes go in as they are, which SQLite stores as such."""

    def __init__(self, queue: Any) -> None:
        self.queue = queue
        self.put = queue.put

    def send(self, payload: bytes) -> None:
        self.put(payload)

    def send_batch(self, payloads: list[bytes]) -> None:
        with self.queue.transaction(mode="IMMEDIATE"):
            for payload in payloads:
                self.put(payload)

    def close(self) -> None:
        self.queue.close()


class QueueConsumer(Consumer):
    """Each pop is a transaction of its own; the acks of a batch are one."""

    def __init__(self, queue: Any) -> None:
        self.queue = queue
        self.popped: list[Any] = []
        self.acked = 0

    def look(self) -> bool:
        message = self.queue.pop()
        if message is None:
            return False
        self.popped.append(message)
        return True

    def take(self, most: int, wait: float, each: Each) -> int:
        popped = self.popped
        popped.clear()
        if not look_until(self.look, wait):
            return 0
        while len(popped) < most and self.look():
            pass
        for message in popped:
            each(message.data)
        if len(popped) == 1:
            self.queue.done(popped[0].message_id)
        else:
            with self.queue.transaction(mode="IMMEDIATE"):
                for message in popped:
                    self.queue.done(message.message_id)
        self.acked += len(popped)
        if self.acked >= CLEAN_EVERY:
            self.queue.prune()
            self.acked = 0
        return len(popped)

    def close(self) -> None:
        self.queue.close()


class LiteQueue(Peer):
    """The adapter."""

    name = "litequeue"
    package = "litequeue"
    works = ("W1", "W2", "W3", "W4", "W5", "W6", "W7")
    note = (
        "a batch is one transaction of puts or of acks, each pop is its own and sorts all that "
        "wait: consumed are 5,000 messages at most; no redelivery"
    )
    most_waiting = 5000

    def prepare(self, setup: Setup) -> None:
        opened(setup).close()

    def sender(self, setup: Setup, shared: Any) -> Sender:
        return QueueSender(opened(setup))

    def consumer(self, setup: Setup, shared: Any) -> Consumer:
        return QueueConsumer(opened(setup))

    def held(self, setup: Setup) -> int:
        queue = opened(setup)
        held = int(queue.qsize())
        queue.close()
        return held


PEER = LiteQueue()
