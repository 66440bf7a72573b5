"""A mover of the soak: FOLDER TOPIC GROUP NAME SPACE SEED; see exact.py."""

from __future__ import annotations

import contextlib

import libqueue
from exact import MOVED
from work import Worker

CHILD_ROUNDS = 20
BATCH_MOST = 5
WAIT_SECONDS = 0.05


def move(me: Worker, target: libqueue.Topic, batch: list[libqueue.Delivery]) -> None:
    """Sends a batch on and settles it, or drops all of it, or does it one by one."""
    one_by_one = me.chance.randrange(3) == 0
    for some in [[one] for one in batch] if one_by_one else [batch]:
        # Who was stopped for longer than his lease finds it gone: then nothing was sent.
        with contextlib.suppress(libqueue.StaleReceipt):
            transaction = me.store.transaction()
            for one in some:
                place = f"{one.partition}/{one.offset}".encode()
                transaction.send(target, one.payload, key=place)
                transaction.ack(one)
            me.rest(0.004)
            if me.chance.randrange(10) == 0:
                transaction.abort()
                for one in some:
                    one.release()
            else:
                transaction.commit()


def main() -> None:
    me = Worker("mover")
    consumer, target = me.topic.consumer(me.group_name), me.store.open_topic(MOVED)
    left = -1
    while left != 0 and not me.should_end("stop-consumers"):
        left -= 1
        batch = consumer.receive(BATCH_MOST, timeout=WAIT_SECONDS)
        if me.forked():
            # What the parent holds is the parent's.
            with contextlib.suppress(libqueue.Forked):
                consumer.close()
            consumer, target = me.topic.consumer(me.group_name), me.store.open_topic(MOVED)
            left = CHILD_ROUNDS
            continue
        if batch:
            move(me, target, batch)
    consumer.close()
    me.end()


if __name__ == "__main__":
    main()
