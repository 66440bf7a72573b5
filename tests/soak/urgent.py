"""Of the messages of a partition that are ready the most urgent is handed out first.

A receive takes of what is ready in a window, with its lock held, by priority, and of one priority
by offset. So no message is taken while a more urgent
one, or an earlier one that is as urgent, is ready. What is said here of two messages holds however
processes race, die or are stopped: of the one that was overtaken it is known

- that it was in the group's window long before the call began that took the other one: its send
  had returned, its delay was over, and something behind it had been handed out (a large message
  that somebody is still writing hides those behind it, and a window that somebody else is making
  larger does not take them in);
- that it was not waiting for its key: all before it were settled, for good and for all to know;
- that nobody had it: it was handed out for the first time, in a call that began when the other one
  had returned, and nobody was in a call then that may have taken it and given it back, as one too
  many for its bytes. Who is under asyncio may have taken it any time, who was killed in the call
  that he was killed in, and who hands over at most once in the call that found the group paused.

Not asked are groups with a filter, which look only so far ahead as it costs little, and those that
hand out a partition in its order, of which only one is ever ready.
"""

from __future__ import annotations

import itertools
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from evidence import MS, Evidence
from history import HandOut, Life, Place, takes_all
from order import chain_of

WELL_NS = 50 * MS
"""Well before: longer than it takes to make ready what a settle let go on."""
NEVER = 1 << 62


@dataclass
class Waiting:
    """A message that was ready, for sure, until it was handed out."""

    place: Place
    priority: int
    since: int
    until: int
    """When the call began that took it."""


def check_urgency(of: Evidence) -> int:
    """Looks for what was overtaken; how often something less urgent was seen to wait."""
    if of.terms.ordering == "partition" or of.terms.takes is not takes_all:
        return 0
    waiting: dict[int, list[Waiting]] = defaultdict(list)
    for one in were_ready(of):
        waiting[one.place[0]].append(one)
    taken: dict[int, list[HandOut]] = defaultdict(list)
    hidden = Hidden(of)
    for place, hand_outs in of.hand_outs.items():
        # What comes out of its letter is of another window.
        taken[place[0]] += [one for one in hand_outs if one.cycle == 0]
    went_before = 0
    for partition, some in waiting.items():
        went_before += compare(of, some, taken[partition], hidden)
    return went_before


def compare(of: Evidence, waiting: list[Waiting], taken: list[HandOut], hidden: Hidden) -> int:
    """Each that was taken against those that waited meanwhile."""
    coming = sorted(waiting, key=lambda one: one.since, reverse=True)
    still: list[Waiting] = []
    said: set[Place] = set()
    went_before = 0
    for one in sorted(taken, key=lambda one: one.began):
        while coming and coming[-1].since < one.began:
            still.append(coming.pop())
        still = [other for other in still if other.until > one.began]
        over = [other for other in still if other.until > one.ended]
        if not over or hidden.may_hide(one):
            continue
        priority, offset = priority_of(of, one.place), one.place[1]
        for other in over:
            late = (-other.priority, other.place[1]) < (-priority, offset)
            if late and other.place not in said:
                said.add(other.place)
                ms = (one.began - other.since) / MS
                text = f"attempt {one.attempt} of {one.place[1]}, of priority {priority}, went to"
                text += f" {one.life} before it, of priority {other.priority}, which was ready for"
                of.say("overtaken", other.place, f"{text} {ms:.0f} ms")
        went_before += any(other.priority < priority and other.place[1] < offset for other in over)
    return went_before


def priority_of(of: Evidence, place: Place) -> int:
    send = of.send_of(place)
    return 0 if send is None else send.priority


def were_ready(of: Evidence) -> Iterator[Waiting]:
    """Those that waited until they were handed out for the first time, and since when for sure."""
    shown = Shown(of.lives)
    later = {life.name for life in of.lives if is_under_asyncio(life)}
    free: dict[tuple[int, str], int] = defaultdict(int)
    """Of each key when all before were settled, but for those with a delay."""
    joined: dict[tuple[int, str], int] = defaultdict(int)
    """The same of those with a delay, each of which takes its turn when it falls due."""
    for place in sorted(of.log):
        name, hand_outs = chain_of(of, place), of.hand_outs.get(place, [])
        since = max(of.due(place), shown.since(place))
        if name is not None:
            since = max(since, free[name], joined[name])
            settled = settled_by(of, place)
            if of.is_delayed(place):
                joined[name] = max(joined[name], settled)
                continue
            # Who was handed it knows that all before it was settled.
            met = min((one.ended for one in hand_outs if one.cycle == 0), default=NEVER)
            free[name] = max(min(free[name], met), settled)
        since += WELL_NS
        if not hand_outs or hand_outs[0].life in later:
            continue
        first = hand_outs[0]
        if (first.attempt, first.cycle) == (1, 0) and since < first.began:
            yield Waiting(place, priority_of(of, place), since, first.began)


