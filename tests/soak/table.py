"""A table in the soak (P15, P16): a topic with compaction, whose compactors are killed.

Producers write under keys, and without; the ender (`ender.py`) writes under keys of its own and
ends them; the scanner (`scanner.py`) reads the table from its beginning to its end, again and
again. Whoever is compacting it, which any process may be, is killed at it now and then. Of each
reading, and of a last one when all is over:

- offsets rise, and each message is where its send said, with its key;
- of each key there is what had been sent last when the reading began, or something behind it; it
  may be gone where it is a tombstone, or a later one is, and the grace time is over;
- what has no key stays; what was gone does not come back, nor what a tombstone ended that is gone.

A reading may end before a batch that was being copied then, and so before what was sent behind it:
that is seen once the batch is whole, or its sender dead.

A group takes all that producers wrote, and keeps all promises, also of what compaction took since.

The ender's lines, in a file of its own, `NAME.LIFE.ender`:

    W time number key kind         it will send it: a message (m) or a tombstone (t)
    S time number partition offset

The scanner's, in `NAME.LIFE.scans`, one line for each partition of a reading:

    began ended partition OFFSET=KEY,OFFSET=KEY...   or `-` where there is nothing
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import libqueue
from checker import GroupCheck, check_log
from evidence import Finding
from history import Group, Logged, Place, Send, Story, Terms, whole_lines
from work import boot_ns, read_payload

TOPIC, NAME = "table", "view"
GROUP: Group = (TOPIC, NAME)
PARTITIONS = 2
LEASE_SECONDS = 0.5
GRACE_NS = 1_000_000_000
TERMS = Terms("key", (500, 500))
MAX_ATTEMPTS = 60_000
HEIR_NS = 1_000_000_000
"""By then somebody has ended the batch that one who died was copying."""
ENDED = "t"
"""What the ender's keys begin with, which the group leaves out: a tombstone tells of nobody."""
WHO = "who"
"""The header that tells of whom a message of the ender is."""
UNKEYED = "-"
COPIED_BYTES = 30_000
"""A batch of less is not copied without the lock; headers come to what its payloads have."""
Rows = list[tuple[int, str]]
"""Offsets and keys of a partition, as they were read."""


def lay_out(store: libqueue.Store) -> None:
    """Makes the table and its group; nothing dies in it, for a dead letter keeps its segment."""
    grace = GRACE_NS / 1e9
    topic = store.topic(TOPIC, partitions=PARTITIONS, compaction=True, tombstone_grace=grace)
    options: dict[str, Any] = {"lease": LEASE_SECONDS, "max_attempts": MAX_ATTEMPTS}
    leaves_out = {"not": {"key_prefix": ENDED}}
    topic.create_group(NAME, filter=leaves_out, backoff=(0.001, 0.005, 2.0), **options)


@dataclass
class Put:
    """A message that somebody said he would send."""

    life: str
    number: int
    key: str
    will: int
    done: int | None = None
    place: Place | None = None
    ends: bool = False
    """It is a tombstone."""
    copied: bool = False
    """It may be one of a batch that is copied without the lock, which ends readings before it."""
    dead: int | None = None
    """From when on its sender was dead for certain, if that was killed."""

    def is_open(self, began: int, ended: int) -> bool:
        """Whether it may have been being copied in this time."""
        over = self.done if self.done is not None else self.dead
        return self.copied and self.will < ended and (over is None or over > began)


@dataclass
class Scan:
    """A reading from the beginning to the end."""

    began: int
    ended: int
    rows: dict[int, Rows] = field(default_factory=dict)
    last: bool = False
    """When all was over, so that nothing was being copied."""


def read_puts(folder: Path) -> list[Put]:
    """Of all lives of enders."""
    puts: list[Put] = []
    for path in sorted(folder.glob("*.ender")):
        open_puts: dict[int, Put] = {}
        for kind, *fields in whole_lines(path):
            time, number = int(fields[0]), int(fields[1])
            if kind == "W":
                put = Put(path.stem, number, fields[2], time, ends=fields[3] == "t")
                open_puts[number] = put
                puts.append(put)
            else:
                put = open_puts[number]
                put.done, put.place = time, (int(fields[2]), int(fields[3]))
    return puts


def puts_of(sends: Iterable[Send], dead: Mapping[str, int]) -> list[Put]:
    """What producers sent, in the same words; from when on some were dead for certain."""
    sends = list(sends)
    calls: dict[tuple[str, int | None], int] = defaultdict(int)
    for one in sends:
        calls[one.life, one.done] += one.size
    return [
        Put(
            one.life,
            one.number,
            one.key,
            one.will,
            one.done,
            one.place,
            copied=calls[one.life, one.done] > COPIED_BYTES,
            dead=dead.get(one.life),
        )
        for one in sends
    ]


