"""What retention takes, what keeps it, and that space comes back, whichever process is alive."""

from __future__ import annotations

import re
import shutil
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
TEXT = (ROOT / "core/docs/retention.md").read_text()
LARGE = bytes(300_000)
"""Of which three fill the first segment, and six the next."""
PROGRAM = """
#include <libqueue.h>
#include <stdio.h>

void example(lq_topic *topic, lq_batch *batch);
void example(lq_topic *topic, lq_batch *batch)
{
    (void)topic;
    (void)batch;
"""


def examples(language: str) -> list[str]:
    found = re.findall(rf"^```{language}\n(.*?)^```$", TEXT, re.M | re.S)
    assert len(found) > 3, language
    return [str(one) for one in found]


def until(so: Callable[[], bool]) -> None:
    """Ask until it is so; housekeeping looks once a second."""
    end = time.monotonic() + WAIT
    while not so():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_the_examples_in_python_run_one_after_the_other(tmp_path: Path) -> None:
    names: dict[str, object] = {"libqueue": libqueue, "folder": tmp_path / "store"}
    for example in examples("python"):
        exec(compile(example, "retention.md", "exec"), names)
    orders = names["orders"]
    assert isinstance(orders, libqueue.Topic)
    until(lambda: orders.stats()["segments"] == 1)


def test_the_examples_in_c_are_c(tmp_path: Path) -> None:
    compiler = shutil.which("cc")
    assert compiler, "a C compiler is needed"
    for number, example in enumerate(examples("c")):
        source = tmp_path / f"example{number}.c"
        source.write_text(f"{PROGRAM}{{\n{example}}}\n}}\n")
        flags = ["-std=c11", "-Wall", "-Wextra", "-Werror", "-fsyntax-only", f"-I{ROOT}/include"]
        call = [compiler, *flags, str(source)]
        checked = subprocess.run(call, capture_output=True, text=True, check=False)
        assert checked.returncode == 0, f"{example}\n{checked.stderr}"


def test_the_examples_of_the_command_line_run(path: Path) -> None:
    for topic in ("clicks", "metered"):
        run(path, "create", topic)
    for line in "".join(examples("sh")).splitlines():
        run(path, *line.split("libqueue ", 1)[1].split())


def fill(topic: libqueue.Topic) -> None:
    for _ in range(12):
        topic.send(LARGE)


