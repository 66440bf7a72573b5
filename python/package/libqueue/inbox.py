"""Effects outside of the store that happen once: the inbox recipe, for any DB-API connection.

A message may be handed out again: where its handler died between its effect and the ack, only the
database knows that the effect is there. So the message's id goes into the database in the same
transaction as the effect. Either both are there or neither; whoever is handed the message again
finds the id, and has nothing left to do but to acknowledge it.

    import sqlite3
    from libqueue.inbox import Inbox

    database = sqlite3.connect("shop.db")
    with orders.consumer("billing") as consumer:
        inbox = Inbox(database, consumer)
        for delivery in consumer:
            with inbox.once(delivery) as fresh:
                if fresh:
                    database.execute("UPDATE account SET balance = balance - 1")

The ids are kept in the table `libqueue_inbox`, one short row for each message and group. An id may
go once the message cannot come again: see `Inbox.prune`.
"""

from __future__ import annotations

import hashlib
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Protocol

from libqueue._errors import InvalidArgument, StaleReceipt

if TYPE_CHECKING:
    from libqueue._native import Consumer, Delivery

__all__ = ["Inbox"]

_SAVEPOINT = "libqueue_inbox"
_GROUP_MAX = 180
"""What an id has of a group's name before its digest; an id has 300 characters at most."""

_MARKS = {"qmark": "?", "format": "%s", "pyformat": "%s", "numeric": ":{}", "named": ":v{}"}


class _Cursor(Protocol):
    @property
    def rowcount(self) -> int: ...
    def execute(self, operation: str, parameters: Any = ..., /) -> Any: ...
    def fetchone(self) -> Any: ...
    def close(self) -> None: ...


class _Connection(Protocol):
    def cursor(self) -> _Cursor: ...
    def commit(self) -> None: ...
    def rollback(self) -> None: ...


