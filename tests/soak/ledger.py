"""What is numbered is there once and has its effect once, in the soak (P8).

Clerks send under names, one of which two of them share: each life opens its name, whereby it fences
whoever had it, and goes on behind the last sequence. Bookers put what comes into a database of
their own, through the inbox. However many die, wherever:

- each sequence of a name is in the log once, where every send of it said, and none is left out;
- an opening knows the last sequence that had returned, and none that nobody sent;
- once an opening has returned, nobody sends by an earlier one, and nobody else is fenced;
- each message has its whole effect in the database, once.

The lines of a clerk's life, in a file of its own, `NAME.LIFE.clerk`:

    O time name                    it will open the name
    o time last                    it has; the last sequence
    W time sequence                it will send this
    S time sequence partition offset
    F time                         it was fenced
"""

from __future__ import annotations

import sqlite3
from collections import Counter, defaultdict
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import libqueue
from evidence import Finding
from history import Group, Place, whole_lines

TOPIC, NAME = "ledger", "book"
GROUP: Group = (TOPIC, NAME)
PARTITIONS = 2
LEASE_SECONDS = 0.5
BUSY_SECONDS = 30.0
"""Longer than anybody is stopped who has the database locked."""
NEVER = 1 << 62


def database_of(folder: Path) -> Path:
    """Where the effects are."""
    return folder / "booked.db"


def open_database(folder: Path) -> sqlite3.Connection:
    """Its processes are killed, its host is not: nothing has to wait for the disk."""
    database = sqlite3.connect(database_of(folder), timeout=BUSY_SECONDS)
    database.execute("PRAGMA synchronous = OFF")
    return database


def lay_out(store: libqueue.Store, folder: Path) -> None:
    """Makes the topic, the group and the database."""
    options: dict[str, Any] = {"lease": LEASE_SECONDS, "max_attempts": 60_000}
    topic = store.topic(TOPIC, partitions=PARTITIONS, retention="forever")
    topic.create_group(NAME, ordering="none", backoff=(0.001, 0.005, 2.0), **options)
    with closing(open_database(folder)) as database:
        database.execute("CREATE TABLE booked (name TEXT NOT NULL, number INTEGER NOT NULL)")
        database.execute("CREATE TABLE account (name TEXT PRIMARY KEY, total INTEGER NOT NULL)")
        database.commit()


def payload_of(name: str, number: int) -> bytes:
    """The same for each send of a sequence."""
    return f"{name} {number}\n".encode() + bytes([number % 251]) * (number * 7919 % 500)


def name_of(payload: bytes) -> tuple[str, int]:
    """Of whom it is and its sequence; of nobody where it is another's."""
    name, _, number = payload.partition(b"\n")[0].decode(errors="replace").rpartition(" ")
    known = number.isdecimal() and payload == payload_of(name, int(number))
    return (name, int(number)) if known else ("?", 0)


@dataclass
class Sending:
    """A call that sends a sequence."""

    number: int
    will: int
    done: int | None = None
    place: Place | None = None


@dataclass
class Opening:
    """A name that a life opened, and what it did with it."""

    life: str
    name: str
    will: int
    done: int | None = None
    last: int = 0
    fenced: int | None = None
    sendings: list[Sending] = field(default_factory=list)


def read_openings(folder: Path) -> list[Opening]:
    """Of all lives of clerks."""
    openings: list[Opening] = []
    for path in sorted(folder.glob("*.clerk")):
        for kind, *fields in whole_lines(path):
            time = int(fields[0])
            if kind == "O":
                openings.append(Opening(path.stem, fields[1], time))
                continue
            of = openings[-1]
            if kind == "o":
                of.done, of.last = time, int(fields[1])
            elif kind == "W":
                of.sendings.append(Sending(int(fields[1]), time))
            elif kind == "S":
                of.sendings[-1].done = time
                of.sendings[-1].place = (int(fields[2]), int(fields[3]))
            else:
                of.fenced = time
    return openings


