"""What happened in a round of the soak, as it was written down.

Each life of a worker has a file of its own, `NAME.LIFE.log` (`NAME.LIFEfN.log` of a child that it
forked), of lines whose fields are separated by spaces. Times are nanoseconds of the boot clock.

    B time role topic group space pid                        it began
    T time                                                   its alarm may end it from then on
    W time number key size sum delay ttl priority kind wall  it will send this message
    S time number partition offset                           that was sent
    G began ended partition offset attempt deadline sender number sum whole
      gathered lease cycle wall mark                         it was handed this
    V time how partition offset attempt extension-ms         it will settle: a n r d x
    D time how partition offset attempt outcome              it has: 0 good, 1 stale, 2 untold
    L began ended                                            a long receive without a timeout
    K time group what letter partition offset attempts failures cycles sender number whole
                                                             it will redrive (R) or purge (P) this
    k time group what letter outcome                         it has: 0 good, 1 refused
    Z time group what name partition standing                it will move the group so
    z time group standing                                    it has
    M time what group                                        it did, or is, what `what` names
    C time                                                   it will close its consumer
    c time                                                   it left

What was not followed by its second line may or may not have happened. `delay`, `ttl` and `lease`
are in ms, 0 where there is none; `kind` is a header, `wall` the wall clock's time at the end of the
line's own; `gathered` says that the call waited for more than one message; `cycle` is one more than
the header `lq-cycles`, 0 where there is none; `mark` is the receipt's epoch, 0 where the program
has no receipts. `what` is done to a group in `sought.py`, as is `standing` said.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Place = tuple[int, int]
"""Partition and offset."""
Group = tuple[str, str]
"""Names of topic and group."""


KILLED_NS = 50_000_000
"""A signal that was sent has ended its process by then."""


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
    size: int = 0
    delay_ms: int = 0
    ttl_ms: int = 0
    priority: int = 0
    kind: str = "-"
    wall: int = 0
    """Of the wall clock, when it was to be sent."""


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
    gathered: bool = False
    """Its call waited for more than one message."""
    lease_ms: int = 0
    """The call's own lease."""
    cycle: int = 0
    """How often it had been redriven out of the dead-letter topic, as its header says."""
    wall: int = 0
    """Of the wall clock, when it was there."""
    mark: int = 0
    """The receipt's epoch: which other one it is after each seek, nobody is to know."""


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
class Raise:
    """A dead letter that its keeper redrives (R) or purges (P)."""

    life: str
    how: str
    will: int
    letter: int
    """Its offset in the dead-letter topic."""
    place: Place
    attempts: int
    failures: int
    cycles: int
    sender: str
    number: int
    whole: bool
    done: int | None = None
    outcome: int = 2


Standing = tuple[tuple[int, int], ...]
"""Of each partition of a group how often it was sought, and where it was to begin last."""


@dataclass
class Move:
    """A seek of a group, a snapshot of where it stands, or a look at that."""

    life: str
    what: str
    """`earliest`, `latest`, `offset`, `time`, `snapshot`; `keep` takes one, `look` does nothing."""
    name: str
    """The offset, the time in nanoseconds of the wall clock, or the snapshot's name; or `-`."""
    partition: int | None
    will: int
    before: Standing
    done: int | None = None
    after: Standing = ()


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
    raises: dict[str, list[Raise]] = field(default_factory=dict)
    """By group."""
    marks: list[tuple[int, str, str]] = field(default_factory=list)
    """When, what, group."""
    moves: list[Move] = field(default_factory=list)


@dataclass
class Event:
    """What the driver did to a life, to all lives of a PID namespace, or to all."""

    what: str
    """`kill`, `stop`, `trace`, `term`, `fork`, `space` or `all`; or `stall`, the machine's own."""
    time: int
    name: str = ""
    until: int = 0
    """When it was over; of a kill, when the process was gone."""
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
    cycles: int = 0
    letter: int = 0
    """Of a dead letter: its offset in the dead-letter topic."""


def takes_all(_send: Send) -> bool:
    """The filter of a group that has none."""
    return True


@dataclass(frozen=True)
class Terms:
    """What a group promises."""

    ordering: str = "key"
    leases_ms: tuple[int, int] = (0, 1 << 40)
    """The shortest and the longest that it ever has."""
    holds: bool = False
    """Its dead letters hold their keys."""
    once: bool = False
    """It hands out at most once."""
    takes: Callable[[Send], bool] = takes_all
    """Its filter."""


