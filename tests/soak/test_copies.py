"""The rules for backups, on histories that break them, and good ones."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import exact
import pytest
from copies import Copy, Standing, check, check_copies, read_copies
from evidence import Finding
from history import HandOut, Life, Logged, Send, Settle, Story, Terms
from plan import GROUPS
from test_checker import MS

GROUP = next(group for group, plan in GROUPS.items() if not plan.once)
ONCE = next(group for group, plan in GROUPS.items() if plan.once)


def standing(floor: int, end: int, *open: int) -> Standing:
    return Standing(floor, end, frozenset(open))


class Taken:
    """Four messages of a topic, sent and acknowledged one each 10 ms; a backup at 25 ms to 27 ms.

    In it 0 and 1 are settled, 2 is out, and 3 was not sent yet. Of the orders 0 was moved on.
    """

    def __init__(self, group: tuple[str, str] = GROUP) -> None:
        self.producer = Life("p.1", "producer", group[0], "-", "-", 0)
        self.consumer = Life("x.1", "consumer", *group, "-", 0)
        self.copier = Life("c.1", "copier", "strict", "-", "-", 0)
        self.copier.marks = [(25 * MS, "copies", "-"), (27 * MS, "copied", "-")]
        log = []
        for number in range(4):
            send = Send("p.1", number, (10 * number + 1) * MS, "-", number, (10 * number + 2) * MS)
            send.place = (0, number)
            self.producer.sends[number] = send
            log.append(Logged(send.place, "-", "p.1", number, number, True))
            self.take(number, 10 * number + 4)
        terms = Terms(leases_ms=(1000, 1000), once=group == ONCE)
        self.story = Story(
            [self.producer, self.consumer, self.copier], [], {group[0]: log}, {group: []},
            {group: terms}, 4,
        )  # fmt: skip
        self.copy = Copy(
            "c.1", 25 * MS, 27 * MS, [], [], 0, {group[0]: [3], exact.ORDERS: [2]},
            {group: [standing(2, 3, 2)], exact.SOURCE: [standing(1, 2, 1)]}, ["0/0"],
            {"till": (3, 3)}, [],
        )  # fmt: skip
        self.group = group

    def take(self, number: int, at: int) -> None:
        hand_out = HandOut("x.1", at * MS, (at + 1) * MS, (0, number), 1, 1 << 60, "p.1", number,
                           number, True)  # fmt: skip
        self.consumer.hand_outs.append(hand_out)
        one = Settle("x.1", "a", (at + 2) * MS, (0, number), 1, 0, (at + 3) * MS, 0)
        self.consumer.settles.append(one)

    def stand(self, floor: int, end: int, *open: int) -> None:
        self.copy.standings[self.group] = [standing(floor, end, *open)]

    def find(self) -> list[Finding]:
        return check_copies(self.story, [self.copy])

    def kinds(self) -> set[str]:
        return {finding.kind for finding in self.find()}


def test_good_histories_pass() -> None:
    good = Taken()
    assert good.find() == []
    # What was settled, sent or moved on meanwhile is in it or not.
    good.copy.began = 13 * MS
    good.stand(0, 3, 0, 1, 2)
    assert good.kinds() == {"stranded"}
    good.stand(1, 3, 1, 2)
    assert good.find() == []
    good.copy.ends[GROUP[0]] = [2]
    assert good.find() == []


def test_a_group_that_hands_out_at_most_once_has_settled_what_it_handed_over() -> None:
    good = Taken(ONCE)
    good.stand(3, 3)
    assert good.find() == []
    good.copy.began = 26 * MS
    good.stand(2, 3, 2)
    assert good.kinds() == {"stranded"}
    good.story.lives[1].hand_outs[2].began = good.copy.ended + 1
    good.story.lives[1].hand_outs[2].ended = good.copy.ended + MS
    good.stand(3, 3)
    assert good.kinds() == {"lost"}


def it_is_damaged(bad: Taken) -> None:
    bad.copy.damage.append("a file: what is wrong with it")


def one_that_was_cut_short_is_left(bad: Taken) -> None:
    bad.copy.left.append(".copy-c60.backup")


def somebody_has_a_lease(bad: Taken) -> None:
    bad.copy.leased = 1


def what_had_been_sent_is_not_in_it(bad: Taken) -> None:
    bad.copy.ends[bad.group[0]] = [2]


def what_was_sent_later_is_in_it(bad: Taken) -> None:
    bad.copy.ends[bad.group[0]] = [4]


def what_had_been_settled_is_to_come(bad: Taken) -> None:
    bad.stand(1, 3, 1, 2)


def what_was_out_is_settled(bad: Taken) -> None:
    bad.story.lives[1].settles[2].will = 28 * MS
    bad.stand(3, 3)


def an_order_is_settled_and_not_moved(bad: Taken) -> None:
    bad.copy.moved.clear()


def an_order_is_moved_and_not_settled(bad: Taken) -> None:
    bad.copy.moved.append("0/1")


def an_order_is_moved_twice(bad: Taken) -> None:
    bad.copy.moved.append("0/0")


def a_sequence_is_forgotten(bad: Taken) -> None:
    bad.copy.sequences["till"] = (2, 3)


def an_id_is_forgotten(bad: Taken) -> None:
    bad.copy.forgotten.append("s30 1")


BAD: list[tuple[set[str], Callable[[Taken], None]]] = [
    ({"damaged"}, it_is_damaged),
    ({"damaged"}, one_that_was_cut_short_is_left),
    ({"robbed"}, somebody_has_a_lease),
    ({"lost"}, what_had_been_sent_is_not_in_it),
    ({"invented"}, what_was_sent_later_is_in_it),
    ({"stranded"}, what_had_been_settled_is_to_come),
    ({"lost"}, what_was_out_is_settled),
    ({"lost"}, an_order_is_settled_and_not_moved),
    ({"duplicated"}, an_order_is_moved_and_not_settled),
    ({"duplicated"}, an_order_is_moved_twice),
    ({"exact"}, a_sequence_is_forgotten),
    ({"exact"}, an_id_is_forgotten),
]


@pytest.mark.parametrize(("kinds", "spoil"), BAD, ids=[spoil.__name__ for _, spoil in BAD])
def test_a_broken_promise_is_found(kinds: set[str], spoil: Callable[[Taken], None]) -> None:
    bad = Taken()
    spoil(bad)
    assert bad.kinds() == kinds, bad.find()


def test_lines_are_read_as_they_are_written(tmp_path: Path) -> None:
    good = Taken()
    said = {
        "began": 25 * MS, "ended": 27 * MS, "left": [], "damage": [], "leased": 0,
        "ends": good.copy.ends, "moved": ["0/0"], "sequences": {"till": (3, 3)}, "forgotten": [],
        "standings": {"/".join(GROUP): [(2, 3, [2])], "/".join(exact.SOURCE): [(1, 2, [1])]},
    }  # fmt: skip
    (tmp_path / "c.1.copies").write_text(json.dumps(said) + "\n" + '{"began": 3')
    assert read_copies(tmp_path) == [good.copy]
    found, counts = check(good.story, tmp_path)
    assert (found, list(counts.values())) == ([], [1, 0])
