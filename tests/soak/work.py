"""What the soak's Python producer and consumer have in common; the twin of work.c."""

from __future__ import annotations

import os
import random
import signal
import sys
import time
import zlib
from pathlib import Path
from types import FrameType

import libqueue

PAYLOAD_MOST = 1 << 20
LIFE_MOST_SECONDS = 300.0
"""Should the driver be gone, its workers do not stay."""


def boot_ns() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


class Wanted:
    """What the driver asked for by signals."""

    fork = False
    end = False


def _on_fork(_number: int, _frame: FrameType | None) -> None:
    Wanted.fork = True


def _on_end(_number: int, _frame: FrameType | None) -> None:
    Wanted.end = True


class Worker:
    """One worker in one of its lives: FOLDER TOPIC GROUP NAME SPACE SEED."""

    def __init__(self, role: str) -> None:
        folder, self.topic_name, self.group_name, self.name, self.space, seed = sys.argv[1:7]
        self.role = role
        self.last = time.monotonic() + LIFE_MOST_SECONDS
        self.folder = Path(folder)
        self.chance = random.Random(int(seed))
        self.noise = self.chance.randbytes(2 * PAYLOAD_MOST)
        self.children = 0
        signal.signal(signal.SIGUSR1, _on_fork)
        signal.signal(signal.SIGTERM, _on_end)
        # Children that end are not waited for: what went wrong in them is on standard error.
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        self._open_history()
        self.store = libqueue.open(self.folder / "store", create=False)
        self.topic = self.store.open_topic(self.topic_name)

    def _open_history(self) -> None:
        path = self.folder / "history" / f"{self.name}.log"
        self.history = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o660)
        who = f"{self.role} {self.topic_name} {self.group_name} {self.space} {os.getpid()}"
        self.put(f"B {boot_ns()} {who}\n")

    def put(self, lines: str) -> None:
        """One call: a kill leaves at most one half line, the last."""
        text = lines.encode()
        if os.write(self.history, text) != len(text):
            raise SystemExit(f"{self.name}: history: no room")

    def mark(self, what: str, group: str = "-") -> None:
        """Writes down that it did something, for the table."""
        self.put(f"M {boot_ns()} {what} {group}\n")

    def should_end(self, stop: str) -> bool:
        over = Wanted.end or time.monotonic() > self.last
        return over or (self.folder / stop).exists()

    def rest(self, seconds: float) -> None:
        time.sleep(self.chance.uniform(0, seconds))

    def forked(self) -> bool:
        """Forks where the driver wanted it: true in the child, as in work.c."""
        if not Wanted.fork:
            return False
        Wanted.fork = False
        self.children += 1
        seed = self.chance.getrandbits(63)
        if os.fork() > 0:
            return False
        self.name = f"{self.name}f{self.children}"
        self.children = 0
        self.chance = random.Random(seed)
        os.close(self.history)
        self._open_history()
        if self.chance.random() < 0.5:
            # An alarm that nobody handles ends the process as abruptly as SIGKILL.
            seconds = self.chance.uniform(0.001, 0.3)
            self.put(f"T {boot_ns() + int(seconds * 1e9)}\n")
            signal.setitimer(signal.ITIMER_REAL, seconds)
        try:
            self.topic.send(b"")
        except libqueue.Forked:
            self.topic = self.store.open_topic(self.topic_name)
            return True
        raise SystemExit(f"{self.name}: the parent's topic in a child did not say that it forked")

    def end(self) -> None:
        self.store.close()
        self.put(f"c {boot_ns()}\n")
        # In a child of a fork nothing of the parent's interpreter is to be run down.
        os._exit(0)

    def make_payload(self, number: int, size: int) -> tuple[bytes, int]:
        """A payload that names its sender and number, and its sum."""
        head = f"{self.name} {number}"
        begin = self.chance.randrange(PAYLOAD_MOST)
        rest = self.noise[begin : begin + size]
        total = zlib.crc32(rest, zlib.crc32(head.encode()))
        return f"{head} {total:08x}\n".encode() + rest, total


def read_payload(payload: bytes) -> tuple[str, int, int, bool]:
    """Sender, number and sum that a payload names, and whether its bytes bear it out."""
    head, newline, rest = payload.partition(b"\n")
    fields = head.split(b" ")
    if not newline or len(fields) != 3 or not fields[1].isdigit():
        return "?", 0, 0, False
    try:
        total = int(fields[2], 16)
    except ValueError:
        return "?", 0, 0, False
    whole = zlib.crc32(rest, zlib.crc32(b" ".join(fields[:2]))) == total
    return fields[0].decode(errors="replace"), int(fields[1]), total, whole
