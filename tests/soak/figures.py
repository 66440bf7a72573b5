"""Figures of a story: how long the living stalled, how soon the dead's messages came back."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from dataclasses import dataclass, field

from history import Group, HandOut, Life, Place, Story

SETTLED_IN_NS = 300_000_000
"""A life counts as there once it is so old."""
CALLS_MOST_NS = 5_000_000_000
AFTER_NS = 5_000_000
"""A call that begins so soon after a kill may still meet the dead one's lock."""
OF_ALL = ("registry", "create", "ballast")
OF_SENDERS = ("append", "sync", "slow", "large")
"""Locks by who takes them; the others are of a group's windows."""
STALL_AIM_MS = 10.0
REDELIVERY_AIM_MS = 100.0
"""What is aimed at, on a machine with nothing else to do."""
STALL_MOST_MS = 250.0
REDELIVERY_MOST_MS = 500.0
"""What is an error on any machine, beyond what its load adds to calls that need no lock."""
DISK_NS = 10_000_000
"""A call that moves a dead letter and takes longer waits for the disk."""
BEFORE_NS = 100_000_000
"""How long before the stepper came a moment is looked at for comparison."""

BRAKED_NS = 5_000_000_000
"""A keeper resumes a group behind its brake sooner."""

Call = tuple[int, int, Life, str]
"""Begin, end, whose, what."""


@dataclass
class Figures:
    """Times in milliseconds, one for each death or kill."""

    stalls: list[tuple[float, str]] = field(default_factory=list)
    """For each kill inside a lock the longest call of the living that may need it, and which."""
    other_stalls: list[float] = field(default_factory=list)
    """And the longest of all other calls: what the disk and the scheduler add."""
    calm_stalls: list[float] = field(default_factory=list)
    """The same shortly before the stepper came: what the machine does by itself."""
    redeliveries: list[tuple[float, str]] = field(default_factory=list)
    """For each message that a consumer held when it was killed, and whose it was."""
    ends: list[tuple[float, str]] = field(default_factory=list)
    """From each kill until the kernel had ended the process, and which."""
    kept_waiting: int = 0
    """Messages whose redelivery says nothing: nobody else of the group was free to ask, the group
    was paused, the message died, or its call waited for others."""

    def add(self, other: Figures) -> None:
        """Takes those of another round in."""
        self.stalls += other.stalls
        self.other_stalls += other.other_stalls
        self.calm_stalls += other.calm_stalls
        self.redeliveries += other.redeliveries
        self.ends += other.ends
        self.kept_waiting += other.kept_waiting


def overdue(found: Figures) -> list[str]:
    """What took so long that no load of the machine excuses it."""
    load = max(found.other_stalls + found.calm_stalls, default=0.0)
    most, latest = STALL_MOST_MS + load, REDELIVERY_MOST_MS + load
    stalls = [f"{ms:.0f} ms: {text}" for ms, text in found.stalls if ms > most]
    late = [f"{ms:.0f} ms: {text}" for ms, text in found.redeliveries if ms > latest]
    return [f"a live process stalled: {text}" for text in stalls] + [
        f"a dead consumer's message was redelivered late: {text}" for text in late
    ]


def percentile(values: list[float], percent: float) -> float:
    """The value that so many percent do not exceed."""
    ranked = sorted(values)
    return ranked[min(len(ranked) - 1, int(len(ranked) * percent / 100))] if ranked else 0.0


class Pauses:
    """When each life was stopped or traced, or gone."""

    def __init__(self, story: Story) -> None:
        self.gone = story.deaths()
        for life in story.lives:
            if life.closing is not None:
                self.gone[life.name] = min(life.closing, self.gone.get(life.name, life.closing))
        self.pauses: dict[str, list[tuple[int, int]]] = defaultdict(list)
        for event in story.events:
            if event.what in ("stop", "trace"):
                self.pauses[event.name].append((event.time, event.until))

    def works(self, life: Life, begin: int, end: int) -> bool:
        """Whether it lived, and nobody held it, all that time."""
        return self.gone.get(life.name, end + 1) > end and not any(
            began < end and begin < ended for began, ended in self.pauses[life.name]
        )


def figures(story: Story, synced: set[str]) -> Figures:
    """Of a story; `synced` are the topics whose calls wait for the disk."""
    pauses = Pauses(story)
    found = Figures()
    redeliveries(story, pauses, found)
    calls = calls_by_begin(story, synced)
    traces = [event for event in story.events if event.what == "trace"]
    topics = {life.name: life.topic for life in story.lives}
    for kill in (event for event in story.events if event.what == "kill" and event.lock):
        topic = topics.get(kill.name, "")
        near = [call for call in calls if may_need(call, kill.lock, topic)]
        far = [call for call in calls if not may_need(call, kill.lock, topic)]
        stall, call = longest(near, pauses, kill.time, 1 << 62)
        found.stalls.append((stall, f"{call} when {kill.name} was killed in {kill.lock}"))
        found.other_stalls.append(longest(far, pauses, kill.time, 1 << 62)[0])
        for trace in traces:
            if trace.name == kill.name and trace.time <= kill.time <= trace.until:
                calm = longest(calls, pauses, trace.time - BEFORE_NS, trace.time)
                found.calm_stalls.append(calm[0])
    return found


