"""Who seeks a group back and forth: FOLDER TOPIC GROUP NAME SPACE SEED (GROUP is not used).

While its consumers are at work it sets the group to an end, an offset, a time or a snapshot, in all
partitions or in one, and takes snapshots, all of which it writes down before and after; see
`sought.py`. There is one of it at a time, so that it knows what each seek came to: a child that it
forked only looks at what seeks would do. Once the producers ended it seeks once more, at most.
"""

from __future__ import annotations

import time
from datetime import datetime, timedelta, timezone
from typing import Literal

import sought
from history import write_standing
from work import Worker, boot_ns

CHILD_ROUNDS = 5
REST_SECONDS = 0.5
LATE_REST_SECONDS = 0.05
BACK_SECONDS = 10.0
SNAPSHOTS_MOST = 4
BEGIN = datetime(1970, 1, 1, tzinfo=timezone.utc)
LAST_OF_THREE = 2
"""So many rounds of three end with a seek when nothing is sent any more."""


class Seeker:
    """The one who seeks, in one of its lives."""

    def __init__(self, me: Worker) -> None:
        self.me = me
        self.group = me.topic.group(sought.NAME)
        self.taken = 0
        self.begin("look")
        self.end()

    def standing(self) -> str:
        return write_standing(sought.standing_of(self.me.folder / "store"))

    def begin(self, what: str, name: str = "-", partition: int | None = None) -> None:
        where = "-" if partition is None else partition
        names = f"{sought.NAME} {what} {name} {where} {self.standing()}"
        self.me.put(f"Z {boot_ns()} {names}\n")

    def end(self) -> None:
        self.me.put(f"z {boot_ns()} {sought.NAME} {self.standing()}\n")

    def drawn_partition(self) -> int | None:
        chance = self.me.chance
        return chance.randrange(sought.PARTITIONS) if chance.randrange(3) == 0 else None

    def to_an_end(self) -> None:
        latest = self.me.chance.randrange(3) == 0
        what: Literal["earliest", "latest"] = "latest" if latest else "earliest"
        partition = self.drawn_partition()
        self.begin(what, partition=partition)
        self.group.seek(what, partition=partition)
        self.end()

    def to_an_offset(self) -> None:
        partition = self.me.chance.randrange(sought.PARTITIONS)
        end = self.me.topic.stats()["partitions"][partition]["next_offset"]
        offset = self.me.chance.randint(0, end)
        self.begin("offset", str(offset), partition)
        self.group.seek(offset, partition=partition)
        self.end()

    def to_a_time(self) -> None:
        partition = self.drawn_partition()
        # In whole microseconds, as times are in Python.
        at = time.time_ns() // 1000 - int(self.me.chance.uniform(0, BACK_SECONDS) * 1e6)
        self.begin("time", str(at * 1000), partition)
        self.group.seek(BEGIN + timedelta(microseconds=at), partition=partition)
        self.end()

    def to_a_snapshot(self) -> None:
        """Or takes one; the names of those of other lives are known to the group."""
        names = [one.name for one in self.group.snapshots()]
        if not names or (len(names) < SNAPSHOTS_MOST and self.me.chance.randrange(2) == 0):
            self.taken += 1
            name = f"{self.me.name}-{self.taken}"
            self.begin("keep", name)
            self.group.snapshot(name)
            self.end()
            return
        name = self.me.chance.choice(names)
        if len(names) == SNAPSHOTS_MOST and self.me.chance.randrange(3) == 0:
            self.group.delete_snapshot(name)
            return
        partition = self.drawn_partition()
        self.begin("snapshot", name, partition)
        self.group.seek(name, partition=partition)
        self.end()

    def act(self) -> None:
        self.me.chance.choices(
            [self.to_an_end, self.to_an_offset, self.to_a_time, self.to_a_snapshot],
            [2, 4, 2, 5],
        )[0]()

    def finish(self) -> None:
        """The last seek of all, in most rounds: what it brings back is to be settled."""
        if self.me.chance.randrange(3) < LAST_OF_THREE:
            self.act()


def look(me: Worker) -> None:
    """What a seek would do, which is not done."""
    group = me.topic.group(sought.NAME)
    for _ in range(CHILD_ROUNDS):
        for one in group.preview_seek("earliest"):
            if one.passed_over > 0:
                raise SystemExit(f"{me.name}: {sought.NAME} would lose by {one}")
        me.rest(LATE_REST_SECONDS)


def main() -> None:
    me = Worker("seeker")
    seeker, late = Seeker(me), False
    while not me.should_end("stop-keepers"):
        if me.forked():
            look(me)
            break
        if not (me.folder / "stop-producers").exists():
            seeker.act()
            me.rest(REST_SECONDS)
            continue
        if not late:
            seeker.finish()
        late = True
        me.rest(LATE_REST_SECONDS)
    me.end()


if __name__ == "__main__":
    main()
