"""Descriptors and asyncio: event loops wait for messages, and lose none."""

from __future__ import annotations

import asyncio
import os
import select
import selectors
import threading
import time
from collections.abc import Callable

import libqueue
import pytest
from conftest import QUICK, WAIT, Child

Spawn = Callable[[str], Child]


def wait_until(true: Callable[[], bool]) -> None:
    until = time.monotonic() + WAIT
    while not true():
        assert time.monotonic() < until
        time.sleep(0.005)


def readable(consumer: libqueue.Consumer, seconds: float) -> bool:
    return select.select([consumer], [], [], seconds)[0] == [consumer]


def test_p10_a_descriptor_is_readable_while_a_receive_may_return_something(
    store: libqueue.Store,
) -> None:
    topic = store.topic("t")
    with topic.consumer("g", backoff=QUICK) as consumer:
        assert consumer.fileno() == consumer.fileno()
        assert not readable(consumer, 0.1)
        topic.send_many([b"a", b"b"])
        assert readable(consumer, WAIT)
        (first,) = consumer.receive(timeout=0)
        assert readable(consumer, 0)
        (second,) = consumer.receive(timeout=0)
        assert not readable(consumer, 0)
        second.release()
        assert readable(consumer, WAIT)
        consumer.ack([first, *consumer.receive(5, 0)])
        assert not readable(consumer, 0.1)
        fd = consumer.fileno()
        consumer.close()
        assert select.select([fd], [], [], 0)[0] == [fd]
        with pytest.raises(libqueue.Closed):
            consumer.fileno()


@pytest.mark.parametrize("kind", [selectors.SelectSelector, selectors.PollSelector, None])
def test_p10_select_poll_and_epoll_see_another_processes_sends(
    store: libqueue.Store, spawn: Spawn, kind: type[selectors.BaseSelector] | None
) -> None:
    topic = store.topic("t")
    spawn(
        """
        topic = libqueue.open(path).topic("t")
        for number in range(50):
            topic.send(b"%d" % number)
            time.sleep(0.002)
        """
    )
    with topic.consumer("g") as consumer, (kind or selectors.EpollSelector)() as selector:
        selector.register(consumer, selectors.EVENT_READ)
        found: list[int] = []
        while len(found) < 50:
            assert selector.select(WAIT)
            for delivery in consumer.receive(3, timeout=0):
                with delivery:
                    found.append(int(delivery.payload))
        assert found == list(range(50))


def test_p10_an_edge_triggered_epoll_sees_each_send_after_it_emptied(
    store: libqueue.Store,
) -> None:
    topic = store.topic("t")
    with topic.consumer("g") as consumer, select.epoll() as epoll:
        epoll.register(consumer, select.EPOLLIN | select.EPOLLET)
        for _ in range(50):
            topic.send(b"x")
            assert epoll.poll(WAIT)
            while batch := consumer.receive(10, timeout=0):
                consumer.ack(batch)


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_p17_the_child_of_a_fork_has_descriptors_of_its_own(store: libqueue.Store) -> None:
    topic = store.topic("t")
    with topic.consumer("g") as consumer:
        assert not readable(consumer, 0)
        child = os.fork()
        if child == 0:
            status = 1
            try:
                try:
                    consumer.fileno()
                except libqueue.Forked:
                    own = store.topic("t").consumer("g")
                    quiet = not readable(own, 0.05)
                    store.topic("t").send(b"x")
                    woken = readable(own, WAIT)
                    status = 0 if quiet and woken else 2
            finally:
                os._exit(status)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert readable(consumer, WAIT)
        assert len(consumer.receive(5, 0)) == 1