def write_scan(scan: Scan) -> str:
    """As the scanner writes it down."""
    lines = []
    for partition, rows in scan.rows.items():
        text = ",".join(f"{offset}={key}" for offset, key in rows) or "-"
        lines.append(f"{scan.began} {scan.ended} {partition} {text}\n")
    return "".join(lines)


def read_scans(folder: Path) -> list[Scan]:
    """Of all lives of scanners; one of which a line is missing is none."""
    scans: dict[tuple[str, int], Scan] = {}
    for path in sorted(folder.glob("*.scans")):
        for fields in whole_lines(path):
            began, ended, partition = map(int, fields[:3])
            scan = scans.setdefault((path.stem, began), Scan(began, ended))
            pairs = [] if fields[3] == "-" else [one.split("=") for one in fields[3].split(",")]
            scan.rows[partition] = [(int(offset), key) for offset, key in pairs]
    return [scan for scan in scans.values() if len(scan.rows) == PARTITIONS]


class Look:
    """All readings of a round, against all that was sent."""

    def __init__(self, puts: list[Put], scans: list[Scan]) -> None:
        self.scans = sorted(scans, key=lambda scan: scan.ended)
        self.found: list[Finding] = []
        self.puts = {one.place: one for one in puts if one.place is not None}
        self.copied = [one for one in puts if one.copied]
        self.tombstones: dict[str, list[Put]] = defaultdict(list)
        for one in puts:
            if one.ends:
                self.tombstones[one.key].append(one)
        self.gone: dict[Place, int] = {}
        """What was there once, and since when it is known not to be."""
        self.counts = {"readings of a table": len(scans), "tombstones that went": 0}

    def say(self, kind: str, place: Place, text: str) -> None:
        self.found.append(Finding(kind, f"{TOPIC} {place[0]}/{place[1]}: {text}"))

    def run(self) -> list[Finding]:
        for scan in self.scans:
            self.check_rows(scan)
            self.check_kept(scan)
        self.counts["tombstones that went"] = sum(self.puts[at].ends for at in self.gone)
        return self.found

    def check_rows(self, scan: Scan) -> None:
        for partition, rows in scan.rows.items():
            before = -1
            for offset, key in rows:
                place = (partition, offset)
                if offset <= before:
                    self.say("reordered", place, f"read behind {before}")
                before = offset
                put = self.puts.get(place)
                if put is not None and put.key != key:
                    self.say("invented", place, f"has the key {key}, was sent with {put.key}")
                if self.gone.get(place, scan.began) < scan.began:
                    self.say("returned", place, "was gone, and is there again")

    def end_of(self, scan: Scan, partition: int) -> float:
        """From which offset on this reading may have seen nothing for a batch that was copied.

        If its sender never said where it was, it was behind all that had been sent before.
        """
        rows = scan.rows.get(partition, [])
        behind = rows[-1][0] + 1 if rows else 0
        ends: list[int] = []
        for one in self.copied:
            if scan.last or not one.is_open(scan.began, scan.ended):
                continue
            if one.place is None:
                ends.append(max(behind, self.sent_before(one.will, partition) + 1))
            elif one.place[0] == partition and one.place[1] >= behind:
                ends.append(one.place[1])
        return min(ends, default=math.inf)

    def sent_before(self, time: int, partition: int) -> int:
        """The last offset of the partition whose send had returned by then, or -1."""
        return max(
            (
                place[1]
                for place, put in self.puts.items()
                if place[0] == partition and put.done is not None and put.done < time
            ),
            default=-1,
        )

    def check_kept(self, scan: Scan) -> None:
        seen = {(partition, offset) for partition, rows in scan.rows.items() for offset, _ in rows}
        last: dict[tuple[int, str], int] = {}
        first: dict[tuple[int, str], int] = {}
        for partition, rows in scan.rows.items():
            for offset, key in rows:
                last[partition, key] = max(offset, last.get((partition, key), -1))
                first.setdefault((partition, key), offset)
        ends = {partition: self.end_of(scan, partition) for partition in scan.rows}
        for place, put in self.puts.items():
            if put.done is None or put.done >= scan.began or place in seen:
                continue
            if place[1] >= ends[place[0]]:
                continue
            chain = (place[0], put.key)
            if put.key == UNKEYED:
                self.say("lost", place, f"{put.life} {put.number} has no key, and is gone")
            elif last.get(chain, -1) < place[1]:
                if not self.may_be_ended(put, place, scan.ended):
                    text = f"{put.life} {put.number} is gone, and nothing behind it of its key"
                    self.say("lost", place, f"{text} {put.key} is there")
                elif put.ends and chain in first and self.gone.get(place, scan.began) < scan.began:
                    text = f"ended {put.key} and is gone, and {first[chain]} of it is there"
                    self.say("returned", place, text)
            self.gone.setdefault(place, scan.ended)

    def may_be_ended(self, put: Put, place: Place, by: int) -> bool:
        """Whether a tombstone, this one or one behind it, may have gone by then."""
        return any(
            one.will + GRACE_NS <= by and (one.place is None or (
                one.place[0] == place[0] and one.place[1] >= place[1]))
            for one in self.tombstones[put.key]
        )  # fmt: skip


