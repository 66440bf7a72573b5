"""A clerk of the soak: FOLDER TOPIC GROUP NAME SPACE SEED (GROUP is whose name it sends under).

See ledger.py, and clerk.c, its twin.
"""

from __future__ import annotations

import os

import libqueue
from ledger import payload_of
from work import Worker, boot_ns

CHILD_ROUNDS = 30
PAUSE_SECONDS = 0.02
FENCED_SECONDS = 0.6
REMEMBERED = 300
"""A sequence is known among the last 1,000."""


class Clerk:
    """One life's opening of its name, and what it sends."""

    def __init__(self, me: Worker) -> None:
        self.me, self.name = me, me.group_name
        path = me.folder / f"{me.name}.clerk"
        self.file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o660)
        self.open()

    def put(self, line: str) -> None:
        os.write(self.file, f"{line}\n".encode())

    def open(self) -> None:
        """Whoever had the name is fenced."""
        self.put(f"O {boot_ns()} {self.name}")
        self.producer = self.me.topic.producer(self.name)
        self.last = self.producer.last_sequence
        self.put(f"o {boot_ns()} {self.last}")

    def send(self, number: int) -> None:
        self.put(f"W {boot_ns()} {number}")
        # Without a number it counts on by itself.
        counts = number == self.last + 1 and self.me.chance.randrange(4) == 0
        at = self.producer.send(payload_of(self.name, number), None if counts else number)
        self.put(f"S {boot_ns()} {number} {at.partition} {at.offset}")
        self.last = max(self.last, number)

    def go_on(self) -> None:
        """The next one, or one that was sent before, by whomever."""
        chance, number = self.me.chance, self.last + 1
        if self.last > 0 and chance.randrange(4) == 0:
            number = chance.randint(max(1, self.last - REMEMBERED), self.last)
        try:
            self.send(number)
        except libqueue.Fenced:
            self.put(f"F {boot_ns()}")
            self.producer.close()
            self.me.rest(FENCED_SECONDS)
            self.open()


def main() -> None:
    me = Worker("clerk")
    clerk, left = Clerk(me), -1
    while left != 0 and not me.should_end("stop-producers"):
        left -= 1
        if me.forked():
            # What the parent has open is the parent's.
            clerk, left = Clerk(me), CHILD_ROUNDS
        clerk.go_on()
        me.rest(PAUSE_SECONDS)
    me.end()


if __name__ == "__main__":
    main()