def test_p10_an_async_loop_receives_what_others_send(store: libqueue.Store, spawn: Spawn) -> None:
    topic = store.topic("t", partitions=2)
    spawn(
        """
        topic = libqueue.open(path).topic("t", partitions=2)
        for number in range(200):
            topic.send(b"%d" % number)
            if number % 20 == 0:
                time.sleep(0.02)
        """
    )
    found: list[int] = []

    async def work(name: str) -> None:
        async with topic.consumer("g", name=name) as consumer:
            async for delivery in consumer:
                with delivery:
                    found.append(int(delivery.payload))
                    await asyncio.sleep(0)
                if len(found) >= 200:
                    return

    async def main() -> None:
        workers = {asyncio.create_task(work(f"w{n}")) for n in range(3)}
        _, others = await asyncio.wait(workers, timeout=WAIT, return_when=asyncio.FIRST_COMPLETED)
        for other in others:
            other.cancel()
        await asyncio.gather(*workers, return_exceptions=True)

    asyncio.run(main())
    assert sorted(found) == list(range(200))
    stats = topic.group("g").stats()
    assert (stats["acked"], stats["failed"], stats["leased"]) == (200, 0, 0)


def test_p6_a_cancelled_receive_loses_no_message_and_charges_none(store: libqueue.Store) -> None:
    topic = store.topic("t")
    total = 300

    async def main() -> list[bytes]:
        found: list[bytes] = []
        with topic.consumer("g", max_attempts=1) as consumer:

            async def send() -> None:
                for number in range(total):
                    topic.send(b"%d" % number)
                    await asyncio.sleep(0.0007 if number % 3 else 0)

            sender = asyncio.create_task(send())
            until = time.monotonic() + WAIT
            turn = 0
            while len(found) < total:
                assert time.monotonic() < until
                turn += 1
                least = 3 if turn % 2 else 1
                receive = consumer.receive_async(5, 0.05, min_messages=least)
                task = asyncio.ensure_future(receive)
                await asyncio.sleep((turn % 7) * 0.0005)
                task.cancel()
                try:
                    batch = await task
                except asyncio.CancelledError:
                    continue
                found += [delivery.payload for delivery in batch]
                assert all(delivery.attempt == 1 for delivery in batch)
                consumer.ack(batch)
                await asyncio.sleep(0)
                if turn % 5 == 0:
                    batch = await consumer.receive_async(100, 0)
                    found += [delivery.payload for delivery in batch]
                    consumer.ack(batch)
            await sender
        return found

    found = asyncio.run(main())
    assert sorted(map(int, found)) == list(range(total))
    stats = topic.group("g").stats()
    assert (stats["acked"], stats["failed"], stats["redelivered"]) == (total, 0, 0)


def test_p10_an_async_receive_times_out_and_gathers_a_batch(store: libqueue.Store) -> None:
    topic = store.topic("t")

    async def main() -> None:
        async with topic.consumer("g", lease=0.2) as consumer:
            assert await consumer.receive_async(timeout=0) == []
            began = time.monotonic()
            assert await consumer.receive_async(5, 0.3) == []
            assert time.monotonic() - began >= 0.29
            topic.send(b"1")
            gathered = asyncio.create_task(consumer.receive_async(5, 20, min_messages=3, lease=0.2))
            await asyncio.sleep(0.6)
            assert not gathered.done()
            topic.send_many([b"2", b"3", b"4"])
            batch = await asyncio.wait_for(gathered, WAIT)
            # Waiting for others cost the first one neither its lease nor an attempt.
            assert [(d.payload, d.attempt) for d in batch] == [(b"%d" % n, 1) for n in range(1, 5)]
            consumer.ack(batch)
            assert topic.group("g").stats()["failed"] == 0
            with pytest.raises(libqueue.InvalidArgument, match="timeout"):
                await consumer.receive_async(5, min_messages=2)

    asyncio.run(main())


def test_p10_several_tasks_wait_on_one_consumer_and_close_ends_them(
    store: libqueue.Store,
) -> None:
    topic = store.topic("t")

    async def main() -> None:
        consumer = topic.consumer("g")
        waiting = [asyncio.create_task(consumer.receive_async()) for _ in range(3)]
        await asyncio.sleep(0.05)
        waiting.pop().cancel()
        for number in range(2):
            topic.send(b"%d" % number)
        batches = await asyncio.wait_for(asyncio.gather(*waiting), WAIT)
        assert sorted(batch[0].payload for batch in batches) == [b"0", b"1"]
        consumer.ack([delivery for batch in batches for delivery in batch])

        async def iterate() -> int:
            return len([1 async for _ in consumer])

        iterating = asyncio.create_task(iterate())
        receiving = asyncio.create_task(consumer.receive_async())
        await asyncio.sleep(0.05)
        consumer.close()
        assert await asyncio.wait_for(iterating, WAIT) == 0
        with pytest.raises(libqueue.Closed):
            await asyncio.wait_for(receiving, WAIT)

    asyncio.run(main())


