"""The checker's rules for what groups promise beyond leases: times, filters, redrives and so on.

Each is shown on a history that breaks it, and on good ones that it passes.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from checker import check
from figures import figures
from history import Event, HandOut, Life, Logged, Raise, Send, Settle, Story, Terms
from test_checker import GROUP, LEASE, MS, TOPIC, settle

WALL = 1_000_000_000 * MS
OTHER = (TOPIC, "other")


class Kept:
    """Seven messages of a group with a keeper, all but one of the key k.

    Number 2 was refused twice and died, was redriven, refused twice again, died again, and was
    purged. Number 3 came behind it. Number 4 was due 300 ms after it was sent. Number 5 was too
    late before anybody was handed it. Number 6 has no key. Number 7 has another kind.
    """

    def __init__(self, terms: Terms | None = None) -> None:
        self.terms = Terms(holds=True, leases_ms=(1000, 1000)) if terms is None else terms
        self.producer = Life("p.1", "producer", TOPIC, "-", "-", 0)
        self.one = Life("x.1", "consumer", TOPIC, "g", "-", 0)
        self.two = Life("y.1", "consumer", TOPIC, "g", "-", 0)
        self.keeper = Life("z.1", "keeper", TOPIC, "-", "-", 0)
        self.log = [Logged((0, i), "k", "p.1", i, 100 + i, True) for i in range(1, 8)]
        self.log[5].key = "-"
        for i, message in enumerate(self.log):
            send = Send("p.1", message.number, i * MS, message.key, message.sum, i * MS + 1000)
            send.place, send.wall = message.place, WALL + send.will
            self.producer.sends[message.number] = send
        self.sends = self.producer.sends
        self.sends[4].delay_ms, self.sends[5].ttl_ms, self.sends[7].kind = 300, 50, "test"
        self.took(self.one, 1, 100)
        cycle = 0 if self.terms.holds else 1
        for attempt, at in enumerate((120, 130, 160, 170), start=1):
            self.hand(self.one, 2, at, attempt).cycle = cycle if attempt > 2 else 0
            settle(self.one, self.log[1], (at + 2) * MS, "n", attempt)
        self.redrive = self.keep("R", 0, 150, 2, 0)
        self.purge = self.keep("P", 1, 190, 4, 1)
        self.took(self.two, 3, 200)
        self.took(self.two, 6, 210)
        self.took(self.two, 7, 220)
        self.took(self.one, 4, 400)
        self.story = Story(
            [self.producer, self.one, self.two, self.keeper],
            [], {TOPIC: self.log}, {GROUP: []}, {GROUP: self.terms}, 2, {GROUP: 0},
        )  # fmt: skip

    def hand(self, life: Life, number: int, at: int, attempt: int = 1) -> HandOut:
        log, began = self.log[number - 1], at * MS
        one = HandOut(
            life.name, began, began + MS, log.place, attempt, began + LEASE,
            log.sender, log.number, log.sum, True, wall=WALL + began + MS,
        )  # fmt: skip
        life.hand_outs.append(one)
        return one

    def took(self, life: Life, number: int, at: int) -> Settle:
        self.hand(life, number, at)
        return settle(life, self.log[number - 1], (at + 5) * MS)

    def keep(self, how: str, letter: int, at: int, attempts: int, cycles: int) -> Raise:
        place = self.log[1].place
        one = Raise(
            "z.1", how, at * MS, letter, place, attempts, 2, cycles, "p.1", 2, True,
            done=(at + 1) * MS, outcome=0,
        )  # fmt: skip
        self.keeper.raises.setdefault("g", []).append(one)
        return one

    def move(self, number: int, at: int) -> None:
        """Has a message handed out and settled at another time, once."""
        for life in (self.one, self.two):
            life.hand_outs = [one for one in life.hand_outs if one.number != number]
            place = self.log[number - 1].place
            life.settles = [one for one in life.settles if one.place != place]
        self.took(self.two, number, at)

    def letter(self, attempts: int = 4, cycles: int = 1) -> Logged:
        return Logged(
            self.log[1].place, "k", "p.1", 2, 102, True, attempts, failures=2, cycles=cycles
        )

    def kinds(self) -> set[str]:
        return {finding.kind for finding in check(self.story)}


def continuing() -> Kept:
    return Kept(Terms(leases_ms=(1000, 1000)))


def once() -> Kept:
    """The same messages, each handed out once, but for number 2, which was lost with y.1."""
    kept = Kept(Terms(once=True))
    kept.keeper.raises.clear()
    for life in (kept.one, kept.two):
        life.hand_outs = [one for one in life.hand_outs if one.number != 2]
        life.settles.clear()
    kept.story.events.append(Event("kill", 500 * MS, "y.1"))
    return kept


def test_good_histories_pass() -> None:
    assert check(Kept().story) == []
    assert check(continuing().story) == []
    assert check(once().story) == []


def test_a_filter_leaves_out_what_nobody_was_handed() -> None:
    kept = Kept(Terms(holds=True, takes=lambda send: send.kind != "test"))
    assert kept.kinds() == {"filtered"}
    kept.move(7, 220)
    kept.two.hand_outs.pop()
    kept.two.settles.pop()
    assert check(kept.story) == []


def test_what_a_keeper_left_open_is_no_finding() -> None:
    kept = Kept()
    # Killed while it purged: done or not.
    kept.purge.done, kept.purge.outcome = None, 2
    assert check(kept.story) == []
    kept.two.hand_outs.clear()
    kept.two.settles.clear()
    for number in (3, 6, 7):
        kept.sends[number].ttl_ms = 100
    kept.took(kept.one, 1, 100)
    kept.one.hand_outs.pop()
    kept.one.settles.pop()
    kept.story.dead[GROUP] = [kept.letter()]
    assert "letters" not in kept.kinds()


def test_a_gathered_one_may_come_late() -> None:
    kept = Kept()
    late = kept.hand(kept.two, 5, 40)
    late.ended, late.wall, late.deadline = 90 * MS, WALL + 90 * MS, 90 * MS + LEASE
    settle(kept.two, kept.log[4], 95 * MS)
    kept.log[4].key = kept.sends[5].key = "-"
    assert kept.kinds() == {"expired"}
    late.gathered = True
    assert check(kept.story) == []


def test_one_that_was_stopped_may_have_gathered_what_it_tells_nobody_of() -> None:
    kept = Kept()
    kept.one.hand_outs[1:] = []
    kept.one.settles[1:] = []
    kept.keeper.raises.clear()
    for number, at in ((2, 600), (3, 700), (4, 710), (7, 720)):
        kept.move(number, at)
    second = next(one for one in kept.two.hand_outs if one.number == 2)
    second.attempt = 2
    kept.two.settles[-4].attempt = 2
    assert kept.kinds() == {"lost"}
    kept.story.events.append(Event("stop", 120 * MS, "x.1", 580 * MS))
    assert check(kept.story) == []
    kept.story.events[0].until = 200 * MS
    assert kept.kinds() == {"lost"}


def test_a_pause_and_a_death_in_between_are_no_slow_redelivery() -> None:
    kept = Kept()
    kept.story.events.append(Event("kill", 125 * MS, "x.1"))
    kept.one.settles = [one for one in kept.one.settles if one.attempt != 1 or one.how != "n"]
    for life in (kept.one, kept.two):
        life.began = -LEASE
    kept.keeper.raises.clear()
    assert len(figures(kept.story, set()).redeliveries) == 1
    kept.keeper.marks = [(124 * MS, "pauses", "g"), (129 * MS, "resumes", "g")]
    found = figures(kept.story, set())
    assert (found.redeliveries, found.kept_waiting) == ([], 1)


def test_a_death_begins_when_the_kernel_has_ended_the_process() -> None:
    kept = Kept()
    kill = Event("kill", 125 * MS, "x.1")
    kept.story.events.append(kill)
    kept.one.settles = [one for one in kept.one.settles if one.attempt != 1 or one.how != "n"]
    for life in (kept.one, kept.two):
        life.began = -LEASE
    kept.keeper.raises.clear()
    ((took, _),) = figures(kept.story, set()).redeliveries
    kill.until = 127 * MS
    found = figures(kept.story, set())
    assert [ms for ms, _ in found.redeliveries] == [took - 2]
    assert found.ends == [(2, "x.1")]


def one_comes_before_its_time(kept: Kept) -> None:
    kept.move(4, 250)


def one_was_taken_before_its_time(kept: Kept) -> None:
    kept.move(4, 290)
    taken = kept.two.hand_outs[-1]
    taken.ended, taken.wall = 310 * MS, WALL + 310 * MS


def one_comes_after_its_expiry(kept: Kept) -> None:
    kept.log[4].key = kept.sends[5].key = "-"
    kept.move(5, 230)


def one_comes_while_its_key_is_held_by_a_letter(kept: Kept) -> None:
    kept.move(3, 140)


def one_comes_while_its_key_is_held_by_the_second_letter(kept: Kept) -> None:
    kept.move(3, 180)


def one_comes_while_a_redriven_one_is_out(kept: Kept) -> None:
    kept.move(3, 165)


def a_delayed_one_comes_while_its_key_is_out(kept: Kept) -> None:
    kept.two.settles[0].will = kept.two.settles[0].done = 450 * MS
    kept.move(7, 460)
    kept.two.hand_outs[-1].ended += MS


def a_redrive_is_not_known(kept: Kept) -> None:
    kept.keeper.raises["g"].remove(kept.redrive)


def a_redrive_comes_behind_the_hand_out(kept: Kept) -> None:
    kept.redrive.will, kept.redrive.done = 180 * MS, 181 * MS


def cycles_do_not_rise(kept: Kept) -> None:
    kept.purge.cycles = 0


def a_hand_out_is_of_another_cycle(kept: Kept) -> None:
    kept.one.hand_outs[-2].cycle = 5


def a_purged_one_comes_again(kept: Kept) -> None:
    kept.hand(kept.two, 2, 195, 5).deadline = 196 * MS
    settle(kept.two, kept.log[1], 196 * MS, "r", 5)


def a_purged_one_is_dead(kept: Kept) -> None:
    kept.story.dead[GROUP].append(kept.letter())


def a_purged_one_was_acknowledged(kept: Kept) -> None:
    kept.purge.will, kept.purge.done = 400 * MS, 401 * MS
    kept.move(3, 410)
    kept.move(7, 420)
    kept.move(4, 430)
    refused = [one for one in kept.one.settles if one.how == "n"]
    refused[-1].how = "a"


def a_letter_is_redriven_twice(kept: Kept) -> None:
    kept.keep("R", 0, 155, 2, 0)


def a_letter_that_nobody_had_is_refused(kept: Kept) -> None:
    kept.keep("R", 77, 155, 2, 0).outcome = 1


def a_redriven_one_died_too_soon(kept: Kept) -> None:
    kept.one.hand_outs = [one for one in kept.one.hand_outs if one.attempt != 4]
    kept.one.settles = [one for one in kept.one.settles if one.attempt != 4]
    kept.purge.attempts, kept.purge.failures = 3, 1


def a_letter_tells_of_fewer_failures(kept: Kept) -> None:
    kept.redrive.failures = 1


def one_is_handed_out_behind_its_last_failure(kept: Kept) -> None:
    for one in (kept.redrive, kept.purge):
        kept.keeper.raises["g"].remove(one)
    kept.story.dead[GROUP] = [kept.letter(cycles=0)]
    kept.move(3, 500)
    kept.two.hand_outs.pop()
    kept.two.settles.pop()
    kept.sends[3].ttl_ms = 60
    for number in (4, 7):
        kept.log[number - 1].key = kept.sends[number].key = "-"


def failures_do_not_make_it_dead(kept: Kept) -> None:
    kept.keeper.raises["g"].remove(kept.purge)
    kept.hand(kept.one, 2, 180, 5)
    settle(kept.one, kept.log[1], 182 * MS, "a", 5)


def a_redrive_never_ends(kept: Kept) -> None:
    kept.keep("R", 1, 190, 4, 1)
    kept.keeper.raises["g"].remove(kept.purge)
    for number in (3, 4, 7):
        kept.log[number - 1].key = kept.sends[number].key = "-"


def a_redrive_reaches_another_group(kept: Kept) -> None:
    kept.story.terms[OTHER] = Terms(ordering="none")
    kept.story.dead[OTHER] = []
    other = Life("o.1", "consumer", TOPIC, "other", "-", 0)
    kept.story.lives.append(other)
    for number, at in ((1, 50), (2, 60), (3, 70), (4, 400), (5, 30), (6, 80), (7, 90)):
        kept.took(other, number, at)
    again = kept.hand(other, 2, 155, 2)
    again.deadline, again.began = 156 * MS, LEASE * 2
    again.ended, again.wall = LEASE * 2 + MS, WALL + LEASE * 2


BAD: list[tuple[set[str], Callable[[Kept], None]]] = [
    ({"early"}, one_comes_before_its_time),
    ({"early"}, one_was_taken_before_its_time),
    ({"expired"}, one_comes_after_its_expiry),
    ({"reordered"}, one_comes_while_its_key_is_held_by_a_letter),
    ({"reordered"}, one_comes_while_its_key_is_held_by_the_second_letter),
    ({"reordered"}, one_comes_while_a_redriven_one_is_out),
    ({"reordered"}, a_delayed_one_comes_while_its_key_is_out),
    ({"redriven", "letters"}, a_redrive_is_not_known),
    ({"redriven"}, a_redrive_comes_behind_the_hand_out),
    ({"redriven"}, cycles_do_not_rise),
    ({"redriven"}, a_hand_out_is_of_another_cycle),
    ({"redriven"}, a_purged_one_comes_again),
    ({"letters"}, a_purged_one_is_dead),
    ({"letters"}, a_letter_is_redriven_twice),
    ({"letters"}, a_letter_that_nobody_had_is_refused),
    ({"letters"}, a_redriven_one_died_too_soon),
    ({"letters"}, a_letter_tells_of_fewer_failures),
    ({"letters"}, a_purged_one_was_acknowledged),
    ({"letters"}, one_is_handed_out_behind_its_last_failure),
    ({"letters"}, failures_do_not_make_it_dead),
    ({"stranded"}, a_redrive_never_ends),
    ({"duplicated"}, a_redrive_reaches_another_group),
]


def test_a_group_that_hands_out_at_most_once_does_so() -> None:
    kept = once()
    kept.log[2].key = kept.sends[3].key = "-"
    kept.hand(kept.two, 3, 600, 2)
    assert kept.kinds() == {"twice"}


def test_what_is_lost_at_most_once_is_lost_with_a_killed_consumer() -> None:
    kept = once()
    kept.story.events.clear()
    assert kept.kinds() == {"lost"}
    # Killed before it was sent.
    kept.story.events.append(Event("kill", 10 * MS, "y.1"))
    for send in kept.sends.values():
        send.will, send.done = send.will + 90 * MS, send.will + 91 * MS
    assert kept.kinds() == {"lost"}


def test_a_killed_consumer_loses_one_batch_at_most() -> None:
    kept = once()
    for number in range(8, 16):
        message = Logged((0, number), "-", "p.1", number, 100 + number, True)
        kept.log.append(message)
        send = Send("p.1", number, number * MS, "-", message.sum, number * MS + 1000)
        send.place = message.place
        kept.sends[number] = send
    assert [finding.kind for finding in check(kept.story)] == ["lost"]
    kept.log.pop()
    del kept.sends[15]
    assert check(kept.story) == []


def test_what_the_filter_leaves_out_is_handed_to_nobody() -> None:
    kept = Kept(Terms(holds=True, takes=lambda send: send.key == "k"))
    assert kept.kinds() == {"filtered"}


def test_a_partition_keeps_its_order_without_keys() -> None:
    terms = Terms("partition", holds=True, leases_ms=(1000, 1000))
    kept = Kept(terms)
    assert check(kept.story) == []
    kept.move(7, 207)
    assert kept.kinds() == {"reordered"}


def test_a_lane_says_of_which_cycle_it_is() -> None:
    kept = continuing()
    kept.one.hand_outs[-2].cycle = 0
    assert kept.kinds() == {"redriven"}


@pytest.mark.parametrize(("kinds", "spoil"), BAD, ids=[spoil.__name__ for _, spoil in BAD])
def test_a_broken_promise_is_found(kinds: set[str], spoil: Callable[[Kept], None]) -> None:
    kept = Kept()
    spoil(kept)
    assert kept.kinds() == kinds, check(kept.story)
