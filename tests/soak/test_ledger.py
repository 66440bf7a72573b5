"""The rules for named producers and the inbox, on histories that break them, and good ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import ledger
import libqueue
import pytest
from evidence import Finding
from ledger import Booked, Look, Opening, Sending


class Books:
    """`a` sends 1 to 3 as till, and dies in 4; `b` opens it, is told of 4, sends 2 again and 5."""

    def __init__(self) -> None:
        self.one = Opening("a.1", "till", 10, 12)
        self.one.sendings = [Sending(n, 10 + 10 * n, 15 + 10 * n, (n % 2, n // 2)) for n in (1, 2)]
        self.one.sendings += [Sending(3, 40, 45, (1, 1)), Sending(4, 50)]
        self.two = Opening("b.1", "till", 60, 62, 4)
        self.again = Sending(2, 70, 75, (0, 1))
        self.last = Sending(5, 80, 85, (1, 2))
        self.two.sendings = [self.again, self.last]
        numbers = {(1, 0): 1, (0, 1): 2, (1, 1): 3, (0, 2): 4, (1, 2): 5}
        self.log = {place: ("till", number) for place, number in numbers.items()}
        self.rows = Counter(self.log.values())
        self.totals = {"till": 5}

    def find(self) -> list[Finding]:
        booked = Booked(self.rows, self.totals)
        return Look([self.one, self.two], self.log, booked).run()

    def kinds(self) -> set[str]:
        return {finding.kind for finding in self.find()}

    def drop(self, number: int) -> None:
        """It is not in the log, nor anywhere."""
        self.log = {place: one for place, one in self.log.items() if one[1] != number}
        self.rows = Counter(self.log.values())
        self.totals = {"till": len(self.log)}


def test_good_histories_pass() -> None:
    books = Books()
    assert books.find() == []
    # It was not there when it was opened again, and was sent for the first time then.
    books.two.last = 3
    books.again.number, books.again.place = 4, (0, 2)
    assert books.find() == []


def test_who_is_fenced_by_somebody_is_so_rightly() -> None:
    books = Books()
    # Its opening had not returned, or was never heard of again.
    books.one.fenced = 61
    assert books.find() == []
    books.two.done = None
    books.two.sendings.clear()
    books.drop(5)
    assert books.find() == []


def a_sequence_is_there_twice(books: Books) -> None:
    books.log[1, 3] = ("till", 5)


def a_sequence_is_left_out(books: Books) -> None:
    books.drop(4)


def what_returned_is_not_there(books: Books) -> None:
    books.drop(5)


def what_returned_is_elsewhere(books: Books) -> None:
    books.again.place = (0, 7)


def the_log_has_what_nobody_sent(books: Books) -> None:
    books.one.sendings.pop()
    books.two.last = 3


def sequences_stand_in_another_order(books: Books) -> None:
    books.log[1, 1], books.log[1, 2] = books.log[1, 2], books.log[1, 1]
    books.one.sendings[2].place, books.last.place = (1, 2), (1, 1)


def an_opening_does_not_know_what_had_returned(books: Books) -> None:
    books.two.last = 2


def an_opening_knows_what_nobody_sent(books: Books) -> None:
    books.two.last = 6


def a_fenced_one_sends(books: Books) -> None:
    books.one.sendings.append(Sending(3, 65, 68, (1, 1)))


def one_is_fenced_by_nobody(books: Books) -> None:
    books.one.fenced = 55


def an_effect_happens_twice(books: Books) -> None:
    books.rows["till", 3] += 1
    books.totals["till"] += 1


def an_effect_does_not_happen(books: Books) -> None:
    del books.rows["till", 3]
    books.totals["till"] -= 1


def half_an_effect_happens(books: Books) -> None:
    books.totals["till"] -= 1


def an_effect_is_of_nothing(books: Books) -> None:
    books.rows["till", 9] += 1
    books.totals["till"] += 1


BAD: list[tuple[set[str], Callable[[Books], None]]] = [
    ({"duplicated"}, a_sequence_is_there_twice),
    ({"lost"}, a_sequence_is_left_out),
    ({"lost"}, what_returned_is_not_there),
    ({"lost"}, what_returned_is_elsewhere),
    ({"invented"}, the_log_has_what_nobody_sent),
    ({"reordered"}, sequences_stand_in_another_order),
    ({"lost"}, an_opening_does_not_know_what_had_returned),
    ({"invented"}, an_opening_knows_what_nobody_sent),
    ({"fenced"}, a_fenced_one_sends),
    ({"fenced"}, one_is_fenced_by_nobody),
    ({"twice"}, an_effect_happens_twice),
    ({"stranded"}, an_effect_does_not_happen),
    ({"twice"}, half_an_effect_happens),
    ({"invented"}, an_effect_is_of_nothing),
]


@pytest.mark.parametrize(("kinds", "spoil"), BAD, ids=[spoil.__name__ for _, spoil in BAD])
def test_a_broken_promise_is_found(kinds: set[str], spoil: Callable[[Books], None]) -> None:
    books = Books()
    spoil(books)
    assert books.kinds() == kinds, books.find()


def test_lines_and_rows_are_read_as_they_are_written(tmp_path: Path) -> None:
    lines = [
        "O 10 till",
        "o 12 0",
        "W 20 1",
        "S 25 1 0 0",
        "W 30 1",
        "S 35 1 0 0",
        "W 40 2",
        "F 41",
    ]
    half = "O 50 ti"
    (tmp_path / "a.1.clerk").write_text("\n".join(lines) + "\n" + half)
    with libqueue.open(tmp_path / "store") as store:
        ledger.lay_out(store, tmp_path)
        store.topic(ledger.TOPIC).send(ledger.payload_of("till", 1), partition=0)
        with closing(ledger.open_database(tmp_path)) as database:
            database.execute("INSERT INTO booked VALUES ('till', 1)")
            database.execute("INSERT INTO account VALUES ('till', 1)")
            database.commit()
        found, counts = ledger.check(tmp_path, store)
        # Somebody fenced it, who is not known.
        assert [finding.kind for finding in found] == ["fenced"]
        assert list(counts.values()) == [1, 1, 1, 1, 0, 1]
        store.topic(ledger.TOPIC).send(b"till 2\n", partition=0)
        assert "invented" in {finding.kind for finding in ledger.check(tmp_path, store)[0]}
