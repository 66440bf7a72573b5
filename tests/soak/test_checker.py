"""The checker on histories that are bad in one way each; and on a good one, which passes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from checker import check
from evidence import SLACK_NS
from figures import figures, overdue
from history import Event, HandOut, Life, Logged, Send, Settle, Story, Terms, read_life
from order import OVERLOOKED_NS

MS = 1_000_000
LEASE = 1000 * MS
TOPIC, GROUP = "t", ("t", "g")


def hand_out(life: Life, log: Logged, began: int, attempt: int = 1) -> HandOut:
    """The message reaches the life, within one millisecond."""
    one = HandOut(
        life.name, began, began + MS, log.place, attempt, began + LEASE,
        log.sender, log.number, log.sum, True,
    )  # fmt: skip
    life.hand_outs.append(one)
    return one


def settle(life: Life, log: Logged, will: int, how: str = "a", attempt: int = 1) -> Settle:
    one = Settle(life.name, how, will, log.place, attempt, 0, will + MS, 0)
    life.settles.append(one)
    return one


class Small:
    """Six messages of one producer and key, each acknowledged in its turn but for two.

    Number 4 was refused twice and is a dead letter; number 5 was held by a consumer that was killed
    at 500 ms, and came to the other one.
    """

    def __init__(self) -> None:
        self.producer = Life("p.1", "producer", TOPIC, "-", "-", 0)
        self.killed = Life("x.1", "consumer", TOPIC, "g", "-", 0)
        self.other = Life("y.1", "consumer", TOPIC, "g", "-", 0)
        self.log = [Logged((0, 10 + i), "k", "p.1", i, 100 + i, True) for i in range(1, 7)]
        for i, message in enumerate(self.log):
            send = Send("p.1", message.number, i * MS, "k", message.sum, i * MS + 1000)
            send.place = message.place
            self.producer.sends[message.number] = send
        for i, message in enumerate(self.log[:3]):
            hand_out(self.killed, message, (100 + 10 * i) * MS)
            settle(self.killed, message, (105 + 10 * i) * MS)
        refused, held, last = self.log[3:]
        for attempt in (1, 2):
            hand_out(self.killed, refused, (200 + attempt * 20) * MS, attempt)
            settle(self.killed, refused, (210 + attempt * 20) * MS, "n", attempt)
        hand_out(self.killed, held, 490 * MS)
        hand_out(self.other, held, 520 * MS, 2)
        settle(self.other, held, 525 * MS, "a", 2)
        hand_out(self.other, last, 530 * MS)
        settle(self.other, last, 535 * MS)
        letter = Logged(refused.place, "k", "p.1", 4, 104, True, attempts=2, failures=2)
        self.story = Story(
            [self.producer, self.killed, self.other],
            [Event("kill", 500 * MS, "x.1", lock="append/0")],
            {TOPIC: self.log}, {GROUP: [letter]}, {GROUP: Terms()}, 2, {GROUP: 0},
        )  # fmt: skip

    def kinds(self) -> set[str]:
        return {finding.kind for finding in check(self.story)}


def test_a_good_history_passes() -> None:
    assert check(Small().story) == []


def a_sent_message_is_not_in_the_log(small: Small) -> None:
    small.producer.sends[7] = Send("p.1", 7, 900 * MS, "k", 107, 901 * MS, (0, 17))


def a_sent_message_is_elsewhere(small: Small) -> None:
    small.producer.sends[6].place = (0, 99)


def a_message_reaches_nobody(small: Small) -> None:
    small.other.hand_outs.pop()
    small.other.settles.pop()


def a_hand_out_is_unseen_though_nobody_died(small: Small) -> None:
    small.other.hand_outs[1].attempt = 3
    small.other.settles[1].attempt = 3


def a_message_is_twice_in_the_log(small: Small) -> None:
    again = Logged((0, 17), "k", "p.1", 6, 106, True)
    small.log.append(again)
    hand_out(small.other, again, 600 * MS)
    settle(small.other, again, 605 * MS)


def an_attempt_is_handed_out_twice(small: Small) -> None:
    hand_out(small.other, small.log[4], 521 * MS, 2)


def an_acknowledged_message_comes_again(small: Small) -> None:
    # Late enough for the lease, so that only the acknowledgement speaks against it.
    hand_out(small.other, small.log[5], 530 * MS + 2 * LEASE, 2)


def the_log_has_what_nobody_sent(small: Small) -> None:
    del small.producer.sends[6]


def the_log_has_other_bytes(small: Small) -> None:
    small.producer.sends[6].sum = 1


def a_consumer_gets_other_bytes(small: Small) -> None:
    small.other.hand_outs[1].whole = False


def a_consumer_gets_what_is_not_in_the_log(small: Small) -> None:
    stranger = Logged((0, 50), "k", "p.1", 50, 150, True)
    hand_out(small.other, stranger, 600 * MS)


def a_producers_order_is_lost(small: Small) -> None:
    first, second = small.producer.sends[1], small.producer.sends[2]
    first.place, second.place = second.place, first.place
    # All other evidence agrees: one call sent both.
    first.will = second.will
    first.done = second.done
    places = [message.place for message in small.log]
    small.log[0].place, small.log[1].place = places[1], places[0]
    for life in small.story.lives:
        life.hand_outs = [one for one in life.hand_outs if one.number > 2]
        life.settles = [one for one in life.settles if one.place not in places[:2]]
    for i in (1, 0):
        hand_out(small.killed, small.log[i], (60 - 20 * i) * MS)
        settle(small.killed, small.log[i], (65 - 20 * i) * MS)


def a_later_send_stands_before_an_earlier_one(small: Small) -> None:
    other = Life("q.1", "producer", TOPIC, "-", "-", 0)
    send = small.producer.sends.pop(1)
    send.life, send.will, send.done = "q.1", 90 * MS, 91 * MS
    other.sends[1] = send
    small.log[0].sender = "q.1"
    small.killed.hand_outs[0].sender = "q.1"
    small.story.lives.append(other)


def a_key_overtakes(small: Small) -> None:
    one = small.other.hand_outs[1]
    one.began, one.ended = 522 * MS, 523 * MS


def a_key_falls_behind(small: Small) -> None:
    hand_out(small.other, small.log[4], 540 * MS + LEASE, 3)
    small.other.settles[0].outcome, small.other.settles[0].done = 2, None
    settle(small.other, small.log[4], 545 * MS + LEASE, "a", 3)


def a_message_is_never_settled(small: Small) -> None:
    small.other.settles.pop()


def a_group_lags_at_the_end(small: Small) -> None:
    small.story.lag[GROUP] = 1


def a_message_is_overlooked(small: Small) -> None:
    small.log[5].key = small.producer.sends[6].key = "-"
    for one in small.other.hand_outs[1:]:
        one.began, one.ended = one.began + 2 * OVERLOOKED_NS, one.ended + 2 * OVERLOOKED_NS
    for call in small.other.settles[1:]:
        call.will, call.done = call.will + 2 * OVERLOOKED_NS, (call.done or 0) + 2 * OVERLOOKED_NS
    later = Logged((0, 17), "-", "p.1", 7, 107, True)
    small.producer.sends[7] = Send("p.1", 7, 9 * MS, "-", 107, 10 * MS, later.place)
    small.log.append(later)
    hand_out(small.other, later, 600 * MS + OVERLOOKED_NS)
    settle(small.other, later, 605 * MS + OVERLOOKED_NS)


def a_lease_is_robbed(small: Small) -> None:
    small.story.events.clear()


def a_lease_is_robbed_before_it_ended(small: Small) -> None:
    small.story.events.clear()
    small.killed.hand_outs[-1].deadline = 521 * MS + 2 * SLACK_NS


def an_extended_lease_is_robbed(small: Small) -> None:
    small.story.events.clear()
    small.killed.hand_outs[-1].deadline = 510 * MS
    extend = settle(small.killed, small.log[4], 500 * MS, "x")
    extend.extension_ms = 1000


def a_stale_receipt_settles(small: Small) -> None:
    settle(small.killed, small.log[4], 522 * MS, "r")


def a_good_receipt_is_stale(small: Small) -> None:
    small.other.settles[1].outcome = 1
    settle(small.other, small.log[5], 540 * MS + LEASE)


def a_message_is_settled_twice(small: Small) -> None:
    settle(small.other, small.log[5], 540 * MS)


def a_dead_letter_was_acknowledged(small: Small) -> None:
    small.killed.settles[4].how = "a"


def a_dead_letter_is_there_twice(small: Small) -> None:
    small.story.dead[GROUP].append(small.story.dead[GROUP][0])


def a_dead_letter_failed_too_seldom(small: Small) -> None:
    small.story.dead[GROUP][0].failures = 1


def a_dead_letter_failed_too_often(small: Small) -> None:
    small.story.dead[GROUP][0].failures = 3
    small.story.dead[GROUP][0].attempts = 3


def a_dead_letter_of_nothing(small: Small) -> None:
    small.story.dead[GROUP].append(Logged((0, 99), "k", "p.1", 99, 1, True, 2, 2))


BAD: list[tuple[str, Callable[[Small], None]]] = [
    ("lost", a_sent_message_is_not_in_the_log),
    ("lost", a_sent_message_is_elsewhere),
    ("lost", a_message_reaches_nobody),
    ("lost", a_hand_out_is_unseen_though_nobody_died),
    ("duplicated", a_message_is_twice_in_the_log),
    ("duplicated", an_attempt_is_handed_out_twice),
    ("duplicated", an_acknowledged_message_comes_again),
    ("invented", the_log_has_what_nobody_sent),
    ("invented", the_log_has_other_bytes),
    ("invented", a_consumer_gets_other_bytes),
    ("invented", a_consumer_gets_what_is_not_in_the_log),
    ("reordered", a_producers_order_is_lost),
    ("reordered", a_later_send_stands_before_an_earlier_one),
    ("reordered", a_key_overtakes),
    ("reordered", a_key_falls_behind),
    ("stranded", a_message_is_never_settled),
    ("stranded", a_group_lags_at_the_end),
    ("overlooked", a_message_is_overlooked),
    ("robbed", a_lease_is_robbed),
    ("robbed", a_lease_is_robbed_before_it_ended),
    ("robbed", an_extended_lease_is_robbed),
    ("receipts", a_stale_receipt_settles),
    ("receipts", a_good_receipt_is_stale),
    ("receipts", a_message_is_settled_twice),
    ("letters", a_dead_letter_was_acknowledged),
    ("letters", a_dead_letter_is_there_twice),
    ("letters", a_dead_letter_failed_too_seldom),
    ("letters", a_dead_letter_failed_too_often),
    ("invented", a_dead_letter_of_nothing),
]


@pytest.mark.parametrize(("kind", "spoil"), BAD, ids=[spoil.__name__ for _, spoil in BAD])
def test_a_bad_history_is_found(kind: str, spoil: Callable[[Small], None]) -> None:
    small = Small()
    spoil(small)
    assert small.kinds() == {kind}, check(small.story)


def test_one_that_was_starting_when_all_were_killed_is_dead() -> None:
    small = Small()
    # Its first line is younger than the beginning of the end of all.
    small.killed.began = 95 * MS
    small.story.events[:] = [Event("all", 90 * MS, until=500 * MS)]
    small.other.began = 501 * MS
    assert "x.1" in small.story.deaths()
    assert "robbed" not in small.kinds()


def test_what_a_death_leaves_open_is_no_finding() -> None:
    small = Small()
    # A send that did not return, with its message in the log or not.
    small.producer.sends[6].done = small.producer.sends[6].place = None
    small.producer.sends[7] = Send("p.1", 7, 900 * MS, "k", 107)
    # A hand-out that a killed consumer could not write down.
    small.other.hand_outs[0].attempt = small.other.settles[0].attempt = 3
    second = Life("z.1", "consumer", TOPIC, "g", "-", 0)
    small.story.lives.append(second)
    small.story.events.append(Event("kill", 510 * MS, "z.1"))
    # A settle in which the process died.
    last = settle(small.killed, small.log[4], 499 * MS)
    last.done, last.outcome = None, 2
    assert check(small.story) == []


def test_leases_of_stopped_processes_end_by_time() -> None:
    small = Small()
    small.story.events.clear()
    small.killed.hand_outs[-1].deadline = 515 * MS
    late = settle(small.killed, small.log[4], 900 * MS)
    late.outcome = 1
    assert check(small.story) == []


def test_what_is_gathered_when_the_machine_stalls_may_be_lost() -> None:
    small = Small()
    a_hand_out_is_unseen_though_nobody_died(small)
    before, after = small.other.hand_outs[0].began, small.other.hand_outs[1].ended
    small.story.events.append(Event("stall", before, until=before + 99 * MS))
    assert small.kinds() == {"lost"}, "too short to cost a lease"
    small.story.events.append(Event("stall", after - 120 * MS, until=after))
    assert small.kinds() == set()


def test_redelivery_and_stalls_are_measured() -> None:
    small = Small()
    small.story.events[0].time = 510 * MS
    send = small.producer.sends[6]
    send.will, send.done = 505 * MS, 514 * MS
    found = figures(small.story, set())
    assert [time for time, _ in found.redeliveries] == [11.0], (
        "taken at 490, its holder killed at 510, there at 521"
    )
    assert [stall for stall, _ in found.stalls] == [4.0]
    small.story.events[0].lock = "window/0"
    other = figures(small.story, set())
    assert (other.stalls[0][0], other.other_stalls) == (0, [4.0]), "a send needs no window"
    assert figures(small.story, {TOPIC}).stalls[0][0] == 0, "who waits for the disk does not stall"


def test_a_stopped_process_neither_stalls_nor_redelivers() -> None:
    small = Small()
    small.story.events[0].time = 510 * MS
    for name in ("p.1", "y.1"):
        small.story.events.append(Event("stop", 508 * MS, name, until=600 * MS))
    small.producer.sends[6].will, small.producer.sends[6].done = 505 * MS, 514 * MS
    found = figures(small.story, set())
    assert (found.redeliveries, [stall for stall, _ in found.stalls]) == ([], [0.0])


def test_what_takes_far_too_long_is_found() -> None:
    small = Small()
    assert overdue(figures(small.story, set())) == []
    small.other.hand_outs[0].ended = 1501 * MS
    send = small.producer.sends[6]
    send.will, send.done = 499 * MS, 2501 * MS
    found = overdue(figures(small.story, set()))
    assert [text.split(":")[0] for text in found] == [
        "a live process stalled",
        "a dead consumer's message was redelivered late",
    ]


def test_who_waits_for_the_disk_does_not_redeliver() -> None:
    small = Small()
    small.story.events[0].time = 510 * MS
    letter = settle(small.other, small.log[3], 505 * MS, "n", 2)
    letter.done = 518 * MS
    found = figures(small.story, set())
    assert (found.redeliveries, found.kept_waiting) == ([], 1)


def test_a_half_line_is_dropped(tmp_path: Path) -> None:
    path = tmp_path / "c.1.log"
    path.write_text(
        "B 1 consumer t g - 77\nG 2 3 0 5 1 900 p.1 8 0000000a 1 0 0 0 7 9\n"
        "V 4 a 0 5 1 0\nD 5 a 0 5 1 0\nV 6"
    )
    life = read_life(path)
    assert (life.name, life.role, life.group) == ("c.1", "consumer", "g")
    assert [(one.place, one.sum, one.whole) for one in life.hand_outs] == [((0, 5), 10, True)]
    assert [(one.how, one.will, one.done, one.outcome) for one in life.settles] == [("a", 4, 5, 0)]
