"""`libqueue move`: from a group to another topic, nothing twice and nothing lost (P8)."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections import Counter, UserDict
from collections.abc import Callable, ItemsView, Iterator
from pathlib import Path

import libqueue
from conftest import QUICK, WAIT, Child
from libqueue.cli.move import Mover
from test_command_line import PROGRAM, objects, run

WORKER = """
import os, signal, sys
import libqueue
from libqueue.cli.move import Mover, move_all

path, dies_at = sys.argv[1], int(sys.argv[2])
steps = 0

def step():
    global steps
    steps += 1
    if steps == dies_at:
        os.kill(os.getpid(), signal.SIGKILL)

class Transaction:
    def __init__(self, tx):
        self.tx = tx
    @property
    def ids(self):
        return self.tx.ids
    def __enter__(self):
        step()
        return self
    def __exit__(self, *given):
        step()
        self.tx.__exit__(*given)
        step()
    def _send_on(self, *given):
        self.tx._send_on(*given)
        step()
    def ack(self, *given):
        self.tx.ack(*given)
        step()

class Store:
    def __init__(self, store):
        self.store = store
    def transaction(self):
        return Transaction(self.store.transaction())

with libqueue.open(path) as store:
    with store.open_topic("from").consumer("g", auto_extend=True) as consumer:
        mover = Mover(Store(store), store.open_topic("to"), lambda moved: step())
        move_all(consumer, mover, None, 2, False)
