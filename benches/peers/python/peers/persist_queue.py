"""persist-queue's SQLite queue with acks."""

from pathlib import Path
from typing import Any

import persistqueue

from .peer import CLEAN_EVERY, LOCK_WAIT, Consumer, Each, Peer, Sender, Setup, look_until


def opened(setup: Setup) -> Any:
    # What is taken and not acked stays with its taker: resuming would hand it out a second time.
    queue = persistqueue.SQLiteAckQueue(
        str(setup.folder / "persist-queue"), timeout=LOCK_WAIT, auto_resume=False
    )
    # It opens in WAL mode and leaves the sync to SQLite's default, with no option of its own.
    queue._conn.execute(f"PRAGMA synchronous = {'FULL' if setup.sync else 'OFF'}")
    return queue


class QueueSender(Sender):
    """Each put is a transaction."""

    def __init__(self, queue: Any) -> None:
        self.queue = queue
        self.put = queue.put

    def send(self, payload: bytes) -> None:
        self.put(payload)

    def close(self) -> None:
        self.queue.close()


class QueueConsumer(Consumer):
    """Takes and acks by the row's number, which spares a search among what is not acked."""

    def __init__(self, queue: Any) -> None:
        self.queue = queue
        self.rows: list[dict[str, Any]] = []
        self.acked = 0

    def look(self) -> bool:
        try:
            self.rows.append(self.queue.get(block=False, raw=True))
        except persistqueue.Empty:
            return False
        return True

    def take(self, most: int, wait: float, each: Each) -> int:
        rows = self.rows
        rows.clear()
        if look_until(self.look, wait):
            while len(rows) < most and self.look():
                pass
        for row in rows:
            each(row["data"])
        for row in rows:
            self.queue.ack(id=row["pqid"])
        self.acked += len(rows)
        if self.acked >= CLEAN_EVERY:
            self.queue.clear_acked_data(max_delete=self.acked, keep_latest=0)
            self.acked = 0
        return len(rows)

    def close(self) -> None:
        self.queue.close()


class PersistQueue(Peer):
    """The adapter."""

    name = "persist-queue"
    package = "persist-queue"
    works = ("W1", "W3", "W4", "W5", "W6", "W7")
    note = (
        "each put, get and ack is a transaction; select and mark are two statements, so several "
        "consumer processes may take one message twice"
    )
    lacks = "it has no batch to send in"

    def prepare(self, setup: Setup) -> None:
        Path(setup.folder / "persist-queue").mkdir()
        opened(setup).close()

    def sender(self, setup: Setup, shared: Any) -> Sender:
        return QueueSender(opened(setup))

    def consumer(self, setup: Setup, shared: Any) -> Consumer:
        return QueueConsumer(opened(setup))

    def held(self, setup: Setup) -> int:
        queue = opened(setup)
        held = int(queue.size)
        queue.close()
        return held


PEER = PersistQueue()
