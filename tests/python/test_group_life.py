"""Managing groups while others are at work in them."""

from __future__ import annotations

import os
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from pathlib import Path

import libqueue
import pytest
from conftest import QUICK, WAIT, Child
from test_command_line import objects, run

WORKER = """
    import sys, libqueue
    store = libqueue.open(sys.argv[1])
    topic = store.open_topic("t")
    with topic.consumer("g", name=sys.argv[2]) as consumer:
        print("ready", flush=True)
        for line in sys.stdin:
            try:
                if line == "take\\n":
                    print(len(consumer.receive(1, 0)), flush=True)
                else:
                    batch = consumer.receive(1, 0)
                    getattr(consumer, line.strip())(batch)
                    print("done", flush=True)
            except libqueue.Error as error:
                print(type(error).__name__, flush=True)
"""


@pytest.fixture
def worker(
    path: Path, launch: Callable[[list[str]], Child]
) -> Callable[[str], Callable[[str], str]]:
    """Consumers in other processes, to be told what to do."""

    def start(name: str) -> Callable[[str], str]:
        child = launch([sys.executable, "-c", textwrap.dedent(WORKER), str(path), name])
        assert child.line() == "ready"

        def ask(what: str) -> str:
            assert child.process.stdin is not None
            child.process.stdin.write(what + "\n")
            child.process.stdin.flush()
            return child.line()

        return ask

    return start


def prepared(store: libqueue.Store, count: int = 10) -> tuple[libqueue.Topic, libqueue.Group]:
    topic = store.topic("t")
    topic.send_many([b"%d" % n for n in range(count)])
    return topic, topic.create_group("g")


def test_a_group_is_configured_while_it_is_in_use(store: libqueue.Store) -> None:
    topic, group = prepared(store)
    with topic.consumer("g") as consumer:
        (first,) = consumer.receive(1, 0)
        group.configure(lease=500.0, max_attempts=1, dead_letter_topic="dead", backoff=QUICK)
        (second,) = consumer.receive(1, 0)
        assert 400 < second.deadline - first.deadline < 500
        consumer.nack(second, error="no")
    config = topic.group("g").config
    assert (config["lease"], config["max_attempts"], config["window"]) == (500.0, 1, 65_536)
    assert (config["dead_letter_topic"], config["backoff"]) == ("dead", QUICK)
    assert store.open_topic("dead").stats()["messages"] == 1
    for wrong, kind in (
        ({"window": 1 << 20}, libqueue.InvalidArgument),
        ({"start": "latest"}, libqueue.InvalidArgument),
        ({"colour": "red"}, TypeError),
    ):
        with pytest.raises(kind):
            group.configure(**wrong)


def test_p12_dead_letters_are_not_left_where_nobody_lists_them(
    path: Path, store: libqueue.Store
) -> None:
    topic, group = prepared(store, 2)
    with topic.consumer("g") as consumer:
        consumer.dead_letter(consumer.receive(2, WAIT), "no use")
    for target in ("dead", None):
        with pytest.raises(libqueue.Busy, match="has 2 dead letters in topic"):
            group.configure(dead_letter_topic=target)
    assert b"has 2 dead" in run(path, "config", "t/g", "dead_letter_topic=", status=1).stderr
    assert len(group.dead_letters()) == 2
    group.purge_dead_letters()
    group.configure(dead_letter_topic=None)
    assert group.config["dead_letter_topic"] is None


def test_a_paused_group_hands_nothing_out_in_any_process(
    store: libqueue.Store, worker: Callable[[str], Callable[[str], str]]
) -> None:
    _, group = prepared(store)
    other = worker("other")
    group.pause()
    assert group.stats()["paused"] is True
    assert other("take") == "0"
    group.resume()
    assert group.stats()["paused"] is False
    assert other("take") == "1"


def test_one_who_waits_is_woken_when_the_group_is_resumed(store: libqueue.Store) -> None:
    topic, group = prepared(store)
    group.pause()
    with topic.consumer("g") as consumer:
        threading.Timer(0.2, group.resume).start()
        assert len(consumer.receive(1, WAIT)) == 1


