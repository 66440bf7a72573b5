"""Several processes on one store: killed, stopped, interrupted, forked."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import libqueue
import pytest
from conftest import QUICK, WAIT, Child

Spawn = Callable[[str], Child]


def test_p1_what_a_killed_sender_said_is_there(store: libqueue.Store, spawn: Spawn) -> None:
    child = spawn("""
        with libqueue.open(path) as store:
            topic = store.topic("t")
            n = 0
            while True:
                topic.send(b"%d" % n)
                print(n)
                n += 1
    """)
    last = [int(child.line()) for _ in range(2000)][-1]
    child.kill()
    found = [int(message.payload) for message in store.topic("t").reader()]
    assert found == list(range(len(found)))
    assert len(found) > last
    store.topic("t").send(b"the lock is free")


def test_p10_a_killed_consumers_messages_come_at_once_charged_for_what_was_started(
    store: libqueue.Store, spawn: Spawn
) -> None:
    topic = store.topic("t")
    topic.send_many([b"%d" % n for n in range(10)])
    child = spawn("""
        store = libqueue.open(path)
        consumer = store.topic("t").consumer("g", lease=3600.0, name="victim")
        batch = consumer.receive(10, 30)
        batch[3].__enter__()
        print(len(batch))
        time.sleep(3600)
    """)
    assert child.line() == "10"
    with topic.consumer("g") as consumer:
        assert consumer.receive(1, 0) == []
        child.kill()
        first = consumer.receive(10, WAIT)
        assert sorted(int(one.payload) for one in first) == [0, 1, 2, 4, 5, 6, 7, 8, 9]
        stats = topic.group("g").stats()
        assert (stats["failed"], stats["delayed"]) == (1, 1)


def test_p12_a_death_that_is_the_last_failure_is_told_by_the_dead_letter(
    store: libqueue.Store, spawn: Spawn
) -> None:
    topic = store.topic("t")
    topic.send(b"deadly")
    child = spawn("""
        store = libqueue.open(path)
        consumer = store.topic("t").consumer("g", max_attempts=1, name="victim")
        with consumer.receive(1, 30)[0]:
            print("in it")
            time.sleep(3600)
    """)
    assert child.line() == "in it"
    child.kill()
    with topic.consumer("g") as consumer:
        while not (found := topic.group("g").dead_letters()):
            assert consumer.receive(1, 0.02) == []
    assert found[0].consumer == "victim"
    assert "died" in found[0].error


def test_p17_a_stopped_process_keeps_its_leases(store: libqueue.Store, spawn: Spawn) -> None:
    topic = store.topic("t")
    topic.send(b"x")
    child = spawn("""
        with libqueue.open(path) as store:
            with store.topic("t").consumer("g", lease=3600.0) as consumer:
                (delivery,) = consumer.receive(1, 30)
                print("has it")
                sys.stdin.readline()
                delivery.ack()
                print("done")
    """)
    assert child.line() == "has it"
    child.signal(signal.SIGSTOP)
    with topic.consumer("g") as consumer:
        assert consumer.receive(1, 0.3) == []
        child.signal(signal.SIGCONT)
        assert child.process.stdin is not None
        child.process.stdin.write("\n")
        child.process.stdin.flush()
        assert child.line() == "done"
        assert consumer.receive(1, 0) == []
    assert topic.group("g").stats()["acked"] == 1


@pytest.mark.parametrize("call", ["consumer.receive(1)", "next(consumer)", "next(reader)"])
def test_ctrl_c_ends_a_call_that_waits(store: libqueue.Store, spawn: Spawn, call: str) -> None:
    store.topic("t")
    child = spawn(f"""
        with libqueue.open(path) as store:
            topic = store.topic("t")
            with topic.consumer("g") as consumer, topic.reader(follow=True) as reader:
                try:
                    print("waits")
                    {call}
                except KeyboardInterrupt:
                    print("interrupted")
    """)
    assert child.line() == "waits"
    child.signal(signal.SIGINT)
    assert child.line() == "interrupted"
    assert child.end() == 0


def test_four_workers_share_the_work_and_keep_each_keys_order(
    store: libqueue.Store, spawn: Spawn
) -> None:
    topic = store.topic("t", partitions=4)
    topic.create_group("g", backoff=QUICK)
    topic.send_many(libqueue.Message(b"%d" % n, key=b"k%d" % (n % 50)) for n in range(5000))
    children = [
        spawn("""
            done = []
            with libqueue.open(path) as store, store.topic("t").consumer("g") as consumer:
                while batch := consumer.receive(20, 1.0):
                    for delivery in batch:
                        if delivery.attempt == 1 and int(delivery.payload) % 10 == 0:
                            delivery.nack()
                            continue
                        done.append((time.monotonic_ns(), int(delivery.payload)))
                        delivery.ack()
            for when, number in done:
                print(when, number)
            print("end")
        """)
        for _ in range(4)
    ]
    rows: list[tuple[int, int]] = []
    for child in children:
        while (line := child.line()) != "end":
            when, done = line.split()
            rows.append((int(when), int(done)))
    assert sorted(number for _, number in rows) == list(range(5000))
    last: dict[int, int] = {}
    for _, number in sorted(rows):
        key = number % 50
        assert last.get(key, -1) < number
        last[key] = number


def test_p17_a_forked_child_joins_by_itself_and_its_old_handles_say_so(path: Path) -> None:
    store = libqueue.open(path)
    topic = store.topic("t")
    topic.send(b"parent")
    child = os.fork()
    if child == 0:
        status = 1
        try:
            try:
                topic.send(b"x")
            except libqueue.Forked:
                store.topic("t").send(b"child")
                status = 0
        finally:
            sys.stdout.flush()
            os._exit(status)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    topic.send(b"parent again")
    assert [m.payload for m in topic.reader()] == [b"parent", b"child", b"parent again"]
    store.close()
