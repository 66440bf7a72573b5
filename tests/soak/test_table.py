"""The rules for a table that is compacted, on histories that break them, and good ones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import libqueue
import pytest
import table
from evidence import Finding
from history import HandOut, Life, Send, Settle, Story, whole_lines
from table import GRACE_NS, Look, Put, Scan
from test_checker import MS


class Table:
    """Key `k` is written at 0, 2 and 4, `t1` at 1 and ended at 3, and 5 has no key.

    It is read twice: then all but 0 is there; and behind the grace time, when 1, 2 and 3 are gone.
    """

    def __init__(self) -> None:
        keys = ["k", "t1", "k", "t1", "k", "-"]
        self.puts = [
            Put("p.1", number, key, number * MS, number * MS + 1000, (0, number))
            for number, key in enumerate(keys)
        ]
        self.puts[3].ends = True
        rows = [(number, key) for number, key in enumerate(keys)]
        later = 10 * MS + GRACE_NS
        self.first = Scan(10 * MS, 11 * MS, {0: rows[1:], 1: []})
        self.second = Scan(later, later + MS, {0: rows[4:], 1: []})

    def find(self) -> list[Finding]:
        return Look(self.puts, [self.first, self.second]).run()

    def kinds(self) -> set[str]:
        return {finding.kind for finding in self.find()}


def test_good_histories_pass() -> None:
    good = Table()
    assert good.find() == []
    # What was being written, and what was written later, need not be there.
    good.puts.append(Put("p.1", 6, "k", 9 * MS))
    good.puts.append(Put("p.1", 7, "new", 10 * MS, 20 * MS + GRACE_NS, (1, 0)))
    assert good.find() == []
    # One that was cut short may have ended a key, once the grace time is over.
    good.puts.append(Put("p.2", 1, "k", 8 * MS, ends=True))
    good.second.rows[0].remove((4, "k"))
    assert good.find() == []
    good.puts[-1].will = 12 * MS
    assert good.kinds() == {"lost"}


def test_a_reading_ends_before_a_batch_that_is_being_copied() -> None:
    def cut(copied: Put) -> set[str]:
        one = Table()
        # It was read up to there, though 4 and 5 had been sent.
        one.first.rows[0] = one.first.rows[0][:2]
        one.puts[3] = copied
        return {finding.kind for finding in Look(one.puts, [one.first]).run()}

    def put(will: int, **fields: Any) -> Put:
        return Put("p.1", 3, "k", will, copied=True, **fields)

    assert cut(put(3 * MS, done=12 * MS, place=(0, 3))) == set()
    assert cut(put(3 * MS, done=9 * MS, place=(0, 3))) == {"lost"}
    assert cut(put(11 * MS, done=12 * MS, place=(0, 3))) == {"lost"}
    assert cut(put(3 * MS, done=12 * MS, place=(0, 4))) == set(), "3 is nobody's then"
    assert cut(put(3 * MS, done=12 * MS, place=(1, 3))) == {"lost"}
    assert cut(put(3 * MS, done=12 * MS, place=(0, 5))) == {"lost"}
    # Of one that never returned it is not known where it was, but behind what was sent before; nor
    # after how long it was ended.
    assert cut(put(3 * MS)) == set()
    assert cut(put(3 * MS, dead=11 * MS)) == set()
    assert cut(put(3 * MS, dead=9 * MS)) == {"lost"}
    assert cut(put(5 * MS)) == {"lost"}, "4 had been sent before"
    none = Table()
    none.puts[3] = put(3 * MS)
    none.first.rows[0] = []
    assert {one.kind for one in Look(none.puts, [none.first]).run()} == {"lost"}
    none.first = Scan(10 * MS, 11 * MS, {0: [(1, "t1"), (2, "k")], 1: []}, last=True)
    assert {one.kind for one in Look(none.puts, [none.first]).run()} == {"lost"}


def test_only_large_batches_are_copied() -> None:
    sends = [Send("p.1", number, MS, "k", 0, 2 * MS, (0, number), 8000) for number in range(4)]
    assert all(put.copied for put in table.puts_of(sends, {}))
    assert not any(put.copied for put in table.puts_of(sends[:3], {}))
    sends[3].done = None
    assert not any(put.copied for put in table.puts_of(sends, {"p.1": 3 * MS}))


def the_last_of_a_key_is_gone(bad: Table) -> None:
    bad.second.rows[0].remove((4, "k"))


def what_has_no_key_is_gone(bad: Table) -> None:
    bad.second.rows[0].remove((5, "-"))


def a_tombstone_goes_too_soon(bad: Table) -> None:
    bad.first.rows[0] = bad.first.rows[0][3:]


def what_was_gone_comes_back(bad: Table) -> None:
    bad.second.rows[0].insert(0, (0, "k"))


def what_was_ended_comes_back(bad: Table) -> None:
    bad.first.rows[0].remove((3, "t1"))
    bad.puts[3].will -= GRACE_NS
    bad.second.rows[0].insert(0, (1, "t1"))


def offsets_do_not_rise(bad: Table) -> None:
    bad.first.rows[0].reverse()


def a_key_is_another(bad: Table) -> None:
    bad.first.rows[0][0] = (1, "k")


BAD: list[tuple[set[str], Callable[[Table], None]]] = [
    ({"lost"}, the_last_of_a_key_is_gone),
    ({"lost"}, what_has_no_key_is_gone),
    ({"lost"}, a_tombstone_goes_too_soon),
    ({"returned"}, what_was_gone_comes_back),
    ({"returned"}, what_was_ended_comes_back),
    ({"reordered"}, offsets_do_not_rise),
    ({"invented"}, a_key_is_another),
]


@pytest.mark.parametrize(("kinds", "spoil"), BAD, ids=[spoil.__name__ for _, spoil in BAD])
def test_a_broken_promise_is_found(kinds: set[str], spoil: Callable[[Table], None]) -> None:
    bad = Table()
    spoil(bad)
    assert bad.kinds() == kinds, bad.find()


def test_what_is_there_is_what_was_sent_there() -> None:
    puts: dict[object, Put] = {("p.1", 1): Put("p.1", 1, "k", 0, 1, (0, 1))}
    assert table.check_whose([((0, 1), ("p.1", 1))], [], puts) == []
    for whose, bad, kind in (
        ([((0, 2), ("p.1", 1))], [], "invented"),
        ([((0, 1), ("p.1", 2))], [], "invented"),
        ([((0, 1), ("p.1", 1))], [(0, 1)], "invented"),
    ):
        assert {one.kind for one in table.check_whose(whose, bad, puts)} == {kind}
    twice = [((0, 1), ("p.1", 1)), ((0, 2), ("p.1", 1))]
    assert "duplicated" in {one.kind for one in table.check_whose(twice, [], puts)}


def test_scans_are_read_as_they_are_written(tmp_path: Path) -> None:
    scan = Scan(1, 2, {0: [(3, "k"), (5, "-")], 1: []})
    path = tmp_path / "s.1.scans"
    path.write_text(table.write_scan(scan) + table.write_scan(Scan(7, 8, {0: []})))
    assert table.read_scans(tmp_path) == [scan]
    assert len(list(whole_lines(path))) == 3


def story_of(life: Life) -> Story:
    """One producer put one message there, which one consumer took, if `life` has it."""
    producer = Life("p.1", "producer", table.TOPIC, "bulky", "-", 0)
    producer.sends[1] = Send("p.1", 1, MS, "k", 0x5EED, 2 * MS, (0, 0))
    return Story([producer, life], [], {}, {}, {table.GROUP: table.TERMS}, 4)


def test_a_group_misses_nothing_that_compaction_took(tmp_path: Path) -> None:
    with libqueue.open(tmp_path / "store") as store:
        table.lay_out(store)
        life = Life("x.1", "consumer", *table.GROUP, "-", 0)
        story = story_of(life)
        # It was compacted away: nothing behind it is there, and nobody was handed it.
        kinds = [one.kind for one in table.check(story, tmp_path, store)[0]]
        assert sorted(kinds) == ["lost", "lost"]
        one = HandOut("x.1", 3 * MS, 4 * MS, (0, 0), 1, 504 * MS, "p.1", 1, 0x5EED, True)
        life.hand_outs.append(one)
        life.settles.append(Settle("x.1", "a", 5 * MS, (0, 0), 1, 0, 6 * MS, 0))
        kinds = [one.kind for one in table.check(story, tmp_path, store)[0]]
        assert kinds == ["lost"]
        (tmp_path / "e.1.ender").write_text("W 3 1 k t\n")
        assert table.check(story, tmp_path, store)[0] == []
