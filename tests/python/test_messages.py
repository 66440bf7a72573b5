"""Sending, reading, and what a message carries."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from types import MappingProxyType
from typing import Any

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


@pytest.mark.parametrize("looked", [False, True])
def test_a_reader_behind_the_end_waits_for_that_offset_and_a_new_group_is_refused(
    store: libqueue.Store, looked: bool
) -> None:
    topic = store.topic("t")
    topic.send_many([b"0", b"1", b"2"])
    moved = topic.reader()
    moved.seek(5)
    for make in (topic.create_group, topic.consumer):
        with pytest.raises(libqueue.InvalidArgument, match=r"offset 4 is .* expected 0, .* to 3"):
            make("g", start=4)
    assert topic.groups() == []
    with topic.reader(5) as reader, moved, topic.consumer("g", start=3) as consumer:
        for batch in ([b"3", b"4"], [b"5", b"6"]):
            if looked:
                assert [one.receive(9, 0) for one in (reader, moved)] == [[], []]
            topic.send_many(batch)
        for one in (reader, moved):
            assert [message.offset for message in one.receive(9, 0)] == [5, 6]
        assert [delivery.offset for delivery in consumer.receive(9, 0)] == [3, 4, 5, 6]
    assert libqueue.verify(store.path)["damage"] == []


class NoTime:
    """As other packages have it for a time that is missing."""

    def timestamp(self) -> float:
        return float("nan")

    def __str__(self) -> str:
        return "no time"


def test_a_truth_value_is_no_place_and_a_time_that_cannot_be_said_is_told(
    store: libqueue.Store,
) -> None:
    topic = store.topic("t")
    topic.send_many([b"0", b"1"])
    group = topic.create_group("g")
    uses: list[Callable[[Any], object]] = [
        topic.reader().seek,
        topic.reader,
        group.seek,
        group.preview_seek,
        lambda start: topic.create_group("other", start=start),
    ]
    for use in uses:
        for bad in (True, False):
            with pytest.raises(
                libqueue.InvalidArgument, match=r"start is a bool; expected .*offset"
            ):
                use(bad)
        with pytest.raises(libqueue.InvalidArgument, match=r"start is 0001-.* years 2 to 9998"):
            use(datetime(1, 1, 1))
        with pytest.raises(libqueue.InvalidArgument, match="start is no time; expected a time"):
            use(NoTime())
        for far in (datetime(2, 1, 1), datetime(9998, 12, 31)):
            use(far)
    with pytest.raises(libqueue.InvalidArgument, match=r"deliver_at is 0001-.* 1679 to 2260"):
        topic.send(b"", deliver_at=datetime(1, 1, 1))
    with pytest.raises(libqueue.InvalidArgument, match=r"failed_since is 0001-.* 1679 to 2260"):
        group.redrive(failed_since=datetime(1, 1, 1))


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
