"""A booker of the soak: FOLDER TOPIC GROUP NAME SPACE SEED; see ledger.py."""

from __future__ import annotations

import contextlib
import sqlite3
import time

import ledger
import libqueue
from libqueue.inbox import Inbox
from work import Wanted, Worker

CHILD_ROUNDS = 20
BATCH_MOST = 5
WAIT_SECONDS = 0.05
WORK_SECONDS = 0.003
LATE_SECONDS = ledger.LEASE_SECONDS + 0.2
"""Now and then one takes so long that his message is another one's by then."""
ADD = "INSERT INTO account VALUES (?, 1) ON CONFLICT (name) DO UPDATE SET total = total + 1"


class Refused(Exception):
    """What a handler raises between its statements."""


class Booker:
    """A consumer, and the database that its effects are in."""

    def __init__(self, me: Worker) -> None:
        self.me = me
        self.consumer = me.topic.consumer(me.group_name)
        self.connect()

    def connect(self) -> None:
        self.database: sqlite3.Connection = ledger.open_database(self.me.folder)
        self.inbox = Inbox(self.database, self.consumer)

    def book(self, delivery: libqueue.Delivery) -> None:
        """Two statements, between which it may die or fail."""
        with self.inbox.once(delivery) as fresh:
            if not fresh:
                self.me.mark("booked")
                return
            name, number = ledger.name_of(delivery.payload)
            self.database.execute("INSERT INTO booked VALUES (?, ?)", (name, number))
            self.me.rest(WORK_SECONDS)
            if self.me.chance.randrange(20) == 0:
                raise Refused("refused")
            if self.me.chance.randrange(300) == 0:
                time.sleep(LATE_SECONDS)
            self.database.execute(ADD, (name,))
            self.me.rest(WORK_SECONDS)

    def work(self) -> None:
        for delivery in self.consumer.receive(BATCH_MOST, timeout=WAIT_SECONDS):
            # Who was stopped for longer than his lease finds it gone.
            with contextlib.suppress(Refused, libqueue.StaleReceipt):
                self.book(delivery)


def main() -> None:
    me = Worker("booker")
    booker, left = Booker(me), -1
    while left != 0 and not me.should_end("stop-consumers"):
        left -= 1
        if Wanted.fork:
            # No connection is to be carried into a child.
            booker.database.close()
            if me.forked():
                with contextlib.suppress(libqueue.Forked):
                    booker.consumer.close()
                booker, left = Booker(me), CHILD_ROUNDS
            else:
                booker.connect()
        booker.work()
    booker.database.close()
    booker.consumer.close()
    me.end()


if __name__ == "__main__":
    main()
