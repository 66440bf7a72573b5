"""Backups that are taken in the soak while all is under way, by one that dies at it now and then.

The copier (`copier.py`) looks at each backup and writes down what is in it, as a line of JSON in a
file of its own, `NAME.LIFE.copies`. Of each, whoever dies while it is taken:

- it verifies, and nothing of one that was cut short is beside it;
- what had been sent before it began is in it, and nothing that was sent after it was there;
- what had been settled before it began is settled in it, and what is settled was so by its end;
- nobody has a lease in it;
- a transaction is in it as a whole or not at all: the orders that are settled are those moved on;
- it knows the ids and the sequences of what is in it, and no others.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import exact
from evidence import SLACK_NS, Evidence, Finding, sends_by
from history import Group, Place, Send, Story, whole_lines
from plan import GROUPS

HALVES = ("copies", "copied")
"""The marks before a backup and after it."""


@dataclass(frozen=True)
class Standing:
    """Where a group stands in a partition."""

    floor: int
    next: int
    open: frozenset[int]

    def is_settled(self, offset: int) -> bool:
        return offset < self.floor or (offset < self.next and offset not in self.open)


@dataclass
class Copy:
    """What is in a backup."""

    life: str
    began: int
    ended: int
    damage: list[str]
    left: list[str]
    """Names of what one that was cut short left."""
    leased: int
    ends: dict[str, list[int]]
    """Of each topic, by partition, the next offset."""
    standings: dict[Group, list[Standing]]
    moved: list[str]
    """The places of orders, as they were moved on."""
    sequences: dict[str, tuple[int, int]]
    """Of each name what its producer knows as its last one, and the highest in the log."""
    forgotten: list[str]
    """Orders whose ids it does not know, or knows to be elsewhere."""


def read_copies(folder: Path) -> list[Copy]:
    """Of all lives of copiers."""
    found = []
    for path in sorted(folder.glob("*.copies")):
        for fields in whole_lines(path):
            said = json.loads(" ".join(fields))
            said["standings"] = {
                (name.partition("/")[0], name.partition("/")[2]): [
                    Standing(floor, end, frozenset(open)) for floor, end, open in standings
                ]
                for name, standings in said["standings"].items()
            }
            said["sequences"] = {name: tuple(both) for name, both in said["sequences"].items()}
            found.append(Copy(path.stem, **said))
    return found


class CopyCheck:
    """One backup against all that is known of the round."""

    def __init__(
        self, copy: Copy, topics: Mapping[str, str], sends: Mapping[tuple[str, int], Send]
    ) -> None:
        self.copy, self.topics, self.sends = copy, topics, sends
        self.found: list[Finding] = []

    def say(self, kind: str, text: str) -> None:
        self.found.append(Finding(kind, f"a backup of {self.copy.life}: {text}"))

    def check_itself(self) -> None:
        copy = self.copy
        for text in copy.damage:
            self.say("damaged", text)
        for name in copy.left:
            self.say("damaged", f"{name} was left beside it")
        if copy.leased:
            self.say("robbed", f"{copy.leased} messages are leased in it")
        for name, (known, highest) in copy.sequences.items():
            if known != highest:
                self.say("exact", f"{name} is known to be at {known}, and is at {highest}")
        for name in copy.forgotten:
            self.say("exact", f"{name} is sent once more under its id")

    def check_transactions(self) -> None:
        standings = self.copy.standings.get(exact.SOURCE, [])
        ends = self.copy.ends.get(exact.ORDERS, [])
        settled = {
            f"{partition}/{offset}"
            for partition, (end, standing) in enumerate(zip(ends, standings, strict=True))
            for offset in range(end)
            if standing.is_settled(offset)
        }
        moved = Counter(self.copy.moved)
        for place in settled - set(moved):
            self.say("lost", f"order {place} was settled in it, and not moved on")
        for place, times in moved.items():
            if times > 1 or place not in settled:
                self.say("duplicated", f"order {place} was moved on {times} times, and is to come")

    def check_sends(self) -> None:
        """What was sent before is in it, what was sent later is not."""
        for send in self.sends.values():
            if send.place is None or send.done is None:
                continue
            topic, (partition, offset) = self.topics[send.life], send.place
            inside = offset < self.copy.ends[topic][partition]
            if send.done < self.copy.began and not inside:
                self.say("lost", f"{topic} {send.place} had been sent, and is not in it")
            if send.will > self.copy.ended and inside:
                self.say("invented", f"{topic} {send.place} was sent later, and is in it")

    def check_group(self, of: Evidence) -> None:
        """What was settled before is settled in it, and what is settled was so by its end."""
        standings = self.copy.standings[of.group]
        for place in of.log:
            if place[1] >= self.copy.ends[of.group[0]][place[0]]:
                continue
            settled = standings[place[0]].is_settled(place[1])
            name = f"{'/'.join(of.group)} {place[0]}/{place[1]}"
            if not settled and was_settled(of, place, self.copy.began):
                self.say("stranded", f"{name} had been settled, and is to come in it")
            if settled and not may_be_settled(of, place, self.copy.ended):
                self.say("lost", f"{name} is settled in it, and was not")


def was_settled(of: Evidence, place: Place, by: int) -> bool:
    """Whether it was so for sure."""
    if of.terms.once:
        return any(one.ended < by for one in of.hand_outs[place])
    return any(
        one.how == "a" and one.outcome == 0 and one.done is not None and one.done < by
        for one in of.settles[place]
    )


def may_be_settled(of: Evidence, place: Place, by: int) -> bool:
    """Whether anything may have settled it by then."""
    expires = of.expires(place)
    if not of.takes(place) or (expires is not None and expires - SLACK_NS <= by):
        return True
    if of.terms.once:
        # What was lost with whom it was handed to nobody has written down.
        hand_outs = of.hand_outs[place]
        return not hand_outs or any(one.began <= by for one in hand_outs)
    if any(one.how in "and" and one.outcome != 1 and one.will <= by for one in of.settles[place]):
        return True
    # It died with a consumer, or of a lease that ended: when is not known, but behind its hand-out.
    hand_outs = of.hand_outs[place]
    died = bool(of.letters_of(place))
    return died and (not hand_outs or any(one.began <= by for one in hand_outs))


def check_copies(story: Story, copies: list[Copy]) -> list[Finding]:
    """All that must not be in any of them."""
    topics = {life.name: life.topic for life in story.lives}
    sends, found = sends_by(story), []
    evidence = [Evidence(story, group, story.dead[group], sends) for group in GROUPS
                if group in story.dead] if copies else []  # fmt: skip
    for copy in copies:
        check = CopyCheck(copy, topics, sends)
        check.check_itself()
        if not copy.damage:
            check.check_transactions()
            check.check_sends()
            for of in evidence:
                check.check_group(of)
        found += check.found
    return found


def check(story: Story, folder: Path) -> tuple[list[Finding], dict[str, int]]:
    """What must not be, and how much was done, at the end of a round."""
    copies = read_copies(folder)
    marks = [mark[1] for life in story.lives for mark in life.marks]
    counts = {
        "backups": len(copies),
        "backups cut short": marks.count(HALVES[0]) - marks.count(HALVES[1]),
    }
    return check_copies(story, copies), counts
