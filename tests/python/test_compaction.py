"""Topics that keep the last message of each key: who reads, settles and dies meanwhile."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import libqueue
import pytest
from conftest import WAIT
from test_command_line import objects, run

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "core/docs/compaction.md").read_text()
PROGRAM = """
#include <libqueue.h>
#include <stdio.h>

void example(lq_topic *topic, lq_batch *batch);
void example(lq_topic *topic, lq_batch *batch)
{
    (void)topic;
    (void)batch;
"""
LARGE = 300_000
"""Of which three fill the first segment, and six the next."""


def examples(language: str) -> list[str]:
    found = re.findall(rf"^```{language}\n(.*?)^```$", TEXT, re.M | re.S)
    assert len(found) > 2, language
    return [str(one) for one in found]


def until(so: Callable[[], bool]) -> None:
    """Ask until it is so; housekeeping looks once a second."""
    end = time.monotonic() + WAIT
    while not so():
        assert time.monotonic() < end
        time.sleep(0.02)


def payload(number: int) -> bytes:
    return b"%d " % number + bytes([number % 256]) * LARGE


def told(message: libqueue.ReadMessage | libqueue.Delivery) -> int:
    """The number that a message tells; all of it is as it was sent."""
    number = int(bytes(message.payload)[:12].split(b" ")[0])
    assert message.payload == payload(number)
    return number


def fill(topic: libqueue.Topic, numbers: range, keys: int) -> None:
    for number in numbers:
        topic.send(payload(number), key=b"%d" % (number % keys))


def test_the_examples_in_python_run_one_after_the_other(tmp_path: Path) -> None:
    names: dict[str, object] = {"libqueue": libqueue, "folder": tmp_path / "store"}
    for example in examples("python"):
        exec(compile(example, "compaction.md", "exec"), names)


def test_the_examples_in_c_are_c(tmp_path: Path) -> None:
    compiler = shutil.which("cc")
    assert compiler, "a C compiler is needed"
    for number, example in enumerate(examples("c")):
        source = tmp_path / f"example{number}.c"
        source.write_text(PROGRAM + example + "}\n")
        strict = ["-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic", "-fsyntax-only"]
        include = f"-I{ROOT / 'include'}"
        subprocess.run([compiler, *strict, include, str(source)], check=True)


def test_p15_it_is_configured_and_refused_with_settled(store: libqueue.Store) -> None:
    topic = store.topic("t", compaction=True, tombstone_grace=60)
    config = topic.config
    assert (config["compaction"], config["tombstone_grace"]) == (True, 60.0)
    assert config["retention"] == "forever"
    with pytest.raises(libqueue.InvalidArgument, match="compaction"):
        topic.configure(retention="settled")
    with pytest.raises(libqueue.ConfigMismatch, match="compaction"):
        store.topic("t", compaction=False)
    topic.configure(compaction=False, retention="settled")
    assert not topic.config["compaction"]
    with pytest.raises(libqueue.InvalidArgument, match="tombstone_grace"):
        topic.configure(tombstone_grace=1e11)


def test_the_command_line_configures_it_and_shows_what_it_took(path: Path) -> None:
    made = objects(run(path, "create", "t", "--compaction", "--json"))[0]
    assert made["compaction"] is True
    run(path, "create", "u", "compaction=true", "tombstone_grace=5")
    run(path, "config", "u", "compaction=false", "retention=settled")
    run(path, "config", "u", "compaction=perhaps", status=2)
    with libqueue.open(path) as store:
        assert store.topic("u").config["tombstone_grace"] == 5.0
        topic = store.topic("t")
        fill(topic, range(12), 2)
        until(lambda: topic.stats()["compacted_messages"] == 7)
        found = run(path, "stats", "t")
        assert b"compacted_messages" in found.stdout
        metrics = run(path, "stats", "--prometheus").stdout.decode()
        assert 'libqueue_topic_compacted_messages_total{topic="t"} 7' in metrics
        assert topic.stats()["compacted_bytes"] > 7 * LARGE
    run(path, "verify")
    copy = path.with_name("copy")
    run(path, "recover", path, copy)
    with libqueue.open(copy) as store, store.topic("t").reader() as reader:
        left = [told(one) for one in reader.receive(99, timeout=0)]
    # The copy is one with compaction, and its segments are others.
    assert left[-4:] == [8, 9, 10, 11]


READER = """
import sys, time, libqueue
from test_compaction import told
store = libqueue.open(sys.argv[1])
topic = store.topic("t")
print("ready", flush=True)
last, rounds = -1, 0
while True:
    seen = []
    with topic.reader() as reader:
        while got := reader.receive(3, timeout=0):
            seen += [(one.offset, told(one), one.key) for one in got]
    numbers = [number for _, number, _ in seen]
    assert numbers == sorted(set(numbers)), numbers
    assert all(offset == number for offset, number, _ in seen), seen
    if numbers:
        assert numbers[-1] >= last, numbers
        last = numbers[-1]
        # Of each key there is one of those that were the last when the walk began, or later.
        latest = {key: number for _, number, key in seen}
        assert last < 3 or len(latest) == 3, latest
        assert all(number > last - 3 for number in latest.values()), (last, latest)
    rounds += 1
    print(rounds, flush=True)
"""


def begin(program: str, path: Path) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    command = [sys.executable, "-c", program, str(path)]
    started = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    assert started.stdout
    assert started.stdout.readline() == "ready\n"
    return started


def test_p3_p6_readers_and_a_group_in_other_processes_go_on_meanwhile(path: Path) -> None:
    with libqueue.open(path) as store:
        topic = store.topic("t", compaction=True)
        topic.create_group("g", ordering="none")
        readers = [begin(READER, path) for _ in range(2)]
        try:
            got: list[int] = []
            with topic.consumer("g") as consumer:
                for first in range(0, 120, 12):
                    fill(topic, range(first, first + 12), 3)
                    taken = consumer.receive(12, timeout=WAIT)
                    got += [told(one) for one in taken]
                    consumer.ack(taken)
                while len(got) < 120:
                    taken = consumer.receive(12, timeout=WAIT)
                    got += [told(one) for one in taken]
                    consumer.ack(taken)
            assert got == list(range(120))
            until(lambda: topic.stats()["compacted_messages"] > 60)
            for one in readers:
                assert one.stdout
                for _ in range(3):
                    assert one.stdout.readline()
                assert one.poll() is None, "it met what it should not"
            assert topic.group("g").stats()["lost_messages"] == 0
        finally:
            for one in readers:
                one.kill()
                one.communicate()


WORKER = """
import sys, time, libqueue
store = libqueue.open(sys.argv[1])
topic = store.topic("t")
print("ready", flush=True)
time.sleep(600)
"""


def test_p17_who_is_killed_or_stopped_at_it_keeps_nobody_from_it(path: Path) -> None:
    with libqueue.open(path) as store:
        store.topic("t", compaction=True)
        store.topic("other")
    sent = 0
    for turn in range(6):
        # Its housekeeping is the only one that has not just looked.
        worker = begin(WORKER, path)
        try:
            with libqueue.open(path) as store:
                topic = store.topic("t")
                fill(topic, range(sent, sent + 12), 3)
                sent += 12
                time.sleep(0.15 * turn)
                worker.send_signal(signal.SIGSTOP if turn % 2 else signal.SIGKILL)
                with topic.reader() as reader:
                    read = reader.receive(1000, timeout=0)
                    seen = [told(one) for one in read if one.payload]
                assert seen[-3:] == list(range(sent - 3, sent))
                topic.send(b"", key=b"x")
                sent += 1
        finally:
            worker.kill()
            worker.communicate()
    with libqueue.open(path) as store:
        topic = store.topic("t")
        until(lambda: topic.stats()["compacted_messages"] > 40)
        until(lambda: not list((path / "topics/t/0").glob(".*.log.new")))
    assert not libqueue.verify(path)["damage"]


def test_p3_a_view_of_what_was_compacted_stays_good(store: libqueue.Store) -> None:
    topic = store.topic("t", compaction=True)
    fill(topic, range(12), 2)
    with topic.reader() as reader:
        held = reader.receive(12, timeout=0)
        before = held[0].view
        until(lambda: topic.stats()["compacted_messages"] == 7)
        views = [one.view for one in held]
    assert bytes(before) == payload(0)
    assert [bytes(view) for view in views] == [payload(number) for number in range(12)]