def read_all(
    reader: Iterable[libqueue.ReadMessage],
) -> tuple[dict[int, Rows], list[tuple[Place, tuple[str, int]]], list[Place]]:
    """Rows, who wrote each, and those whose bytes are not what their sender made."""
    rows: dict[int, Rows] = {partition: [] for partition in range(PARTITIONS)}
    whose, bad = [], []
    for one in reader:
        key = UNKEYED if one.key is None else one.key.decode()
        rows[one.partition].append((one.offset, key))
        place = (one.partition, one.offset)
        if key.startswith(ENDED):
            name, _, number = one.headers.get(WHO, b"? 0").decode().partition(" ")
            whose.append((place, (name, int(number))))
            continue
        sender, seq, _, whole = read_payload(one.payload)
        whose.append((place, (sender, seq)))
        if not whole:
            bad.append(place)
    return rows, whose, bad


def check_whose(
    whose: list[tuple[Place, tuple[str, int]]], bad: list[Place], puts: Mapping[object, Put]
) -> list[Finding]:
    """What is there is what somebody sent, at its place, once."""
    found = [Finding("invented", f"{TOPIC} {place}: its bytes are not whole") for place in bad]
    places: dict[tuple[str, int], Place] = {}
    for place, who in whose:
        put = puts.get(who)
        if put is None or put.place not in (None, place):
            found.append(Finding("invented", f"{TOPIC} {place}: {who} was not sent so"))
        if who in places:
            found.append(Finding("duplicated", f"{TOPIC}: {who} is at {places[who]} and {place}"))
        places[who] = place
    return found


def log_of(story: Story, whose: list[tuple[Place, tuple[str, int]]]) -> list[Logged]:
    """All that producers are known to have put there, also what compaction took since."""
    sends = sends_of(story)
    places = {send.place: send for send in sends.values() if send.place is not None}
    places |= {place: sends[who] for place, who in whose if who in sends}
    for life in story.lives:
        if (life.topic, life.group) == GROUP:
            for one in life.hand_outs:
                if send := sends.get((one.sender, one.number)):
                    places.setdefault(one.place, send)
    return [
        Logged(place, send.key, send.life, send.number, send.sum, True)
        for place, send in sorted(places.items())
    ]


def sends_of(story: Story) -> dict[tuple[str, int], Send]:
    """What producers sent to the table."""
    lives = [life for life in story.lives if life.topic == TOPIC]
    return {(life.name, send.number): send for life in lives for send in life.sends.values()}


def check(
    story: Story, folder: Path, store: libqueue.Store
) -> tuple[list[Finding], dict[str, int]]:
    """What must not be, and how much was done, at the end of a round."""
    sends = sends_of(story)
    late = story.longest_deaths() + HEIR_NS
    dead_by = {life: at + late for life, at in story.deaths().items()}
    puts = puts_of(sends.values(), dead_by) + read_puts(folder)
    began = boot_ns()
    with store.topic(TOPIC).reader() as reader:
        rows, whose, bad = read_all(reader)
    look = Look(puts, [*read_scans(folder), Scan(began, boot_ns(), rows, last=True)])
    found = look.run() + check_whose(whose, bad, {(one.life, one.number): one for one in puts})
    log = log_of(story, whose)
    found += check_log(TOPIC, log, sends)
    of_group = replace(
        story, logs={TOPIC: log}, dead={GROUP: []}, terms={GROUP: TERMS}, max_attempts=MAX_ATTEMPTS
    )
    found += GroupCheck(of_group, GROUP, [], sends).run()
    dead = store.topic(TOPIC).group(NAME).dead_letters()
    found += [
        Finding("letters", f"{TOPIC}/{NAME}: {one} is none of those that die") for one in dead
    ]
    compacted = store.topic(TOPIC).stats()["compacted_messages"]
    return found, look.counts | {"compacted away": compacted}