def may_need(call: Call, lock: str, topic: str) -> bool:
    """Whether a call may wait for a lock that a worker of the topic held."""
    name = lock.partition("/")[0]
    if name in OF_ALL:
        return True
    if name == "death":
        # Taken by who returns the leases of the dead: a receive, or housekeeping.
        return call[3] == "receive"
    return call[2].topic == topic and (name in OF_SENDERS) == (call[3] == "send")


def calls_of(life: Life) -> list[Call]:
    """Calls that wait for no message and no disk: sends, settles, receives without a timeout.

    A nack may be the last one and move a dead letter, which is on disk before it is settled.
    """
    calls = [(s.will, s.done, life, "send") for s in life.sends.values() if s.done is not None]
    calls += [
        (one.will, one.done, life, f"settle {one.how}")
        for one in life.settles
        if one.done is not None and one.how not in "nd"
    ]
    return calls + [(began, ended, life, "receive") for began, ended in life.polls]


def calls_by_begin(story: Story, synced: set[str]) -> list[Call]:
    lives = [life for life in story.lives if life.topic not in synced]
    return sorted((c for life in lives for c in calls_of(life)), key=lambda call: call[0])


def longest(calls: list[Call], pauses: Pauses, time: int, until: int) -> tuple[float, str]:
    """The longest that a call of a live process went on behind a moment, in ms, and which."""
    most, which = 0, "none"
    first = bisect_left(calls, time - CALLS_MOST_NS, key=lambda call: call[0])
    last = bisect_left(calls, time + AFTER_NS, key=lambda call: call[0])
    for begin, end, life, what in calls[first:last]:
        stall = min(end, until) - max(begin, time)
        if end > time and stall > most and pauses.works(life, begin, end):
            most, which = stall, f"{what} of {life.name} in {life.topic}"
    return most / 1e6, which


def redeliveries(story: Story, pauses: Pauses, found: Figures) -> None:
    """From each death to when each message that it held reached somebody, in ms.

    A death is when the kernel has ended the process, which keeps its locks until then.
    Where another consumer of the group was free to ask for it all the time.
    """
    groups: dict[Group, list[Life]] = defaultdict(list)
    for life in story.lives:
        if life.role == "consumer":
            groups[life.topic, life.group].append(life)
    kills = [event for event in story.events if event.what == "kill"]
    deaths = {kill.name: max(kill.time, kill.until) for kill in kills}
    found.ends = [((deaths[kill.name] - kill.time) / 1e6, kill.name) for kill in kills]
    halts = halts_of(story)
    # Whether the next hand-out is of a death or of a seek nobody knows.
    for group, lives in ((of, some) for of, some in groups.items() if of != story.sought):
        hand_outs: dict[Place, list[HandOut]] = defaultdict(list)
        for life in lives:
            for one in life.hand_outs:
                hand_outs[one.place].append(one)
        for life in lives:
            others = [other for other in lives if other is not life]
            death = deaths.get(life.name)
            for held in held_by(life, death) if death is not None else ():
                later = [one for one in hand_outs[held.place] if one.attempt > held.attempt]
                if not later or death is None:
                    continue
                following = min(later, key=lambda one: one.ended)
                if following.ended < death:
                    # Its lease ended between the kill and the end.
                    continue
                free = any(is_free(pauses, other, death, following.ended) for other in others)
                if not free or following.gathered or any(
                    began < following.ended and death < ended
                    for began, ended in halts[group] + halts[group, held.place]
                ):  # fmt: skip
                    found.kept_waiting += 1
                    continue
                asked = (following.began - death) / 1e6
                text = f"from {life.name} to {following.life}, which asked at {asked:.1f} ms"
                found.redeliveries.append(((following.ended - death) / 1e6, text))


def halts_of(story: Story) -> dict[object, list[tuple[int, int]]]:
    """When a group handed out nothing, or, with its place, not this message: it was dead."""
    halts: dict[object, list[tuple[int, int]]] = defaultdict(list)
    pauses: list[tuple[int, str, Group]] = []
    for life in story.lives:
        pauses += [(time, what, (life.topic, group)) for time, what, group in life.marks]
        for group, raises in life.raises.items():
            for one in raises:
                # Since when it was dead is not known.
                halts[(life.topic, group), one.place].append((0, one.done or one.will))
    began: dict[Group, int] = {}
    for time, what, of in sorted(pauses):
        if what == "pauses":
            began.setdefault(of, time)
        elif what == "resumes" and of in began:
            halts[of].append((began.pop(of), time))
        elif what == "brakes":
            halts[of].append((time - BRAKED_NS, time + BRAKED_NS))
    for of, time in began.items():
        halts[of].append((time, 1 << 62))
    return halts


def is_free(pauses: Pauses, life: Life, begin: int, end: int) -> bool:
    """Whether it received or worked all that time, and did not wait for the disk."""
    return (
        life.began + SETTLED_IN_NS < begin
        and pauses.works(life, begin, end)
        and not any(
            one.how in "nd" and one.will < end and begin < done and done - one.will > DISK_NS
            for one in life.settles
            if (done := one.done) is not None
        )
    )


def held_by(life: Life, death: int) -> list[HandOut]:
    """What it had and had not begun to settle; nothing whose lease had ended before."""
    settled = {(one.place, one.attempt) for one in life.settles if one.how != "x"}
    return [
        one
        for one in life.hand_outs
        if (one.place, one.attempt) not in settled and one.deadline > death
    ]
