"""The checker's rules for a group that is sought, on histories that break them, and good ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import sought
from history import Event, HandOut, Life, Logged, Move, Send, Settle, Standing, Story, read_life
from sought import GROUP, NOWHERE, TERMS, TOPIC, Look
from test_checker import MS

MARK = 0x5EED
LEASE = 500 * MS
WALL = 1_000_000_000 * MS
LATER = 1_000


class Sought:
    """Four messages in each of two partitions, and a group that is sought five times.

    From 100 ms on all are taken. At 200 ms it is set back to the earliest message, and all are
    taken again; at 300 ms, of partition 0 alone, to offset 2. At 400 ms a snapshot is taken, after
    offset 2 and before offset 3 was acknowledged; at 500 ms the seek of one that is killed sets all
    to the latest message; at 600 ms the snapshot is sought: there is 0/3 to come.
    """

    def __init__(self) -> None:
        self.producer = Life("p.1", "producer", TOPIC, "-", "-", 0)
        self.one = Life("x.1", "consumer", *GROUP, "-", 0)
        self.two = Life("y.1", "consumer", *GROUP, "-", 0)
        self.killed = Life("z.1", "seeker", TOPIC, "-", "-", 0)
        self.seeker = Life("z.2", "seeker", TOPIC, "-", "-", 550 * MS)
        self.log = []
        for number in range(1, 9):
            place = ((number - 1) // 4, (number - 1) % 4)
            message = Logged(place, f"k{number}", "p.1", number, 100 + number, True)
            send = Send("p.1", number, number * MS, message.key, message.sum, number * MS + 1000)
            send.place, send.wall = place, WALL + send.will
            self.producer.sends[number] = send
            self.log.append(message)
        everywhere = [(partition, offset) for partition in (0, 1) for offset in range(4)]
        self.take(everywhere, 0, 100)
        self.take(everywhere, 1, 220)
        self.take([(0, 2)], 2, 320)
        self.late = self.take([(0, 3)], 2, 410)[0]
        self.again = self.take([(0, 3)], 4, 620)[0]
        first: Standing = ((1, 0), (1, 0))
        second: Standing = ((2, 2), (1, 0))
        third: Standing = ((3, 4), (2, 4))
        self.last: Standing = ((4, 3), (3, 4))
        self.moves = [
            self.move(self.killed, "look", 90, NOWHERE, NOWHERE),
            self.move(self.killed, "earliest", 200, NOWHERE, first),
            self.move(self.killed, "offset", 300, first, second, "2", 0),
            self.move(self.killed, "keep", 400, second, second, "s"),
            self.move(self.killed, "latest", 500, second, None),
            self.move(self.seeker, "look", 560, third, third),
            self.move(self.seeker, "snapshot", 600, third, self.last, "s"),
        ]
        lives = [self.producer, self.one, self.two, self.killed, self.seeker]
        events = [Event("kill", 505 * MS, "z.1")]
        self.story = Story(lives, events, {TOPIC: self.log}, {}, {GROUP: TERMS}, 60_000)

    def message(self, place: tuple[int, int]) -> Logged:
        return self.log[4 * place[0] + place[1]]

    def hand(
        self, life: Life, place: tuple[int, int], epoch: int, at: int, attempt: int = 1
    ) -> HandOut:
        log, began = self.message(place), at * MS
        one = HandOut(
            life.name, began, began + MS, place, attempt, began + LEASE, log.sender, log.number,
            log.sum, True, wall=WALL + began + MS, mark=epoch ^ MARK,
        )  # fmt: skip
        life.hand_outs.append(one)
        return one

    def take(self, places: list[tuple[int, int]], epoch: int, at: int) -> list[Settle]:
        """Each is handed out and acknowledged, in partition 1 by another consumer."""
        acks = []
        for place in places:
            life = self.two if place[0] else self.one
            self.hand(life, place, epoch, at + place[1])
            acks.append(self.settle(life, place, at + 10))
        return acks

    def settle(self, life: Life, place: tuple[int, int], at: int, how: str = "a") -> Settle:
        one = Settle(life.name, how, at * MS, place, 1, 0, (at + 1) * MS, 0)
        life.settles.append(one)
        return one

    def move(
        self, life: Life, what: str, at: int, before: Standing, after: Standing | None,
        name: str = "-", partition: int | None = None,
    ) -> Move:  # fmt: skip
        done = None if after is None else (at + 5) * MS
        one = Move(life.name, what, name, partition, at * MS, before, done, after or ())
        life.moves.append(one)
        return one

    def drop(self, place: tuple[int, int], epoch: int) -> None:
        """Nobody was handed it after that seek."""
        for life in (self.one, self.two):
            gone = [one for one in life.hand_outs if (one.place, one.mark ^ MARK) == (place, epoch)]
            life.hand_outs = [one for one in life.hand_outs if one not in gone]
            times = [one.began for one in gone]
            life.settles = [
                one
                for one in life.settles
                if one.place != place or not any(0 < one.will - time < 50 * MS for time in times)
            ]

    def look(self) -> Look:
        look = Look(self.story, MARK, self.last)
        look.run()
        return look

    def kinds(self) -> set[str]:
        return {finding.kind for finding in self.look().found}


def test_a_good_history_passes_and_is_counted() -> None:
    look = Sought().look()
    assert look.found == []
    counts = look.counts()
    assert (counts["seeks"], counts["seeks to a snapshot"]) == (4, 1)
    assert (counts["seeks cut short"], counts["seeks cut short that happened"]) == (1, 1)


def test_a_seek_that_was_cut_short_may_not_have_happened() -> None:
    some = Sought()
    before = some.moves[3].after
    some.moves[5].before = some.moves[5].after = some.moves[6].before = before
    some.last = some.moves[6].after = ((3, 3), (2, 4))
    some.again.will += MS
    some.one.hand_outs[-1].mark = 3 ^ MARK
    look = some.look()
    assert look.found == []
    assert look.counts()["seeks cut short that happened"] == 0


def test_what_is_open_at_a_seek_is_the_next_ones_and_its_receipt_stale() -> None:
    some = Sought()
    # Taken before the seek, written down and settled after it had returned.
    slow = some.hand(some.two, (1, 3), 0, 199)
    slow.attempt, slow.ended, slow.wall = 2, 206 * MS, WALL + 206 * MS
    some.two.settles = [one for one in some.two.settles if one.place != (1, 3)]
    first = some.settle(some.two, (1, 3), 110, "n")
    assert first.outcome == 0
    some.settle(some.two, (1, 3), 235)
    stale = some.settle(some.two, (1, 3), 210)
    stale.attempt, stale.outcome = 2, 1
    assert some.look().found == []
    stale.outcome = 0
    assert some.kinds() == {"receipts"}


def test_what_expired_need_not_come_again() -> None:
    some = Sought()
    some.drop((0, 3), 4)
    assert some.kinds() == {"lost"}
    some.producer.sends[4].ttl_ms = LATER
    assert some.look().found == []


def nothing_comes_again(some: Sought) -> None:
    some.drop((0, 3), 4)


def what_comes_again_is_not_settled(some: Sought) -> None:
    some.one.settles.remove(some.again)


def one_comes_that_is_before_the_place(some: Sought) -> None:
    some.hand(some.one, (0, 1), 2, 330)


def one_comes_that_was_settled_when_the_snapshot_was_taken(some: Sought) -> None:
    some.hand(some.one, (0, 2), 4, 630)


def one_of_another_partition_comes_with_the_snapshot(some: Sought) -> None:
    some.hand(some.two, (1, 1), 3, 630)


def one_is_handed_out_as_of_before_a_seek_that_returned(some: Sought) -> None:
    some.hand(some.two, (1, 3), 0, 260, 2)
    acks = [one for one in some.two.settles if one.place == (1, 3)]
    acks[0].how = "n"


def one_is_handed_out_as_of_a_seek_that_had_not_begun(some: Sought) -> None:
    again = [one for one in some.two.hand_outs if one.place == (1, 3)][-1]
    again.began, again.ended, again.wall = 180 * MS, 181 * MS, WALL + 181 * MS


def one_is_handed_out_as_of_a_seek_that_nobody_made(some: Sought) -> None:
    some.hand(some.two, (1, 3), 9, 700)


def an_attempt_is_handed_out_twice_after_a_seek(some: Sought) -> None:
    some.hand(some.two, (0, 3), 4, 622)


def a_lease_is_robbed_after_a_seek(some: Sought) -> None:
    some.hand(some.two, (0, 3), 4, 624, 2)
    some.again.outcome, some.again.done = 2, None


def attempts_are_unseen_after_a_seek(some: Sought) -> None:
    again = [one for one in some.two.hand_outs if one.place == (1, 0)][-1]
    acks = [one for one in some.two.settles if one.place == (1, 0)]
    again.attempt = acks[-1].attempt = 3


def a_key_overtakes_after_a_seek(some: Sought) -> None:
    for number in (7, 8):
        some.log[number - 1].key = some.producer.sends[number].key = "k"


def a_half_of_a_seek_happened(some: Sought) -> None:
    some.moves[5].before = some.moves[5].after = some.moves[6].before = ((3, 4), (1, 0))
    some.last = some.moves[6].after = ((4, 3), (2, 4))


def a_seek_went_elsewhere(some: Sought) -> None:
    some.moves[2].name = "3"


def a_seek_of_one_partition_moves_both(some: Sought) -> None:
    some.moves[1].partition = 0


def it_stands_elsewhere_at_the_end(some: Sought) -> None:
    some.last = ((4, 3), (3, 2))


def the_latest_is_not_behind_all(some: Sought) -> None:
    third: Standing = ((3, 3), (2, 4))
    some.moves[5].before = some.moves[5].after = some.moves[6].before = third


def the_latest_is_behind_what_was_sent_later(some: Sought) -> None:
    some.moves[4].done = 505 * MS
    some.moves[4].after = some.moves[5].before
    some.producer.sends[8].will = 510 * MS
    some.producer.sends[8].done = 511 * MS


def a_time_is_behind_what_was_sent_since(some: Sought) -> None:
    some.moves[4].what, some.moves[4].name = "time", str(WALL + 2 * MS - 20 * MS)


def other_bytes_come_again(some: Sought) -> None:
    some.one.hand_outs[-1].sum = 1


BAD: list[tuple[set[str], Callable[[Sought], None]]] = [
    ({"lost"}, nothing_comes_again),
    ({"stranded"}, what_comes_again_is_not_settled),
    ({"sought"}, one_comes_that_is_before_the_place),
    ({"sought"}, one_comes_that_was_settled_when_the_snapshot_was_taken),
    ({"sought"}, one_of_another_partition_comes_with_the_snapshot),
    ({"sought"}, one_is_handed_out_as_of_before_a_seek_that_returned),
    ({"sought"}, one_is_handed_out_as_of_a_seek_that_had_not_begun),
    ({"sought"}, one_is_handed_out_as_of_a_seek_that_nobody_made),
    ({"duplicated"}, an_attempt_is_handed_out_twice_after_a_seek),
    ({"robbed"}, a_lease_is_robbed_after_a_seek),
    ({"lost"}, attempts_are_unseen_after_a_seek),
    ({"reordered"}, a_key_overtakes_after_a_seek),
    ({"sought"}, a_half_of_a_seek_happened),
    ({"sought"}, a_seek_went_elsewhere),
    ({"sought"}, a_seek_of_one_partition_moves_both),
    ({"sought"}, it_stands_elsewhere_at_the_end),
    ({"sought"}, the_latest_is_not_behind_all),
    ({"sought"}, the_latest_is_behind_what_was_sent_later),
    ({"sought"}, a_time_is_behind_what_was_sent_since),
    ({"invented"}, other_bytes_come_again),
]


@pytest.mark.parametrize(("kinds", "spoil"), BAD, ids=[spoil.__name__ for _, spoil in BAD])
def test_a_broken_promise_is_found(kinds: set[str], spoil: Callable[[Sought], None]) -> None:
    some = Sought()
    spoil(some)
    look = some.look()
    assert {finding.kind for finding in look.found} == kinds, look.found


def test_moves_are_read_as_they_are_written(tmp_path: Path) -> None:
    path = tmp_path / "z.1.log"
    path.write_text(
        "B 1 seeker again - - 77\nZ 2 sought offset 5 1 0/0,2/7\nz 3 sought 0/0,3/5\n"
        "Z 4 sought keep s - 0/0,3/5\n"
    )
    life = read_life(path)
    before: Standing = ((0, 0), (2, 7))
    first = Move("z.1", "offset", "5", 1, 2, before, 3, ((0, 0), (3, 5)))
    assert life.moves[0] == first
    assert life.moves[1] == replace(
        first, what="keep", name="s", partition=None, will=4, before=first.after, done=None,
        after=(),
    )  # fmt: skip


def test_a_meta_file_says_where_a_group_stands(tmp_path: Path) -> None:
    folder = tmp_path / "topics" / TOPIC / "groups" / sought.NAME
    folder.mkdir(parents=True)
    path = folder / "group.meta"
    path.write_text("libqueue group 1\nid=00000001000000ff\ncrc=0\n")
    assert (sought.standing_of(tmp_path), sought.mark_of(tmp_path)) == (NOWHERE, 255)
    path.write_text("libqueue group 1\nid=00000001000000ff\nsought=3/7/1 4/0/9/17/s\n")
    assert sought.standing_of(tmp_path) == ((3, 7), (4, 0))
