"""The rule that the most urgent comes first, on histories that break it, and on good ones."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from checker import check
from history import Event, HandOut, Life, Logged, Send, Settle, Story, Terms
from test_checker import GROUP, LEASE, MS, TOPIC
from urgent import WELL_NS


class Ranked:
    """Five messages that are ready for long, and handed out one by one by their priority.

    By their numbers they have the priorities 0, 5, 5, 9 and 0, and are handed out as 4, 2, 3, 1, 5,
    long after a sixth one.
    """

    ORDER = (4, 2, 3, 1, 5)

    def __init__(self, terms: Terms | None = None) -> None:
        self.producer = Life("p.1", "producer", TOPIC, "-", "-", 0)
        self.one = Life("x.1", "consumer", *GROUP, "-", 0)
        self.two = Life("y.1", "consumer", *GROUP, "-", 0)
        self.log = [Logged((0, i), "-", "p.1", i, 100 + i, True) for i in range(1, 7)]
        for message, priority in zip(self.log, (0, 5, 5, 9, 0, 9), strict=True):
            number = message.number
            send = Send("p.1", number, number * MS, "-", message.sum, number * MS + 1000)
            send.place, send.priority = message.place, priority
            self.producer.sends[number] = send
        self.sends = self.producer.sends
        self.take(self.one, 6, 50)
        for turn, number in enumerate(self.ORDER):
            self.take(self.one if turn % 2 else self.two, number, 200 + 10 * turn)
        loose = Terms("none", (1000, 1000)) if terms is None else terms
        self.story = Story(
            [self.producer, self.one, self.two], [], {TOPIC: self.log},
            {GROUP: []}, {GROUP: loose}, 4,
        )  # fmt: skip

    def hand(self, life: Life, number: int, at: int) -> HandOut:
        log, began = self.log[number - 1], at * MS
        one = HandOut(
            life.name, began, began + MS, log.place, 1, began + LEASE, log.sender, log.number,
            log.sum, True,
        )  # fmt: skip
        life.hand_outs.append(one)
        return one

    def settle(self, life: Life, number: int, at: int) -> Settle:
        place = self.log[number - 1].place
        one = Settle(life.name, "a", at * MS, place, 1, 0, at * MS + MS, 0)
        life.settles.append(one)
        return one

    def take(self, life: Life, number: int, at: int) -> HandOut:
        self.settle(life, number, at + 3)
        return self.hand(life, number, at)

    def of(self, number: int) -> HandOut:
        """Its hand-out."""
        found = [*self.one.hand_outs, *self.two.hand_outs]
        return next(one for one in found if one.number == number)

    def move(self, number: int, at: int) -> None:
        """Has it be handed out at another time."""
        one = self.of(number)
        one.began, one.ended, one.deadline = at * MS, at * MS + MS, at * MS + LEASE
        for life in (self.one, self.two):
            for settle in life.settles:
                if settle.place == one.place:
                    settle.will, settle.done = (at + 3) * MS, (at + 4) * MS

    def kinds(self) -> set[str]:
        return {finding.kind for finding in check(self.story)}


def test_by_priority_and_then_by_offset_is_good_and_is_counted() -> None:
    ranked = Ranked()
    assert check(ranked.story) == []
    # Number 4 went before 1, 2 and 3, and 2 and 3 went before 1.
    assert ranked.story.urgent == 3


def test_the_most_urgent_comes_last() -> None:
    ranked = Ranked()
    ranked.move(4, 400)
    assert ranked.kinds() == {"overtaken"}


def test_an_earlier_one_that_is_as_urgent_comes_last() -> None:
    ranked = Ranked()
    ranked.move(2, 215)
    assert ranked.kinds() == set(), "it was there before"
    ranked.move(2, 225)
    assert ranked.kinds() == {"overtaken"}


def test_what_is_less_urgent_may_come_last() -> None:
    ranked = Ranked()
    ranked.move(1, 400)
    assert ranked.kinds() == {"overtaken"}, "number 5 is as urgent, and behind it"
    ranked.sends[5].priority = 1
    assert check(ranked.story) == []


def test_what_waited_for_its_key_is_overtaken_once_that_is_free() -> None:
    ranked = Ranked()
    it_waited_for_its_key(ranked)
    ranked.move(4, 460)
    assert ranked.kinds() == set()
    ranked.move(5, 450)
    assert ranked.kinds() == {"overtaken"}


@pytest.mark.parametrize("terms", [Terms("partition"), Terms("none", takes=lambda _: True)])
def test_of_one_line_and_of_what_is_sifted_nothing_is_said(terms: Terms) -> None:
    ranked = Ranked(terms)
    ranked.move(4, 400)
    assert "overtaken" not in ranked.kinds()


def it_was_sent_a_moment_before(ranked: Ranked) -> None:
    ranked.sends[4].done = 245 * MS - WELL_NS


def its_send_did_not_return(ranked: Ranked) -> None:
    ranked.sends[4].done = ranked.sends[4].place = None


def it_has_a_delay(ranked: Ranked) -> None:
    ranked.sends[4].delay_ms = 300


def nothing_behind_it_was_seen(ranked: Ranked) -> None:
    ranked.move(6, 500)


def it_was_fetched_and_lost_before(ranked: Ranked) -> None:
    ranked.of(4).attempt = 2


def it_was_redriven(ranked: Ranked) -> None:
    ranked.of(4).cycle = 1


def it_waited_for_its_key(ranked: Ranked) -> None:
    ranked.story.terms[GROUP] = Terms("key", (1000, 1000))
    for number in (2, 4):
        ranked.log[number - 1].key = ranked.sends[number].key = "k"
    early = next(one for one in ranked.one.settles if one.place == (0, 2))
    early.will, early.done = 390 * MS, 391 * MS


def idle(ranked: Ranked) -> Life:
    """Another consumer of the group."""
    life = Life("w.1", "consumer", *GROUP, "-", 0)
    ranked.story.lives.append(life)
    return life


def somebody_was_in_a_call_meanwhile(ranked: Ranked) -> None:
    one = HandOut("w.1", 205 * MS, 245 * MS, (1, 0), 1, LEASE, "p.1", 9, 109, True)
    idle(ranked).hand_outs.append(one)


def somebody_fetched_ahead(ranked: Ranked) -> None:
    idle(ranked).marks.append((1, "asyncio", "-"))


def it_was_fetched_ahead(ranked: Ranked) -> None:
    ranked.two.marks.append((1, "asyncio", "-"))


def somebody_was_killed_in_a_call(ranked: Ranked) -> None:
    idle(ranked)
    ranked.story.events.append(Event("kill", 300 * MS, "w.1"))


def test_a_pause_hides_only_what_is_handed_over_at_most_once() -> None:
    for once, found in [(False, {"overtaken"}), (True, set())]:
        ranked = Ranked(Terms("none", (1000, 1000), once=once))
        for life in (ranked.one, ranked.two):
            life.settles.clear()
        ranked.move(4, 400)
        assert "overtaken" in ranked.kinds()
        waiting = idle(ranked)
        assert "overtaken" in ranked.kinds()
        waiting.marks.append((300 * MS, "pauses", GROUP[1]))
        waiting.began = 301 * MS
        ranked.one.began = ranked.two.began = 301 * MS
        assert "overtaken" in ranked.kinds(), "nobody lived then"
        waiting.began = 0
        assert ranked.kinds() & {"overtaken"} == found


EXCUSES: list[Callable[[Ranked], None]] = [
    it_was_sent_a_moment_before, its_send_did_not_return, it_has_a_delay,
    nothing_behind_it_was_seen, it_was_fetched_and_lost_before, it_was_redriven,
    it_waited_for_its_key, somebody_was_in_a_call_meanwhile, somebody_fetched_ahead,
    it_was_fetched_ahead, somebody_was_killed_in_a_call,
]  # fmt: skip


@pytest.mark.parametrize("excuse", EXCUSES, ids=[excuse.__name__ for excuse in EXCUSES])
def test_what_may_not_have_been_ready_is_not_overtaken(excuse: Callable[[Ranked], None]) -> None:
    ranked = Ranked()
    ranked.move(4, 400)
    assert ranked.kinds() == {"overtaken"}
    excuse(ranked)
    assert "overtaken" not in ranked.kinds()
