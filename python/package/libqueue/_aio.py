"""Consumers under asyncio: what waits is the event loop, on the consumer's descriptor.

No thread waits. What a receive took is returned in the same step of the loop in which it was taken,
and what it gathered for a larger batch is given back when it is cancelled: no message is lost to a
cancellation, and none is charged for it.
"""

from __future__ import annotations

import asyncio
import math
from types import TracebackType
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from libqueue._errors import Closed, Timeout

if TYPE_CHECKING:
    from libqueue._native import Consumer, Delivery

_BEAT = 0.05
"""Seconds between two looks at what a draining consumer has out: leases end by themselves, too."""

_Waiting = dict[int, set["asyncio.Future[None]"]]
_waiting: WeakKeyDictionary[asyncio.AbstractEventLoop, _Waiting] = WeakKeyDictionary()
"""Who waits in each loop, by descriptor: a loop has one callback for each descriptor."""


def _done(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _wake(loop: asyncio.AbstractEventLoop, fd: int) -> None:
    loop.remove_reader(fd)
    for future in _waiting[loop].pop(fd, ()):
        _done(future)


async def _readable(consumer: Consumer, seconds: float) -> None:
    """Return once the consumer's descriptor is readable, or after so many seconds."""
    loop, fd = asyncio.get_running_loop(), consumer.fileno()
    waiting = _waiting.setdefault(loop, {})
    future: asyncio.Future[None] = loop.create_future()
    if fd not in waiting:
        waiting[fd] = set()
        loop.add_reader(fd, _wake, loop, fd)
    waiting[fd].add(future)
    timer = None if seconds == math.inf else loop.call_later(seconds, _done, future)
    try:
        await future
    finally:
        if timer is not None:
            timer.cancel()
        others = waiting.get(fd, set())
        others.discard(future)
        if fd in waiting and not others:
            loop.remove_reader(fd)
            del waiting[fd]


async def receive(
    consumer: Consumer,
    max_messages: int,
    timeout: float | None,
    min_messages: int,
    max_bytes: int | None,
    lease: float | None,
) -> list[Delivery]:
    """Receive as `Consumer.receive` does; the loop waits."""
    # Other tasks have their turn although there is always a message; before anything is taken.
    await asyncio.sleep(0)
    loop = asyncio.get_running_loop()
    receiving = consumer._receiving(
        max_messages, timeout, min_messages=min_messages, max_bytes=max_bytes, lease=lease
    )
    until = math.inf if timeout is None else loop.time() + timeout
    try:
        while (found := receiving.poll()) is None:
            # The core's clock has the last word on when the time is over.
            left = max(until - loop.time(), 0.001)
            await _readable(consumer, min(left, receiving.poll_within()))
        return found
    finally:
        receiving.close()


async def following(consumer: Consumer) -> Delivery:
    """Return the next message, started; the end of an iteration once the consumer is closed."""
    try:
        (delivery,) = await receive(consumer, 1, None, 1, None, None)
    except Closed:
        if consumer.closed:
            raise StopAsyncIteration from None
        raise
    delivery.start()
    return delivery


async def drain(consumer: Consumer, timeout: float | None) -> None:
    """Drain as `Consumer.drain` does; handlers of this loop go on."""
    loop = asyncio.get_running_loop()
    until = math.inf if timeout is None else loop.time() + timeout
    while True:
        try:
            return consumer.drain(0)
        except Timeout:
            left = until - loop.time()
            if left <= 0:
                raise
        await asyncio.sleep(min(left, _BEAT))


async def enter(consumer: Consumer) -> Consumer:
    """Begin an `async with`."""
    return consumer


async def leave(
    consumer: Consumer,
    exc_type: type[BaseException] | None,
    exc: BaseException | None,
    traceback: TracebackType | None,
) -> None:
    """End an `async with`: hand the leases back."""
    consumer.__exit__(exc_type, exc, traceback)
