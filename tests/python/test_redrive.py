"""Redriving and purging dead letters."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path

import libqueue
import pytest
from conftest import WAIT, Child
from test_command_line import PROGRAM, objects, run


def bury(
    topic: libqueue.Topic, *payloads: bytes, error: str = "no use"
) -> list[libqueue.MessageId]:
    """Send these, and give up on them in group g."""
    ids = []
    with topic.consumer("g", name="clerk") as consumer:
        for payload in payloads:
            ids.append(topic.send(payload, key=b"k", headers={"trace": b"42"}))
            consumer.dead_letter(consumer.receive(1, WAIT), error)
    return ids


def ids_of(group: libqueue.Group) -> list[libqueue.MessageId]:
    return [dead.message.id for dead in group.dead_letters()]


def test_p12_a_redriven_message_is_the_one_that_it_was(store: libqueue.Store) -> None:
    topic = store.topic("t")
    (sent,) = bury(topic, b"0")
    group = topic.group("g")
    (dead,) = group.dead_letters()
    assert (dead.source_topic, dead.source_id, dead.cycles) == ("t", sent, 0)
    assert dead.first_failed is not None
    assert dead.last_failed is not None
    assert 0 < dead.first_failed <= dead.last_failed
    assert dead.message.headers["lq-cycles"] == b"0"
    topic.send(b"fresh")
    assert group.redrive() == 1
    assert (group.redrive(), group.dead_letters()) == (0, [])
    with topic.consumer("g") as consumer:
        first, second = consumer.receive(2, WAIT)
        assert (first.id, first.offset, first.payload, first.key) == (sent, 0, b"0", b"k")
        assert first.headers == {"trace": b"42", "lq-cycles": b"0"}
        assert (first.attempt, second.payload) == (2, b"fresh")
        second.ack()
        with pytest.raises(ZeroDivisionError), first:
            raise ZeroDivisionError
        with topic.consumer("g") as other:
            other.dead_letter(other.receive(1, WAIT), "again")
    (dead,) = group.dead_letters()
    assert (dead.cycles, dead.source_id, dead.failures, dead.error) == (1, sent, 2, "again")
    stats = group.stats()
    assert (stats["redriven"], stats["dead_lettered"], stats["purged"]) == (1, 2, 0)


def test_ids_that_are_no_dead_letters_are_told_of_beside_the_others(store: libqueue.Store) -> None:
    topic = store.topic("t")
    bury(topic, b"0", b"1", b"2")
    group = topic.group("g")
    ids = ids_of(group)
    strange = libqueue.MessageId(1, 2, 3)
    with pytest.raises(libqueue.NotFound, match="1 others were redriven") as caught:
        group.redrive([strange, ids[1]])
    assert caught.value.refused == [strange]
    with pytest.raises(libqueue.NotFound) as caught:
        group.purge_dead_letters([ids[0], ids[1]])
    assert caught.value.refused == [ids[1]]
    assert [dead.source_offset for dead in group.dead_letters()] == [2]
    assert group.redrive([]) == 0
    assert group.purge_dead_letters() == 1
    assert store.topic("missing").create_group("x").redrive() == 0


def test_limit_error_rate_and_progress(store: libqueue.Store) -> None:
    topic = store.topic("t")
    bury(topic, b"0", b"1", error="timeout of the bank")
    bury(topic, b"2", b"3", b"4")
    group = topic.group("g")
    assert group.redrive(limit=1, error_contains="timeout") == 1
    assert group.redrive(error_contains="nothing like it") == 0
    told: list[tuple[int, int]] = []
    assert group.redrive(rate=100, progress=lambda *how: told.append(how)) == 4
    assert told[-1] == (4, 4)
    assert [done for done, _ in told] == sorted({done for done, _ in told})
    bury(topic, b"5", b"6")
    assert group.redrive(rate=0.001, progress=lambda *_: False) == 1
    with pytest.raises(ZeroDivisionError):
        group.redrive(progress=lambda *_: 1 // 0)
    for wrong in (0.0, -1.0, float("nan")):
        with pytest.raises(libqueue.InvalidArgument, match="rate"):
            group.redrive(rate=wrong)


def test_key_partition_and_time_choose(store: libqueue.Store) -> None:
    topic = store.topic("t", partitions=2)
    with topic.consumer("g") as consumer:
        for partition, key in ((0, b"a"), (1, b"b"), (1, b"a"), (0, None)):
            topic.send(b"x", key=key, partition=partition)
            consumer.dead_letter(consumer.receive(1, WAIT), "no use")
    group = topic.group("g")
    first, second, third, fourth = group.dead_letters()
    last = second.last_failed
    assert last is not None
    moment = datetime.fromtimestamp(last + 3600, tz=timezone.utc)
    for asked in (
        {"key": b""},
        {"key": b"c"},
        {"partition": 2},
        {"key": b"b", "partition": 0},
        {"failed_since": moment},
        {"failed_until": last - 3600},
        {"failed_since": last, "failed_until": last},
        {"ids": [first.message.id], "key": bytearray(b"b")},
    ):
        assert group.redrive(**asked) == 0, asked
    # What a letter says of its time is met exactly, at both ends.
    assert group.redrive(key=b"b", failed_since=last, failed_until=moment) == 1
    assert first.last_failed is not None
    assert group.redrive(partition=0, failed_until=first.last_failed) == 0
    assert group.redrive(key=memoryview(b"a"), partition=1, limit=5) == 1
    left = [dead.message.id for dead in group.dead_letters()]
    assert left == [first.message.id, fourth.message.id]
    assert third.message.id not in left
    for wrong in ({"partition": -1}, {"failed_since": float("nan")}, {"failed_until": 1e300}):
        with pytest.raises(libqueue.InvalidArgument, match=next(iter(wrong))):
            group.redrive(**wrong)
    for strange in ({"key": "text"}, {"failed_since": "today"}):
        with pytest.raises(TypeError):
            group.redrive(**strange)  # type: ignore[arg-type]


def test_letters_of_a_deleted_group_are_none_of_the_next_one(store: libqueue.Store) -> None:
    topic = store.topic("t")
    bury(topic, b"0", b"1")
    topic.group("g").delete()
    group = topic.create_group("g")
    assert (group.dead_letters(), group.redrive(), group.purge_dead_letters()) == ([], 0, 0)
    with topic.consumer("g") as consumer:
        first, *_ = consumer.receive(9, WAIT)
        consumer.dead_letter(first, "again")
    assert [dead.source_offset for dead in group.dead_letters()] == [0]
    assert len(store.open_topic("t.g.dlq").reader().receive(9, 0)) == 3


def test_a_redrive_wakes_who_receives(store: libqueue.Store) -> None:
    topic = store.topic("t")
    bury(topic, b"0")
    with topic.consumer("g") as consumer:
        redrives = threading.Thread(target=topic.group("g").redrive)
        redrives.start()
        (got,) = consumer.receive(1, WAIT)
        redrives.join(WAIT)
        got.ack()


def test_a_copy_of_a_store_knows_what_was_redriven_and_purged(path: Path, tmp_path: Path) -> None:
    with libqueue.open(path) as store:
        topic = store.topic("t")
        bury(topic, b"0", b"1", b"2", b"3")
        group = topic.group("g")
        ids = ids_of(group)
        group.redrive(ids[:2])
        group.purge_dead_letters(ids[2:3])
        with topic.consumer("g") as consumer:
            consumer.dead_letter(consumer.receive(1, WAIT), "again")
    assert libqueue.verify(path)["damage"] == []
    lane = next((path / "topics/t.g.dlq/groups").iterdir())
    for damaged in (False, True):
        if damaged:
            with (lane / "0.window").open("r+b") as window:
                window.seek(56)
                window.write(b"DAMAGED!")
            assert libqueue.verify(path)["damage"] != []
        copy = tmp_path / f"new {damaged}"
        done = libqueue.recover(path, copy)
        assert (done["losses"] != []) is damaged
        with libqueue.open(copy) as store:
            topic = store.open_topic("t")
            left = [(dead.source_offset, dead.cycles) for dead in topic.group("g").dead_letters()]
            again = [(0, 0), (1, 0), (2, 0), (3, 0), (0, 1)] if damaged else [(3, 0), (0, 1)]
            assert left == again
            with topic.consumer("g") as consumer:
                got = [one.payload for one in consumer.receive(9, 0)]
            assert got == ([] if damaged else [b"1"])
        assert libqueue.verify(copy)["damage"] == []


REDRIVES = """
    import sys, libqueue
    group = libqueue.open(sys.argv[1]).open_topic("t").group("g")
    def told(done, of):
        print(done, flush=True)
    try:
        group.redrive(rate=0.01, progress=told)
    except KeyboardInterrupt:
        print("interrupted", flush=True)
