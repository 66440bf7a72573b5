"""Statistics: each of them on every surface, right, and without waiting for anybody (P19)."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import libqueue
import pytest
from libqueue.cli import metrics, top, topics
from test_command_line import PROGRAM, objects, run

ROOT = Path(__file__).resolve().parents[2]
WAIT = 60
# What is asked for, and the statistics that tell it.
OF_TOPIC = {
    "sent": ["sent", "sent_bytes"],
    "removed by retention": ["removed_messages", "removed_bytes"],
    "compacted": ["compacted_messages", "compacted_bytes"],
    "segment and disk use": ["segments", "bytes"],
    "what pins them": ["pinned_by", "pinned_seconds", "pinned_bytes"],
    "waiters": ["waiting_senders"],
    "lock waits": ["lock_waits", "lock_wait_seconds"],
    "syncs and their time": ["syncs", "sync_seconds", "sync_longest_seconds"],
}
OF_GROUP = {
    "delivered": ["delivered"],
    "acked": ["acked"],
    "failed": ["failed", "timed_out"],
    "expired": ["expired"],
    "dead-lettered": ["dead_lettered", "dying", "holding", "redriven", "purged"],
    "redelivered": ["redelivered"],
    "lost to retention": ["lost_messages"],
    "dropped": ["dropped"],
    "filtered, damaged": ["filtered", "damaged"],
    "lag": ["lag_messages", "lag_bytes", "lag_seconds"],
    "where they are": ["leased", "delayed", "held", "ready", "window_used"],
    "waiters": ["waiting_receivers", "consumers"],
    "lock waits": ["lock_waits", "lock_wait_seconds"],
    "syncs and their time": ["syncs", "sync_seconds", "sync_longest_seconds"],
}
RATES = {
    "topic": ["sent", "sent_bytes", "removed_messages", "lock_waits", "syncs"],
    "group": ["delivered", "acked", "failed", "redelivered", "expired", "dead_lettered", "dropped"],
}


def names(of: dict[str, list[str]]) -> list[str]:
    return [name for some in of.values() for name in some]


@pytest.fixture
def filled(path: Path) -> Path:
    with libqueue.open(path) as store:
        topic = store.topic("orders")
        topic.send_many([b"%d" % number for number in range(10)])
        with topic.consumer("billing") as consumer:
            consumer.ack(consumer.receive(3, timeout=5.0))
    return path


def test_each_statistic_is_in_python_and_in_json(filled: Path) -> None:
    with libqueue.open(filled) as store:
        orders = store.open_topic("orders")
        of_topic, of_group = orders.stats(), orders.group("billing").stats()
        assert set(names(OF_TOPIC)) <= set(of_topic)
        assert set(names(OF_GROUP)) <= set(of_group)
        assert {"sent", "sent_bytes"} <= set(of_topic["partitions"][0])
        assert (of_topic["sent"], of_topic["sent_bytes"]) == (10, 10 * 56)
        assert (of_group["lag_messages"], of_group["lag_bytes"]) == (7, 7 * 56)
    (found,) = objects(run(filled, "stats", "orders", "--json"))
    assert set(names(OF_TOPIC)) <= set(found)
    groups = found["groups"]
    assert isinstance(groups, dict)
    assert set(names(OF_GROUP)) <= set(groups["billing"])


def test_each_statistic_is_in_the_tables_for_people(filled: Path) -> None:
    shown = run(filled, "stats", "orders").stdout.decode()
    for name in (*names(OF_TOPIC), *names(OF_GROUP)):
        assert re.search(rf"\b{name}\b", shown), name


def test_each_statistic_is_a_metric_with_its_kind_and_unit(filled: Path) -> None:
    shown = run(filled, "stats", "--prometheus").stdout.decode()
    gauges = {*metrics.OF_TOPIC, *metrics.OF_GROUP}
    for of, wanted in (("topic", names(OF_TOPIC)), ("group", names(OF_GROUP))):
        for name in set(wanted) - metrics.TEXTS:
            counts = name not in gauges
            metric = f"libqueue_{of}_{metrics.UNITS.get(name, name)}" + "_total" * counts
            kind = "counter" if counts else "gauge"
            assert f"# TYPE {metric} {kind}\n" in shown, name
            assert f"# HELP {metric} " in shown, name
            assert f'\n{metric}{{topic="orders"' in shown, name
    counters = {"sent", "removed_messages", "acked", "delivered", "lost_messages", "lock_waits"}
    assert not counters & gauges


def test_each_statistic_is_in_c_rust_the_stub_and_the_document() -> None:
    header = (ROOT / "include/libqueue.h").read_text()
    rust = (ROOT / "core/src/store/stats.rs").read_text()
    stub = (ROOT / "python/package/libqueue/_native.pyi").read_text()
    document = (ROOT / "core/docs/statistics.md").read_text()

    def part(text: str, begin: str, end: str) -> str:
        return text[text.index(begin) :].split(end, 1)[0]

    for wanted, of in ((OF_TOPIC, "Topic"), (OF_GROUP, "Group")):
        name = f"lq_{of.lower()}_stats"
        in_c = part(header, f"typedef struct {name} {{", f"}} {name};")
        in_rust = part(rust, f"pub struct {of}Stats {{", "\n}")
        in_stub = part(stub, f"class _{of}Stats(TypedDict):", "\n\n")
        told = part(document, f"### Of a {of.lower()}", "\n###")
        for name in names(wanted):
            assert re.search(rf"\b{name};", in_c), name
            assert f"pub {name}:" in in_rust, name
            assert f"    {name}:" in in_stub, name
            assert f"`{name}`" in told, name


def test_top_tells_rates_and_levels_a_line_each_where_there_is_no_terminal(filled: Path) -> None:
    shown = run(filled, "top", "--interval", 0.05, "--looks", 2).stdout.decode().splitlines()
    of_topic = [line for line in shown if line.startswith("orders ")]
    of_group = [line for line in shown if line.startswith("orders/billing ")]
    assert len(of_topic) == len(of_group) == 2
    for lines, rates, levels in (
        (of_topic, RATES["topic"], top.TOPIC_LEVELS),
        (of_group, RATES["group"], top.LEVELS),
    ):
        for name in rates:
            assert f" {name}/s=0.0" in lines[0], name
        for name in levels:
            assert f" {name}=" in lines[0], name
    assert " lag_messages=7 " in of_group[0]


def test_top_on_a_terminal_is_refreshed_in_place_and_ends_with_q(filled: Path) -> None:
    terminal, end = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "120", "LINES": "40"}
    command = [PROGRAM, "top", "--interval", "0.1", "-s", str(filled)]
    with subprocess.Popen(
        command, stdin=end, stdout=end, stderr=end, env=environment, start_new_session=True
    ) as shows:
        os.close(end)
        seen = b""
        while seen.count(b"orders/billing") < 2:
            seen += os.read(terminal, 65536)
        # The other screen, and back to where it begins with each look.
        assert b"\x1b[?1049h" in seen
        os.write(terminal, b"q")
        while True:
            try:
                more = os.read(terminal, 65536)
            except OSError:
                break
            if not more:
                break
            seen += more
        assert shows.wait(WAIT) == 0
    os.close(terminal)
    assert b"\x1b[?1049l" in seen


def test_p17_p19_statistics_wait_for_nobody_who_is_stopped(filled: Path) -> None:
    program = """
