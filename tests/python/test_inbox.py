"""Effects in a database happen once, wherever their handler is killed (P8)."""

from __future__ import annotations

import re
import signal
import sqlite3
import subprocess
import sys
import threading
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import libqueue
import pytest
from conftest import QUICK
from libqueue.inbox import Inbox

WORKER = """
import os, signal, sqlite3, sys
import libqueue
from libqueue.inbox import Inbox

path, database, dies_at, autocommit = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]
steps = 0

def step():
    global steps
    steps += 1
    if steps == dies_at:
        os.kill(os.getpid(), signal.SIGKILL)

class Cursor(sqlite3.Cursor):
    def execute(self, *given):
        step()
        done = super().execute(*given)
        step()
        return done

class Connection(sqlite3.Connection):
    def cursor(self):
        return super().cursor(Cursor)
    def execute(self, *given):
        return self.cursor().execute(*given)
    def commit(self):
        step()
        super().commit()
        step()

how = {"legacy": {}, "none": {"isolation_level": None}, "off": {"autocommit": False}}[autocommit]
connection = sqlite3.connect(database, factory=Connection, **how)
with libqueue.open(path) as store, store.open_topic("t").consumer("g") as consumer:
    inbox = Inbox(connection, consumer)
    while found := consumer.receive(1, timeout=0):
        for delivery in found:
            with inbox.once(delivery) as fresh:
                if fresh:
                    connection.execute("UPDATE account SET balance = balance + 1")
                    connection.execute("INSERT INTO paid VALUES (?)", (delivery.payload,))
            step()
print(steps)
"""

MODES = ["legacy", "none", *(["off"] if sys.version_info >= (3, 12) else [])]
MESSAGES = 3