def test_space_comes_back_where_only_a_consumer_that_never_sends_is_left(path: Path) -> None:
    send = (
        "import libqueue, os, signal, sys\n"
        "store = libqueue.open(sys.argv[1])\n"
        "topic = store.topic('t')\n"
        "other = store.topic('other')\n"
        "for one in (topic, other):\n"
        "    one.create_group('g')\n"
        "    for _ in range(40):\n"
        "        one.send(bytes(300_000))\n"
        "with other.consumer('g') as consumer:\n"
        "    consumer.ack(consumer.receive(40, timeout=0))\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    consume = (
        "import libqueue, sys\n"
        "store = libqueue.open(sys.argv[1])\n"
        "with store.open_topic('t').consumer('g') as consumer:\n"
        "    print('ready', flush=True)\n"
        "    sys.stdin.readline()\n"
        "    for _ in range(4):\n"
        "        consumer.ack(consumer.receive(10, timeout=20))\n"
        "    print('done', flush=True)\n"
        "    sys.stdin.readline()\n"
    )
    # Both at once, so that the consumer is in the life of the store in which the other was.
    with libqueue.open(path):
        subprocess.run([sys.executable, "-c", send, path], check=False, timeout=60)
        consumer = subprocess.Popen(
            [sys.executable, "-c", consume, path],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert consumer.stdout is not None
        assert consumer.stdin is not None
        assert consumer.stdout.readline() == "ready\n"
    try:

        def used(topic: str) -> int:
            files = (path / "topics" / topic / "0").glob("*.log")
            total = 0
            for one in files:
                try:
                    total += one.stat().st_blocks * 512
                except FileNotFoundError:
                    continue
            return total

        before = used("t")
        assert before > 10_000_000
        consumer.stdin.write("go\n")
        consumer.stdin.flush()
        assert consumer.stdout.readline() == "done\n"
        until(lambda: used("t") < before)
        # Also of a topic that it never opened.
        until(lambda: len(list((path / "topics/other/0").glob("*.log"))) == 1)
        # It lets go of what it had mapped: the kernel has the room again.
        maps = Path(f"/proc/{consumer.pid}/maps")
        until(lambda: "(deleted)" not in maps.read_text())
    finally:
        consumer.kill()
        consumer.communicate()
    assert libqueue.verify(path)["damage"] == []


def test_statistics_say_what_keeps_the_oldest_segment(store: libqueue.Store) -> None:
    topic = store.topic("t")
    assert topic.config["retention"] == "settled"
    assert (topic.config["retention_bytes"], topic.config["on_lost"]) == (0, "count")
    fill(topic)
    stats = topic.stats()
    assert (stats["pinned_by"], stats["pinned_group"]) == ("retention", None)
    slow = topic.create_group("slow")
    stats = topic.stats()
    assert (stats["pinned_by"], stats["pinned_group"]) == ("group", "slow")
    assert stats["pinned_seconds"] >= 0
    assert stats["pinned_bytes"] > 2_000_000
    slow.delete()
    fast = topic.create_group("fast", start="latest")
    until(lambda: topic.stats()["segments"] == 1)
    assert topic.stats()["pinned_by"] == "nothing"
    assert fast.stats()["lost_messages"] == 0


def test_what_a_cap_takes_is_counted_or_becomes_dead_letters(store: libqueue.Store) -> None:
    for on_lost in ("count", "dead_letter"):
        topic = store.topic(on_lost)
        group = topic.create_group("g")
        fill(topic)
        reader = topic.reader()
        topic.configure(retention_bytes=1, on_lost="count" if on_lost == "count" else "dead_letter")
        until(lambda: topic.stats()["segments"] == 1)  # noqa: B023
        with pytest.raises(libqueue.Removed, match="up to offset 8"):
            reader.receive(10, timeout=0)
        assert [one.offset for one in reader.receive(10, timeout=0)] == [9, 10, 11]
        with pytest.raises(LookupError):
            group.peek(4)
        stats = group.stats()
        lost, dead = (9, 0) if on_lost == "count" else (0, 9)
        assert (stats["lost_messages"], stats["dead_lettered"]) == (lost, dead)
        letters = group.dead_letters()
        assert len(letters) == dead
        assert all("retention" in letter.error for letter in letters)


def test_a_view_of_what_was_taken_stays_good(store: libqueue.Store) -> None:
    topic = store.topic("t")
    topic.create_group("g")
    fill(topic)
    with topic.consumer("g") as consumer:
        batch = consumer.receive(12, timeout=0)
        view = batch[0].view
        consumer.ack(batch)
        until(lambda: topic.stats()["segments"] == 1)
        assert bytes(view) == LARGE


def test_what_cannot_be_is_refused(path: Path, store: libqueue.Store) -> None:
    for wrong in ("never", 0, -1, 1e12):
        with pytest.raises(ValueError):
            store.topic("t", retention=wrong)  # type: ignore[arg-type]
    with pytest.raises(libqueue.InvalidArgument, match="count"):
        store.topic("t", on_lost="drop")  # type: ignore[arg-type]
    store.topic("t", retention=5)
    with pytest.raises(libqueue.ConfigMismatch, match="retention"):
        store.topic("t", retention="settled")
    for setting in ("retention=soon", "retention_bytes=x", "on_lost=never"):
        run(path, "config", "t", setting, status=2)
    run(path, "create", "u", "--retention", "soon", status=2)
    (shown,) = objects(run(path, "config", "t", "retention=60.5", "retention_bytes=7", "--json"))
    assert (shown["retention"], shown["retention_bytes"]) == (60.5, 7)