def test_one_who_fails_what_others_manage_stands_out(
    store: libqueue.Store, worker: Callable[[str], Callable[[str], str]]
) -> None:
    _, group = prepared(store)
    good, bad = worker("good"), worker("bad")
    for _ in range(3):
        assert good("ack") == "done"
        assert bad("nack") == "done"
    assert good("take") == "1"
    first, second = group.consumers()
    assert [first.name, second.name] == ["bad", "good"]
    assert (first.delivered, first.acked, first.failed, first.leased) == (3, 0, 3, 0)
    assert (second.delivered, second.acked, second.failed, second.leased) == (4, 3, 0, 1)
    assert first.process != second.process != os.getpid()
    assert repr(first) == '<libqueue.ConsumerStats "bad": 3 of 3 failed>'


def test_a_peek_changes_nothing(store: libqueue.Store) -> None:
    topic, group = prepared(store)
    with topic.consumer("g", name="me") as consumer:
        consumer.receive(1, 0)
        found = group.peek(0)
        assert (found.state, found.consumer, found.attempts) == ("leased", "me", 1)
        assert found.until is not None
        assert 20 < found.until - time.time() <= 31
        assert found.message.payload == b"0"
    found = group.peek(0)
    assert (found.state, found.consumer, found.until) == ("ready", None, None)
    assert group.peek(9, partition=0).state == "fresh"
    with pytest.raises(libqueue.NotFound, match="the next is 10"):
        group.peek(10)
    with pytest.raises(libqueue.InvalidArgument):
        group.peek(0, partition=1)
    with pytest.raises(libqueue.InvalidArgument):
        group.peek(-1)


def test_p9_a_message_is_settled_delayed_and_given_up_by_its_id(store: libqueue.Store) -> None:
    topic, group = prepared(store, 3)
    ids = [group.peek(offset).message.id for offset in range(3)]
    with topic.consumer("g") as consumer:
        batch = consumer.receive(9, 0)
        group.settle(ids[0])
        group.delay(ids[1], 0)
        group.dead_letter(ids[2], "poison")
        with pytest.raises(libqueue.StaleReceipt) as stale:
            consumer.ack(batch)
        assert stale.value.stale == batch
        (again,) = consumer.receive(9, 0)
        assert (again.offset, again.attempt) == (1, 2)
    with pytest.raises(libqueue.StaleReceipt, match="settled already"):
        group.settle(ids[0])
    with pytest.raises(libqueue.StaleReceipt, match="settled already"):
        group.delay(ids[0], 1.0)
    assert [dead.error for dead in group.dead_letters()] == ["poison"]
    with pytest.raises(libqueue.InvalidArgument):
        group.delay(ids[1], -1.0)


def test_a_deleted_group_is_none_in_any_process(
    store: libqueue.Store, worker: Callable[[str], Callable[[str], str]]
) -> None:
    topic, group = prepared(store)
    other = worker("other")
    assert other("take") == "1"
    group.delete()
    assert other("take") == "NotFound"
    assert topic.groups() == []
    for late in (group.stats, group.delete, lambda: topic.group("g")):
        with pytest.raises(libqueue.NotFound):
            late()
    with topic.consumer("g") as consumer:
        assert len(consumer.receive(99, 0)) == 10


def test_the_command_line_makes_groups_with_their_options(path: Path) -> None:
    run(path, "send", "t", given=b"one\ntwo\n")
    asked = ("ordering=none", "lease=60", "window=1024", "max_attempts=2", "start=1", "filter=")
    (made,) = objects(run(path, "create", "t/g", *asked, "--json"))
    assert (made["topic"], made["group"], made["ordering"]) == ("t", "g", "none")
    assert (made["lease"], made["window"], made["max_attempts"]) == (60.0, 1024, 2)
    assert run(path, "receive", "t", "-g", "g").stdout == b"two\n"
    assert b"exists already" in run(path, "create", "t/g", status=1).stderr
    assert b"created group once" in run(path, "create", "t/once", "delivery=at_most_once").stdout
    (shown,) = objects(run(path, "config", "t/once", "--json"))
    assert shown["delivery"] == "at_most_once"
    for start, got in (
        ("latest", b""),
        ("earliest", b"one\ntwo\n"),
        ("2001-02-03", b"one\ntwo\n"),
        ("2999-01-31T12:00", b""),
    ):
        run(path, "create", "t/" + start.replace(":", "."), f"start={start}", "brake=5/60")
        assert run(path, "receive", "t", "-g", start.replace(":", ".")).stdout == got
    for wrong in (
        ("t/x", "colour=red"),
        ("t/x", "start=soon"),
        ("t/x", "lease=1", "lease=2"),
        ("t/x", "ordering=sideways"),
        ("t/x", "--partitions", 2),
        ("t/", "lease=1"),
        ("new", "lease=1"),
    ):
        run(path, "create", *wrong, status=2)
    for fixed in ("start=latest", "delivery=at_most_once"):
        run(path, "config", "t/g", fixed, status=2)
    run(path, "create", "missing/g", status=1)
    with libqueue.open(path) as store:
        assert "x" not in store.open_topic("t").groups()
        assert store.topics() == ["t"]


