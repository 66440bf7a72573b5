"""Seeking a group, and its snapshots, while consumers are at work (P16)."""

from __future__ import annotations

import datetime
import os
import pty
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import libqueue
import pytest
from conftest import WAIT, Child
from test_command_line import PROGRAM, objects, run


def offsets(found: list[libqueue.Delivery]) -> list[int]:
    return [one.offset for one in found]


def manage(consumer: libqueue.Consumer) -> list[int]:
    """Offsets of all that is handed out now, and acknowledged."""
    found = consumer.receive(100, 0)
    consumer.ack(found)
    return offsets(found)


def test_p16_a_group_is_set_to_an_end_an_offset_and_a_time(store: libqueue.Store) -> None:
    topic = store.topic("t")
    with topic.consumer("g") as consumer:
        for _ in range(5):
            topic.send(b"x")
        first = consumer.receive(5, WAIT)
        times = [one.timestamp_ns for one in first]
        consumer.ack(first[:3])
        group = topic.group("g")
        (one,) = group.preview_seek(1)
        assert (one.partition, one.position, one.target) == (0, 3, 1)
        assert (one.again, one.passed_over, one.stale_leases, one.gone) == (2, 0, 2, 0)
        assert "from 3 to 1" in repr(one)
        assert [one.again for one in group.seek(1)] == [2]
        with pytest.raises(libqueue.StaleReceipt):
            first[3].ack()
        assert manage(consumer) == [1, 2, 3, 4]
        group.seek("earliest")
        assert manage(consumer) == [0, 1, 2, 3, 4]
        # A time has microseconds, and messages are sent in less.
        for ns in (times[0] - 2_000_000, times[2], times[4] + 2_000_000):
            at = datetime.datetime.fromtimestamp(ns / 1e9, datetime.timezone.utc)
            wanted = round(at.timestamp() * 1e9)
            (one,) = group.preview_seek(at)
            assert one.target == sum(sent < wanted for sent in times)
        group.seek(datetime.datetime.now() + datetime.timedelta(days=1))
        assert manage(consumer) == []
        group.seek("earliest")
        group.seek("latest")
        assert manage(consumer) == []
        topic.send(b"y")
        assert manage(consumer) == [5]


def test_p16_what_cannot_be_sought_says_what_can(store: libqueue.Store) -> None:
    topic = store.topic("t", partitions=2)
    group = topic.create_group("g")
    topic.send(b"x", partition=0)
    for call in (group.seek, group.preview_seek):
        with pytest.raises(libqueue.InvalidArgument, match="0, its earliest message, to 1"):
            call(2, partition=0)
        with pytest.raises(libqueue.InvalidArgument, match="name a partition"):
            call(0)
        with pytest.raises(libqueue.InvalidArgument, match="partition 2"):
            call("latest", partition=2)
        with pytest.raises(libqueue.NotFound, match="no snapshot"):
            call("before")
        with pytest.raises(libqueue.InvalidName, match="a letter"):
            call("2026-11-26")
        with pytest.raises(libqueue.InvalidArgument):
            call(None)  # type: ignore[arg-type]
    assert [one.passed_over for one in group.seek(1, partition=0)] == [1]


def test_p16_snapshots_are_taken_listed_sought_and_deleted(store: libqueue.Store) -> None:
    topic = store.topic("t")
    group = topic.create_group("g", ordering="none", backoff=(0.0, 0.0, 1.0))
    for _ in range(4):
        topic.send(b"x")
    with topic.consumer("g") as consumer:
        found = consumer.receive(3, WAIT)
        consumer.ack([found[0], found[2]])
        found[1].nack(delay=0.0)
        taken = group.snapshot("before")
        assert (taken.name, taken.open, taken.whole) == ("before", 1, True)
        assert abs(taken.taken - time.time()) < WAIT
        assert "before" in repr(taken)
        assert manage(consumer) == [1, 3]
        assert [one.again for one in group.seek("before")] == [2]
        again = consumer.receive(10, WAIT)
        assert [(one.offset, one.attempt) for one in again] == [(1, 2), (3, 1)]
        assert [one.name for one in group.snapshots()] == ["before"]
        with pytest.raises(libqueue.AlreadyExists):
            group.snapshot("before")
        for bad in ("earliest", "latest", "7", "", "a/b"):
            with pytest.raises(libqueue.InvalidName):
                group.snapshot(bad)
        group.delete_snapshot("before")
        with pytest.raises(libqueue.NotFound):
            group.delete_snapshot("before")
        assert group.snapshots() == []


WORKER = """
    with libqueue.open(path) as store:
        topic = store.topic("t")
        with topic.consumer("g", lease=30.0) as consumer:
            print("ready", flush=True)
            for delivery in consumer:
                try:
                    with delivery:
                        print(delivery.partition, delivery.offset, flush=True)
                except libqueue.StaleReceipt:
                    print("stale", flush=True)
"""


