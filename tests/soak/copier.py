"""Who takes backups of the store in use: FOLDER TOPIC GROUP NAME SPACE SEED (GROUP is not used).

Each is looked at, written down and removed; see copies.py. One that is cut short leaves what the
next one to the same place removes.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import exact
import ledger
import libqueue
from copies import HALVES
from libqueue import lines
from plan import GROUPS
from work import Worker, boot_ns

CHILD_ROUNDS = 1
REST_SECONDS = 2.0
LATE_REST_SECONDS = 0.2
ASKED_AGAIN = 20
"""So many orders of each backup are sent again."""
PATIENCE_SECONDS = 0.2


class Standings:
    """Takes the lines of an export, and keeps where groups stand."""

    def __init__(self) -> None:
        self.rest = ""
        self.found: dict[str, list[tuple[int, int, list[int]]]] = {}

    def write(self, text: str) -> None:
        *whole, self.rest = (self.rest + text).split("\n")
        for line in whole:
            if line.startswith('{"standing"'):
                said = json.loads(line)["standing"]
                open = [one["offset"] for one in said["open"]]
                standing = (said["floor"], said["next_offset"], open)
                self.found.setdefault(f"{said['topic']}/{said['group']}", []).append(standing)


def look_inside(me: Worker, path: Path) -> dict[str, Any]:
    """What is in a backup, as copies.py has it."""
    damage = [f"{one['file']}: {one['what']}" for one in libqueue.verify(path)["damage"]]
    if damage:
        return {"damage": damage, "leased": 0, "ends": {}, "standings": {}, "moved": [],
                "sequences": {}, "forgotten": []}  # fmt: skip
    with libqueue.open(path, create=False) as copy:
        standings = Standings()
        lines.export_lines(copy, standings, sorted({of for of, _ in [*GROUPS, exact.SOURCE]}))
        ends = {
            name: [one["next_offset"] for one in copy.open_topic(name).stats()["partitions"]]
            for name in copy.topics()
        }
        with copy.open_topic(exact.MOVED).reader() as reader:
            moved = [(one.key or b"?").decode() for one in reader]
        groups = [copy.open_topic(of).group(name) for of, name in GROUPS]
        leased = sum(group.stats()["leased"] for group in groups)
        return {
            "damage": damage, "leased": leased, "ends": ends, "standings": standings.found,
            "moved": moved, "sequences": sequences_in(copy), "forgotten": forgotten_in(me, copy),
        }  # fmt: skip


def sequences_in(copy: libqueue.Store) -> dict[str, tuple[int, int]]:
    topic, highest = copy.open_topic(ledger.TOPIC), dict[str, int]()
    with topic.reader() as reader:
        for one in reader:
            name, number = ledger.name_of(one.payload)
            highest[name] = max(number, highest.get(name, 0))
    found = {}
    for name, number in highest.items():
        with topic.producer(name) as producer:
            found[name] = (producer.last_sequence, number)
    return found


def forgotten_in(me: Worker, copy: libqueue.Store) -> list[str]:
    """Sends some orders again, under their ids."""
    topic, found = copy.open_topic(exact.ORDERS), []
    with topic.reader() as reader:
        orders = [(one.payload, one.id) for one in reader]
    for payload, at in me.chance.sample(orders, min(ASKED_AGAIN, len(orders))):
        name = payload.partition(b"\n")[0].decode()
        try:
            again = topic.send(payload, dedup_id=name.replace(" ", "-"), timeout=PATIENCE_SECONDS)
        except libqueue.Timeout:
            found.append(f"{name}, for which there was no room,")
            continue
        if again != at:
            found.append(name)
    return found


def copy_once(me: Worker, path: Path, file: int) -> None:
    shutil.rmtree(path, ignore_errors=True)
    began = boot_ns()
    me.mark(HALVES[0])
    me.store.backup(path)
    ended = boot_ns()
    me.mark(HALVES[1])
    aside = path.with_name(f".{path.name}.backup")
    left = [aside.name] if aside.exists() else []
    said = {"began": began, "ended": ended, "left": left, **look_inside(me, path)}
    os.write(file, (json.dumps(said) + "\n").encode())
    shutil.rmtree(path)


def main() -> None:
    me = Worker("copier")
    left = -1
    while left != 0 and not me.should_end("stop-keepers"):
        left -= 1
        if me.forked():
            left = CHILD_ROUNDS
        late = (me.folder / "stop-producers").exists()
        if not late:
            # A child has its own place: two to one place would be in each other's way.
            member = me.name if "f" in me.name else me.name.partition(".")[0]
            file = me.folder / f"{me.name}.copies"
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
            opened = os.open(file, flags, 0o660)
            copy_once(me, me.folder / f"copy-{member}", opened)
            os.close(opened)
        me.rest(LATE_REST_SECONDS if late else REST_SECONDS)
    me.end()


if __name__ == "__main__":
    main()