"""


def test_a_redrive_that_waits_answers_ctrl_c(
    store: libqueue.Store, path: Path, launch: Callable[[list[str]], Child]
) -> None:
    topic = store.topic("t")
    bury(topic, b"0", b"1")
    child = launch([sys.executable, "-c", textwrap.dedent(REDRIVES), str(path)])
    assert child.line() == "1"
    child.process.send_signal(signal.SIGINT)
    assert child.line() == "interrupted"
    assert len(topic.group("g").dead_letters()) == 1


def test_the_command_line_lists_redrives_and_purges(path: Path) -> None:
    with libqueue.open(path) as store:
        topic = store.topic("t")
        bury(topic, b"0", b"1", error="timeout of the bank")
        bury(topic, b"2", b"3")
    found = objects(run(path, "dlq", "list", "t", "g", "--json"))
    assert [one["cycles"] for one in found] == [0] * 4
    assert found[0]["source_topic"] == "t"
    assert b"cycles" in run(path, "dlq", "list", "t", "g").stdout
    assert b"lq-source-offset" in run(path, "dlq", "show", "t", "g", "0:0").stdout
    assert run(path, "dlq", "redrive", "t", "g", "0:3").stdout == b"redriven: 1\n"
    assert b"0:3" in run(path, "dlq", "redrive", "t", "g", "0:3", status=1).stderr
    for none in (("--key", "x"), ("--partition", 1), ("--until", "2001-02-03")):
        shown = run(path, "dlq", "redrive", "t", "g", *none, "--json")
        assert objects(shown) == [{"topic": "t", "group": "g", "redriven": 0}]
    asked = ("--limit", 1, "--rate", 50, "--error-contains", "bank", "--key", "k")
    more = ("--since", "2001-02-03", "--partition", 0)
    assert run(path, "dlq", "redrive", "t", "g", *asked, *more).stdout == b"redriven: 1\n"
    assert run(path, "receive", "t", "-g", "g").stdout == b"3\n0\n"
    assert b"--yes" in run(path, "dlq", "purge", "t", "g", status=2).stderr
    assert run(path, "dlq", "purge", "t", "g", "0:1", "--yes").stdout == b"purged: 1\n"
    (purged,) = objects(run(path, "dlq", "purge", "t", "g", "--yes", "--json"))
    assert purged == {"topic": "t", "group": "g", "purged": 1}
    (stats,) = objects(run(path, "stats", "t", "--json"))
    groups = stats["groups"]
    assert isinstance(groups, dict)
    assert (groups["g"]["redriven"], groups["g"]["purged"]) == (2, 2)
    assert list(groups) == ["g"]
    assert run(path, "verify").returncode == 0


@pytest.mark.parametrize(("answer", "left"), [(b"n\n", 2), (b"y\n", 1)])
def test_purge_asks_at_a_terminal(path: Path, answer: bytes, left: int) -> None:
    with libqueue.open(path) as store:
        topic = store.topic("t")
        bury(topic, b"0")
        terminal, end = pty.openpty()
        command = [str(PROGRAM), "-s", str(path), "dlq", "purge", "t", "g"]
        with subprocess.Popen(command, stdin=end, stderr=subprocess.PIPE) as asks:
            assert asks.stderr is not None
            assert asks.stderr.read(12) == b"Give up on 1"
            # What dies while somebody thinks stays.
            bury(topic, b"1")
            os.write(terminal, answer)
            asks.stderr.read()
            assert asks.wait(60) == (1 if left == 2 else 0)
        assert len(topic.group("g").dead_letters()) == left
        os.close(terminal)
        os.close(end)
