"""Bad input: each its own kind of error, with the place and the way out; nothing is changed."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path

import libqueue
import pytest
from libqueue import _errors


def test_every_kind_has_its_own_class_derived_from_error_and_what_fits() -> None:
    kinds = _errors.BY_KIND
    assert sorted(kinds) == list(range(1, 29))
    assert all(issubclass(one, libqueue.Error) for one in kinds.values())
    for ours, builtin in [
        (libqueue.Timeout, TimeoutError),
        (libqueue.PermissionDenied, PermissionError),
        (libqueue.NotFound, FileNotFoundError),
        (libqueue.InvalidArgument, ValueError),
        (libqueue.Full, BlockingIOError),
    ]:
        assert issubclass(ours, builtin)


def test_paths_that_are_no_store(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("text")
    with pytest.raises(libqueue.NotAStore, match="file"):
        libqueue.open(file)
    other = tmp_path / "other"
    other.mkdir()
    (other / "letter.txt").write_text("dear")
    with pytest.raises(libqueue.NotAStore, match=r"store\.meta"):
        libqueue.open(other)
    assert [one.name for one in other.iterdir()] == ["letter.txt"]
    with pytest.raises(libqueue.NotFound, match="missing"):
        libqueue.open(tmp_path / "missing", create=False)
    with pytest.raises(FileNotFoundError):
        libqueue.open(tmp_path / "missing", read_only=True)


@pytest.mark.parametrize(
    "options",
    [
        {"durability": "never"},
        {"durability": "sync", "sync_interval": 1.0},
        {"durability": "interval", "sync_interval": -1.0},
        {"mode": 0o4000},
        {"lock_timeout": float("nan")},
    ],
)
def test_options_out_of_range(path: Path, options: dict[str, object]) -> None:
    with pytest.raises(libqueue.InvalidArgument, match=r"expected|goes with"):
        libqueue.open(path, **options)  # type: ignore[arg-type]
    assert not path.exists()


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a b", "ä", "x" * 250, "a\0b"])
def test_names_that_are_none(store: libqueue.Store, name: str) -> None:
    with pytest.raises(libqueue.InvalidName, match="expected"):
        store.topic(name)
    with pytest.raises(libqueue.InvalidName):
        store.topic("t").consumer(name)
    assert store.topics() == ["t"]


def test_messages_that_cannot_be_sent(store: libqueue.Store) -> None:
    topic = store.topic("t", max_message_bytes=10)
    with pytest.raises(libqueue.TooLarge, match="at most 10"):
        topic.send(b"x" * 11)
    with pytest.raises(libqueue.TooLarge):
        topic.send_many([b"good", b"x" * 11])
    with pytest.raises(TypeError, match="buffer"):
        topic.send("text")  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        topic.send(b"x", headers={"h": "text"})  # type: ignore[dict-item]
    with pytest.raises(libqueue.InvalidArgument, match="partition 1"):
        topic.send(b"x", partition=1)
    with pytest.raises(libqueue.InvalidArgument, match="-1; expected 0 to 4294967295"):
        topic.send(b"x", partition=-1)
    with pytest.raises(libqueue.InvalidArgument, match="timestamp"):
        topic.send(b"x", timestamp=float("inf"))
    assert topic.stats()["messages"] == 0


def test_unknown_things(store: libqueue.Store) -> None:
    with pytest.raises(libqueue.NotFound, match="create_topic"):
        store.open_topic("t")
    topic = store.create_topic("t")
    with pytest.raises(libqueue.AlreadyExists):
        store.create_topic("t")
    with pytest.raises(libqueue.NotFound, match="create_group"):
        topic.group("g")
    with topic.consumer("g") as consumer:
        with pytest.raises(TypeError, match="Delivery"):
            consumer.ack(7)  # type: ignore[arg-type]
        with pytest.raises(libqueue.InvalidArgument):
            consumer.receive(0)
        with pytest.raises(libqueue.InvalidArgument):
            consumer.receive(1, timeout=-1)


def test_numbers_out_of_range_and_times_beyond_all_clocks(store: libqueue.Store) -> None:
    topic = store.topic("t")
    sent = topic.send(b"x")
    wrong: list[Callable[[], object]] = [
        lambda: store.topic("u", partitions=-1),
        lambda: store.topic("u", max_message_bytes=2**64),
        lambda: topic.consumer("g", max_attempts=2**32),
        lambda: topic.consumer("g", window=-1),
        lambda: topic.consumer("g", lease=1e19),
        lambda: topic.reader(-1),
        lambda: topic.send_many([libqueue.Message(b"x", partition=2**32)]),
    ]
    for call in wrong:
        with pytest.raises(libqueue.InvalidArgument, match="expected"):
            call()
    with topic.consumer("g") as consumer, topic.reader() as reader:
        with pytest.raises(libqueue.InvalidArgument, match="expected"):
            consumer.receive(-1)
        assert len(consumer.receive(2**62, timeout=1e19)) == 1
        assert len(reader.receive(1, timeout=1e19)) == 1
    topic.wait_durable(sent, timeout=1e19)
    with pytest.raises(libqueue.InvalidName, match="1 to 96"):
        topic.consumer("g", name="x" * 97)
    assert store.topics() == ["t"]


def test_an_error_of_the_system_carries_its_number(tmp_path: Path) -> None:
    long = tmp_path / ("x" * 300)
    with pytest.raises(libqueue.InvalidArgument, match="File name too long"):
        libqueue.open(long)
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    with pytest.raises(libqueue.IoError, match="loop") as raised:
        libqueue.open(loop)
    assert raised.value.errno == errno.ELOOP


def test_verify_ends_with_what_its_callback_raises(path: Path) -> None:
    with libqueue.open(path) as store:
        store.topic("t").send(b"x" * 3_000_000)

    def stop(done: int, total: int) -> None:
        assert 0 <= done <= total
        if done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        libqueue.verify(path, stop)
    assert libqueue.verify(path)["damage"] == []


def test_closing_names_what_is_open_and_closed_things_say_so(path: Path) -> None:
    store = libqueue.open(path)
    topic = store.topic("t")
    consumer = topic.consumer("g", name="clerk")
    with pytest.raises(libqueue.Busy, match="clerk"):
        store.close()
    consumer.close()
    consumer.close()
    with pytest.raises(libqueue.Closed, match="clerk"):
        consumer.receive(1, 0)
    store.close()
    store.close()
    for call in (lambda: topic.send(b"x"), store.topics, lambda: topic.group("g")):
        with pytest.raises(libqueue.Closed):
            call()


def test_p3_damage_is_raised_once_and_the_rest_is_delivered(path: Path) -> None:
    with libqueue.open(path) as store:
        store.topic("t").send_many([b"one", b"two", b"three"])
    (segment,) = path.rglob("*.log")
    damaged = bytearray(segment.read_bytes())
    damaged[damaged.index(b"two")] ^= 1
    segment.write_bytes(damaged)
    with libqueue.open(path) as store:
        topic = store.topic("t")
        reader = topic.reader()
        found, raised = [], 0
        while True:
            try:
                batch = reader.receive(10, 0)
            except libqueue.Damaged as error:
                assert segment.name in str(error)
                raised += 1
                continue
            if not batch:
                break
            found += [one.payload for one in batch]
        reader.close()
        assert (found, raised) == ([b"one", b"three"], 1)
        with topic.consumer("g") as consumer:
            first = consumer.receive(10, 0)
            assert [one.payload for one in first] == [b"one", b"three"]
            consumer.ack(first)
            with pytest.raises(libqueue.Damaged, match=segment.name):
                consumer.receive(10, 0)
            assert consumer.receive(10, 0) == []
        assert topic.group("g").stats()["damaged"] == 1
        assert topic.group("g").stats()["lag_messages"] == 0