def test_the_command_line_gives_up_on_one_message(path: Path) -> None:
    run(path, "send", "t", given=b"one\ntwo\nthree\n")
    run(path, "create", "t/g")
    said = run(path, "dead-letter", "t", "g", 1, "no such account").stdout
    assert said == b"dead-lettered partition 0 offset 1 of group g of topic t\n"
    (done,) = objects(run(path, "dead-letter", "t", "g", 2, "--json"))
    assert (done["done"], done["offset"]) == ("dead-lettered", 2)
    found = objects(run(path, "dlq", "list", "t", "g", "--json"))
    assert [(one["source_offset"], one["error"]) for one in found] == [
        (1, "no such account"),
        (2, "given up by hand"),
    ]
    assert run(path, "receive", "t", "-g", "g").stdout == b"one\n"
    assert b"settled already" in run(path, "dead-letter", "t", "g", 1, status=1).stderr
    assert b"never sent" in run(path, "dead-letter", "t", "g", 9, status=1).stderr


def test_the_command_line_manages_groups(path: Path) -> None:
    run(path, "send", "t", given=b"one\ntwo\n")
    run(path, "receive", "t", "--group", "g", "--no-ack", "--max", 1)
    (config,) = objects(run(path, "config", "t/g", "lease=120", "backoff=1,2,3", "--json"))
    assert (config["lease"], config["backoff"]) == (120.0, [1.0, 2.0, 3.0])
    (shown,) = objects(run(path, "config", "t", "--json"))
    assert shown["partitions"] == 1
    assert b"dead_letter_topic" in run(path, "config", "t/g").stdout
    for wrong in ("colour=red", "lease=soon", "lease"):
        run(path, "config", "t/g", wrong, status=2)
    run(path, "config", "t", "lease=1", status=2)
    run(path, "pause", "t", "g")
    (stats,) = objects(run(path, "stats", "t", "--json"))
    assert stats["groups"]["g"]["paused"] is True  # type: ignore[index]
    assert b"paused" in run(path, "stats", "t").stdout
    assert objects(run(path, "resume", "t", "g", "--json"))[0]["done"] == "resumed"
    (found,) = objects(run(path, "peek", "t", "g", 0, "--json"))
    assert (found["state"], found["message"]["payload"]) == ("ready", "one")  # type: ignore[index]
    assert b"ready" in run(path, "peek", "t", "g", 0).stdout
    run(path, "delay", "t", "g", 0, 3600)
    (found,) = objects(run(path, "peek", "t", "g", 0, "--json"))
    assert found["state"] == "delayed"
    run(path, "settle", "t", "g", 0)
    run(path, "settle", "t", "g", 0, status=1)
    assert objects(run(path, "consumers", "t", "g", "--json")) == []
    with libqueue.open(path) as store, store.open_topic("t").consumer("g", name="me"):
        (one,) = objects(run(path, "consumers", "t", "g", "--json"))
        assert (one["name"], one["delivered"]) == ("me", 0)
        assert b"delivered" in run(path, "consumers", "t", "g").stdout
    assert b"deleted" in run(path, "delete", "t/g").stdout
    run(path, "delete", "t/g", status=1)
    assert b"--yes" in run(path, "delete", "t", status=2).stderr
