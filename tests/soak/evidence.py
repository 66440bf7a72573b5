"""All that speaks of one group's messages in a story, and what follows from it at once."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from history import Group, HandOut, Life, Logged, Place, Raise, Send, Settle, Story

SLACK_NS = 5_000_000
"""Deadlines are kept in whole milliseconds and written down in two clocks."""
MS = 1_000_000
LAPSE_NS = 250 * MS
"""Whoever is stopped for so long may lose a lease: none is shorter."""
STALL_NS = 100 * MS
"""So long a stall of the machine may cost a lease that is renewed at its half."""


@dataclass(frozen=True)
class Finding:
    """Something that must not happen."""

    kind: str
    text: str


class Evidence:
    """One group's hand-outs, settles, dead letters, redrives and purges, by message."""

    def __init__(
        self,
        story: Story,
        group: Group,
        dead: list[Logged],
        sends: dict[tuple[str, int], Send],
    ) -> None:
        self.story, self.group = story, group
        self.terms = story.terms[group]
        self.max_attempts = story.max_attempts
        self.log = {message.place: message for message in story.logs[group[0]]}
        self.sends = sends
        self.dead = dead
        self.since = 0
        """Before that it had nothing to hand out: a seek began it."""
        self.letters_left: dict[Place, list[Logged]] = defaultdict(list)
        """Those that are dead at the end."""
        for letter in dead:
            self.letters_left[letter.place].append(letter)
        self.found: list[Finding] = []
        self.deaths = story.deaths()
        self.lives = [life for life in story.lives if (life.topic, life.group) == group]
        self.gone = {
            life.name: gone for life in self.lives if (gone := _gone(life, self.deaths)) is not None
        }
        self.goings = sorted(self.gone.values())
        names = {life.name for life in self.lives}
        self.stops = [
            (event.time, event.until)
            for event in story.events
            if (event.what in ("stop", "trace") and event.name in names
                and event.until - event.time >= LAPSE_NS)
            or (event.what == "stall" and event.until - event.time >= STALL_NS)
        ]  # fmt: skip
        self.dying = story.longest_deaths()
        self.hand_outs: dict[Place, list[HandOut]] = defaultdict(list)
        self.settles: dict[Place, list[Settle]] = defaultdict(list)
        for life in self.lives:
            for hand_out in life.hand_outs:
                self.hand_outs[hand_out.place].append(hand_out)
            for settle in life.settles:
                self.settles[settle.place].append(settle)
        for hand_outs in self.hand_outs.values():
            hand_outs.sort(key=lambda one: (one.attempt, one.ended))
        self.raises: dict[Place, list[Raise]] = defaultdict(list)
        """What keepers did about dead letters, those that they were refused left out."""
        self.refused: list[Raise] = []
        for life in story.lives:
            if life.topic == group[0]:
                for one in life.raises.get(group[1], ()):
                    if one.outcome == 1:
                        self.refused.append(one)
                    else:
                        self.raises[one.place].append(one)
        for raises in self.raises.values():
            raises.sort(key=lambda one: (one.letter, one.will))

    def say(self, kind: str, place: Place, text: str) -> None:
        self.found.append(Finding(kind, f"{'/'.join(self.group)} {place[0]}/{place[1]}: {text}"))

    def send_of(self, place: Place) -> Send | None:
        message = self.log.get(place)
        return None if message is None else self.sends.get((message.sender, message.number))

    def takes(self, place: Place) -> bool:
        """Whether the message is one for this group."""
        send = self.send_of(place)
        return send is None or self.terms.takes(send)

    def redrives(self, place: Place) -> list[Raise]:
        return [one for one in self.raises.get(place, ()) if one.how == "R"]

    def purges(self, place: Place) -> list[Raise]:
        return [one for one in self.raises.get(place, ()) if one.how == "P"]

    def redriven(self, place: Place, since: int, by: int) -> bool:
        """Whether it may have been redriven between."""
        return any(
            one.will <= by and (one.done is None or one.done >= since)
            for one in self.redrives(place)
        )

    def letters_of(self, place: Place) -> list[tuple[int, int, int]]:
        """Attempts, failures and cycles of each dead letter of it that is known, in order."""
        raises, left = self.raises.get(place, ()), self.letters_left.get(place, ())
        if not raises and not left:
            return []
        return sorted({(one.attempts, one.failures, one.cycles) for one in [*raises, *left]})

    def deadline(self, hand_out: HandOut) -> int:
        """When its lease may have ended at the earliest."""
        deadline = hand_out.deadline
        for settle in self.settles[hand_out.place]:
            if (settle.how, settle.attempt) == ("x", hand_out.attempt) and settle.outcome != 1:
                extended = settle.will + settle.extension_ms * MS
                told = settle.outcome == 0
                deadline = extended if told else min(deadline, extended)
        return deadline - SLACK_NS

    def may_come_back(self, hand_out: HandOut, by: int) -> bool:
        """Whether something had given the message back by then."""
        if self.gone.get(hand_out.life, by + 1) <= by or self.deadline(hand_out) <= by:
            return True
        return any(
            settle.attempt == hand_out.attempt and settle.will <= by
            and (settle.how in "nr"
                 or (settle.how == "d" and self.redriven(settle.place, settle.will, by)))
            for settle in self.settles[hand_out.place]
        )  # fmt: skip

    def first_cycle(self, place: Place) -> list[HandOut]:
        """Its hand-outs before it was redriven; all of them where dead letters hold their keys."""
        letters = self.letters_of(place)
        if self.terms.holds or not letters:
            return self.hand_outs[place]
        return [one for one in self.hand_outs[place] if one.attempt <= letters[0][0]]

    def expires(self, place: Place) -> int | None:
        """When it may be too late for it at the earliest."""
        send = self.send_of(place)
        return None if send is None or not send.ttl_ms else send.will + send.ttl_ms * MS

    def is_delayed(self, place: Place) -> bool:
        """Whether it was sent to be handed out later than what was sent behind it may be."""
        send = self.send_of(place)
        return send is not None and send.delay_ms > 0

    def due(self, place: Place) -> int:
        """When it is sent and due for sure."""
        send = self.send_of(place)
        if send is None or send.done is None:
            return 1 << 63
        return max(send.done + send.delay_ms * MS, self.since)

    def over_by(self, place: Place) -> int:
        """When all that is known to have been done with it was done, leases included."""
        times = [one.done or one.will for one in self.settles[place]]
        times += [one.will + one.extension_ms * MS for one in self.settles[place]]
        times += [one.done or one.will for one in self.raises.get(place, ())]
        return max(times + [one.deadline for one in self.hand_outs[place]], default=1 << 63)

    def settled_from(self, place: Place) -> int:
        """When it may have let those behind it in its order go on at the earliest."""
        hand_outs = self.first_cycle(place)
        if self.terms.once:
            return min((one.began for one in hand_outs), default=0)
        last = "a" if self.terms.holds else "ad"
        times = [one.will for one in self.settles[place] if one.how in last and one.outcome != 1]
        if self.terms.holds:
            times += [one.will for one in self.purges(place)]
        elif self.letters_of(place):
            times.append(hand_outs[-1].began if hand_outs else 0)
        expires = self.expires(place)
        times += [] if expires is None else [expires - SLACK_NS]
        return min(times, default=1 << 63)


def sends_by(story: Story) -> dict[tuple[str, int], Send]:
    """All sends by who sent it."""
    return {(s.life, s.number): s for life in story.lives for s in life.sends.values()}


def _gone(life: Life, deaths: dict[str, int]) -> int | None:
    """From when on a life may have given back what it held."""
    times = [time for time in (life.closing, deaths.get(life.name)) if time is not None]
    return min(times, default=None)
