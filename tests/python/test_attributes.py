"""What a message says of its delivery: delay, time to live, priority; groups in order."""

from __future__ import annotations

import time
from datetime import datetime, timedelta, timezone

import libqueue
import pytest
from conftest import WAIT


def payloads(consumer: libqueue.Consumer, timeout: float = 0) -> list[bytes]:
    batch = consumer.receive(100, timeout)
    consumer.ack(batch)
    return [delivery.payload for delivery in batch]


def test_p6_a_delayed_message_comes_when_it_is_due(store: libqueue.Store) -> None:
    topic = store.topic("t")
    consumer = topic.consumer("g")
    began = time.time()
    topic.send(b"later", delay=0.3)
    topic.send(b"now")
    tomorrow = datetime.now(timezone.utc) + timedelta(days=1)
    topic.send_many(
        [
            libqueue.Message(b"tomorrow", deliver_at=tomorrow),
            libqueue.Message(b"long ago", deliver_at=began - 1000),
        ]
    )
    assert payloads(consumer) == [b"now", b"long ago"]
    assert payloads(consumer, WAIT) == [b"later"]
    assert time.time() >= began + 0.3
    stats = topic.group("g").stats()
    assert (stats["delayed"], stats["lag_messages"]) == (1, 1)


def test_p6_what_expires_is_counted_and_a_dead_letter_where_the_group_says_so(
    store: libqueue.Store,
) -> None:
    topic = store.topic("t")
    groups = {"drop": "drop", "keep": "dead_letter"}
    consumers = [
        topic.consumer("drop", on_expired="drop"),
        topic.consumer("keep", on_expired="dead_letter"),
    ]
    topic.send(b"late", ttl=0.0)
    topic.send(b"in time", ttl=60)
    for consumer in consumers:
        assert payloads(consumer) == [b"in time"]
        assert payloads(consumer) == []
    for name in groups:
        group = topic.group(name)
        assert group.stats()["expired"] == 1
        assert group.config["on_expired"] == groups[name]
        letters = [letter.message.payload for letter in group.dead_letters()]
        assert letters == ([b"late"] if name == "keep" else [])


def test_p11_urgent_ones_overtake_and_a_partition_keeps_its_order(store: libqueue.Store) -> None:
    topic = store.topic("t")
    topic.send_many([b"%d" % number for number in range(3000)])
    topic.send(b"urgent", priority=9)
    consumer = topic.consumer("g", ordering="none")
    assert [one.payload for one in consumer.receive(2)] == [b"urgent", b"0"]
    in_order = topic.consumer("in-order", ordering="partition")
    (first,) = in_order.receive(10)
    assert in_order.receive(10, 0) == []
    first.ack()
    assert len(in_order.receive(10)) == 1


def test_times_and_priorities_that_cannot_be_are_refused(store: libqueue.Store) -> None:
    topic = store.topic("t")
    for bad in (
        {"delay": -1.0},
        {"delay": float("nan")},
        {"ttl": -0.1},
        {"priority": 10},
        {"priority": -1},
        {"delay": 1.0, "deliver_at": 5.0},
        {"deliver_at": float("inf")},
    ):
        with pytest.raises(libqueue.InvalidArgument):
            topic.send(b"x", **bad)
        with pytest.raises(libqueue.InvalidArgument):
            topic.send_many([b"good", libqueue.Message(b"x", **bad)])
    assert topic.stats()["messages"] == 0
    with pytest.raises(libqueue.InvalidArgument, match="partition"):
        topic.consumer("g", ordering="sideways")  # type: ignore[arg-type]