class Inbox:
    """Has the effects of a consumer's messages happen once in a database.

    `connection` is an open connection of a DB-API 2.0 module, as `sqlite3`'s or `psycopg`'s, that
    nothing else uses while a message is handled. `consumer` is the one whose deliveries are
    handled: each group has its effects, by its name. `table` holds the ids. It is only looked at
    where it can be read, and else made, in a transaction of its own: for who may not create tables
    somebody else makes it, with `Inbox.CREATE.format(table)`. `paramstyle` is the module's; it need
    be given only where the connection's class does not lie in that module.

    Raises `InvalidArgument` for a table name that is no plain one, a `paramstyle` that there is
    not, a connection that commits each statement by itself, and a table that can neither be read
    nor be made, or would have to be made in the middle of a transaction.

    Threads: as the connection; one message at a time.
    """

    CREATE = (
        "CREATE TABLE {} (message VARCHAR(300) NOT NULL PRIMARY KEY, "
        "done_at DOUBLE PRECISION NOT NULL)"
    )
    """The statement that makes the table, with its name for the braces."""

    def __init__(
        self,
        connection: _Connection,
        consumer: Consumer,
        *,
        table: str = "libqueue_inbox",
        paramstyle: str | None = None,
    ) -> None:
        if not all(part.isidentifier() and part.isascii() for part in table.split(".")):
            raise InvalidArgument(
                f"table is {table!r}; expected a name of letters, digits and _, such as "
                "libqueue_inbox or app.libqueue_inbox"
            )
        self._connection = connection
        self._group = consumer.group
        self._consumer = consumer
        self._table = table
        self._module = _module_of(connection)
        style = paramstyle or getattr(self._module, "paramstyle", None)
        if style not in _MARKS:
            raise InvalidArgument(
                f"paramstyle is {style!r}; expected that of the connection's module: "
                f"{', '.join(_MARKS)}"
            )
        self._style: str = style
        self._begins = _begins(connection, self._module)
        self._prepare()

    def _prepare(self) -> None:
        """See to it that the table is there, and leave a transaction of somebody else alone."""
        # Of sqlite3 with `autocommit=False` one is always open, and says nothing.
        always = _is_sqlite(self._module) and not self._begins
        busy = not always and _in_transaction(self._connection)
        unread = self._unreadable()
        if busy and unread is None:
            return
        if busy:
            raise InvalidArgument(
                f"table {self._table} cannot be read ({unread}), and to make it the transaction "
                "that the connection is in the middle of would have to end; commit it or roll it "
                "back first"
            )
        # What the look began.
        self._connection.commit()
        if unread is None:
            return
        create = self.CREATE.format(self._table)
        try:
            # Without IF NOT EXISTS, which not every database has.
            self._run(create)
            self._connection.commit()
        except Exception as error:
            self._connection.rollback()
            # Another process may have been faster.
            unread = self._unreadable()
            self._connection.commit()
            if unread is not None:
                raise InvalidArgument(
                    f"table {self._table} can neither be read ({unread}) nor be made ({error}); "
                    f"have it made by somebody who may, with the rights to select, insert and "
                    f"delete: {create}"
                ) from error

    def _unreadable(self) -> Exception | None:
        """Why the table cannot be read, if it cannot; the transaction goes on as it was."""
        # After a statement that failed, some take nothing more but what goes back before it. Who
        # has no such words has no need of them.
        held = self._try(f"SAVEPOINT {_SAVEPOINT}") is None
        error = self._try(f"SELECT message, done_at FROM {self._table} WHERE 1 = 0", looks=True)
        if held and error is not None:
            self._try(f"ROLLBACK TO SAVEPOINT {_SAVEPOINT}")
        if held:
            self._try(f"RELEASE SAVEPOINT {_SAVEPOINT}")
        return error

    def _try(self, sql: str, looks: bool = False) -> Exception | None:
        cursor = self._connection.cursor()
        try:
            cursor.execute(sql)
            if looks:
                cursor.fetchone()
        except Exception as error:
            return error
        finally:
            cursor.close()
        return None

    @contextmanager
    def once(self, delivery: Delivery) -> Iterator[bool]:
        """Handle a message in one transaction of the database; whether its effect is still to be.

        True: do the effect, through this inbox's connection, without committing. Leaving the block
        commits effect and id together, then acknowledges the message. False: the effect is there
        already, from an earlier hand-out; leaving the block acknowledges the message.

        An exception rolls the transaction back, and fails the message with the exception's text, as
        `with delivery` does; so does one of the commit. What is no `Exception`, as
        KeyboardInterrupt, hands it back uncounted. A message whose lease was lost while it was
        handled is left to the one who has it now, who finds what was committed.

            with inbox.once(delivery) as fresh:
                if fresh:
                    database.execute("INSERT INTO paid VALUES (?)", (delivery.payload,))
        A handler that ends the transaction by itself, as with `commit`, `rollback` or sqlite3's
        `executescript`, parts effect and id: that is `InvalidArgument`, and fails the message.
        """
        self._check_free()
        delivery.start()
        try:
            keys = self._keys(delivery)
            fresh = self._enter(keys)
            yield fresh
            if fresh:
                self._check_whole(keys)
                self._connection.commit()
        except BaseException as error:
            try:
                self._connection.rollback()
            finally:
                self._give_up(delivery, error)
            raise
        # Whoever is handed it, if this one was too late, finds its id.
        with suppress(StaleReceipt):
            delivery.ack()

    def prune(self, older_than: float) -> int:
        """Forget the ids of messages that were done longer ago than `older_than` seconds; how many.

        A message may come again as long as it is not settled, or may be redriven or the group be
        sought to before it: take longer than that, as a week.

            inbox.prune(older_than=7 * 86400)
        """
        if not older_than >= 0:
            raise InvalidArgument(f"older_than is {older_than}; expected seconds, 0 or more")
        self._check_free()
        self._begin()
        try:
            sql = f"DELETE FROM {self._table} WHERE done_at < {self._mark(1)}"
            count = self._run(sql, time.time() - older_than)
            self._connection.commit()
        except BaseException:
            self._connection.rollback()
            raise
        return max(count, 0)

    def _keys(self, delivery: Delivery) -> list[str]:
        """The message's id for this group; behind it how it may stand in an older table.

        Some databases take capitals for small letters, so that a name with any has a digest, and
        groups whose names differ by that alone each have their effects. No name has a `~`.
        """
        id = delivery.id
        message = f"{id.topic_id:016x}/{id.partition}/{id.offset}"
        plain = f"{self._group}/{message}"
        if self._group == self._group.lower():
            return [plain]
        digest = hashlib.sha256(self._group.encode()).hexdigest()[:32]
        return [f"{self._group[:_GROUP_MAX]}~{digest}/{message}", plain]

    def _enter(self, keys: list[str]) -> bool:
        """Begin the transaction with the id in it; False, and no transaction, if it was there."""
        self._begin()
        if self._has(keys):
            self._connection.rollback()
            return False
        sql = f"INSERT INTO {self._table} VALUES ({self._mark(1)}, {self._mark(2)})"
        try:
            self._run(sql, keys[0], time.time())
        except Exception as error:
            # Another one, whose lease this had been, was faster: both cannot be.
            self._connection.rollback()
            if not isinstance(error, self._integrity_error()) or not self._has(keys):
                raise
            self._connection.rollback()
            return False
        return True

    def _has(self, keys: list[str]) -> bool:
        sql = f"SELECT message FROM {self._table} WHERE message = {self._mark(1)}"
        for key in keys:
            cursor = self._connection.cursor()
            try:
                cursor.execute(sql, self._given((key,)))
                if _is_of(cursor.fetchone(), key):
                    return True
            finally:
                cursor.close()
        return False

    def _check_free(self) -> None:
        if self._begins and getattr(self._connection, "in_transaction", False):
            raise InvalidArgument(
                "the connection is in the middle of a transaction; commit it or roll it back "
                "first: the inbox begins and ends its own"
            )

    def _check_whole(self, keys: list[str]) -> None:
        """Look whether what is about to be committed has the id in it."""
        ended = self._begins and not getattr(self._connection, "in_transaction", True)
        if ended or not self._has(keys):
            raise InvalidArgument(
                "the handler ended the transaction that holds the message's id; expected neither "
                "commit, rollback nor executescript in it: its effect may be there without the "
                "id, or in part"
            )

    def _begin(self) -> None:
        if self._begins:
            # Immediately: two that only read first could not both go on to write.
            self._run("BEGIN IMMEDIATE")

    def _run(self, sql: str, *values: object) -> int:
        cursor = self._connection.cursor()
        try:
            if values:
                cursor.execute(sql, self._given(values))
            else:
                cursor.execute(sql)
            return cursor.rowcount
        finally:
            cursor.close()

    def _mark(self, number: int) -> str:
        return _MARKS[self._style].format(number)

    def _given(self, values: tuple[object, ...]) -> object:
        if self._style == "named":
            return {f"v{number}": value for number, value in enumerate(values, 1)}
        return values

    def _integrity_error(self) -> tuple[type[BaseException], ...]:
        places = (self._connection, self._module)
        found = (getattr(place, "IntegrityError", None) for place in places)
        return tuple(one for one in found if isinstance(one, type))

    def _give_up(self, delivery: Delivery, error: BaseException) -> None:
        with suppress(StaleReceipt):
            if isinstance(error, Exception):
                text = f"{type(error).__name__}: {error}"
                delivery.nack(error=text.removesuffix(": "))
            else:
                delivery.release()


