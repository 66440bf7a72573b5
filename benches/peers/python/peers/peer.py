"""What each peer is to the driver: a queue that is made, sent to and taken from."""

import sqlite3
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

Each = Callable[[bytes], None]

# None of the SQLite peers can wake a consumer in another process: it has to look again. So often is
# often the peers of the other languages look too.
LOOK_AGAIN = 0.000_05
# The bound of a wait for SQLite's lock: with eight senders none of them fails for waiting.
LOCK_WAIT = 60.0
# Messages that are acked between two clean-ups where the peer keeps acked ones until it is told.
CLEAN_EVERY = 1000


@dataclass(frozen=True)
class Setup:
    """How a run wants the peer set up; `sync` asks that a sent message survives power loss."""

    folder: Path
    sync: bool
    size: int
    count: int


class Sender:
    """One process's end to send with."""

    def send(self, payload: bytes) -> None:
        raise NotImplementedError

    def send_batch(self, payloads: list[bytes]) -> None:
        """Overridden where the peer takes many in one step."""
        for payload in payloads:
            self.send(payload)

    def flush(self) -> None:
        """Whatever is still on its way is accepted when this returns."""

    def close(self) -> None:
        """Close the end; this is not in the time."""


class Consumer:
    """One process's end to take with."""

    def take(self, most: int, wait: float, each: Each) -> int:
        """Take up to `most`, wait at most `wait` seconds for the first.

        Calls `each` with every payload and acks all of them before it returns.
        """
        raise NotImplementedError

    def close(self) -> None:
        """Close the end; this is not in the time."""


class Peer:
    """One system."""

    name: str
    package: str | None = None
    works: tuple[str, ...]
    note: str
    # Why it does not do one of the works.
    lacks: str = ""
    # With more than so many waiting its time tells only how many there were.
    most_waiting: int = sys.maxsize

    def version(self) -> str:
        """Of the package, and of the SQLite that it runs on."""
        if self.package is None:
            return "of the interpreter"
        return f"{version(self.package)} (SQLite {sqlite3.sqlite_version})"

    def durability(self, sync: bool) -> str:
        """What a message that was sent survives: "none", "process" or "sync"."""
        return "sync" if sync else "process"

    # What both ends share beside the folder; it travels to the processes with their arguments.
    def prepare(self, setup: Setup) -> Any:
        raise NotImplementedError

    def sender(self, setup: Setup, shared: Any) -> Sender:
        raise NotImplementedError

    def consumer(self, setup: Setup, shared: Any) -> Consumer:
        raise NotImplementedError

    def held(self, setup: Setup) -> int:
        """How many messages the peer says it holds, after all senders are gone."""
        raise NotImplementedError(f"{self.name} holds nothing to be counted")

    def release(self, shared: Any, consumers: int) -> None:
        """Wakes consumers that wait without bound; nothing where none does."""


def look_until(look: Callable[[], bool], wait: float) -> bool:
    """Look again and again until there is something or `wait` seconds are over."""
    if look():
        return True
    deadline = time.monotonic() + wait
    while time.monotonic() < deadline:
        time.sleep(LOOK_AGAIN)
        if look():
            return True
    return False
