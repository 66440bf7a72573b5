"""Nothing that a call takes is kept: references, objects, blocks of memory, descriptors, mappings.

Every operation is run some times to fill what is kept on purpose (caches, interned names), then in
rounds. What leaks once per call grows by the number of calls in every round; what grows less, or
once, is a cache.
"""

from __future__ import annotations

import asyncio
import gc
import sys
from array import array
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import libqueue
import pytest
from conftest import QUICK

CALLS = 40
"""Calls of a round; each operation leaks less than one of anything per call."""

ROUNDS = 5


class World:
    """A store with all that an operation may need, and objects of ours that are handed in."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.store = libqueue.open(path)
        self.topic = self.store.topic("orders")
        self.payload = b"payload of a length" * 9
        self.key = b"a key of ours"
        self.value = b"a value of ours"
        self.name = "a name of ours"
        self.headers = {self.name: self.value}
        self.message = libqueue.Message(self.payload, key=self.key, headers=self.headers)
        self.topic.send(self.payload, key=self.key, headers=self.headers)
        self.consumer = self.topic.consumer("g", ordering="none", backoff=QUICK)
        self.group = self.topic.group("g")
        self.reader = self.topic.reader()
        self.loop = asyncio.new_event_loop()

    def ours(self) -> list[object]:
        return [*vars(self).values(), None, True, (), "", b"", 1, type(self.payload)]

    def close(self) -> None:
        self.reader.close()
        self.consumer.close()
        self.store.close()
        self.loop.close()


def open_and_close(world: World) -> None:
    with libqueue.open(world.path) as store:
        assert store.path == world.path
        assert store.id == world.store.id


def open_all_in_it(world: World) -> None:
    with libqueue.open(world.path) as store:
        topic = store.topic("orders")
        topic.send(world.payload)
        with topic.consumer("other", start="latest"), topic.reader() as reader:
            assert len(reader.receive(1, timeout=0)) == 1


def topics(world: World) -> None:
    topic = world.store.topic("orders")
    assert world.store.open_topic("orders").name == topic.name == "orders"
    assert topic.partitions == topic.config["partitions"]
    assert "orders" in world.store.topics()


def send(world: World) -> None:
    world.topic.send(world.payload, key=world.key, headers=world.headers, timestamp=None)
    id = world.topic.send(bytearray(world.payload), key=memoryview(world.key))
    world.topic.wait_durable(id, timeout=10)
    assert {id: 1}[libqueue.MessageId(id.topic_id, id.partition, id.offset)] == 1


def unique(world: World) -> None:
    topic = world.store.topic("unique", dedup_window=3600.0)
    first = topic.send(world.payload, dedup_id=world.key)
    assert topic.send_many([libqueue.Message(world.payload, dedup_id=world.key)]) == [first]
    with topic.producer("p") as producer:
        sent = producer.send(world.payload, 1, headers=world.headers)
        assert producer.send(world.payload, 1) == sent
        assert producer.last_sequence == 1


def send_many(world: World) -> None:
    ids = world.topic.send_many([world.message, world.payload, memoryview(world.payload)])
    assert sorted(ids) == ids
    assert world.message.headers is world.headers


def messages(world: World) -> None:
    message = libqueue.Message(world.payload, key=world.key, headers=world.headers, partition=0)
    assert message.payload is world.payload
    assert (message.key, message.headers, message.timestamp) == (world.key, world.headers, None)


def settle(world: World) -> None:
    world.topic.send_many([world.message] * 5)
    batch = world.consumer.receive(5, timeout=10)
    world.consumer.extend(batch, 60.0)
    batch[0].start()
    batch[0].ack()
    for one in batch[1:]:
        one.release()
    batch = world.consumer.receive(4, timeout=10)
    world.consumer.ack(batch[:2])
    world.consumer.nack(batch[2:], delay=0.0, error=world.name)
    world.consumer.ack(world.consumer.receive(9, timeout=10))


def in_a_with(world: World) -> None:
    world.topic.send_many([world.message] * 2)
    for delivery in world.consumer.receive(2, timeout=10):
        try:
            with delivery:
                if delivery.offset % 2:
                    raise RuntimeError(world.name)
        except RuntimeError:
            pass
    world.consumer.ack(world.consumer.receive(9, timeout=0.02))


def dead_letters(world: World) -> None:
    world.topic.send_many([world.message] * 2)
    first, *others = world.consumer.receive(2, timeout=10)
    first.dead_letter(world.name)
    if others:
        world.consumer.dead_letter(others, world.name)
    for dead in world.group.dead_letters(3):
        assert (dead.error, dead.attempts, dead.failures) == (world.name, 1, 1)
        assert dead.message.payload == world.payload
        assert len(dead.consumer) > 0


def attributes(world: World) -> None:
    world.topic.send_many([world.message])
    (one,) = world.consumer.receive(1, timeout=10)
    assert (one.payload, one.key, one.headers) == (world.payload, world.key, world.headers)
    assert one.timestamp * 1e9 == pytest.approx(one.timestamp_ns)
    assert (one.topic, one.partition, one.attempt) == ("orders", 0, 1)
    assert (one.id.offset, len(one)) == (one.offset, len(world.payload))
    assert one.deadline * 1e9 == pytest.approx(one.deadline_ns)
    repr(one)
    one.ack()


def view(world: World) -> None:
    world.reader.seek("earliest")
    (read,) = world.reader.receive(1, timeout=0)
    with read.view as view:
        assert view == world.payload
    (again,) = world.topic.reader().receive(1)
    assert bytes(again.view[:7]) == b"payload"


def read(world: World) -> None:
    world.reader.seek("latest")
    world.topic.send(world.payload, headers=world.headers)
    (one,) = world.reader.receive(9, timeout=0)
    assert (one.payload, one.key, one.headers) == (world.payload, None, world.headers)
    with world.topic.reader("latest") as reader:
        assert list(reader) == []


def iterate(world: World) -> None:
    for seen, read in enumerate(world.topic.reader()):
        assert read.offset == seen
        if seen == 20:
            break
    world.topic.send(world.payload)
    for delivery in world.consumer:
        delivery.ack()
        break


def groups(world: World) -> None:
    group = world.topic.group("g")
    assert (group.name, group.config["ordering"]) == ("g", "none")
    assert world.topic.create_group("g").name in world.topic.groups()
    assert world.consumer.name
    with world.topic.consumer("g", name=world.name) as consumer:
        assert (consumer.group, consumer.name) == ("g", world.name)


def statistics(world: World) -> None:
    assert world.store.stats()["members"] >= 1
    assert world.topic.stats()["messages"] > 0
    assert world.group.stats()["consumers"] >= 1
    assert len(world.topic.durable_offsets()) == 1
    world.topic.sync()
    world.store.sync()


def errors(world: World) -> None:
    wrong: Any = world
    raising: list[tuple[type[Exception], Callable[[], object]]] = [
        (libqueue.NotFound, lambda: world.store.open_topic("missing")),
        (libqueue.NotFound, lambda: world.topic.group("missing")),
        (libqueue.InvalidName, lambda: world.store.topic("../up")),
        (libqueue.ConfigMismatch, lambda: world.store.topic("orders", partitions=7)),
        (libqueue.InvalidArgument, lambda: world.topic.send(world.payload, partition=9)),
        (TypeError, lambda: world.topic.send(wrong)),
        (TypeError, lambda: world.topic.send(b"", headers={world.name: wrong})),
        (TypeError, lambda: world.topic.send_many([world.payload, wrong])),
        (libqueue.Busy, world.store.close),
        (ValueError, lambda: world.reader.seek("nowhere")),  # type: ignore[arg-type]
        (libqueue.NotAStore, lambda: libqueue.open(world.path / "topics")),
    ]
    for kind, call in raising:
        try:
            call()
        except kind:
            continue
        raise AssertionError(f"no {kind}")


def stale(world: World) -> None:
    world.topic.send(world.payload)
    (one,) = world.consumer.receive(1, timeout=10)
    one.ack()
    with pytest.raises(libqueue.StaleReceipt) as raised:
        world.consumer.ack([one])
    assert raised.value.stale == [one]


def failing_iterables(world: World) -> None:
    def payloads() -> object:
        yield world.payload
        raise KeyError(world.name)

    with pytest.raises(KeyError):
        world.topic.send_many(payloads())  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        world.consumer.ack([world.message])  # type: ignore[list-item]


def in_a_loop(world: World) -> None:
    async def main() -> None:
        async with world.topic.consumer("loop", start="latest", auto_extend=True) as consumer:
            assert consumer.fileno() >= 0
            waiting = asyncio.create_task(consumer.receive_async(5, 9, min_messages=2))
            await asyncio.sleep(0)
            waiting.cancel()
            world.topic.send(world.payload)
            async for delivery in consumer:
                with delivery:
                    delivery.extend(9.0)
                break
            await consumer.drain_async(9)

    world.loop.run_until_complete(main())


def inspected(world: World) -> None:
    assert libqueue.verify(world.path)["damage"] == []
    lines: list[str] = []
    libqueue.dump(world.path / "store.meta", lines.append)
    assert lines


OPERATIONS = [
    open_and_close,
    open_all_in_it,
    topics,
    send,
    send_many,
    unique,
    messages,
    settle,
    in_a_with,
    dead_letters,
    attributes,
    view,
    read,
    iterate,
    groups,
    statistics,
    errors,
    stale,
    in_a_loop,
    failing_iterables,
    inspected,
]


SLOW = (dead_letters, open_all_in_it, inspected, unique)
"""What syncs at each call, or reads everything."""


def held(world: World) -> dict[str, int]:
    """What is in use now, by what it is."""
    gc.collect()
    counts = {
        "blocks": sys.getallocatedblocks(),
        "objects": len(gc.get_objects()),
        "descriptors": len(list(Path("/proc/self/fd").iterdir())),
        "mappings": len(Path("/proc/self/maps").read_text().splitlines()),
    }
    counts |= {f"references to {name}": sys.getrefcount(one) for name, one in vars(world).items()}
    for type_ in {type(one) for one in world.ours()}:
        counts[f"references to {type_.__name__}"] = sys.getrefcount(type_)
    return counts


@pytest.mark.parametrize("operation", OPERATIONS)
def test_nothing_is_kept_of_a_call(path: Path, operation: Callable[[World], None]) -> None:
    world = World(path)
    calls = CALLS // 5 if operation in SLOW else CALLS
    names = list(held(world))
    # Numbers that are kept would be blocks in use: they stand in memory that is there before.
    seen = [array("q", bytes(8 * len(names))) for _ in range(ROUNDS)]
    for counts in seen:
        for _ in range(calls):
            operation(world)
        for place, count in enumerate(held(world).values()):
            counts[place] = count
    world.close()
    for place, name in enumerate(names):
        growth = [after[place] - once[place] for once, after in pairwise(seen)]
        assert min(growth[1:]) * 2 < calls, f"{name} grew by {growth} in rounds of {calls}"


def test_a_leak_is_found(path: Path) -> None:
    """The test above can fail."""
    kept: list[object] = []

    def leaks(world: World) -> None:
        kept.append((world.name, object()))

    with pytest.raises(AssertionError, match="grew by"):
        test_nothing_is_kept_of_a_call(path, leaks)
