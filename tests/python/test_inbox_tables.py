"""The inbox's table: looked at first, made where there is none, by databases of several kinds."""

from __future__ import annotations

import sqlite3
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import libqueue
import pytest
from libqueue.inbox import Inbox

CREATE = Inbox.CREATE.format("libqueue_inbox")


class Refused(Exception):
    """What a database raises that does not do a statement."""


class Fake:
    """A connection as another database has it, over sqlite3's.

    It says no to what begins with one of `refuses`. After a failure one that is `strict` takes
    nothing more but what goes back before it, as PostgreSQL does.
    """

    def __init__(self, path: Path, refuses: tuple[str, ...] = (), strict: bool = False) -> None:
        self.inner = sqlite3.connect(path, isolation_level=None)
        self.refuses, self.strict = refuses, strict
        self.failed = False
        self.said: list[str] = []
        self.info: object = types.SimpleNamespace()

    def cursor(self) -> FakeCursor:
        return FakeCursor(self)

    def begin(self) -> None:
        if not self.inner.in_transaction:
            self.inner.execute("BEGIN")

    def commit(self) -> None:
        if self.failed:
            self.rollback()
        self.inner.commit()

    def rollback(self) -> None:
        self.failed = False
        self.inner.rollback()


class FakeCursor:
    """A cursor of it."""

    rowcount = -1

    def __init__(self, of: Fake) -> None:
        self.of, self.inner = of, of.inner.cursor()

    def execute(self, sql: str, given: Any = ()) -> None:
        self.of.said.append(sql)
        self.of.begin()
        back = sql.startswith("ROLLBACK TO")
        try:
            if self.of.failed and not back:
                raise Refused("the transaction is aborted")
            if sql.startswith(self.of.refuses):
                raise Refused(f"no such right: {sql.split()[0]}")
            self.inner.execute(sql, given)
        except Exception:
            self.of.failed = self.of.strict
            raise
        self.of.failed &= not back

    def fetchone(self) -> Any:
        return self.inner.fetchone()

    def close(self) -> None:
        self.inner.close()


@pytest.fixture(autouse=True)
def module() -> Iterator[None]:
    made = types.ModuleType("fakedb")
    made.paramstyle = "qmark"  # type: ignore[attr-defined]
    made.IntegrityError = sqlite3.IntegrityError  # type: ignore[attr-defined]
    sys.modules["fakedb"] = made
    Fake.__module__ = "fakedb"
    yield
    del sys.modules["fakedb"]


@pytest.fixture
def consumer(store: libqueue.Store) -> Iterator[libqueue.Consumer]:
    store.topic("t").send(b"one")
    with store.open_topic("t").consumer("g") as opened:
        yield opened


def has_its_effect_once(connection: Any, consumer: libqueue.Consumer) -> None:
    inbox = Inbox(connection, consumer)
    (delivery,) = consumer.receive(timeout=5.0)
    for fresh_now in (True, False):
        with inbox.once(delivery) as fresh:
            assert fresh == fresh_now


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("refuses", [(), ("SAVEPOINT",), ("RELEASE",)])
@pytest.mark.parametrize("there", [False, True])
def test_p8_a_table_is_made_where_there_is_none_whatever_the_database_knows(
    tmp_path: Path, consumer: libqueue.Consumer, strict: bool, refuses: tuple[str, ...], there: bool
) -> None:
    if there:
        refuses += ("CREATE",)
        made = sqlite3.connect(tmp_path / "db")
        made.execute(CREATE)
        made.close()
    connection = Fake(tmp_path / "db", refuses, strict and set(refuses) <= {"CREATE"})
    has_its_effect_once(connection, consumer)
    assert [sql for sql in connection.said if "CREATE" in sql] == ([] if there else [CREATE])
    assert "EXISTS" not in CREATE
    assert not connection.inner.in_transaction
    connection.inner.close()


def test_a_table_that_cannot_be_made_is_told_with_what_makes_it(
    tmp_path: Path, consumer: libqueue.Consumer
) -> None:
    connection = Fake(tmp_path / "db", ("CREATE",), strict=True)
    with pytest.raises(
        libqueue.InvalidArgument, match=r"nor be made .no such right: CREATE"
    ) as told:
        Inbox(connection, consumer)
    assert "no such table" in str(told.value)
    assert CREATE in str(told.value)
    assert isinstance(told.value.__cause__, Refused)
    assert not connection.inner.in_transaction
    connection.inner.close()


