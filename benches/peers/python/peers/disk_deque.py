"""diskcache's Deque."""

from typing import Any

import diskcache

from .peer import LOCK_WAIT, Consumer, Each, Peer, Sender, Setup, look_until


def opened(setup: Setup) -> Any:
    cache = diskcache.Cache(
        str(setup.folder / "diskcache"),
        timeout=LOCK_WAIT,
        eviction_policy="none",
        sqlite_synchronous=2 if setup.sync else 0,
    )
    return diskcache.Deque.fromcache(cache)


class DequeSender(Sender):
    """An append, or a transaction of appends."""

    def __init__(self, deque: Any) -> None:
        self.deque = deque
        self.append = deque.append

    def send(self, payload: bytes) -> None:
        self.append(payload)

    def send_batch(self, payloads: list[bytes]) -> None:
        with self.deque.transact():
            for payload in payloads:
                self.append(payload)

    def close(self) -> None:
        self.deque.cache.close()


class DequeConsumer(Consumer):
    """A message alone is popped; those of a batch in one transaction, whose end acks them."""

    def __init__(self, deque: Any) -> None:
        self.deque = deque
        self.taken: list[bytes] = []

    def look(self) -> bool:
        try:
            self.taken.append(self.deque.popleft())
        except IndexError:
            return False
        return True

    def take(self, most: int, wait: float, each: Each) -> int:
        self.taken.clear()
        if most == 1:
            if look_until(self.look, wait):
                each(self.taken[0])
        elif look_until(lambda: len(self.deque) > 0, wait):
            with self.deque.transact():
                while len(self.taken) < most and self.look():
                    pass
                for data in self.taken:
                    each(data)
        return len(self.taken)

    def close(self) -> None:
        self.deque.cache.close()


class DiskDeque(Peer):
    """The adapter."""

    name = "diskcache"
    package = "diskcache"
    works = ("W1", "W2", "W3", "W4", "W5", "W6", "W7")
    note = "a batch is one transaction; what is popped is gone: no ack"

    def prepare(self, setup: Setup) -> None:
        opened(setup).cache.close()

    def sender(self, setup: Setup, shared: Any) -> Sender:
        return DequeSender(opened(setup))

    def consumer(self, setup: Setup, shared: Any) -> Consumer:
        return DequeConsumer(opened(setup))

    def held(self, setup: Setup) -> int:
        deque = opened(setup)
        held = len(deque)
        deque.cache.close()
        return held


PEER = DiskDeque()
