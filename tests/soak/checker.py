"""Looks for what must not happen in a story of the soak.

Kinds of findings:

    lost         a send that returned is not in the log, or a message reached no consumer of a group
    duplicated   one message twice in the log, handed out after its ack, or one attempt twice
    invented     bytes in the log or at a consumer that nobody sent
    reordered    against the order of a producer, of time, or of a key
    stranded     handed out, lost with its consumer, and never settled: not redelivered
    overlooked   ready for long, while later messages of its partition were handed out
    robbed       handed out again though its holder lived and had time
    receipts     a stale receipt settled something, or a good one was called stale
    letters      dead letters that are wrong in number, or of messages that were acknowledged
"""

from __future__ import annotations

import itertools
from bisect import bisect_right
from collections import defaultdict
from dataclasses import dataclass

from history import Group, HandOut, Life, Logged, Place, Send, Settle, Story

OVERLOOKED_NS = 8_000_000_000
"""Longer than the longest lease, and a stop, of a consumer that could not write down a hand-out."""
SLACK_NS = 5_000_000
"""Deadlines are kept in whole milliseconds and written down in two clocks."""


@dataclass(frozen=True)
class Finding:
    """Something that must not happen."""

    kind: str
    text: str


def check(story: Story) -> list[Finding]:
    """All findings of a story."""
    findings: list[Finding] = []
    sends = {(s.life, s.number): s for life in story.lives for s in life.sends.values()}
    topics = {life.name: life.topic for life in story.lives}
    for topic, log in story.logs.items():
        mine = {who: send for who, send in sends.items() if topics[send.life] == topic}
        findings += check_log(topic, log, mine)
    for group, dead in story.dead.items():
        findings += GroupCheck(story, group, dead).run()
    for group, lag in story.lag.items():
        if lag:
            findings.append(Finding("stranded", f"{group}: {lag} messages were never settled"))
    return findings


def check_log(topic: str, log: list[Logged], sends: dict[tuple[str, int], Send]) -> list[Finding]:
    """The log against what producers say: each sent message once, at its place, in order."""
    found: list[Finding] = []
    places: dict[tuple[str, int], Place] = {}
    for message in log:
        who = (message.sender, message.number)
        send = sends.get(who)
        if send is None or not message.whole or (send.sum, send.key) != (message.sum, message.key):
            found.append(Finding("invented", f"{topic} {message.place}: {who} was not sent so"))
        if who in places:
            text = f"{topic}: {who} is at {places[who]} and at {message.place}"
            found.append(Finding("duplicated", text))
        elif send is not None:
            places[who] = message.place
    for who, send in sends.items():
        if send.place is not None and places.get(who) != send.place:
            text = f"{topic}: {who} was sent as {send.place}, is at {places.get(who)}"
            found.append(Finding("lost", text))
    in_order = sorted((place, sends[who]) for who, place in places.items())
    return found + check_order(topic, in_order)


def check_order(topic: str, in_order: list[tuple[Place, Send]]) -> list[Finding]:
    """Within a partition: numbers of a life rise, and nothing stands before what was there."""
    found: list[Finding] = []
    last: dict[tuple[int, str], int] = {}
    for (partition, offset), send in in_order:
        if last.get((partition, send.life), 0) >= send.number:
            text = f"{topic} {partition}/{offset}: {send.life} {send.number} behind a later one"
            found.append(Finding("reordered", text))
        last[partition, send.life] = send.number
    earliest: dict[int, int] = {}
    for (partition, offset), send in reversed(in_order):
        if earliest.get(partition, send.will) < send.will:
            text = f"{topic} {partition}/{offset}: stands before what had been sent before it"
            found.append(Finding("reordered", text))
        if send.done is not None:
            earliest[partition] = min(send.done, earliest.get(partition, send.done))
    return found