def test_p10_no_thread_waits_for_an_async_receive(store: libqueue.Store) -> None:
    topic = store.topic("t")

    async def main() -> None:
        async with topic.consumer("g") as consumer:
            waiting = [asyncio.create_task(consumer.receive_async()) for _ in range(20)]
            await asyncio.sleep(0.1)
            assert threading.active_count() == 1
            for task in waiting:
                task.cancel()

    asyncio.run(main())


def test_p10_draining_waits_for_the_handlers_and_takes_nothing(store: libqueue.Store) -> None:
    topic = store.topic("t")
    topic.send_many([b"1", b"2"])
    with topic.consumer("g") as consumer:
        (delivery,) = consumer.receive()
        with pytest.raises(libqueue.Timeout, match="1 messages"):
            consumer.drain(0.05)
        assert consumer.closed and list(consumer) == []
        with pytest.raises(libqueue.Closed, match="drains"):
            consumer.receive()
        threading.Timer(0.2, delivery.ack).start()
        consumer.drain(WAIT)
        assert topic.group("g").stats()["acked"] == 1

    async def main() -> None:
        handled = []
        async with topic.consumer("g") as consumer:

            async def work() -> None:
                async for delivery in consumer:
                    with delivery:
                        await asyncio.sleep(0.2)
                        handled.append(delivery.payload)

            working = asyncio.create_task(work())
            await asyncio.sleep(0.1)
            topic.send(b"3")
            with pytest.raises(libqueue.Timeout):
                await consumer.drain_async(0)
            await consumer.drain_async(WAIT)
            assert handled == [b"2"]
            await asyncio.wait_for(working, WAIT)
        assert topic.group("g").stats()["lag_messages"] == 1

    asyncio.run(main())


def test_p9_leases_by_call_and_consumer_bounded_and_extended(store: libqueue.Store) -> None:
    topic = store.topic("t")
    topic.send_many([b"%d" % n for n in range(4)])
    config = {"lease": 60.0, "max_lease": 100.0}
    with topic.consumer("g", consumer_lease=10.0, **config) as consumer:  # type: ignore[arg-type]
        (own,) = consumer.receive()
        (short,) = consumer.receive(lease=3.0)
        now = time.time()
        assert 8 < own.deadline - now < 11 and 2 < short.deadline - now < 4
        consumer.extend([own, short], 50.0)
        assert own.deadline > time.time() + 45
        with pytest.raises(libqueue.InvalidArgument, match="max_lease") as beyond:
            consumer.extend([own, short], 101.0)
        assert beyond.value.refused == [own, short]
        own.ack()
        with pytest.raises(libqueue.StaleReceipt) as stale:
            consumer.extend([own, short], 101.0)
        assert (stale.value.stale, stale.value.refused) == ([own], [short])
        assert topic.group("g").config["max_lease"] == 100.0
        short.ack()
    with topic.consumer("h", lease=0.3, auto_extend=True, backoff=QUICK) as consumer:
        delivery = next(consumer)
        other = topic.consumer("h", lease=0.3)
        taken = other.receive(10, 0)
        time.sleep(1.2)
        delivery.ack()
        # Nobody extended what the other one has.
        assert len(consumer.receive(10, WAIT)) >= len(taken) - 2
        other.close()


def test_p6_a_batch_in_bytes(store: libqueue.Store) -> None:
    topic = store.topic("t")
    topic.send_many([b"x" * 100] * 10)
    with topic.consumer("g") as consumer:
        assert len(consumer.receive(10, 0, max_bytes=350)) == 3
        assert len(consumer.receive(10, 0, max_bytes=1)) == 1
        (*rest,) = consumer.receive(10, 0, max_bytes=1 << 30)
        assert len(rest) == 6 and all(delivery.attempt == 1 for delivery in rest)
        for wrong in ({"max_bytes": 0}, {"min_messages": 0}, {"min_messages": 11}):
            with pytest.raises(libqueue.InvalidArgument):
                consumer.receive(10, 0, **wrong)
