"""A group that is sought back and forth in the soak (P16), by one that dies now and then meanwhile.

The seeker (`seeker.py`) writes down each seek before and after it, with what the group's meta file
says of where its windows are to be: how often each was sought, and where it was to begin. So it is
known of each seek whether it happened, also of one that was cut short. Receipts name the window's
epoch, which is that number but for a mark of the group. So each hand-out is of one seek:

- nothing is of a seek that nobody made, or that had not begun, nor of what was before one that had
  returned when the call began;
- nothing is handed out that is before the place that was sought, or that was settled when the
  snapshot was taken that was sought;
- a receipt of before a seek settles nothing once that has returned, and is good until it begins;
- between two seeks a group keeps all its other promises, as if it began with the first of them;
- behind the last one all comes that is behind its place, or was open in its snapshot, and ends;
- a seek that was cut short has moved all partitions that it names, or none.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import libqueue
from checker import GroupCheck
from ends import check_time, may_have_ended, say_unended
from evidence import SLACK_NS, Finding, sends_by
from history import (
    Group,
    HandOut,
    Logged,
    Move,
    Place,
    Send,
    Settle,
    Standing,
    Story,
    Terms,
    write_standing,
)
from order import check_order_of_group

TOPIC, NAME = "again", "sought"
GROUP: Group = (TOPIC, NAME)
PARTITIONS = 2
LEASE_SECONDS = 0.5
TERMS = Terms("key", (500, 500))
NEVER = 1 << 62
NOWHERE: Standing = ((0, 0),) * PARTITIONS
"""Of a group that was never sought."""
SEEKS = ("earliest", "latest", "offset", "time", "snapshot")


def lay_out(store: libqueue.Store) -> None:
    """Makes the group, in its topic. Nothing dies in it: that would be there, and come again."""
    backoff = (0.001, 0.005, 2.0)
    options: dict[str, Any] = {"lease": LEASE_SECONDS, "max_attempts": 60_000, "backoff": backoff}
    store.topic(TOPIC).create_group(NAME, **options)


def fields_of(store: Path) -> dict[str, str]:
    """What the group's meta file says, a field in a line (`core/docs/format.md`)."""
    path = store / "topics" / TOPIC / "groups" / NAME / "group.meta"
    lines = path.read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line)


def standing_of(store: Path) -> Standing:
    """Where the group's windows are to be."""
    said = fields_of(store).get("sought")
    if said is None:
        return NOWHERE
    parts = (part.split("/") for part in said.split(" "))
    return tuple((int(part[0]), int(part[1])) for part in parts)


def mark_of(store: Path) -> int:
    """What receipts have where the window was never sought."""
    return int(fields_of(store)["id"], 16) & 0xFFFFFFFF


@dataclass
class Epoch:
    """What a window was between two seeks."""

    number: int
    target: int
    """What is before it is settled."""
    move: Move | None = None
    began: int = 0
    """Nobody goes by it before."""
    known: int = 0
    """From then on nobody goes by the one before it."""
    kept: Kept | None = None
    """The snapshot that was sought."""


@dataclass
class Kept:
    """A snapshot, and where the group stood when it was taken."""

    since: int
    by: int
    epochs: tuple[Epoch, ...]


class Course:
    """What became of the group, seek by seek."""

    def __init__(self, moves: Iterable[Move], last: Standing) -> None:
        self.found: list[Finding] = []
        self.epochs = [[Epoch(0, 0)] for _ in range(PARTITIONS)]
        self.kept: dict[str, Kept] = {}
        self.open: Move | None = None
        """A seek that was cut short, as long as nobody has seen whether it happened."""
        self.happened = 0
        """How many of those did."""
        self.now = NOWHERE
        self.taking: Kept | None = None
        for move in sorted(moves, key=lambda one: one.will):
            self.go_on(move)
        self.see(last, "at the end")

    def say(self, text: str) -> None:
        self.found.append(Finding("sought", f"{TOPIC}/{NAME}: {text}"))

    def go_on(self, move: Move) -> None:
        if self.taking is not None:
            # Whoever took it is dead, or it was taken.
            self.taking.by, self.taking = min(self.taking.by, move.will), None
        self.see(move.before, f"when {move.life} began to go to {move.what} {move.name}")
        if move.what in SEEKS:
            if move.done is None:
                self.open = move
                return
            if not self.fits(move, move.after):
                text = f"{move.what} {move.name} of partition {move.partition} led from"
                text += f" {write_standing(self.now)} to {write_standing(move.after)}"
                self.say(text)
            self.begin(move, move.after, move.done)
        elif move.what == "keep":
            by = NEVER if move.done is None else move.done
            kept = Kept(move.will, by, tuple(all[-1] for all in self.epochs))
            self.kept[move.name] = self.taking = kept

    def see(self, standing: Standing, when: str) -> None:
        """It stands as it did, or as a seek that was cut short has it."""
        move, self.open = self.open, None
        if standing == self.now:
            return
        if move is None or not self.fits(move, standing):
            self.say(f"{write_standing(self.now)} is {write_standing(standing)} {when}")
        else:
            self.happened += 1
        self.begin(move, standing, NEVER)

    def fits(self, move: Move, after: Standing) -> bool:
        """Whether a seek, all of it, leads there."""
        if len(after) != PARTITIONS:
            return False
        for partition, (before, then) in enumerate(zip(self.now, after, strict=True)):
            if move.partition not in (None, partition):
                if then != before:
                    return False
                continue
            wrong = move.what == "earliest" and then[1] != 0
            wrong = wrong or (move.what == "offset" and then[1] != int(move.name))
            if wrong or then[0] != before[0] + 1:
                return False
        return True

    def begin(self, move: Move | None, standing: Standing, known: int) -> None:
        for all, (number, target) in zip(self.epochs, standing, strict=True):
            if known < NEVER:
                # One that was cut short is in force by now at the latest.
                for one in all:
                    one.known = min(one.known, known)
            if all[-1].number != number:
                kept = self.kept.get(move.name) if move and move.what == "snapshot" else None
                will = 0 if move is None else move.will
                all.append(Epoch(number, target, move, will, known, kept))
        self.now = standing