def test_p16_while_processes_work_and_die_all_from_the_target_on_comes_after_each_seek(
    store: libqueue.Store, spawn: Callable[[str], Child]
) -> None:
    topic = store.topic("t", partitions=2)
    group = topic.create_group("g")
    seen: Counter[tuple[int, int]] = Counter()
    lock = threading.Lock()

    def listen(child: Child) -> None:
        assert child.process.stdout is not None
        for line in child.process.stdout:
            words = line.split()
            if len(words) == 2:
                with lock:
                    seen[int(words[0]), int(words[1])] += 1

    listeners = []

    def begin() -> Child:
        child = spawn(WORKER)
        assert child.line() == "ready"
        listener = threading.Thread(target=listen, args=[child])
        listener.start()
        listeners.append(listener)
        return child

    workers = [begin(), begin()]
    for number in range(300):
        topic.send(b"x", partition=number % 2)
    for round_ in range(6):
        with lock:
            seen.clear()
        target = 20 * round_
        group.seek(target, partition=0)
        group.seek(target, partition=1)
        if round_ % 2 == 0:
            workers.pop(0).kill()
            workers.append(begin())
        wanted = {(part, at) for part in (0, 1) for at in range(target, 150)}
        deadline = time.monotonic() + WAIT
        while time.monotonic() < deadline:
            with lock:
                if wanted <= set(seen) and group.stats()["lag_messages"] == 0:
                    break
            time.sleep(0.01)
        with lock:
            assert wanted - set(seen) == set(), f"round {round_}: never came again"
    for worker in workers:
        worker.kill()
    for listener in listeners:
        listener.join(WAIT)


SEEKER = """
    with libqueue.open(path) as store:
        group = store.topic("t").group("g")
        print("ready", flush=True)
        sys.stdin.readline()
        while True:
            group.seek("earliest")
            group.seek("half")
"""


def test_p16_p17_a_seek_that_is_killed_is_done_by_the_next_one_or_never_began(
    store: libqueue.Store, spawn: Callable[[str], Child]
) -> None:
    topic = store.topic("t", partitions=2)
    group = topic.create_group("g", ordering="none")
    for number in range(40):
        topic.send(b"x", partition=number % 2)
    with topic.consumer("g") as consumer:
        found = consumer.receive(40, WAIT)
        consumer.ack([one for one in found if one.offset % 2 == 0])
    group.snapshot("half")
    every = sorted((part, at) for part in (0, 1) for at in range(20))
    half = [place for place in every if place[1] % 2 == 1]
    for turn in range(12):
        child = spawn(SEEKER)
        assert child.line() == "ready"
        assert child.process.stdin is not None
        child.process.stdin.write("go\n")
        child.process.stdin.flush()
        time.sleep(0.003 * turn)
        child.kill()
        with topic.consumer("g") as consumer:
            found = []
            deadline = time.monotonic() + WAIT
            while group.stats()["lag_messages"] and time.monotonic() < deadline:
                some = consumer.receive(100, 1.0)
                consumer.ack(some)
                found += some
        places = sorted((one.partition, one.offset) for one in found)
        assert places in ([], every, half), f"turn {turn}: {places}"
        group.seek("half")
    group.delete_snapshot("half")


def test_the_command_line_shows_what_a_seek_does_before_it_does_it(path: Path) -> None:
    run(path, "create", "t")
    run(path, "send", "t", given=b"a\nb\nc\n")
    run(path, "receive", "t", "--group", "g", "--max", "9")
    seek = ("seek", "t", "g")
    (shown,) = objects(run(path, *seek, "--to", "1", "--dry-run", "--json"))
    assert shown == {
        "topic": "t",
        "group": "g",
        "sought": False,
        "partition": 0,
        "position": 3,
        "target": 1,
        "again": 2,
        "passed_over": 0,
        "stale_leases": 0,
        "gone": 0,
    }
    asked = run(path, *seek, "--to", "1", status=2)
    assert b"--yes" in asked.stderr
    assert b"again" in run(path, *seek, "--to", "1", "--yes").stdout
    assert run(path, "receive", "t", "--group", "g", "--max", "9").stdout.count(b"\n") == 2
    for bad in ("9", "x y", "-3", "2026-13-01"):
        run(path, *seek, f"--to={bad}", "--yes", status=2)
    assert b"no snapshot" in run(path, *seek, "--to", "none", "--yes", status=1).stderr
    run(path, "snapshot", "t", "g", "done")
    (one,) = objects(run(path, "snapshot", "t", "g", "--list", "--json"))
    assert (one["name"], one["open"], one["whole"]) == ("done", 0, True)
    assert b"done" in run(path, "snapshot", "t", "g", "--list").stdout
    run(path, *seek, "--to", "2000-01-01T00:00:00", "--yes")
    (plan,) = objects(run(path, *seek, "--to", "done", "--yes", "--json"))
    assert (plan["sought"], plan["passed_over"]) == (True, 3)
    run(path, "snapshot", "t", "g", "done", "--delete")
    run(path, "snapshot", "t", "g", status=2)
    run(path, "snapshot", "t", "g", "x", "--list", status=2)
    assert run(path, "snapshot", "t", "g", "--list", "--json").stdout == b""


def test_the_command_line_asks_on_a_terminal(path: Path) -> None:
    run(path, "create", "t")
    run(path, "send", "t", given=b"a\n")
    run(path, "receive", "t", "--group", "g")
    for answer, again in (("n\n", 0), ("y\n", 1)):
        ours, theirs = pty.openpty()
        os.write(ours, answer.encode())
        command = [PROGRAM, "-s", str(path), "seek", "t", "g", "--to", "earliest"]
        done = subprocess.run(command, stdin=theirs, capture_output=True, timeout=WAIT, check=False)
        os.close(theirs)
        os.close(ours)
        assert done.returncode == (0 if again else 1), done.stderr
        assert b"1 messages again" in done.stderr
        received = run(path, "receive", "t", "--group", "g", "--max", "9").stdout
        assert received.count(b"\n") == again