@pytest.fixture
def database(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(tmp_path / "effects.db", isolation_level=None)
    connection.execute("CREATE TABLE account (balance INTEGER)")
    connection.execute("INSERT INTO account VALUES (0)")
    connection.execute("CREATE TABLE paid (payload BLOB)")
    yield connection
    connection.close()


def work(tmp_path: Path, dies_at: int, mode: str) -> subprocess.CompletedProcess[str]:
    places = [str(tmp_path / "store"), str(tmp_path / "effects.db")]
    done = subprocess.run(
        [sys.executable, "-c", WORKER, *places, str(dies_at), mode],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode in (0, -signal.SIGKILL), done.stderr
    return done


@pytest.mark.parametrize("mode", MODES)
def test_p8_a_handler_that_is_killed_at_any_statement_has_its_effect_once(
    tmp_path: Path, database: sqlite3.Connection, mode: str
) -> None:
    with libqueue.open(tmp_path / "store") as store:
        topic = store.topic("t")
        group = topic.create_group("g", max_attempts=1000, backoff=QUICK)
        sent: list[bytes] = []
        dies_at = 0
        while True:
            dies_at += 1
            for _ in range(MESSAGES):
                sent.append(b"%d" % len(sent))
                topic.send(sent[-1])
            killed = work(tmp_path, dies_at, mode)
            rest = work(tmp_path, 0, mode)
            assert rest.returncode == 0
            for _ in range(200):
                if group.stats()["lag_messages"] == 0:
                    break
                work(tmp_path, 0, mode)
            assert group.stats()["lag_messages"] == 0
            paid = [row[0] for row in database.execute("SELECT payload FROM paid ORDER BY rowid")]
            assert sorted(paid) == sorted(sent), f"after a death at step {dies_at}"
            ((balance,),) = database.execute("SELECT balance FROM account")
            assert balance == len(sent)
            if killed.returncode == 0:
                break
        assert dies_at > 20
        assert group.stats()["redelivered"] > 5
        assert group.dead_letters() == []


def test_p8_a_handler_that_raises_leaves_no_effect_and_fails_its_message(
    store: libqueue.Store, database: sqlite3.Connection
) -> None:
    topic = store.topic("t")
    topic.send(b"one")
    with topic.consumer("g", backoff=QUICK) as consumer:
        inbox = Inbox(database, consumer)
        (delivery,) = consumer.receive(timeout=1.0)
        with pytest.raises(ValueError, match="no such account"):
            with inbox.once(delivery) as fresh:
                database.execute("UPDATE account SET balance = 7")
                raise ValueError("no such account")
        assert list(database.execute("SELECT balance FROM account")) == [(0,)]
        (delivery,) = consumer.receive(timeout=5.0)
        assert topic.group("g").peek(0).failures == 1
        with pytest.raises(KeyboardInterrupt), inbox.once(delivery) as fresh:
            assert fresh
            raise KeyboardInterrupt
        (delivery,) = consumer.receive(timeout=5.0)
        assert topic.group("g").peek(0).failures == 1
        with inbox.once(delivery) as fresh:
            assert fresh
        assert topic.group("g").stats()["lag_messages"] == 0


def test_p8_p9_who_lost_the_lease_while_it_worked_does_no_harm(
    store: libqueue.Store, tmp_path: Path, database: sqlite3.Connection
) -> None:
    topic = store.topic("t")
    topic.send(b"one")
    with topic.consumer("g", lease=0.05, backoff=QUICK) as slow, topic.consumer("g") as quick:
        (held,) = slow.receive(timeout=1.0)
        with Inbox(database, slow).once(held) as fresh:
            assert fresh
            database.execute("INSERT INTO paid VALUES (1)")
            (again,) = quick.receive(timeout=5.0)
        other = sqlite3.connect(tmp_path / "effects.db", isolation_level=None)
        with Inbox(other, quick).once(again) as fresh:
            assert not fresh
        other.close()
        assert topic.group("g").stats()["lag_messages"] == 0
    assert list(database.execute("SELECT count(*) FROM paid")) == [(1,)]


def test_groups_have_their_own_effects_and_ids_go_when_they_are_old(
    store: libqueue.Store, database: sqlite3.Connection
) -> None:
    topic = store.topic("t")
    topic.send(b"one")
    for group in ("a", "b"):
        with topic.consumer(group) as consumer:
            inbox = Inbox(database, consumer, table="seen")
            with inbox.once(consumer.receive(timeout=1.0)[0]) as fresh:
                assert fresh
    assert inbox.prune(older_than=3600) == 0
    assert inbox.prune(older_than=0) == 2
    with pytest.raises(libqueue.InvalidArgument, match="older_than"):
        inbox.prune(older_than=-1)


class OtherCursor(sqlite3.Cursor):
    """As a module has it whose parameters are written otherwise."""

    def execute(self, sql: str, given: Any = ()) -> OtherCursor:
        return super().execute(sql.replace("%s", "?"), given)


class OtherConnection(sqlite3.Connection):
    """Begins transactions by itself, as PEP 249 has it."""

    def cursor(self, _: object = None) -> OtherCursor:  # type: ignore[override]
        return super().cursor(OtherCursor)


@pytest.fixture
def other_module() -> Iterator[types.ModuleType]:
    module = types.ModuleType("otherdb")
    sys.modules["otherdb"] = module
    OtherConnection.__module__ = "otherdb.connections"
    yield module
    del sys.modules["otherdb"]


@pytest.mark.parametrize("style", ["qmark", "format", "pyformat", "numeric", "named"])
def test_other_modules_connections_are_taken(
    store: libqueue.Store, tmp_path: Path, other_module: types.ModuleType, style: str
) -> None:
    other_module.paramstyle = style  # type: ignore[attr-defined]
    topic = store.topic("t")
    topic.send(b"one")
    connection = sqlite3.connect(tmp_path / "other.db", factory=OtherConnection)
    with topic.consumer("g") as consumer:
        inbox = Inbox(connection, consumer)
        (delivery,) = consumer.receive(timeout=1.0)
        with inbox.once(delivery) as fresh:
            assert fresh
            connection.cursor().execute("CREATE TABLE effect (x)")
        with inbox.once(delivery) as fresh:
            assert not fresh
    connection.close()


def test_p8_of_two_that_handle_a_message_at_once_one_has_the_effect(
    store: libqueue.Store, tmp_path: Path, other_module: types.ModuleType
) -> None:
    other_module.paramstyle = "format"  # type: ignore[attr-defined]
    topic = store.topic("t")
    topic.send(b"one")
    file = tmp_path / "other.db"
    first = sqlite3.connect(file, factory=OtherConnection)
    seen: list[bool] = []
    with topic.consumer("g") as consumer:
        inbox = Inbox(first, consumer)
        (delivery,) = consumer.receive(timeout=1.0)

        def second() -> None:
            connection = sqlite3.connect(file, factory=OtherConnection, timeout=20.0)
            with Inbox(connection, consumer).once(delivery) as fresh:
                seen.append(fresh)
            connection.close()

        with inbox.once(delivery) as fresh:
            # It finds no id, and waits with its own until this transaction is over.
            thread = threading.Thread(target=second)
            thread.start()
            thread.join(timeout=0.2)
        thread.join(timeout=30.0)
    assert (fresh, seen) == (True, [False])
    first.close()


def test_what_an_inbox_cannot_work_with_is_told(
    store: libqueue.Store, database: sqlite3.Connection, other_module: types.ModuleType
) -> None:
    topic = store.topic("t")
    topic.send(b"one")
    with topic.consumer("g") as consumer:
        with pytest.raises(libqueue.InvalidArgument, match="table is"):
            Inbox(database, consumer, table="a; DROP TABLE paid")
        with pytest.raises(libqueue.InvalidArgument, match="paramstyle"):
            Inbox(database, consumer, paramstyle="percent")
        inbox = Inbox(database, consumer)
        (delivery,) = consumer.receive(timeout=1.0)
        database.execute("BEGIN")
        database.execute("UPDATE account SET balance = 5")
        with pytest.raises(libqueue.InvalidArgument, match="commit it"):
            with inbox.once(delivery):
                pass
        database.execute("COMMIT")
        assert list(database.execute("SELECT balance FROM account")) == [(5,)]

        class Autocommit:
            """A connection that keeps nothing together."""

            autocommit = True

            def get_autocommit(self) -> bool:
                return True

        Autocommit.__module__ = "otherdb"
        other_module.paramstyle = "qmark"  # type: ignore[attr-defined]
        with pytest.raises(libqueue.InvalidArgument, match="autocommit"):
            Inbox(Autocommit(), consumer)  # type: ignore[arg-type]
        Autocommit.autocommit = lambda *_: None  # type: ignore[assignment]
        with pytest.raises(libqueue.InvalidArgument, match="autocommit"):
            Inbox(Autocommit(), consumer)  # type: ignore[arg-type]
        if sys.version_info >= (3, 12):
            alone = sqlite3.connect(":memory:", autocommit=True)
            with pytest.raises(libqueue.InvalidArgument, match="autocommit"):
                Inbox(alone, consumer)
            alone.close()


def test_p6_a_message_fails_also_where_the_connection_is_lost(store: libqueue.Store) -> None:
    topic = store.topic("t")
    topic.send(b"one")
    with topic.consumer("g", backoff=QUICK) as consumer:
        connection = sqlite3.connect(":memory:")
        inbox = Inbox(connection, consumer)
        (delivery,) = consumer.receive(timeout=1.0)
        with pytest.raises(sqlite3.ProgrammingError), inbox.once(delivery):
            connection.close()
            connection.execute("SELECT 1")
        assert topic.group("g").peek(0).failures == 1


@pytest.mark.parametrize("ends", ["rollback", "commit", "executescript"])
def test_p8_a_handler_that_ends_the_transaction_by_itself_is_told(
    store: libqueue.Store, tmp_path: Path, ends: str
) -> None:
    orders = store.topic("orders")
    orders.send(b"1")
    database = sqlite3.connect(tmp_path / "ended.db")
    database.execute("CREATE TABLE paid (what TEXT)")
    with orders.consumer("g", backoff=(0.001, 0.001, 1.0)) as consumer:
        inbox = Inbox(database, consumer)
        (delivery,) = consumer.receive(1, timeout=5.0)
        with (
            pytest.raises(libqueue.InvalidArgument, match="ended the transaction"),
            inbox.once(delivery) as fresh,
        ):
            assert fresh
            if ends == "rollback":
                # Without the id, which a second hand-out would not find.
                database.rollback()
                database.execute("INSERT INTO paid VALUES ('alone')")
            elif ends == "commit":
                database.commit()
            else:
                database.executescript("INSERT INTO paid VALUES ('x');")
        assert not database.in_transaction
        (again,) = consumer.receive(1, timeout=5.0)
        assert (again.attempt, again.id) == (2, delivery.id)
        with inbox.once(again) as fresh:
            assert fresh == (ends == "rollback")
    ((count,),) = database.execute("SELECT count(*) FROM paid")
    assert count == (ends == "executescript")
    database.close()


def test_the_example_runs(store: libqueue.Store, monkeypatch: pytest.MonkeyPatch) -> None:
    from libqueue import inbox

    assert inbox.__doc__ is not None
    example = "\n".join(re.findall(r"^    (.*)$", inbox.__doc__, re.M))
    orders = store.topic("orders")
    orders.send(b"one")
    database = sqlite3.connect(":memory:")
    database.execute("CREATE TABLE account (balance INTEGER)")
    database.execute("INSERT INTO account VALUES (10)")
    database.commit()
    monkeypatch.setattr(sqlite3, "connect", lambda _: database)
    # It goes on for ever, as it should.
    example = example.replace("for delivery in consumer:", "for delivery in consumer.receive():")
    exec(compile(example, "inbox.py", "exec"), {"orders": orders})
    assert list(database.execute("SELECT balance FROM account")) == [(9,)]
    assert orders.group("billing").stats()["lag_messages"] == 0