def settled_by(of: Evidence, place: Place) -> int:
    """When it was settled so that what waits for it is ready; of a dead letter nobody can say."""
    if of.terms.once:
        return min((one.ended for one in of.hand_outs.get(place, ())), default=NEVER)
    good = [one for one in of.settles.get(place, ()) if one.how == "a" and one.outcome == 0]
    return min((one.done for one in good if one.done is not None), default=NEVER)


class Shown:
    """From when on a message was in the window for sure: one behind it had been handed out."""

    def __init__(self, lives: Iterable[Life]) -> None:
        first: dict[int, dict[int, int]] = defaultdict(dict)
        for life in lives:
            for one in life.hand_outs:
                seen = first[one.place[0]]
                seen[one.place[1]] = min(one.ended, seen.get(one.place[1], NEVER))
        self.offsets = {partition: sorted(seen) for partition, seen in first.items()}
        self.times: dict[int, list[int]] = {}
        """By partition, for each of its offsets: when it or one behind it was seen first."""
        for partition, offsets in self.offsets.items():
            soonest, times = NEVER, []
            for offset in reversed(offsets):
                soonest = min(soonest, first[partition][offset])
                times.append(soonest)
            self.times[partition] = times[::-1]

    def since(self, place: Place) -> int:
        offsets = self.offsets.get(place[0], [])
        at = bisect_left(offsets, place[1])
        return self.times[place[0]][at] if at < len(offsets) else NEVER


class Hidden:
    """When who may have had messages that nobody knows of, which he gave back."""

    def __init__(self, of: Evidence) -> None:
        self.later = {life.name for life in of.lives if is_under_asyncio(life)}
        calls = {(one.began, one.ended, life.name) for life in of.lives for one in life.hand_outs}
        self.calls = sorted(calls)
        self.ends = list(itertools.accumulate((end for _, end, _ in self.calls), max))
        """For each call the latest end of those up to it."""
        self.blind: list[list[int]] = []
        """Begins and ends, apart from each other."""
        for begin, end in sorted(self.spans(of)):
            if self.blind and begin <= self.blind[-1][1]:
                self.blind[-1][1] = max(end, self.blind[-1][1])
            else:
                self.blind.append([begin, end])

    def spans(self, of: Evidence) -> Iterator[tuple[int, int]]:
        """All of a life under asyncio, the last call of one that was killed, and another one.

        It is that which found the group paused, where messages are handed out at most once: what
        it had gathered was given back.
        """
        pauses = self.pauses(of) if of.terms.once else []
        for life in of.lives:
            over = of.gone.get(life.name, NEVER) + of.dying
            if life.name in self.later:
                yield life.began, over
            elif life.name in of.deaths:
                last = [one.ended for one in life.hand_outs]
                last += [one.done or one.will for one in life.settles]
                yield max([time for time in last if time <= over], default=life.began), over
            for paused, resumed in pauses:
                if life.began <= paused <= over:
                    before = [one.ended for one in life.hand_outs if one.ended <= paused]
                    after = [one.began for one in life.hand_outs if one.began > resumed]
                    yield max(before, default=life.began), min(after, default=over)

    @staticmethod
    def pauses(of: Evidence) -> list[tuple[int, int]]:
        """From before each until it was over: somewhere between it began."""
        lives = [life for life in of.story.lives if life.topic == of.group[0]]
        marks = [mark for life in lives for mark in life.marks if mark[2] == of.group[1]]
        ends = sorted(time for time, what, _ in marks if what == "resumes")
        begins = [time for time, what, _ in marks if what == "pauses"]
        return [
            (begin, min((end for end in ends if end > begin), default=NEVER)) for begin in begins
        ]

    def may_hide(self, one: HandOut) -> bool:
        """Whether somebody else was in a call while this one was taken, or whoever took it did."""
        if one.life in self.later:
            return True
        at = bisect_left(self.blind, [one.ended + 1])
        if at > 0 and self.blind[at - 1][1] >= one.began:
            return True
        at = bisect_left(self.calls, (one.ended + 1, 0, ""))
        while at > 0 and self.ends[at - 1] >= one.began:
            at -= 1
            _, end, whose = self.calls[at]
            if whose != one.life and end >= one.began:
                return True
        return False


def is_under_asyncio(life: Life) -> bool:
    """Whether it fetched ahead what it had not been asked for."""
    return any(what == "asyncio" for _, what, _ in life.marks)