def test_p17_of_two_that_make_the_table_at_once_both_have_it(
    tmp_path: Path, consumer: libqueue.Consumer
) -> None:
    class Late(Fake):
        """Another process makes it between the look and the CREATE."""

        def cursor(self) -> FakeCursor:
            if self.said[-1:] and self.said[-1].startswith("RELEASE") and not self.late:
                self.late = True
                other = sqlite3.connect(tmp_path / "db")
                other.execute(CREATE)
                other.close()
            return super().cursor()

        late = False

    Late.__module__ = "fakedb"
    connection = Late(tmp_path / "db", strict=True)
    has_its_effect_once(connection, consumer)
    assert connection.late
    assert CREATE in connection.said
    connection.inner.close()


@pytest.mark.parametrize("there", [False, True])
def test_what_somebody_began_on_the_connection_is_left_alone(
    tmp_path: Path, consumer: libqueue.Consumer, there: bool
) -> None:
    path = tmp_path / "db"
    with sqlite3.connect(path) as made:
        made.execute("CREATE TABLE other (x)")
        if there:
            made.execute(CREATE)
    made.close()
    fake = Fake(path, strict=True)
    plain = sqlite3.connect(path)
    for connection in (fake, plain):
        connection.cursor().execute("INSERT INTO other VALUES (1)")
        fake.info = types.SimpleNamespace(transaction_status=2)
        if there:
            Inbox(connection, consumer)
        else:
            with pytest.raises(libqueue.InvalidArgument, match="commit it or roll it back"):
                Inbox(connection, consumer)
        cursor = connection.cursor()
        cursor.execute("SELECT count(*) FROM other")
        assert cursor.fetchone() == (1,)
        connection.rollback()
        cursor.execute("SELECT count(*) FROM other")
        assert cursor.fetchone() == (0,)
        connection.rollback()
    fake.inner.close()
    plain.close()


def test_p8_groups_that_differ_by_capitals_alone_each_have_their_effects(
    tmp_path: Path, store: libqueue.Store
) -> None:
    topic = store.topic("t")
    before = topic.send(b"before")
    long = "x" * 248
    database = sqlite3.connect(tmp_path / "db")
    database.execute(CREATE.replace("NOT NULL PRIMARY", "COLLATE NOCASE NOT NULL PRIMARY"))
    # As it stood in tables until names with capitals got a digest.
    old = f"Bills/{before.topic_id:016x}/{before.partition}/{before.offset}"
    database.execute("INSERT INTO libqueue_inbox VALUES (?, 0)", (old,))
    database.commit()
    topic.send(b"one")
    for group in ("Bills", "bILLS", f"{long}X", f"{long}x"):
        with topic.consumer(group, dead_letter_topic=None) as consumer:
            inbox = Inbox(database, consumer)
            for delivery in consumer.receive(2, timeout=5.0):
                with inbox.once(delivery) as fresh:
                    assert fresh == (group != "Bills" or delivery.payload == b"one")
                with inbox.once(delivery) as fresh:
                    assert not fresh
    rows = [row[0] for row in database.execute("SELECT message FROM libqueue_inbox")]
    assert len(rows) == len({row.lower() for row in rows}) == 8
    assert max(map(len, rows)) <= 300
    database.close()


def test_p8_rows_of_other_kinds_are_read(tmp_path: Path, consumer: libqueue.Consumer) -> None:
    (delivery,) = consumer.receive(timeout=5.0)

    def in_bytes(_: object, row: tuple[object, ...]) -> object:
        return tuple(str(value).encode() for value in row)

    def named(cursor: sqlite3.Cursor, row: tuple[object, ...]) -> object:
        return {column[0]: value for column, value in zip(cursor.description, row, strict=True)}

    def own(_: object, row: tuple[object, ...]) -> object:
        return types.SimpleNamespace(row=row)

    for number, factory in enumerate((None, sqlite3.Row, in_bytes, named, own)):
        database = sqlite3.connect(tmp_path / str(number))
        database.row_factory = factory
        inbox = Inbox(database, consumer)
        for fresh_now in (True, False):
            with inbox.once(delivery) as fresh:
                assert fresh == fresh_now
        database.close()
