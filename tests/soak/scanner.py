"""Who reads the table from its beginning to its end: FOLDER TOPIC GROUP NAME SPACE SEED.

GROUP is not used. See table.py.
"""

from __future__ import annotations

import os

from table import Scan, read_all, write_scan
from work import Worker, boot_ns

CHILD_ROUNDS = 3
REST_SECONDS = 0.8


def scan(me: Worker) -> None:
    began = boot_ns()
    # The last of what one call gives says that there is no more.
    with me.topic.reader() as reader:
        rows, _, bad = read_all(reader)
    text = write_scan(Scan(began, boot_ns(), rows))
    if bad:
        raise SystemExit(f"{me.name}: read at {bad} what nobody wrote so")
    path = me.folder / f"{me.name}.scans"
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o660)
    os.write(file, text.encode())
    os.close(file)


def main() -> None:
    me = Worker("scanner")
    left = -1
    while left != 0 and not me.should_end("stop-keepers"):
        left -= 1
        if me.forked():
            left = CHILD_ROUNDS
        scan(me)
        me.rest(REST_SECONDS)
    me.end()


if __name__ == "__main__":
    main()