class SoughtCheck(GroupCheck):
    """One partition between two seeks, as if it were a group of its own."""

    def __init__(
        self, story: Story, sends: dict[tuple[str, int], Send], epoch: Epoch, until: int
    ) -> None:
        super().__init__(story, GROUP, [], sends)
        self.epoch, self.until, self.since = epoch, until, epoch.began

    def look(self, must_end: set[Place]) -> list[Finding]:
        for place, message in self.log.items():
            if not self.hand_outs[place] and place not in must_end:
                continue
            self.check_bytes(place, message)
            self.check_attempts(place)
            self.check_receipts(place)
            for one in self.hand_outs[place]:
                check_time(self, place, one)
            if place in must_end and not may_have_ended(self, place):
                say_unended(self, place)
        check_order_of_group(self)
        return self.found

    def unseen(self, one: HandOut, before: HandOut | None) -> int:
        # A snapshot knows of attempts from before.
        return 0 if before is None and self.epoch.kept else super().unseen(one, before)

    def may_be_stale(
        self,
        settle: Settle,
        settles: list[Settle],
        later: list[HandOut],
        hand_outs: dict[int, HandOut],
    ) -> bool:
        done = settle.done or settle.will
        return done >= self.until or super().may_be_stale(settle, settles, later, hand_outs)


