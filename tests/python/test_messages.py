"""Sending, reading, and what a message carries."""

from __future__ import annotations

import time
from datetime import datetime, timedelta, timezone
from pathlib import Path
from types import MappingProxyType

import libqueue
import pytest


def test_p3_a_message_comes_back_with_all_it_was_sent_with(store: libqueue.Store) -> None:
    topic = store.topic("orders", partitions=4)
    sent = topic.send(
        b"paid", key=b"user-12345", headers={"trace": b"42", "empty": b""}, timestamp=4e9
    )
    (read,) = topic.reader().receive(10, timeout=0)
    assert read.payload == b"paid"
    assert read.key == b"user-12345"
    assert read.headers == {"trace": b"42", "empty": b""}
    assert (read.timestamp, read.timestamp_ns) == (4e9, 4 * 10**18)
    assert (read.topic, read.partition, read.offset) == ("orders", sent.partition, sent.offset)
    assert read.id == sent
    assert hash(read.id) == hash(sent)
    assert len(read) == 4


@pytest.mark.parametrize("payload", [b"x", bytearray(b"x"), memoryview(b"yxy")[1:2]])
def test_a_payload_is_anything_with_the_buffer_protocol(
    store: libqueue.Store, payload: bytes
) -> None:
    topic = store.topic("t")
    topic.send(payload, key=payload, headers={"h": payload})
    (read,) = topic.reader().receive(1)
    assert (read.payload, read.key, read.headers) == (b"x", b"x", {"h": b"x"})


def test_headers_are_any_mapping(store: libqueue.Store) -> None:
    topic = store.topic("t")
    headers = MappingProxyType({"a": b"1", "b": b"2"})
    topic.send(b"x", headers=headers)
    topic.send_many([libqueue.Message(b"y", headers=headers)])
    assert [read.headers for read in topic.reader()] == [{"a": b"1", "b": b"2"}] * 2
    with pytest.raises(TypeError, match="Mapping"):
        topic.send(b"x", headers=[("a", b"1")])  # type: ignore[arg-type]


def test_the_empty_key_is_a_key_and_none_is_not(store: libqueue.Store) -> None:
    topic = store.topic("t")
    topic.send(b"", key=b"")
    topic.send(b"")
    first, second = topic.reader().receive(2)
    assert (first.key, second.key) == (b"", None)


def test_many_are_sent_at_once_and_ids_come_in_their_order(store: libqueue.Store) -> None:
    topic = store.topic("t", partitions=3)
    messages = [libqueue.Message(b"%d" % n, key=b"k%d" % (n % 7)) for n in range(100)]
    ids = topic.send_many([*messages, b"plain", bytearray(b"buffer")])
    by_id = {message.id: message.payload for message in topic.reader()}
    assert [by_id[one] for one in ids] == [
        *(b"%d" % n for n in range(100)),
        b"plain",
        b"buffer",
    ]
    assert topic.send_many([]) == []


def test_keys_go_where_apache_kafka_puts_them(store: libqueue.Store) -> None:
    topic = store.topic("t", partitions=1000)
    # From the tests of Apache Kafka's own murmur2: the positive hash modulo the partitions.
    published = {
        b"21": -973932308,
        b"foobar": -790332482,
        b"a-little-bit-long-string": -985981536,
        b"a-little-bit-longer-string": -1486304829,
    }
    for key, hashed in published.items():
        assert topic.send(b"x", key=key).partition == (hashed & 0x7FFFFFFF) % 1000


def test_a_reader_seeks_by_offset_and_time_and_follows(store: libqueue.Store) -> None:
    topic = store.topic("t")
    start = time.time()
    for n in range(100):
        topic.send(b"%d" % n, timestamp=start + n)
    with topic.reader(50) as reader:
        assert next(reader).payload == b"50"
        reader.seek(datetime.fromtimestamp(start, timezone.utc) + timedelta(seconds=70.5))
        assert next(reader).payload == b"71"
        reader.seek("latest")
        assert list(reader) == []
        reader.seek("earliest")
        assert len(list(reader)) == 100
    with pytest.raises(libqueue.Closed):
        reader.receive(1, 0)
    follower = topic.reader("latest", follow=True)
    topic.send(b"new")
    assert next(follower).payload == b"new"


def test_an_offset_means_one_partition(store: libqueue.Store) -> None:
    topic = store.topic("t", partitions=2)
    topic.send(b"x", partition=1)
    with pytest.raises(libqueue.InvalidArgument, match="partition"):
        topic.reader(0)
    with pytest.raises(libqueue.InvalidArgument, match="twice"):
        topic.reader(partitions=[1, 1])
    assert next(topic.reader(0, [1])).payload == b"x"


def test_a_view_is_not_copied_and_outlives_store_and_file(path: Path) -> None:
    with libqueue.open(path) as store:
        topic = store.topic("t")
        topic.send(b"head" * 100_000)
        (message,) = topic.reader().receive(1)
        view = message.view
        assert view.readonly
        assert view.nbytes == 400_000
        del message
    for segment in path.rglob("*.log"):
        segment.unlink()
    assert view[:8].tobytes() == b"headhead"
    assert bytes(view) == b"head" * 100_000


def test_p2_durable_offsets_can_be_read_and_waited_for(store: libqueue.Store) -> None:
    topic = store.topic("t")
    sent = topic.send(b"x")
    topic.wait_durable(sent, timeout=30)
    assert topic.durable_offsets() == [1]
    synced = store.topic("s", durability="sync")
    synced.send(b"x")
    assert synced.durable_offsets() == [1]
    never = libqueue.MessageId(sent.topic_id, 0, 7)
    with pytest.raises(libqueue.NotFound):
        topic.wait_durable(never, timeout=1)


def test_everything_is_there_after_opening_again(path: Path) -> None:
    with libqueue.open(path, durability="interval", sync_interval=0.005) as store:
        identity = store.id
        store.topic("t", partitions=2).send_many([b"%d" % n for n in range(1000)])
    with libqueue.open(path, read_only=True) as store:
        assert store.id == identity
        assert store.path == path
        assert store.topics() == ["t"]
        topic = store.open_topic("t")
        assert topic.stats()["messages"] == 1000
        assert sorted(int(m.payload) for m in topic.reader()) == list(range(1000))
