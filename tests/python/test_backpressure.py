"""Topics with limits: refused, waiting, slowed, dropped (P14)."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import libqueue
import pytest
from conftest import WAIT, Child
from test_command_line import objects, run


def test_p14_a_full_topic_raises_full_which_is_a_blocking_io_error(store: libqueue.Store) -> None:
    topic = store.topic("t", max_messages=2)
    topic.send_many([b"a", b"b"])
    with pytest.raises(libqueue.Full, match="2 of max_messages 2"):
        topic.send(b"c")
    with pytest.raises(BlockingIOError):
        topic.send_many([b"c"])
    with pytest.raises(libqueue.TooLarge, match="max_messages, 2"):
        topic.send_many([b"c", b"d", b"e"])
    assert topic.pressure == 1.0
    with topic.consumer("g") as consumer:
        had = consumer.receive(2)
        with pytest.raises(libqueue.Full):
            topic.send(b"c")
        consumer.ack(had[:1])
        assert topic.pressure == 0.5
        topic.send(b"c")


def test_p14_the_configuration_is_shown_changed_and_checked(store: libqueue.Store) -> None:
    topic = store.topic("t", max_bytes=1 << 20, on_full="block", send_timeout=1.5)
    config = topic.config
    assert (config["max_bytes"], config["max_messages"]) == (1 << 20, None)
    assert (config["on_full"], config["send_timeout"]) == ("block", 1.5)
    assert (config["low_mark"], config["high_mark"], config["min_free_bytes"]) == (50, 90, 0)
    with pytest.raises(libqueue.InvalidArgument, match="low_mark is 95"):
        topic.configure(low_mark=95)
    with pytest.raises(libqueue.InvalidArgument, match='on_full is "wait"'):
        topic.configure(on_full="wait")  # type: ignore[arg-type]
    with pytest.raises(libqueue.InvalidArgument, match="max_message_bytes"):
        topic.configure(max_message_bytes=2 << 20)
    with pytest.raises(libqueue.ConfigMismatch, match="max_bytes"):
        store.topic("t", max_bytes=5)
    assert topic.config == config
    topic.configure(max_bytes=0)
    assert topic.config["max_bytes"] is None


def test_p14_a_wait_for_room_ends_when_there_is_some_or_in_time(store: libqueue.Store) -> None:
    topic = store.topic("t", max_messages=1, on_full="block")
    topic.send(b"a")
    with pytest.raises(libqueue.Timeout, match="nothing was sent"):
        topic.send(b"b", timeout=0.05)
    with topic.consumer("g") as consumer:
        had = consumer.receive(1)
        threading.Timer(0.1, consumer.ack, [had]).start()
        topic.send(b"b", timeout=20.0)
        assert consumer.receive(1)[0].payload == b"b"
    assert topic.stats()["messages"] == 2


def test_p14_a_wait_for_room_answers_ctrl_c(
    store: libqueue.Store, spawn: Callable[[str], Child]
) -> None:
    store.topic("t", max_messages=1, on_full="block").send(b"a")
    child = spawn(
        """
        topic = libqueue.open(path).topic("t")
        print("waits", flush=True)
        try:
            topic.send(b"b")
        except KeyboardInterrupt:
            print("interrupted", topic.stats()["messages"], flush=True)
        """
    )
    assert child.line() == "waits"
    time.sleep(0.2)
    child.signal(signal.SIGINT)
    assert child.line() == "interrupted 1"


def test_p8_p14_a_named_producer_waits_no_longer_than_it_said(store: libqueue.Store) -> None:
    topic = store.topic("t", max_messages=1, on_full="block")
    till = topic.producer("till")
    till.send(b"a", 1)
    with pytest.raises(libqueue.Timeout, match="nothing was sent"):
        till.send(b"b", 2, timeout=0.05)
    assert till.last_sequence == 1
    with topic.consumer("g") as consumer:
        had = consumer.receive(1)
        threading.Timer(0.1, consumer.ack, [had]).start()
        second = till.send(b"b", 2, timeout=20.0)
        assert till.send(b"b", 2, timeout=0.0) == second, "a repeat needs no room"
    with pytest.raises(libqueue.InvalidArgument, match="timeout"):
        till.send(b"c", 3, timeout=-1.0)


def test_p8_p14_what_a_signal_raises_is_raised_also_where_the_message_is_there_by_then(
    store: libqueue.Store,
) -> None:
    topic = store.topic("t", max_messages=2, on_full="block", dedup_window=60.0)
    topic.send_many([b"a", b"b"])

    def handler(*_: object) -> None:
        # Somebody sends what waits, so that the wait has what it wanted.
        with topic.consumer("g") as consumer:
            consumer.ack(consumer.receive(2, timeout=5.0))
        topic.send(b"c", dedup_id="c")
        raise KeyboardInterrupt

    def interrupt() -> None:
        deadline = time.monotonic() + WAIT
        while topic.stats()["waiting_senders"] == 0 and time.monotonic() < deadline:
            pass
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)

    before = signal.signal(signal.SIGUSR1, handler)
    thread = threading.Thread(target=interrupt)
    try:
        thread.start()
        with pytest.raises(KeyboardInterrupt):
            topic.send(b"c", dedup_id="c")
    finally:
        thread.join()
        signal.signal(signal.SIGUSR1, before)
    with topic.reader() as reader:
        assert [one.payload for one in reader] == [b"a", b"b", b"c"]


def test_p8_p14_a_named_producers_wait_for_room_answers_ctrl_c(
    store: libqueue.Store, spawn: Callable[[str], Child]
) -> None:
    store.topic("t", max_messages=1, on_full="block").send(b"a")
    child = spawn(
        """
        import threading
        till = libqueue.open(path).topic("t").producer("till")
        other = threading.Thread(target=lambda: till.send(b"b", 1), daemon=True)
        for thread in (other, None):
            if thread:
                thread.start()
                continue
            print("waits", flush=True)
            try:
                till.send(b"b", 1)
            except KeyboardInterrupt:
                print("interrupted", till.last_sequence, flush=True)
        """
    )
    assert child.line() == "waits"
    time.sleep(0.2)
    child.signal(signal.SIGINT)
    assert child.line() == "interrupted 0"


def test_p14_the_oldest_are_dropped_and_counted(store: libqueue.Store) -> None:
    topic = store.topic("t", max_messages=2, on_full="drop_oldest")
    group = topic.create_group("g")
    with topic.consumer("g") as consumer:
        topic.send_many([b"a", b"b"])
        had = consumer.receive(1)
        topic.send(b"c")
        assert group.stats()["dropped"] == 1
        with pytest.raises(libqueue.StaleReceipt):
            consumer.ack(had)
        assert [one.payload for one in consumer.receive(5)] == [b"b", b"c"]


def test_p14_a_throttled_sender_is_slowed_and_not_refused(store: libqueue.Store) -> None:
    topic = store.topic("t", max_messages=100, on_full="throttle", low_mark=10, high_mark=50)
    done = threading.Event()

    def consume() -> None:
        with topic.consumer("g", ordering="none") as consumer:
            while not done.is_set():
                consumer.ack(consumer.receive(5, timeout=0.1))

    thread = threading.Thread(target=consume)
    thread.start()
    most = 0.0
    for _ in range(300):
        topic.send(b"x", timeout=20.0)
        most = max(most, topic.pressure)
    done.set()
    thread.join()
    assert most <= 0.5


def test_p14_on_the_command_line(tmp_path: Path) -> None:
    path = tmp_path / "store"
    made = ["create", "t", "--max-messages", "1", "--on-full", "reject", "--json"]
    assert objects(run(path, *made))[0]["max_messages"] == 1
    run(path, "send", "t", given=b"one\n")
    full = run(path, "send", "t", given=b"two\n", status=1)
    assert b"max_messages 1" in full.stderr
    assert objects(run(path, "stats", "t", "--json"))[0]["pressure"] == 1.0
    changed = run(path, "config", "t", "max_messages=2", "on_full=block", "--json")
    assert objects(changed)[0]["on_full"] == "block"
    run(path, "config", "t", "low_mark=99", status=2)
    assert b"50% full" in run(path, "stats", "t").stdout


def test_p14_another_process_is_held_to_the_limit(tmp_path: Path) -> None:
    path = tmp_path / "store"
    with libqueue.open(path) as store:
        topic = store.topic("t", max_messages=3)
        topic.send(b"here")
        code = (
            "import libqueue, sys\n"
            "with libqueue.open(sys.argv[1]) as store:\n"
            "    topic = store.topic('t')\n"
            "    topic.send_many([b'a', b'b'])\n"
            "    try:\n"
            "        topic.send(b'c')\n"
            "    except libqueue.Full:\n"
            "        print('full')\n"
        )
        call = [sys.executable, "-c", code, str(path)]
        done = subprocess.run(call, capture_output=True, text=True, check=True, timeout=60)
        assert done.stdout == "full\n"
        with pytest.raises(libqueue.Full):
            topic.send(b"d")