@dataclass
class Story:
    """All that is known of a round."""

    lives: list[Life]
    events: list[Event]
    logs: dict[str, list[Logged]]
    dead: dict[Group, list[Logged]]
    terms: dict[Group, Terms]
    max_attempts: int
    lag: dict[Group, int] = field(default_factory=dict)
    stats: dict[Group, Mapping[str, Any]] = field(default_factory=dict)
    """What groups say of themselves at the end."""
    sought: Group | None = None
    """The one that is sought: `sought.py` looks at it."""
    urgent: int = 0
    """How often the checker saw that a more urgent message went before another."""

    def deaths(self) -> dict[str, int]:
        """From when on each life that was killed may have been dead."""
        deaths: dict[str, int] = {}
        for life in self.lives:
            times = [] if life.alarm is None else [life.alarm]
            for event in self.events:
                hit = event.what == "all" or (event.what == "space" and event.name == life.space)
                # One that was starting when all were to die has its first line behind that time.
                over = max(event.time, event.until)
                if (hit and over > life.began) or (
                    event.what == "kill" and event.name == life.name
                ):
                    times.append(max(event.time, life.began if hit else 0))
            if times:
                deaths[life.name] = min(times)
        return deaths

    def longest_deaths(self) -> int:
        """How much later than `deaths` says a life may have ended: killing all takes its time."""
        ends = [event.until - event.time for event in self.events if event.what in ("all", "space")]
        return max([KILLED_NS, *ends])


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
            send = Send(life.name, int(fields[1]), int(fields[0]), fields[2], int(fields[4], 16))
            send.size = int(fields[3])
            send.delay_ms, send.ttl_ms, send.priority = map(int, fields[5:8])
            send.kind, send.wall = fields[8], int(fields[9])
            life.sends[send.number] = send
        elif kind == "S":
            send = life.sends[int(fields[1])]
            send.done, send.place = int(fields[0]), (int(fields[2]), int(fields[3]))
        elif kind == "G":
            began, ended, partition, offset, attempt, deadline = map(int, fields[:6])
            sender, number, total, whole = fields[6:10]
            gathered, lease, cycle, wall, mark = map(int, fields[10:])
            life.hand_outs.append(
                HandOut(
                    life.name, began, ended, (partition, offset), attempt, deadline,
                    sender, int(number), int(total, 16), whole == "1", gathered == 1, lease, cycle,
                    wall, mark,
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
    elif kind == "K":
        letter, partition, offset, attempts, failures, cycles = map(int, fields[3:9])
        life.raises.setdefault(fields[1], []).append(
            Raise(
                life.name, fields[2], time, letter, (partition, offset), attempts, failures, cycles,
                fields[9], int(fields[10]), fields[11] == "1",
            )
        )  # fmt: skip
    elif kind == "k":
        for call in life.raises[fields[1]]:
            if (call.how, call.letter, call.done) == (fields[2], int(fields[3]), None):
                call.done, call.outcome = time, int(fields[4])
    elif kind == "Z":
        of = None if fields[4] == "-" else int(fields[4])
        move = Move(life.name, fields[2], fields[3], of, time, read_standing(fields[5]))
        life.moves.append(move)
    elif kind == "z":
        life.moves[-1].done, life.moves[-1].after = time, read_standing(fields[2])
    elif kind == "M":
        life.marks.append((time, fields[1], fields[2]))
    elif kind == "L":
        life.polls.append((time, int(fields[1])))
    elif kind == "C":
        life.closing = time
    elif kind == "c":
        life.closed = time
        life.closing = life.closing or time
    else:
        raise ValueError(f"{life.name}: a line of the unknown kind {kind!r}")


def read_standing(text: str) -> Standing:
    """As `write_standing` writes it."""
    pairs = (one.split("/") for one in text.split(","))
    return tuple((int(epoch), int(offset)) for epoch, offset in pairs)


def write_standing(standing: Standing) -> str:
    """As a line of a history has it."""
    return ",".join(f"{epoch}/{offset}" for epoch, offset in standing)


def read_lives(folder: Path) -> list[Life]:
    """Of a life that was killed before its first line nothing is left to check."""
    lives = [read_life(path) for path in sorted(folder.glob("*.log"))]
    return [life for life in lives if life.role]