class Look:
    """All of a round."""

    def __init__(
        self, openings: list[Opening], log: dict[Place, tuple[str, int]], booked: Booked
    ) -> None:
        self.openings, self.log, self.booked = openings, log, booked
        self.found: list[Finding] = []
        self.by_name: dict[str, list[Opening]] = defaultdict(list)
        for one in openings:
            self.by_name[one.name].append(one)

    def say(self, kind: str, text: str) -> None:
        self.found.append(Finding(kind, f"{TOPIC}: {text}"))

    def run(self) -> list[Finding]:
        self.check_log()
        for name, openings in self.by_name.items():
            self.check_sendings(name, openings)
            for one in openings:
                self.check_last(one, openings)
                self.check_fence(one, openings)
        self.check_effects()
        return self.found

    def check_log(self) -> None:
        """Each sequence once, none left out, in order."""
        begun = {(of.name, one.number) for of in self.openings for one in of.sendings}
        last: dict[tuple[int, str], int] = defaultdict(int)
        for place, (name, number) in sorted(self.log.items()):
            if (name, number) not in begun:
                self.say("invented", f"{place} is {name} {number}, which nobody sent")
            if number < last[place[0], name]:
                self.say("reordered", f"{place}: {name} {number} behind a later one")
            last[place[0], name] = max(number, last[place[0], name])
        counts = Counter(self.log.values())
        for (name, number), times in counts.items():
            if times > 1:
                self.say("duplicated", f"{name} {number} is there {times} times")
        for name in self.by_name:
            numbers = {number for of, number in counts if of == name}
            for number in range(1, max(numbers, default=0)):
                if number not in numbers:
                    self.say("lost", f"{name} {number} is not there, and a later one is")

    def check_sendings(self, name: str, openings: list[Opening]) -> None:
        for of in openings:
            for one in of.sendings:
                if one.place is not None and self.log.get(one.place) != (name, one.number):
                    there = self.log.get(one.place)
                    text = f"{name} {one.number} was sent as {one.place} by {of.life}"
                    self.say("lost", f"{text}, where {there} is")

    def check_last(self, of: Opening, openings: list[Opening]) -> None:
        if of.done is None:
            return
        sendings = [one for other in openings for one in other.sendings]
        returned = [one.number for one in sendings if one.done is not None and one.done < of.will]
        begun = [one.number for one in sendings if one.will <= of.done]
        if of.last < max(returned, default=0):
            text = f"{of.life} opened {of.name} at {of.last}, {max(returned)} had returned"
            self.say("lost", text)
        if of.last > max(begun, default=0):
            self.say("invented", f"{of.life} opened {of.name} at {of.last}, which nobody sent")

    def check_fence(self, of: Opening, openings: list[Opening]) -> None:
        """Of two openings of a name the earlier one sends nothing more."""
        if of.done is None:
            return
        others = [one for one in openings if one is not of]
        later = [one.done for one in others if one.will > of.done and one.done is not None]
        since = min(later, default=NEVER)
        for one in of.sendings:
            if one.place is not None and one.will > since:
                text = f"{of.life} sent {of.name} {one.number}, though another life had opened it"
                self.say("fenced", text)
        if of.fenced is not None and not any(
            one.will < of.fenced and (one.done is None or one.done > of.will) for one in others
        ):
            self.say("fenced", f"{of.life} was, though nobody else had opened {of.name}")

    def check_effects(self) -> None:
        rows, totals = self.booked.rows, self.booked.totals
        expected = set(self.log.values())
        for (name, number), times in rows.items():
            if times > 1:
                self.say("twice", f"{name} {number} was booked {times} times")
            if (name, number) not in expected:
                self.say("invented", f"{name} {number} was booked, and is not there")
        for name, number in sorted(expected - set(rows)):
            self.say("stranded", f"{name} {number} was settled, and not booked")
        for name in {one for one, _ in rows} | set(totals):
            count = sum(times for (of, _), times in rows.items() if of == name)
            if totals.get(name, 0) != count:
                text = f"{count} of {name} were booked, its account says {totals.get(name, 0)}"
                self.say("twice", text)


@dataclass
class Booked:
    """What the database has: how often each message, and what its account comes to."""

    rows: Counter[tuple[str, int]]
    totals: dict[str, int]


def read_booked(folder: Path) -> Booked:
    with closing(open_database(folder)) as database:
        rows = Counter((name, number) for name, number in database.execute("SELECT * FROM booked"))
        return Booked(rows, dict(database.execute("SELECT * FROM account")))


def check(folder: Path, store: libqueue.Store) -> tuple[list[Finding], dict[str, int]]:
    """What must not be, and how much was done, at the end of a round."""
    with store.topic(TOPIC).reader() as reader:
        log = {(one.partition, one.offset): name_of(one.payload) for one in reader}
    openings = read_openings(folder)
    booked = read_booked(folder)
    found = Look(openings, log, booked).run()
    sendings = [one for of in openings for one in of.sendings]
    sent = [one for one in sendings if one.place is not None]
    counts = {
        "openings of a named producer": len(openings),
        "fenced": sum(one.fenced is not None for one in openings),
        "sent under a sequence": len({(of.name, one.number) for of in openings
                                      for one in of.sendings if one.place is not None}),
        "sent again under its sequence": len(sent) - len({one.place for one in sent}),
        "numbered sends cut short": sum(one.done is None for one in sendings)
        - sum(one.fenced is not None for one in openings),
        "booked once": len(booked.rows),
    }  # fmt: skip
    return found, counts