def _module_of(connection: object) -> object:
    """The DB-API module that the connection's class, or one that it is made from, lies in."""
    for one in type(connection).__mro__:
        name = one.__module__
        while name:
            module = sys.modules.get(name)
            if hasattr(module, "paramstyle"):
                return module
            name = name.rpartition(".")[0]
    return None


def _begins(connection: object, module: object) -> bool:
    """Whether a transaction has to be begun by a statement."""
    autocommit = getattr(connection, "autocommit", None)
    if callable(autocommit):
        # A few modules have a method of the name, and another one that tells.
        tells = getattr(connection, "get_autocommit", None)
        autocommit = tells() if callable(tells) else None
    if autocommit is True:
        raise InvalidArgument(
            "the connection commits each statement by itself (autocommit is True); expected one "
            "that keeps effect and id in one transaction: set autocommit to False"
        )
    # With `autocommit=False` (Python 3.12) one is always open.
    return _is_sqlite(module) and autocommit is not False


def _is_sqlite(module: object) -> bool:
    return str(getattr(module, "__name__", "")).partition(".")[0] == "sqlite3"


def _in_transaction(connection: object) -> bool:
    """Whether the connection tells that a transaction is open; several modules have a way."""
    for name in ("in_transaction", "transaction_in_progress"):
        told = getattr(connection, name, None)
        if isinstance(told, bool):
            return told
    # 0 is a connection that is idle.
    status = getattr(getattr(connection, "info", None), "transaction_status", 0)
    return isinstance(status, int) and status != 0


def _is_of(row: Any, key: str) -> bool:
    """Whether a row that was found has this very id, and not one in other letters."""
    if row is None:
        return False
    try:
        found = next(iter(row.values())) if isinstance(row, Mapping) else row[0]
    except (TypeError, LookupError):
        # Made by the connection's own kind of row: the database found it, which has to do.
        return True
    if isinstance(found, bytes | bytearray):
        found = found.decode()
    return bool(found == key)