import sys, libqueue
with libqueue.open(sys.argv[1]) as store:
    topic = store.topic("orders")
    with topic.consumer("billing") as consumer:
        print("ready", flush=True)
        while True:
            topic.send(b"x" * 100)
            consumer.ack(consumer.receive(10, timeout=5.0))
"""
    command = [sys.executable, "-c", program, str(filled)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as works:
        assert works.stdout is not None
        assert works.stdout.readline() == b"ready\n"
        try:
            with libqueue.open(filled) as store:
                topic = store.open_topic("orders")
                group = topic.group("billing")
                for _ in range(100):
                    works.send_signal(signal.SIGSTOP)
                    before, after = topic.stats(), group.stats()
                    assert before["sent"] >= 10
                    assert after["consumers"] == 1
                    works.send_signal(signal.SIGCONT)
                # And by one who opens the store meanwhile.
                works.send_signal(signal.SIGSTOP)
                (found,) = objects(run(filled, "stats", "orders", "--json"))
                assert isinstance(found["sent"], int)
                works.send_signal(signal.SIGCONT)
        finally:
            works.kill()


def test_p19_waiting_receivers_are_told_of(store: libqueue.Store) -> None:
    topic = store.topic("t")
    with topic.consumer("g") as consumer:
        group, had = topic.group("g"), []
        thread = threading.Thread(target=lambda: had.extend(consumer.receive(1, timeout=WAIT)))
        thread.start()
        deadline = time.monotonic() + WAIT
        while group.stats()["waiting_receivers"] != 1:
            assert time.monotonic() < deadline
        topic.send(b"x")
        thread.join(WAIT)
        assert len(had) == 1
        assert group.stats()["waiting_receivers"] == 0


def test_labels_are_escaped() -> None:
    assert metrics.escaped('a"b\\c\nd') == 'a\\"b\\\\c\\nd'
    assert metrics.bracketed({"topic": '"'}) == '{topic="\\""}'


def test_the_examples_of_the_document_run(store: libqueue.Store) -> None:
    text = (ROOT / "core/docs/statistics.md").read_text()
    (example,) = re.findall(r"^```python\n(.*?)^```$", text, re.M | re.S)
    exec(compile(example, "statistics.md", "exec"), {"orders": store.topic("orders")})


def test_the_table_of_the_command_line_has_all_numbers(filled: Path) -> None:
    (found,) = objects(run(filled, "stats", "orders", "--json"))
    assert json.dumps(found)
    assert set(topics.TOPIC_NUMBERS) <= set(found)
