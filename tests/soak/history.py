"""What happened in a round of the soak, as it was written down.

Each life of a worker has a file of its own, `NAME.LIFE.log` (`NAME.LIFEfN.log` of a child that it
forked), of lines whose fields are separated by spaces. Times are nanoseconds of the boot clock.

    B time role topic group space pid                        it began
    T time                                                   its alarm may end it from then on
    W time number key size sum                               it will send this message
    S time number partition offset                           that was sent
    G began ended partition offset attempt deadline sender number sum whole   it was handed this
    V time how partition offset attempt extension-ms         it will settle: a n r d x
    D time how partition offset attempt outcome              it has: 0 good, 1 stale, 2 untold
    L began ended                                            a long receive without a timeout
    C time                                                   it will close its consumer
    c time                                                   it left

What was not followed by its second line may or may not have happened.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

Place = tuple[int, int]
"""Partition and offset."""
Group = tuple[str, str]
"""Names of topic and group."""


@dataclass
class Send:
    """A message that a producer said it would send."""

    life: str
    number: int
    will: int
    key: str
    sum: int
    done: int | None = None
    place: Place | None = None


@dataclass
class HandOut:
    """A message that a consumer was handed."""

    life: str
    began: int
    ended: int
    place: Place
    attempt: int
    deadline: int
    sender: str
    number: int
    sum: int
    whole: bool


@dataclass
class Settle:
    """A call that settles a message, or extends its lease (x)."""

    life: str
    how: str
    will: int
    place: Place
    attempt: int
    extension_ms: int
    done: int | None = None
    outcome: int = 2


@dataclass
class Life:
    """One life of a worker."""

    name: str
    role: str = ""
    topic: str = ""
    group: str = ""
    space: str = ""
    began: int = 0
    alarm: int | None = None
    closing: int | None = None
    closed: int | None = None
    sends: dict[int, Send] = field(default_factory=dict)
    hand_outs: list[HandOut] = field(default_factory=list)
    settles: list[Settle] = field(default_factory=list)
    polls: list[tuple[int, int]] = field(default_factory=list)


@dataclass
class Event:
    """What the driver did to a life, to all lives of a PID namespace, or to all."""

    what: str
    """`kill`, `stop`, `trace`, `term`, `fork`, `space` or `all`."""
    time: int
    name: str = ""
    until: int = 0
    lock: str = ""


@dataclass
class Logged:
    """A message of the log, or the message of a dead letter."""

    place: Place
    key: str
    sender: str
    number: int
    sum: int
    whole: bool
    attempts: int = 0
    failures: int = 0


@dataclass
class Story:
    """All that is known of a round."""

    lives: list[Life]
    events: list[Event]
    logs: dict[str, list[Logged]]
    dead: dict[Group, list[Logged]]
    ordered: set[Group]
    """Groups that keep the order of a key."""
    max_attempts: int
    lag: dict[Group, int] = field(default_factory=dict)

    def deaths(self) -> dict[str, int]:
        """From when on each life that was killed may have been dead."""
        deaths: dict[str, int] = {}
        for life in self.lives:
            times = [] if life.alarm is None else [life.alarm]
            for event in self.events:
                hit = event.what == "all" or (event.what == "space" and event.name == life.space)
                if (hit and event.time > life.began) or (
                    event.what == "kill" and event.name == life.name
                ):
                    times.append(event.time)
            if times:
                deaths[life.name] = min(times)
        return deaths


def whole_lines(path: Path) -> Iterable[list[str]]:
    """The fields of each line; a half one at the end is what a kill cut off."""
    text = path.read_text()
    for line in text[: text.rfind("\n") + 1].splitlines():
        yield line.split(" ")


def read_life(path: Path) -> Life:
    life = Life(path.name.removesuffix(".log"))
    open_calls: dict[tuple[str, Place, int], Settle] = {}
    for kind, *fields in whole_lines(path):
        if kind == "W":
            will, number, key, _size, total = fields
            life.sends[int(number)] = Send(life.name, int(number), int(will), key, int(total, 16))
        elif kind == "S":
            send = life.sends[int(fields[1])]
            send.done, send.place = int(fields[0]), (int(fields[2]), int(fields[3]))
        elif kind == "G":
            began, ended, partition, offset, attempt, deadline = map(int, fields[:6])
            sender, number, total, whole = fields[6:]
            life.hand_outs.append(
                HandOut(
                    life.name, began, ended, (partition, offset), attempt, deadline,
                    sender, int(number), int(total, 16), whole == "1",
                )
            )  # fmt: skip
        elif kind in "VD":
            time, partition, offset, attempt, last = (int(fields[i]) for i in (0, 2, 3, 4, 5))
            name = (fields[1], (partition, offset), attempt)
            if kind == "V":
                call = Settle(life.name, fields[1], time, (partition, offset), attempt, last)
                open_calls[name] = call
                life.settles.append(call)
            else:
                call = open_calls.pop(name)
                call.done, call.outcome = time, last
        else:
            read_life_line(life, kind, fields)
    return life


def read_life_line(life: Life, kind: str, fields: list[str]) -> None:
    """A line about the life itself."""
    time = int(fields[0])
    if kind == "B":
        life.began = time
        life.role, life.topic, life.group, life.space = fields[1:5]
    elif kind == "T":
        life.alarm = time
    elif kind == "L":
        life.polls.append((time, int(fields[1])))
    elif kind == "C":
        life.closing = time
    elif kind == "c":
        life.closed = time
        life.closing = life.closing or time
    else:
        raise ValueError(f"{life.name}: a line of the unknown kind {kind!r}")


def read_lives(folder: Path) -> list[Life]:
    """Of a life that was killed before its first line nothing is left to check."""
    lives = [read_life(path) for path in sorted(folder.glob("*.log"))]
    return [life for life in lives if life.role]
