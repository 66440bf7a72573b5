"""A consumer of the soak: FOLDER TOPIC GROUP NAME SPACE SEED; see consumer.c."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable

import libqueue
from work import Worker, boot_ns, read_payload

CHILD_ROUNDS = 20
BATCH_MOST = 8
EXTENSION_SECONDS = 2.0
SLOW_NS = 500_000


class Refused(Exception):
    """What is raised inside of `with delivery`."""


def how_to_settle(number: int, attempt: int) -> str:
    """The same as in consumer.c."""
    if number % 53 == 0:
        return "n"
    if number % 211 == 7:
        return "d"
    if number % 17 == 3 and attempt == 1:
        return "r"
    if number % 19 == 5 and attempt == 1:
        return "n"
    return "x" if number % 13 == 1 else "a"


def inside(delivery: libqueue.Delivery, fails: bool) -> None:
    """Settles by leaving a `with`."""
    with delivery:
        if fails:
            raise Refused("refused")


def call_of(me: Worker, delivery: libqueue.Delivery, how: str) -> Callable[[], None]:
    if how in "an" and me.chance.randrange(2) == 0:
        return lambda: inside(delivery, how == "n")
    return {
        "a": delivery.ack,
        "n": lambda: delivery.nack(error="refused"),
        "r": delivery.release,
        "d": lambda: delivery.dead_letter("given up"),
        "x": lambda: delivery.extend(EXTENSION_SECONDS),
    }[how]


def settle(me: Worker, delivery: libqueue.Delivery, how: str) -> None:
    names = f"{how} {delivery.partition} {delivery.offset} {delivery.attempt}"
    call = call_of(me, delivery, how)
    me.put(f"V {boot_ns()} {names} {int(EXTENSION_SECONDS * 1000) if how == 'x' else 0}\n")
    outcome = 0
    try:
        call()
    except libqueue.StaleReceipt:
        outcome = 1
    except Refused:
        # It goes on out of the `with`, and hides whether the lease was lost meanwhile.
        outcome = 2
    me.put(f"D {boot_ns()} {names} {outcome}\n")


def note(me: Worker, batch: list[libqueue.Delivery], began: int, ended: int) -> list[str]:
    """Writes down a batch, and gives how each is to be settled."""
    to_boot = ended - time.time_ns()
    lines, hows = [], []
    for delivery in batch:
        sender, number, total, whole = read_payload(delivery.payload)
        place = f"{delivery.partition} {delivery.offset} {delivery.attempt}"
        claim = f"{sender} {number} {total:08x} {int(whole)}"
        lines.append(f"G {began} {ended} {place} {delivery.deadline_ns + to_boot} {claim}\n")
        hows.append(how_to_settle(number, delivery.attempt))
    me.put("".join(lines))
    return hows


def work(me: Worker, consumer: libqueue.Consumer) -> str:
    """One receive and what follows; says "forked" in a child, else how much came."""
    wait = me.chance.choice((0.0, 0.02, 0.1))
    began = boot_ns()
    batch = consumer.receive(me.chance.randint(1, BATCH_MOST), timeout=wait)
    ended = boot_ns()
    if wait == 0 and ended - began > SLOW_NS:
        me.put(f"L {began} {ended}\n")
    hows = note(me, batch, began, ended) if batch else []
    if me.forked():
        return "forked"
    for delivery, how in zip(batch, hows, strict=True):
        if me.chance.randrange(2) == 0:
            delivery.start()
        me.rest(0.003)
        settle(me, delivery, how)
        if how == "x":
            settle(me, delivery, "a")
    if not batch and wait == 0:
        me.rest(0.005)
    return "some" if batch else "none"


def main() -> None:
    me = Worker("consumer")
    consumer = me.topic.consumer(me.group_name)
    left = -1
    while left != 0 and not me.should_end("stop-consumers"):
        left -= 1
        if work(me, consumer) == "forked":
            # What the parent holds is the parent's: closing it here hands nothing back.
            with contextlib.suppress(libqueue.Forked):
                consumer.close()
            consumer = me.topic.consumer(me.group_name)
            left = CHILD_ROUNDS
    me.put(f"C {boot_ns()}\n")
    consumer.close()
    me.end()


if __name__ == "__main__":
    main()
