"""A sender of the soak: FOLDER TOPIC GROUP NAME SPACE SEED; see exact.py."""

from __future__ import annotations

import os

import libqueue
from exact import ids_of, returned
from work import Worker

CHILD_ROUNDS = 30
BATCH_MOST = 6
PAUSE_SECONDS = 0.02
REMEMBERED = 40
LARGE = 40_000


def payload_of(name: str, number: int) -> bytes:
    """The same for each send of an order; one in thirty takes the path of large batches."""
    size = LARGE if number % 30 == 7 else number * 7919 % 700
    return f"{name} {number}\n".encode() + bytes([number % 251]) * size


class Sender:
    """One member, through its lives and children: they share its orders' numbers."""

    def __init__(self, me: Worker) -> None:
        self.me, self.name = me, me.name.partition(".")[0]
        self.path = ids_of(me.folder, self.name)
        self.known = returned(self.path)
        self.file = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o660)
        # The one that was being sent when the last life ended may be there, or not.
        self.next = max(self.known, default=0) + 1

    def send(self, numbers: list[int]) -> None:
        """Under their ids; what was sent before must be where it was."""
        bodies = [payload_of(self.name, number) for number in numbers]
        names = [f"{self.name}-{number}" for number in numbers]
        if len(numbers) == 1:
            ids = [self.me.topic.send(bodies[0], dedup_id=names[0])]
        else:
            pairs = zip(bodies, names, strict=True)
            batch = [libqueue.Message(body, dedup_id=name) for body, name in pairs]
            ids = self.me.topic.send_many(batch)
        lines = [f"{n} {id.partition} {id.offset}\n" for n, id in zip(numbers, ids, strict=True)]
        os.write(self.file, "".join(lines).encode())

    def go_on(self) -> None:
        """Some new ones, and some that were sent before, in any order."""
        chance = self.me.chance
        count = chance.randint(1, BATCH_MOST) if chance.randrange(3) == 0 else 1
        numbers = list(range(self.next, self.next + count))
        self.next += count
        if chance.randrange(3) == 0:
            again = range(max(1, self.next - REMEMBERED), self.next)
            numbers += [chance.choice(again) for _ in range(chance.randint(1, 3))]
            chance.shuffle(numbers)
        self.send(numbers)


def main() -> None:
    me = Worker("sender")
    sender = Sender(me)
    left = -1
    while left != 0 and not me.should_end("stop-producers"):
        left -= 1
        if me.forked():
            left = CHILD_ROUNDS
        sender.go_on()
        me.rest(PAUSE_SECONDS)
    me.end()


if __name__ == "__main__":
    main()
