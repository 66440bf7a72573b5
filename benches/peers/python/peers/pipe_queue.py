"""`multiprocessing.Queue`: a pipe between processes that keeps nothing."""

import platform
from multiprocessing.queues import Queue
from typing import Any

from .peer import Consumer, Each, Peer, Sender, Setup
from .processes import SPAWN


class PipeSender(Sender):
    """Puts to a thread of the process, which writes into the pipe."""

    def __init__(self, queue: "Queue[bytes | None]") -> None:
        self.queue = queue
        self.put = queue.put

    def send(self, payload: bytes) -> None:
        self.put(payload)

    def flush(self) -> None:
        self.queue.close()
        self.queue.join_thread()


class PipeConsumer(Consumer):
    """Waits without bound, which is its quickest way; `None` is the driver's word to go."""

    def __init__(self, queue: "Queue[bytes | None]") -> None:
        self.queue = queue

    def take(self, most: int, wait: float, each: Each) -> int:
        payload = self.queue.get()
        if payload is None:
            return 0
        each(payload)
        return 1


class PipeQueue(Peer):
    """The adapter."""

    name = "multiprocessing.Queue"
    works = ("W5", "W7")
    note = "nothing is kept: what a dead process had in hand, or all of it at the end, is lost"
    lacks = "its pipe holds 64 KiB, so nothing can be sent ahead of its consumers"

    def version(self) -> str:
        return f"Python {platform.python_version()}"

    def durability(self, sync: bool) -> str:
        return "none"

    def prepare(self, setup: Setup) -> Any:
        return SPAWN.Queue()

    def sender(self, setup: Setup, shared: Any) -> Sender:
        return PipeSender(shared)

    def consumer(self, setup: Setup, shared: Any) -> Consumer:
        return PipeConsumer(shared)

    def release(self, shared: Any, consumers: int) -> None:
        for _ in range(consumers):
            shared.put(None)
        shared.close()
        shared.join_thread()


PEER = PipeQueue()
