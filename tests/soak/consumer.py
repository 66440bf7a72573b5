"""A consumer of the soak: FOLDER TOPIC GROUP NAME SPACE SEED; see consumer.c.

It receives in one of three ways, drawn for each life: by plain calls, when its descriptor is
readable, or under asyncio.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import select
import time
from collections.abc import Callable
from dataclasses import dataclass

import libqueue
from work import Wanted, Worker, boot_ns, read_payload

CHILD_ROUNDS = 20
BATCH_MOST = 8
EXTENSION_SECONDS = 2.0
SLOW_NS = 500_000
DRAIN_SECONDS = 5.0
WATCH_SECONDS = 0.02
LETTERLESS = {"sought", "view", "near", "far"}
"""Groups in which nothing dies: what is dead and comes again would be there twice, and so on."""


class Refused(Exception):
    """What is raised inside of `with delivery`."""


@dataclass
class Asked:
    """How a batch was asked for."""

    began: int
    gathers: bool = False
    lease: float | None = None


def how_to_settle(group: str, number: int, attempt: int) -> str:
    """The same as in consumer.c."""
    refused, given_up = (29, 37) if group == "held" else (53, 211)
    if group == "once":
        return "n" if number % 7 == 0 else "a"
    if number % refused == 0 and attempt <= (12 if number % (2 * refused) == 0 else 6):
        return "n"
    if number % given_up == 7 and attempt <= 2 and group not in LETTERLESS:
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
    if how == "x":
        settle(me, delivery, "a")


def cycle_of(delivery: libqueue.Delivery) -> int:
    """How often the message was redriven out of the dead-letter topic."""
    cycles = delivery.headers.get("lq-cycles")
    return 0 if cycles is None else 1 + int(cycles)


def note(me: Worker, batch: list[libqueue.Delivery], asked: Asked) -> list[str]:
    """Writes down a batch, and gives how each is to be settled."""
    ended, wall = boot_ns(), time.time_ns()
    lines, hows = [], []
    for delivery in batch:
        sender, number, total, whole = read_payload(delivery.payload)
        place = f"{delivery.partition} {delivery.offset} {delivery.attempt}"
        claim = f"{sender} {number} {total:08x} {int(whole)}"
        how = (
            f"{int(asked.gathers)} {round((asked.lease or 0) * 1000)} {cycle_of(delivery)} {wall} 0"
        )
        # What is handed out at most once has no end of its lease, and that is not moved.
        deadline = delivery.deadline_ns
        deadline += ended - wall if deadline < (1 << 63) - 1 else 0
        lines.append(f"G {asked.began} {ended} {place} {deadline} {claim} {how}\n")
        hows.append(how_to_settle(me.group_name, number, delivery.attempt))
    me.put("".join(lines))
    return hows


def receive(
    me: Worker, consumer: libqueue.Consumer, style: str
) -> tuple[list[libqueue.Delivery], list[str]]:
    """One receive, written down: what came, and how each is to be settled."""
    wait = me.chance.choice((0.0, 0.02, 0.1))
    most = me.chance.randint(1, BATCH_MOST)
    least = me.chance.randint(1, most) if wait and me.chance.randrange(4) == 0 else 1
    if style == "descriptor":
        select.select([consumer], [], [], wait)
        wait, least = 0.0, 1
    leases = me.group_name != "once" and me.chance.randrange(8) == 0
    lease = me.chance.uniform(0.3, 0.6) if leases else None
    # In whole milliseconds, as histories have them.
    lease = None if lease is None else round(lease, 3)
    bytes_most = me.chance.randint(1, 4000) if me.chance.randrange(4) == 0 else None
    asked = Asked(boot_ns(), least > 1, lease)
    batch = consumer.receive(
        most, timeout=wait, min_messages=least, max_bytes=bytes_most, lease=lease
    )
    ended = boot_ns()
    if wait == 0 and ended - asked.began > SLOW_NS:
        me.put(f"L {asked.began} {ended}\n")
    hows = note(me, batch, asked) if batch else []
    if not batch and wait == 0 and style != "descriptor":
        me.rest(0.005)
    return batch, hows


def settle_all(me: Worker, batch: list[libqueue.Delivery], hows: list[str]) -> None:
    for delivery, how in zip(batch, hows, strict=True):
        if me.chance.randrange(2) == 0:
            delivery.start()
        me.rest(0.003)
        settle(me, delivery, how)


def drain(me: Worker, consumer: libqueue.Consumer) -> None:
    """Ends with messages in its hands: they are settled while it drains, and nothing more comes."""
    me.mark("drains")
    batch, hows = receive(me, consumer, "plain")
    try:
        consumer.drain(0)
    except libqueue.Timeout:
        if not batch:
            raise
    settle_all(me, batch, hows)
    consumer.drain(DRAIN_SECONDS)
    with contextlib.suppress(libqueue.Closed):
        raise SystemExit(f"{me.name}: drained, and receives: {consumer.receive(1, timeout=0)}")


def open_consumer(me: Worker) -> libqueue.Consumer:
    extends = me.group_name != "once" and me.chance.randrange(4) == 0
    if extends:
        me.mark("extends")
    return me.topic.consumer(me.group_name, auto_extend=extends)


def call_by_call(me: Worker, style: str) -> None:
    """Receives until it is to end, by calls or by its descriptor."""
    consumer = open_consumer(me)
    left = -1
    while left != 0 and not me.should_end("stop-consumers"):
        left -= 1
        batch, hows = receive(me, consumer, style)
        if not me.forked():
            settle_all(me, batch, hows)
            continue
        # What the parent holds is the parent's: closing it here hands nothing back.
        with contextlib.suppress(libqueue.Forked):
            consumer.close()
        consumer = open_consumer(me)
        left = CHILD_ROUNDS
    if me.chance.randrange(2) == 0:
        drain(me, consumer)
    me.put(f"C {boot_ns()}\n")
    consumer.close()


async def follow(me: Worker, most: float) -> None:
    """Iterates until it is to end or to fork, or so many messages came."""
    came = 0

    async def watch() -> None:
        while came < most and not (Wanted.fork or me.should_end("stop-consumers")):
            await asyncio.sleep(WATCH_SECONDS)
        me.mark("drains")
        await consumer.drain_async(DRAIN_SECONDS)

    async with open_consumer(me) as consumer:
        watching = asyncio.ensure_future(watch())
        asked = Asked(boot_ns())
        async for delivery in consumer:
            (how,) = note(me, [delivery], asked)
            await asyncio.sleep(me.chance.uniform(0, 0.003))
            settle(me, delivery, how)
            came += 1
            asked = Asked(boot_ns())
        # All is settled by then: closing hands nothing back.
        await watching


def under_asyncio(me: Worker) -> None:
    """Iterates until it is to end. It forks between two loops: a child cannot go on in one."""
    most = math.inf
    while not me.should_end("stop-consumers"):
        asyncio.run(follow(me, most))
        if me.forked():
            most = CHILD_ROUNDS
        elif most < math.inf:
            break
    me.put(f"C {boot_ns()}\n")


def main() -> None:
    me = Worker("consumer")
    style = me.chance.choice(("plain", "descriptor", "asyncio"))
    me.mark(style)
    if style == "asyncio":
        under_asyncio(me)
    else:
        call_by_call(me, style)
    me.end()


if __name__ == "__main__":
    main()