class GroupCheck:
    """One group's hand-outs and settles against the log and against each other."""

    def __init__(self, story: Story, group: Group, dead: list[Logged]) -> None:
        self.group = group
        self.ordered = group in story.ordered
        self.max_attempts = story.max_attempts
        self.log = {message.place: message for message in story.logs[group[0]]}
        self.sent = sent_by(story)
        self.dead = dead
        self.dead_places = {letter.place for letter in dead}
        self.found: list[Finding] = []
        deaths = story.deaths()
        lives = [life for life in story.lives if (life.topic, life.group) == group]
        self.gone = {life.name: gone for life in lives if (gone := _gone(life, deaths)) is not None}
        self.goings = sorted(self.gone.values())
        self.hand_outs: dict[Place, list[HandOut]] = defaultdict(list)
        self.settles: dict[Place, list[Settle]] = defaultdict(list)
        for life in lives:
            for hand_out in life.hand_outs:
                self.hand_outs[hand_out.place].append(hand_out)
            for settle in life.settles:
                self.settles[settle.place].append(settle)
        for hand_outs in self.hand_outs.values():
            hand_outs.sort(key=lambda one: (one.attempt, one.ended))

    def say(self, kind: str, place: Place, text: str) -> None:
        self.found.append(Finding(kind, f"{'/'.join(self.group)} {place[0]}/{place[1]}: {text}"))

    def run(self) -> list[Finding]:
        for place in self.hand_outs:
            if place not in self.log:
                self.say("invented", place, "handed out, but not in the log")
        for place, message in self.log.items():
            self.check_bytes(place, message)
            self.check_attempts(place)
            self.check_receipts(place)
            self.check_settled(place)
        self.check_letters()
        if self.ordered:
            self.check_keys()
        self.check_overlooked()
        return self.found

    def check_bytes(self, place: Place, message: Logged) -> None:
        said = (message.sender, message.number, message.sum)
        for one in self.hand_outs[place]:
            if not one.whole or (one.sender, one.number, one.sum) != said:
                self.say("invented", place, f"{one.life} was handed other bytes than the log has")

    def deadline(self, hand_out: HandOut) -> int:
        """When its lease may have ended at the earliest."""
        deadline = hand_out.deadline
        for settle in self.settles[hand_out.place]:
            if (settle.how, settle.attempt) == ("x", hand_out.attempt) and settle.outcome != 1:
                extended = settle.will + settle.extension_ms * 1_000_000
                told = settle.outcome == 0
                deadline = extended if told else min(deadline, extended)
        return deadline - SLACK_NS

    def check_attempts(self, place: Place) -> None:
        before: HandOut | None = None
        for one in self.hand_outs[place]:
            if before is not None and before.attempt == one.attempt:
                text = f"attempt {one.attempt} to {before.life} and to {one.life}"
                self.say("duplicated", place, text)
            elif before is not None and not self.may_come_back(before, one.ended):
                late = (self.deadline(before) - one.ended) / 1e6
                text = f"attempt {one.attempt} to {one.life}, {late:.0f} ms before the end of"
                self.say("robbed", place, f"{text} the lease of {before.life}, which lives")
            missed = one.attempt - (before.attempt if before else 0) - 1
            since = before.began if before else 0
            goings = bisect_right(self.goings, one.ended) - bisect_right(self.goings, since)
            if missed > goings:
                self.say("lost", place, f"{missed} hand-outs before attempt {one.attempt} unseen")
            before = one

    def may_come_back(self, hand_out: HandOut, by: int) -> bool:
        """Whether something had given the message back by then."""
        if self.gone.get(hand_out.life, by + 1) <= by or self.deadline(hand_out) <= by:
            return True
        return any(
            settle.attempt == hand_out.attempt and settle.how in "nr" and settle.will <= by
            for settle in self.settles[hand_out.place]
        )

    def check_receipts(self, place: Place) -> None:
        settles = sorted(self.settles[place], key=lambda one: one.will)
        hand_outs = {one.attempt: one for one in self.hand_outs[place]}
        final: Settle | None = None
        for settle in settles:
            later = [one for one in hand_outs.values() if one.attempt > settle.attempt]
            if settle.outcome == 0 and any(one.ended < settle.will for one in later):
                self.say("receipts", place, f"{settle.life}: a stale one settled ({settle.how})")
            if settle.outcome == 1 and not self.may_be_stale(settle, settles, later, hand_outs):
                self.say("receipts", place, f"{settle.life}: good, but called stale ({settle.how})")
            if settle.outcome == 0 and settle.how in "ad":
                if final is not None:
                    self.say("receipts", place, f"settled by {final.life} and by {settle.life}")
                final = settle
        if final is not None and final.done is not None:
            for one in hand_outs.values():
                if one.began > final.done:
                    text = f"to {one.life} after {final.life} had settled it"
                    self.say("duplicated", place, text)

    def may_be_stale(
        self,
        settle: Settle,
        settles: list[Settle],
        later: list[HandOut],
        hand_outs: dict[int, HandOut],
    ) -> bool:
        done = settle.done or settle.will
        mine = hand_outs.get(settle.attempt)
        if mine is None or self.deadline(mine) <= done or any(one.began <= done for one in later):
            return True
        return any(
            other is not settle and other.attempt == settle.attempt and other.how != "x"
            and other.will <= done
            for other in settles
        )  # fmt: skip

    def check_settled(self, place: Place) -> None:
        acks = [one for one in self.settles[place] if one.how == "a" and one.outcome != 1]
        if any(one.outcome == 0 for one in acks) and place in self.dead_places:
            self.say("letters", place, "acknowledged, and a dead letter too")
        if acks or place in self.dead_places:
            return
        if self.hand_outs[place]:
            last = self.hand_outs[place][-1]
            text = f"never settled; last seen as attempt {last.attempt} of {last.life}"
            self.say("stranded", place, text)
        else:
            self.say("lost", place, "never handed out")

    def check_letters(self) -> None:
        seen: set[Place] = set()
        for letter in self.dead:
            place = letter.place
            if place in seen:
                self.say("letters", place, "two dead letters of one message")
            seen.add(place)
            message = self.log.get(place)
            if (
                message is None
                or not letter.whole
                or (letter.sender, letter.number) != (message.sender, message.number)
            ):
                self.say("invented", place, "a dead letter of a message that is not there")
            given_up = any(one.how == "d" and one.outcome != 1 for one in self.settles[place])
            fewest = 0 if given_up else self.max_attempts
            if not fewest <= letter.failures <= min(self.max_attempts, letter.attempts):
                text = f"{letter.failures} failures of {letter.attempts} attempts made it dead"
                self.say("letters", place, text)

    def check_keys(self) -> None:
        """Of each two neighbours of a key the first is settled before the second is handed out."""
        chains: dict[tuple[int, str], list[Place]] = defaultdict(list)
        for place, message in sorted(self.log.items()):
            if message.key != "-":
                chains[place[0], message.key].append(place)
        for (_, key), chain in chains.items():
            for first, second in itertools.pairwise(chain):
                if not self.hand_outs[second]:
                    continue
                met = min(one.ended for one in self.hand_outs[second])
                if self.settled_from(first) > met:
                    text = f"handed out before {first} of its key {key} was settled"
                    self.say("reordered", second, text)
                if any(one.began > met for one in self.hand_outs[first]):
                    text = f"handed out again behind {second} of its key {key}"
                    self.say("reordered", first, text)

    def check_overlooked(self) -> None:
        """What is ready is handed out before anything that stands behind it in its partition."""
        begins: dict[int, list[tuple[int, int]]] = defaultdict(list)
        for (partition, offset), hand_outs in self.hand_outs.items():
            begins[partition] += [(one.began, offset) for one in hand_outs]
        before: dict[tuple[int, str], Place] = {}
        for place, message in sorted(self.log.items()):
            ready = self.sent.get((message.sender, message.number), 1 << 63)
            if self.ordered and message.key != "-":
                earlier = before.get((place[0], message.key))
                before[place[0], message.key] = place
                ready = max(ready, self.over_by(earlier)) if earlier is not None else ready
            for one in self.hand_outs[place]:
                if one.began - ready > OVERLOOKED_NS and any(
                    ready + OVERLOOKED_NS < began < one.began and offset > place[1]
                    for began, offset in begins[place[0]]
                ):
                    seconds = (one.began - ready) / 1e9
                    text = f"attempt {one.attempt} to {one.life} after {seconds:.1f} s"
                    self.say("overlooked", place, text)
                ready = max(
                    one.ended, one.deadline, self.gone.get(one.life, 0), self.over_by(place)
                )

    def over_by(self, place: Place) -> int:
        """When all that is known to have been done with it was done, leases included."""
        times = [one.done or one.will for one in self.settles[place]]
        times += [one.will + one.extension_ms * 1_000_000 for one in self.settles[place]]
        return max(times + [one.deadline for one in self.hand_outs[place]], default=1 << 63)

    def settled_from(self, place: Place) -> int:
        """When it may have been settled at the earliest."""
        times = [one.will for one in self.settles[place] if one.how in "ad" and one.outcome != 1]
        if place in self.dead_places:
            times.append(self.hand_outs[place][-1].began if self.hand_outs[place] else 0)
        return min(times, default=1 << 63)


def sent_by(story: Story) -> dict[tuple[str, int], int]:
    """When each send that returned had returned."""
    return {
        (send.life, send.number): send.done
        for life in story.lives
        for send in life.sends.values()
        if send.done is not None
    }


def _gone(life: Life, deaths: dict[str, int]) -> int | None:
    """From when on a life may have given back what it held."""
    times = [time for time in (life.closing, deaths.get(life.name)) if time is not None]
    return min(times, default=None)
