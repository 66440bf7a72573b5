"""Looks for what must not happen in a story of the soak.

Kinds of findings:

    lost         a send that returned is not in the log, or a message reached no consumer of a group
    duplicated   one message twice in the log, handed out after its ack, or one attempt twice
    twice        handed out twice by a group that hands out at most once
    invented     bytes in the log or at a consumer that nobody sent
    reordered    against the order of a producer, of time, of a key, or of a partition
    early        handed out before its time
    expired      handed out after its time
    filtered     handed out by a group whose filter leaves it out
    stranded     handed out, lost with its consumer, and never settled: not redelivered
    overlooked   ready for long, while later messages of its partition were handed out
    robbed       handed out again though its holder lived and had time
    receipts     a stale receipt settled something, or a good one was called stale
    letters      dead letters that are wrong in number, of messages that were acknowledged or
                 purged, or of other failures than there were
    redriven     handed out again though its letter was not redriven, or with the wrong cycle
    overtaken    handed out after a less urgent one, or one behind it, that it was ready before
    sought       not as a seek of its group has it: before its place, before it began, or not at all

Others are of `exact.py`, `table.py`, `flow.py`, `ledger.py` and `copies.py`, which look at what has
rules of its own:

    over         more was not settled than the topic's limit lets be
    starved      waited for room while others that came later sent and sent
    fenced       sent under a name that was opened again, or was fenced by nobody
    returned     was compacted away, or ended by a tombstone that is gone, and is there again
    damaged      the store, or a backup of it, does not verify
    exact        a backup does not know an id or a sequence of what is in it
"""

from __future__ import annotations

from bisect import bisect_right

from ends import check_ends
from evidence import Evidence, Finding, sends_by
from history import HandOut, Logged, Place, Send, Settle, Story
from letters import check_letters
from order import check_order_of_group
from urgent import check_urgency


def check(story: Story) -> list[Finding]:
    """All findings of a story."""
    findings: list[Finding] = []
    sends = sends_by(story)
    topics = {life.name: life.topic for life in story.lives}
    for topic, log in story.logs.items():
        mine = {who: send for who, send in sends.items() if topics[send.life] == topic}
        findings += check_log(topic, log, mine)
    for group, dead in story.dead.items():
        findings += GroupCheck(story, group, dead, sends).run()
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


class GroupCheck(Evidence):
    """One group's hand-outs and settles against the log and against each other."""

    def run(self) -> list[Finding]:
        for place in self.hand_outs:
            if place not in self.log:
                self.say("invented", place, "handed out, but not in the log")
        for place, message in self.log.items():
            self.check_bytes(place, message)
            if not self.terms.once:
                self.check_attempts(place)
                self.check_receipts(place)
        check_ends(self)
        check_letters(self)
        check_order_of_group(self)
        self.story.urgent += check_urgency(self)
        return self.found

    def check_bytes(self, place: Place, message: Logged) -> None:
        said = (message.sender, message.number, message.sum)
        for one in self.hand_outs[place]:
            if not one.whole or (one.sender, one.number, one.sum) != said:
                self.say("invented", place, f"{one.life} was handed other bytes than the log has")

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
            missed = self.unseen(one, before)
            since = before.began if before else self.since
            since -= self.dying
            goings = bisect_right(self.goings, one.ended) - bisect_right(self.goings, since)
            if missed > goings + self.lapses(since, one.ended):
                self.say("lost", place, f"{missed} hand-outs before attempt {one.attempt} unseen")
            before = one

    def unseen(self, one: HandOut, before: HandOut | None) -> int:
        """How many attempts nobody has written down between the two."""
        return one.attempt - (before.attempt if before else 0) - 1

    def lapses(self, since: int, by: int) -> int:
        """How many were stopped between for so long that they may have lost what they had gathered.

        They tell nobody of it when they go on: it is somebody else's then.
        """
        return sum(began <= by and ended >= since for began, ended in self.stops)

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
                if final is not None and not self.is_undone(final, settle.will):
                    self.say("receipts", place, f"settled by {final.life} and by {settle.life}")
                final = settle
        if final is not None and final.done is not None:
            for one in hand_outs.values():
                if one.began > final.done and not self.is_undone(final, one.ended):
                    text = f"to {one.life} after {final.life} had settled it"
                    self.say("duplicated", place, text)

    def is_undone(self, final: Settle, by: int) -> bool:
        """Whether the dead letter that it made may have been redriven by then."""
        return final.how == "d" and self.redriven(final.place, final.will, by)

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
