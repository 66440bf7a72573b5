"""Who writes to the table under keys of its own and ends them: FOLDER TOPIC GROUP NAME SPACE SEED.

GROUP is not used. See table.py.
"""

from __future__ import annotations

import os

from table import ENDED, WHO
from work import Worker, boot_ns

KEYS = 12
CHILD_ROUNDS = 30
PAUSE_SECONDS = 0.03
BODY_MOST = 8000


def send_one(me: Worker, file: int, number: int) -> None:
    """A message, or the end of its key."""
    ends = me.chance.randrange(3) == 0
    key = f"{ENDED}{me.chance.randrange(KEYS)}"
    os.write(file, f"W {boot_ns()} {number} {key} {'t' if ends else 'm'}\n".encode())
    body = b"" if ends else bytes([number % 251]) * me.chance.randint(1, BODY_MOST)
    at = me.topic.send(body, key=key.encode(), headers={WHO: f"{me.name} {number}".encode()})
    os.write(file, f"S {boot_ns()} {number} {at.partition} {at.offset}\n".encode())


def file_of(me: Worker) -> int:
    path = me.folder / f"{me.name}.ender"
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o660)


def main() -> None:
    me = Worker("ender")
    file, number, left = file_of(me), 0, -1
    while left != 0 and not me.should_end("stop-producers"):
        left -= 1
        if me.forked():
            file, number, left = file_of(me), 0, CHILD_ROUNDS
        number += 1
        send_one(me, file, number)
        me.rest(PAUSE_SECONDS)
    me.end()


if __name__ == "__main__":
    main()