print(steps, mover.moved)
"""


def payloads(topic: libqueue.Topic) -> list[bytes]:
    with topic.reader() as reader:
        return [one.payload for one in reader]


def two_topics(store: libqueue.Store) -> tuple[libqueue.Topic, libqueue.Topic]:
    return store.topic("from"), store.topic("to")


def moved(path: Path, *more: object) -> int:
    (told,) = objects(run(path, "move", "from", "-g", "g", "--to", "to", "--json", *more))
    assert isinstance(told["moved"], int)
    return told["moved"]


def while_there_is_a_lag(group: libqueue.Group) -> Iterator[None]:
    """What a dead one had comes back once that is seen, after the backoff."""
    deadline = time.monotonic() + 4 * WAIT
    while group.stats()["lag_messages"]:
        assert time.monotonic() < deadline
        yield


def test_p8_what_a_group_has_goes_over_whole_and_once(path: Path) -> None:
    with libqueue.open(path) as store:
        source, target = two_topics(store)
        source.send_many(
            libqueue.Message(b"%d" % n, key=b"k%d" % (n % 3), headers={"n": b"%d" % n})
            for n in range(20)
        )
        source.send(b"\xff\x00", headers={})
        assert moved(path, "--max", 5, "--batch", 2) == 5
        assert source.group("g").stats()["lag_messages"] == 16
        assert moved(path, "--batch", 7) == 16
        assert moved(path) == 0
        told = run(path, "move", "from", "--group", "g", "--to", "to")
        assert (told.stdout, told.stderr) == (b"", b"moved 0 messages\n")
        with target.reader() as reader:
            found = list(reader)
        assert sorted(one.payload for one in found) == sorted(payloads(source))
        assert len(found) == 21
        for one in found[:20]:
            if one.payload != b"\xff\x00":
                n = int(one.payload)
                assert (one.key, one.headers) == (b"k%d" % (n % 3), {"n": one.payload})
        for key in range(3):
            of_key = [int(one.payload) for one in found if one.key == b"k%d" % key]
            assert of_key == sorted(of_key), "in the order of its key"
        stats = source.group("g").stats()
        assert (stats["lag_messages"], stats["acked"], stats["failed"]) == (0, 21, 0)


class Twice(UserDict[str, bytes]):
    """A mapping that says a header twice, as other languages can."""

    def items(self) -> ItemsView[str, bytes]:
        return [("again", b"1"), ("again", b"2")]  # type: ignore[return-value]


def test_p8_a_header_that_comes_twice_goes_over_twice(path: Path) -> None:
    with libqueue.open(path) as store:
        source, target = two_topics(store)
        source.send(b"x", headers=Twice())
        assert moved(path) == 1
        with target.reader() as reader:
            (one,) = reader.receive(1, timeout=0)
        assert (one.payload, one.key, one.headers) == (b"x", None, {"again": b"2"})
        for topic in ("from", "to"):
            (log,) = (path / "topics" / topic).rglob("*.log")
            assert log.read_bytes().count(b"again") == 2


def test_p8_a_mover_that_is_killed_at_any_step_moves_each_message_once(path: Path) -> None:
    """Batches of two, of five messages: killed at each call, and gone on with."""
    with libqueue.open(path) as store:
        source, target = two_topics(store)
        group = source.create_group("g", max_attempts=1000, backoff=QUICK)
        sent = dies_at = 0
        while True:
            dies_at += 1
            source.send_many(b"%d" % n for n in range(sent, sent + 5))
            sent += 5
            call = [sys.executable, "-c", WORKER, str(path)]
            killed = subprocess.run(
                [*call, str(dies_at)], capture_output=True, timeout=60, check=False
            )
            assert killed.returncode in (0, -signal.SIGKILL), killed.stderr
            for _ in while_there_is_a_lag(group):
                subprocess.run([*call, "0"], capture_output=True, timeout=60, check=True)
            found = Counter(payloads(target))
            assert found == Counter(b"%d" % n for n in range(sent)), f"died at step {dies_at}"
            if killed.returncode == 0:
                break
        assert dies_at > 20
        assert group.stats()["acked"] == sent


def test_p8_movers_that_are_killed_while_they_work_move_each_message_once(
    path: Path, launch: Callable[[list[str]], Child]
) -> None:
    """Two at a time, killed once what they moved is seen, wherever they are by then."""
    count = 6000
    with libqueue.open(path) as store:
        source, target = two_topics(store)
        group = source.create_group("g", max_attempts=1000, backoff=QUICK, ordering="none")
        source.send_many(b"%d" % n for n in range(count))
        command = [PROGRAM, "move", "from", "-g", "g", "--to", "to", "--follow", "-s", str(path)]
        with target.reader() as reader:
            seen: Counter[bytes] = Counter()
            for turn in range(6):
                movers = [launch([*command, "--batch", str(size)]) for size in (3, 50)]
                for _ in range(1 + 40 * turn):
                    found = reader.receive(1, timeout=WAIT)
                    seen.update(one.payload for one in found)
                for mover in movers:
                    mover.kill()
            for _ in while_there_is_a_lag(group):
                moved(path)
            seen.update(one.payload for one in reader.receive(2 * count, timeout=0))
        assert len(seen) == count, "nothing is lost"
        assert set(seen.values()) == {1}, "nothing is there twice"
        stats = group.stats()
        assert (stats["acked"], stats["leased"]) == (count, 0)
    assert libqueue.verify(path)["damage"] == []


def test_following_moves_what_others_send_and_tells_at_ctrl_c(
    path: Path,
) -> None:
    with libqueue.open(path) as store:
        source, target = two_topics(store)
        command = [PROGRAM, "move", "from", "-g", "g", "--to", "to", "-f", "-s", str(path)]
        with subprocess.Popen(
            command,
            stderr=subprocess.PIPE,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        ) as mover:
            with target.reader() as reader:
                for n in range(3):
                    source.send(b"%d" % n)
                    assert reader.receive(1, timeout=WAIT)[0].payload == b"%d" % n
            mover.send_signal(signal.SIGINT)
            assert mover.stderr is not None
            assert mover.stderr.read() == b"error: interrupted; messages moved: 3\n"
            assert mover.wait(WAIT) == 130


def test_p14_ctrl_c_ends_a_wait_for_room_and_what_waits_stays(path: Path) -> None:
    with libqueue.open(path) as store:
        source = store.topic("from")
        target = store.topic("to", max_messages=2, on_full="block")
        source.send_many([b"a", b"b", b"c"])
        command = [PROGRAM, "move", "from", "-g", "g", "--to", "to", "-s", str(path)]
        with subprocess.Popen(
            [*command, "--batch", "2"],
            stderr=subprocess.PIPE,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        ) as mover:
            deadline = time.monotonic() + WAIT
            while target.stats()["waiting_senders"] == 0:
                assert mover.poll() is None
                assert time.monotonic() < deadline
            mover.send_signal(signal.SIGINT)
            assert mover.stderr is not None
            assert mover.stderr.read() == b"error: interrupted; messages moved: 2\n"
            assert mover.wait(WAIT) == 130
        assert payloads(target) == [b"a", b"b"]
        with source.consumer("g") as consumer:
            (left,) = consumer.receive(3, timeout=WAIT)
        assert (left.payload, left.attempt) == (b"c", 2)
        assert source.group("g").stats()["failed"] == 0


def test_what_is_too_much_for_one_transaction_goes_in_several(path: Path) -> None:
    with libqueue.open(path) as store:
        source, target = two_topics(store)
        target.configure(max_messages=9)
        source.send_many(b"%d" % n for n in range(12))
        full = run(path, "move", "from", "-g", "g", "--to", "to", status=1)
        assert b"is full" in full.stderr
        assert b"messages moved before it: 9" in full.stderr
        assert len(payloads(target)) == 9
        target.configure(max_messages=0)
        assert moved(path) == 3
        # Each fits into a batch by itself, and two do not fit into a transaction.
        source.send_many([bytes(7 << 20)] * 3)
        assert moved(path) == 3
        with source.consumer("g") as consumer:
            source.send_many([bytes(9 << 20), b"small", bytes(9 << 20)])
            told: list[int] = []
            mover = Mover(store, target, told.append)
            mover.move(consumer.receive(3, timeout=WAIT))
        assert (told, mover.moved) == ([2, 3], 3)
        source.send_many([b"before", bytes(17 << 20), b"behind"])
        large = run(path, "move", "from", "-g", "g", "--to", "to", status=1)
        assert b"offset 19 of partition 0 of topic 'from': " in large.stderr
        assert b"16777216" in large.stderr
        assert b"messages moved before it: 1" in large.stderr
        assert source.group("g").stats()["lag_messages"] == 2
        assert source.group("g").stats()["failed"] == 0


def test_p9_what_another_one_has_by_now_is_left_to_him(store: libqueue.Store) -> None:
    source, target = two_topics(store)
    source.send_many([b"a", b"b", b"c"])
    with source.consumer("g") as consumer:
        found = consumer.receive(3, timeout=WAIT)
        found[1].ack()
        mover = Mover(store, target, lambda moved: None)
        mover.move(found)
        assert mover.moved == 2
        mover.move(found)
        assert mover.moved == 2
    assert payloads(target) == [b"a", b"c"]


def test_what_cannot_be_moved_is_told(path: Path) -> None:
    run(path, "create", "from")
    run(path, "create", "from/once", "delivery=at_most_once")
    run(path, "send", "from", given=b"a\n")

    def refused(*given: str, status: int) -> str:
        done = run(path, "move", *given, status=status)
        assert done.stdout == b""
        return " ".join(done.stderr.decode().replace("│", " ").split())

    told = refused("none", "-g", "g", "--to", "to", status=1)
    assert "no topic 'none'" in told.replace('"', "'")
    told = refused("from", "-g", "g", "--to", "to", status=1)
    assert "--to to: " in told
    assert "libqueue create to" in told
    assert "without end" in refused("from", "-g", "g", "--to", "from", status=2)
    run(path, "create", "to")
    assert "at_least_once" in refused("from", "-g", "once", "--to", "to", status=2)
    refused("from", "-g", "g", "--to", "to", "--batch", "5001", status=2)
    with libqueue.open(path) as store:
        assert store.open_topic("from").groups() == ["once"]
        assert store.open_topic("from").group("once").stats()["lag_messages"] == 1
        assert payloads(store.open_topic("to")) == []


def test_a_topic_that_goes_away_meanwhile_is_told_with_the_count(path: Path) -> None:
    with libqueue.open(path) as store:
        source, target = two_topics(store)
        source.send(b"a")
        with subprocess.Popen(
            [PROGRAM, "move", "from", "-g", "g", "--to", "to", "-f", "-s", str(path)],
            stderr=subprocess.PIPE,
        ) as mover:
            with target.reader() as reader:
                assert reader.receive(1, timeout=WAIT)[0].payload == b"a"
            store.delete_topic("from")
            assert mover.stderr is not None
            told = mover.stderr.read()
            assert mover.wait(WAIT) == 1
    assert b"messages moved before it: 1" in told
    assert b"from" in told
