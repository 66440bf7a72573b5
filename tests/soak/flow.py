"""Topics with a limit in the soak (P14), whose senders are killed while they wait.

One blocks, one throttles, one drops the oldest. Senders, consumers and groups are those of any
topic, and all the other rules hold for them; the looker (`looker.py`) looks at what is not settled.

- what had been sent for sure, and had not been settled for sure, is never more than the limit; nor
  is what a look saw, but for what may have been sent while it looked;
- nobody waits while others that came later send and send;
- what no consumer acknowledged is counted as dropped, by each group for itself, or as expired; and
  what one did acknowledge is not.

The looker's lines, in a file of its own, `NAME.LIFE.looks`:

    began ended topic group lag pressure
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import libqueue
from checker import GroupCheck
from ends import check_time
from evidence import MS, Evidence, Finding, sends_by
from figures import Pauses
from history import Group, HandOut, Life, Send, Settle, Story, Terms, whole_lines

RING = "ring"
RING_GROUPS = ("near", "far")
RING_TERMS = Terms("none", (500, 500))
MAX_ATTEMPTS = 60_000
LEASE_SECONDS = 0.5
PASSED_MOST = 60
"""So many calls may pass one that waits: it may be preempted before it takes its place."""
WAITED_NS = 20 * MS
NEVER = 1 << 62


@dataclass(frozen=True)
class Limit:
    """How many messages are unsettled at most, and what becomes of more."""

    messages: int
    on_full: Literal["block", "throttle", "drop_oldest"]
    highest: int
    """Never are there more."""

    def options(self) -> dict[str, Any]:
        return {"max_messages": self.messages, "on_full": self.on_full}


LIMITS = {
    "narrow": Limit(40, "block", 40),
    # Senders block at the high mark, which is at nine tenths.
    "paced": Limit(60, "throttle", 54),
    RING: Limit(30, "drop_oldest", 30),
}
WAITING = {name for name, limit in LIMITS.items() if limit.on_full != "drop_oldest"}
"""Topics whose senders may wait."""


def lay_out(store: libqueue.Store) -> None:
    """Makes the groups of the ring. Nothing dies in them: what drops it could not tell the two."""
    options: dict[str, Any] = {"lease": LEASE_SECONDS, "max_attempts": MAX_ATTEMPTS}
    for name in RING_GROUPS:
        store.topic(RING).create_group(
            name, ordering="none", backoff=(0.001, 0.005, 2.0), **options
        )


def check_limit(of: Evidence, most: int) -> list[Finding]:
    """At each moment, what was there for sure."""
    steps = []
    for place in of.log:
        send = of.send_of(place)
        if send is not None and send.done is not None:
            steps.append((send.done, 1, place))
            steps.append((max(of.settled_from(place), send.done), -1, place))
    count, found = 0, []
    for _, step, place in sorted(steps):
        count += step
        if step > 0 and count > most:
            text = f"{of.group[0]} {place}: {count} were not settled then, {most} may be"
            found.append(Finding("over", text))
    return found


@dataclass(frozen=True)
class Glance:
    """What a look saw."""

    began: int
    ended: int
    group: Group
    lag: int
    pressure: float


def read_glances(folder: Path) -> list[Glance]:
    """Of all lives of lookers."""
    return [
        Glance(int(began), int(ended), (topic, group), int(lag), float(pressure))
        for path in sorted(folder.glob("*.looks"))
        for began, ended, topic, group, lag, pressure in whole_lines(path)
    ]


def check_glances(
    glances: Iterable[Glance], sends: Mapping[str, list[Send]], story: Story
) -> list[Finding]:
    """No look saw more than may be; `sends` by topic."""
    found = []
    deaths, dying = story.deaths(), story.longest_deaths()
    begun = {topic: sorted(one.will for one in some) for topic, some in sends.items()}
    over = {
        topic: sorted(one.done or deaths.get(one.life, NEVER) + dying for one in some)
        for topic, some in sends.items()
    }
    for one in glances:
        topic, most = one.group[0], LIMITS[one.group[0]].highest
        meanwhile = bisect_right(begun[topic], one.ended) - bisect_left(over[topic], one.began)
        if one.lag - meanwhile > most:
            text = f"{'/'.join(one.group)}: a look saw {one.lag} that were not settled"
            found.append(Finding("over", f"{text}, {meanwhile} were sent meanwhile, {most} may be"))
        if not 0.0 <= one.pressure <= 1.0:
            found.append(Finding("over", f"{topic}: a pressure of {one.pressure}"))
    return found


def passed(sends: list[Send], works: Mapping[str, Life], pauses: Pauses) -> list[tuple[int, Send]]:
    """For each call that returned how many began after it and returned before it."""
    returned = [(one.will, one.done, one) for one in sends if one.done is not None]
    calls = sorted(returned, key=lambda call: call[:2])
    begins = [call[0] for call in calls]
    found = []
    for at, (will, done, one) in enumerate(calls):
        if not pauses.works(works[one.life], will, done):
            continue
        later = calls[at + 1 : bisect_right(begins, done)]
        found.append((len({(each[2].life, each[1]) for each in later if each[1] < done}), one))
    return found


def check_waits(counts: list[tuple[int, Send]]) -> list[Finding]:
    return [
        Finding("starved", f"{one.life} {one.number}: {count} calls began later and sent before it")
        for count, one in counts
        if count > PASSED_MOST
    ]


class RingCheck(GroupCheck):
    """A group whose messages may be dropped at any time."""

    def may_be_stale(
        self,
        _settle: Settle,
        _settles: list[Settle],
        _later: list[HandOut],
        _hand_outs: dict[int, HandOut],
    ) -> bool:
        return True

    def look(self, stats: Mapping[str, Any]) -> list[Finding]:
        for place, message in self.log.items():
            self.check_bytes(place, message)
            self.check_attempts(place)
            self.check_receipts(place)
            for one in self.hand_outs[place]:
                check_time(self, place, one)
        self.check_counts(stats)
        return self.found

    def check_counts(self, stats: Mapping[str, Any]) -> None:
        """All that was sent was acknowledged, or is counted as dropped or as expired."""
        acked = {place for place, some in self.settles.items()
                 if any(one.how == "a" and one.outcome == 0 for one in some)}  # fmt: skip
        perhaps = {place for place, some in self.settles.items()
                   if any(one.how == "a" and one.outcome == 2 for one in some)}  # fmt: skip
        counted = stats["dropped"] + stats["expired"]
        # Who dies while he drops one may leave it uncounted.
        uncounted = sum(
            life.topic == self.group[0] for life in self.story.lives if life.name in self.deaths
        )
        missing = len(self.log) - len(acked | perhaps) - counted
        name = "/".join(self.group)
        if missing > uncounted:
            text = f"{name}: {missing} of {len(self.log)} messages were neither acknowledged nor"
            self.found.append(Finding("lost", f"{text} counted as dropped"))
        if counted > len(self.log) - len(acked):
            text = f"{name}: {counted} are counted as dropped or expired, and {len(acked)} of"
            self.found.append(Finding("lost", f"{text} {len(self.log)} were acknowledged"))


def check(
    story: Story, folder: Path, store: libqueue.Store
) -> tuple[list[Finding], dict[str, int]]:
    """What must not be, and how much was done, at the end of a round."""
    found: list[Finding] = []
    sends, lives = sends_by(story), {life.name: life for life in story.lives}
    by_topic = {
        topic: [one for one in sends.values() if lives[one.life].topic == topic] for topic in LIMITS
    }
    pauses, deaths = Pauses(story), story.deaths()
    for group in story.dead:
        if group[0] in WAITING:
            of = Evidence(story, group, story.dead[group], sends)
            found += check_limit(of, LIMITS[group[0]].highest)
    for topic in WAITING:
        found += check_waits(passed(by_topic[topic], lives, pauses))
    glances = read_glances(folder)
    found += check_glances(glances, by_topic, story)
    dropped = 0
    for name in RING_GROUPS:
        group = (RING, name)
        stats = store.topic(RING).group(name).stats()
        dropped += stats["dropped"]
        of_group = replace(story, terms={group: RING_TERMS}, max_attempts=MAX_ATTEMPTS)
        found += RingCheck(of_group, group, [], sends).look(stats)
    waited = [one for topic in WAITING for one in by_topic[topic]]
    return found, {
        "looks at a limit": len(glances),
        "sends that waited for room": sum((one.done or 0) - one.will > WAITED_NS for one in waited),
        "senders killed that waited for room": sum(
            one.done is None and deaths.get(one.life, 0) - one.will > WAITED_NS for one in waited
        ),
        "dropped, the oldest": dropped,
    }
