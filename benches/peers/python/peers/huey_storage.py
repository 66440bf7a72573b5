"""The SQLite storage that huey keeps its tasks in, used as the queue that it is."""

from typing import Any

from huey.storage import SqliteStorage

from .peer import LOCK_WAIT, Consumer, Each, Peer, Sender, Setup, look_until


def opened(setup: Setup) -> Any:
    return SqliteStorage(
        name="bench",
        filename=str(setup.folder / "huey.db"),
        fsync=setup.sync,
        timeout=LOCK_WAIT,
        # First in, first out, as the others are.
        strict_fifo=True,
    )


class StorageSender(Sender):
    """Each enqueue is a transaction."""

    def __init__(self, storage: Any) -> None:
        self.storage = storage
        self.enqueue = storage.enqueue

    def send(self, payload: bytes) -> None:
        self.enqueue(payload)

    def close(self) -> None:
        self.storage.close()


class StorageConsumer(Consumer):
    """Each dequeue is a transaction that takes the message away."""

    def __init__(self, storage: Any) -> None:
        self.storage = storage
        self.taken: list[bytes] = []

    def look(self) -> bool:
        data = self.storage.dequeue()
        if data is None:
            return False
        self.taken.append(data)
        return True

    def take(self, most: int, wait: float, each: Each) -> int:
        taken = self.taken
        taken.clear()
        if look_until(self.look, wait):
            while len(taken) < most and self.look():
                pass
        for data in taken:
            each(data)
        return len(taken)

    def close(self) -> None:
        self.storage.close()


class Huey(Peer):
    """The adapter."""

    name = "huey"
    package = "huey"
    works = ("W1", "W3", "W4", "W5", "W6", "W7")
    note = "the storage of SqliteHuey alone, without tasks; what is taken is gone: no ack"
    lacks = "its storage has no batch to send in"

    def prepare(self, setup: Setup) -> None:
        opened(setup).close()

    def sender(self, setup: Setup, shared: Any) -> Sender:
        return StorageSender(opened(setup))

    def consumer(self, setup: Setup, shared: Any) -> Consumer:
        return StorageConsumer(opened(setup))

    def held(self, setup: Setup) -> int:
        storage = opened(setup)
        held = int(storage.queue_size())
        storage.close()
        return held


PEER = Huey()
