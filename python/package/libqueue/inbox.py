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

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Protocol

from libqueue._errors import InvalidArgument, StaleReceipt

if TYPE_CHECKING:
    from libqueue._native import Consumer, Delivery

__all__ = ["Inbox"]

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
    handled: each group has its effects, by its name. `table` holds the ids, and is made where there
    is none, in a transaction of its own. `paramstyle` is the module's; it need be given only where
    the connection's class does not lie in that module.

    Raises `InvalidArgument` for a table name that is no plain one, a `paramstyle` that there is
    not, and a connection that commits each statement by itself.

    Threads: as the connection; one message at a time.
    """

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
        self._run(
            f"CREATE TABLE IF NOT EXISTS {table} "
            "(message VARCHAR(300) NOT NULL PRIMARY KEY, done_at DOUBLE PRECISION NOT NULL)"
        )
        connection.commit()

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
            key = self._key(delivery)
            fresh = self._enter(key)
            yield fresh
            if fresh:
                self._check_whole(key)
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

    def _key(self, delivery: Delivery) -> str:
        id = delivery.id
        return f"{self._group}/{id.topic_id:016x}/{id.partition}/{id.offset}"

    def _enter(self, key: str) -> bool:
        """Begin the transaction with the id in it; False, and no transaction, if it was there."""
        self._begin()
        if self._has(key):
            self._connection.rollback()
            return False
        sql = f"INSERT INTO {self._table} VALUES ({self._mark(1)}, {self._mark(2)})"
        try:
            self._run(sql, key, time.time())
        except Exception as error:
            # Another one, whose lease this had been, was faster: both cannot be.
            self._connection.rollback()
            if not isinstance(error, self._integrity_error()) or not self._has(key):
                raise
            self._connection.rollback()
            return False
        return True

    def _has(self, key: str) -> bool:
        cursor = self._connection.cursor()
        try:
            sql = f"SELECT 1 FROM {self._table} WHERE message = {self._mark(1)}"
            cursor.execute(sql, self._given((key,)))
            return cursor.fetchone() is not None
        finally:
            cursor.close()

    def _check_free(self) -> None:
        if self._begins and getattr(self._connection, "in_transaction", False):
            raise InvalidArgument(
                "the connection is in the middle of a transaction; commit it or roll it back "
                "first: the inbox begins and ends its own"
            )

    def _check_whole(self, key: str) -> None:
        """Look whether what is about to be committed has the id in it."""
        ended = self._begins and not getattr(self._connection, "in_transaction", True)
        if ended or not self._has(key):
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
    is_sqlite = getattr(module, "__name__", "").partition(".")[0] == "sqlite3"
    # With `autocommit=False` (Python 3.12) one is always open.
    return is_sqlite and autocommit is not False