class Look:
    """The whole of a round."""

    def __init__(self, story: Story, mark: int, last: Standing) -> None:
        self.story, self.mark = story, mark
        self.lives = [life for life in story.lives if (life.topic, life.group) == GROUP]
        moves = [move for life in story.lives for move in life.moves if life.topic == TOPIC]
        self.moves = moves
        self.course = Course(moves, last)
        self.found = self.course.found
        self.sends = sends_by(story)
        self.log: dict[int, list[Logged]] = defaultdict(list)
        for message in story.logs[TOPIC]:
            self.log[message.place[0]].append(message)
        self.hand_outs: dict[tuple[int, int], list[HandOut]] = defaultdict(list)
        self.settles: dict[tuple[int, int], list[Settle]] = defaultdict(list)
        """By partition and epoch."""
        self.acks: dict[tuple[int, int, int], list[Settle]] = defaultdict(list)
        for life in self.lives:
            for one in life.hand_outs:
                self.hand_outs[one.place[0], one.mark ^ mark].append(one)
            for settle, epoch in settles_by_epoch(life.hand_outs, life.settles, mark):
                self.settles[settle.place[0], epoch].append(settle)
                if settle.how == "a":
                    self.acks[settle.place[0], epoch, settle.place[1]].append(settle)

    def say(self, place: Place, text: str, kind: str = "sought") -> None:
        self.found.append(Finding(kind, f"{TOPIC}/{NAME} {place[0]}/{place[1]}: {text}"))

    def run(self) -> list[Finding]:
        for partition, epochs in enumerate(self.course.epochs):
            known = {one.number for one in epochs}
            for (of, number), some in self.hand_outs.items():
                if of == partition and number not in known:
                    text = f"to {some[0].life} as of seek {number}, which nobody made"
                    self.say(some[0].place, text)
            for epoch in epochs:
                self.check_target(partition, epoch)
                for one in self.hand_outs[partition, epoch.number]:
                    self.check_hand_out(one, epoch)
                self.check_between(partition, epoch, epochs)
            for before, epoch in itertools.pairwise(epochs):
                self.check_stale(partition, before, epoch)
        return self.found

    def check_hand_out(self, one: HandOut, epoch: Epoch) -> None:
        if one.ended < epoch.began:
            self.say(one.place, f"to {one.life} as of seek {epoch.number}, which had not begun")
        if self.is_passed_over(one.place, epoch):
            text = (
                f"to {one.life} as of seek {epoch.number} to {epoch.target}, which passed it over"
            )
            self.say(one.place, text)

    def check_stale(self, partition: int, before: Epoch, epoch: Epoch) -> None:
        """Once a seek has returned nothing goes by what was before it."""
        for one in self.hand_outs[partition, before.number]:
            if one.began > epoch.known:
                text = f"to {one.life} as of before seek {epoch.number}, which had returned"
                self.say(one.place, text)
        for settle in self.settles[partition, before.number]:
            if settle.outcome == 0 and settle.will > epoch.known:
                text = f"{settle.life}: one of before seek {epoch.number} settled ({settle.how})"
                self.say(settle.place, text, "receipts")

    def check_target(self, partition: int, epoch: Epoch) -> None:
        """Where the ends and times of a log are, as those who sent know it."""
        move = epoch.move
        if move is None or move.what not in ("latest", "time"):
            return
        by = NEVER if move.done is None else move.done
        for message in self.log[partition]:
            send = self.sends.get((message.sender, message.number))
            if send is None or send.done is None:
                continue
            inside = message.place[1] < epoch.target
            if move.what == "latest":
                wrong = send.will > by if inside else send.done < move.will
            else:
                earliest, latest = send.wall, send.wall + send.done - send.will
                asked = int(move.name)
                wrong = earliest > asked + SLACK_NS if inside else latest < asked - SLACK_NS
            if wrong:
                side = "passed over" if inside else "to come"
                text = f"{side} by a seek to {move.what} {move.name} of {move.life}"
                self.say(message.place, text)

    def check_between(self, partition: int, epoch: Epoch, epochs: list[Epoch]) -> None:
        key, last = (partition, epoch.number), epoch is epochs[-1]
        hand_outs, settles = self.hand_outs[key], self.settles[key]
        if not last and not hand_outs:
            return
        log = self.log[partition]
        must_end = {one.place for one in log if last and self.is_to_come(one.place, epoch)}
        by_life: dict[str, tuple[list[HandOut], list[Settle]]] = defaultdict(lambda: ([], []))
        for one in hand_outs:
            by_life[one.life][0].append(one)
        for settle in settles:
            by_life[settle.life][1].append(settle)
        lives = [
            replace(life, hand_outs=by_life[life.name][0], settles=by_life[life.name][1])
            for life in self.lives
        ]
        story = replace(self.story, lives=lives, logs={TOPIC: log}, terms={GROUP: TERMS})
        following = epochs[epochs.index(epoch) + 1 :]
        until = following[0].began if following else NEVER
        self.found += SoughtCheck(story, self.sends, epoch, until).look(must_end)

    def is_passed_over(self, place: Place, epoch: Epoch) -> bool:
        """Whether it was settled for sure when the epoch began."""
        kept = epoch.kept
        if kept is None or place[1] < epoch.target:
            return place[1] < epoch.target
        then = kept.epochs[place[0]]
        acks = self.acks[place[0], then.number, place[1]]
        acked = any(one.outcome == 0 and (one.done or NEVER) <= kept.since for one in acks)
        return acked or self.is_passed_over(place, then)

    def is_to_come(self, place: Place, epoch: Epoch) -> bool:
        """Whether it was open for sure when the epoch began, or was sent later."""
        if epoch.kept is None:
            return place[1] >= epoch.target
        then = epoch.kept.epochs[place[0]]
        acks = self.acks[place[0], then.number, place[1]]
        acked = any(one.outcome != 1 and one.will <= epoch.kept.by for one in acks)
        return not acked and self.is_to_come(place, then)

    def counts(self) -> dict[str, int]:
        seeks = [move for move in self.moves if move.what in SEEKS]
        back = sum(number > 0 and bool(some) for (_, number), some in self.hand_outs.items())
        return {
            "seeks": len(seeks),
            "seeks to a snapshot": sum(move.what == "snapshot" for move in seeks),
            "seeks cut short": sum(move.done is None for move in seeks),
            "seeks cut short that happened": self.course.happened,
            "times between two seeks with hand-outs": back,
        }


def settles_by_epoch(
    hand_outs: list[HandOut], settles: list[Settle], mark: int
) -> Iterable[tuple[Settle, int]]:
    """Each with the epoch of the hand-out that its life had of the message last."""
    had: dict[tuple[Place, int], list[HandOut]] = defaultdict(list)
    for one in hand_outs:
        had[one.place, one.attempt].append(one)
    for settle in settles:
        those = [one for one in had[settle.place, settle.attempt] if one.ended <= settle.will]
        if those:
            # One call may have been handed it twice, before a seek and after it: one is stale.
            same = [one for one in those if one.began == those[-1].began]
            yield settle, same[0 if settle.outcome == 1 else -1].mark ^ mark


def check(
    story: Story, folder: Path, store: libqueue.Store
) -> tuple[list[Finding], dict[str, int]]:
    """What must not be, and how much was done, at the end of a round."""
    look = Look(story, mark_of(folder), standing_of(folder))
    dead = store.topic(TOPIC).group(NAME).dead_letters()
    found = [Finding("letters", f"{TOPIC}/{NAME}: {one} is none of those that die") for one in dead]
    return found + look.run(), look.counts()
