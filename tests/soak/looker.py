"""Who looks at what is not settled in topics with a limit: FOLDER TOPIC GROUP NAME SPACE SEED.

TOPIC and GROUP are not used. See flow.py.
"""

from __future__ import annotations

import os

import flow
from work import Worker, boot_ns

CHILD_ROUNDS = 10
REST_SECONDS = 0.1


def main() -> None:
    me = Worker("looker")
    left = -1
    while left != 0 and not me.should_end("stop-keepers"):
        left -= 1
        if me.forked():
            left = CHILD_ROUNDS
        path = me.folder / f"{me.name}.looks"
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o660)
        for name in flow.LIMITS:
            topic = me.store.open_topic(name)
            for group in topic.groups():
                began = boot_ns()
                lag = topic.group(group).stats()["lag_messages"]
                said = f"{began} {boot_ns()} {name} {group} {lag} {topic.pressure}"
                os.write(file, f"{said}\n".encode())
        os.close(file)
        me.rest(REST_SECONDS)
    me.end()


if __name__ == "__main__":
    main()
