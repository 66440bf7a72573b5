"""The command line."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sysconfig
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import libqueue
import pytest
from conftest import WAIT, Child

PROGRAM = str(Path(sysconfig.get_path("scripts")) / "libqueue")


def run(
    path: Path, *arguments: object, given: bytes = b"", status: int = 0
) -> subprocess.CompletedProcess[bytes]:
    done = subprocess.run(
        [PROGRAM, *map(str, arguments)],
        input=given,
        capture_output=True,
        timeout=60,
        env={**os.environ, "LIBQUEUE_STORE": str(path), "COLUMNS": "120"},
        check=False,
    )
    assert done.returncode == status, done.stderr.decode()
    return done


def objects(done: subprocess.CompletedProcess[bytes]) -> list[dict[str, object]]:
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_lines_go_in_and_come_out(path: Path, tmp_path: Path) -> None:
    file = tmp_path / "lines.csv"
    file.write_bytes(b"u1,paid\nu2,sent\r\nu1,back")
    run(path, "send", "orders", file, "--key-field", 1)
    assert run(path, "tail", "orders").stdout == b"u1,paid\nu2,sent\nu1,back\n"
    found = objects(run(path, "tail", "orders", "--json", "--from", 1))
    assert [(one["key"], one["payload"]) for one in found] == [("u2", "u2,sent"), ("u1", "u1,back")]
    run(path, "send", "orders", "--key", "u(\\d)", given=b"u7,x\n")
    (last,) = objects(run(path, "tail", "orders", "--json", "--from", 3))
    assert last["key"] == "7"


def test_objects_go_in_and_come_out(path: Path) -> None:
    given = [
        {"payload": "a", "key": "k", "headers": {"h": "v", "b": {"base64": "/w=="}}},
        {"payload_base64": "/w==", "partition": 0},
    ]
    lines = "\n".join(json.dumps(one) for one in given).encode()
    assert objects(run(path, "send", "t", "--jsonl", "--json", given=lines)) == [{"sent": 2}]
    first, second = objects(run(path, "tail", "t", "--json"))
    assert first["headers"] == {"h": "v", "b": {"base64": "/w=="}}
    assert (second["key"], second["payload_base64"]) == (None, "/w==")
    bad = run(path, "send", "t", "--jsonl", given=b'{"payload": "x"}\n{"pay": 1}\n', status=1)
    assert b"line 2" in bad.stderr
    assert b"lines sent before it: 1" in bad.stderr


def test_closed_streams_are_empty_ones(path: Path) -> None:
    run(path, "create", "t")
    command = f"{PROGRAM} -s {path}"
    for line in (f"{command} topics >&-", f"{command} send t <&-", f"{command} topics <&- 2>&-"):
        done = subprocess.run(["sh", "-c", line], capture_output=True, timeout=60, check=False)
        assert (done.returncode, b"Traceback" in done.stderr) == (0, False), done.stderr


def test_receive_acknowledges_unless_told_not_to(path: Path) -> None:
    run(path, "send", "t", given=b"a\nb\nc\n")
    shown = run(path, "receive", "t", "--group", "g", "--no-ack")
    assert shown.stdout == b"a\nb\nc\n"
    assert run(path, "receive", "t", "--group", "g", "--max", 2).stdout == b"a\nb\n"
    (left,) = objects(run(path, "receive", "t", "-g", "g", "--json"))
    assert (left["payload"], left["attempt"]) == ("c", 2)
    (stats,) = objects(run(path, "stats", "t", "--json"))
    groups = stats["groups"]
    assert isinstance(groups, dict)
    assert (groups["g"]["lag_messages"], groups["g"]["acked"]) == (0, 3)


def test_topics_are_created_and_listed(path: Path) -> None:
    run(path, "create", "orders", "--partitions", 3, "--durability", "sync")
    assert b"orders" in run(path, "topics").stdout
    (found,) = objects(run(path, "topics", "--json"))
    assert (found["topic"], found["partitions"], found["groups"]) == ("orders", 3, [])
    again = run(path, "create", "orders", status=1)
    assert b"exists already" in again.stderr
    assert b"orders" in run(path, "stats").stdout


def test_dead_letters_are_listed_and_shown(path: Path) -> None:
    with libqueue.open(path) as store:
        topic = store.topic("t")
        topic.send(b"bad [bold] thing", key=b"k")
        with topic.consumer("g", name="clerk") as consumer:
            consumer.dead_letter(consumer.receive(1, 5), "no use")
    (dead,) = objects(run(path, "dlq", "list", "t", "g", "--json"))
    assert (dead["id"], dead["error"], dead["consumer"]) == ("0:0", "no use", "clerk")
    assert b"no use" in run(path, "dlq", "list", "t", "g").stdout
    assert b"bad [bold] thing" in run(path, "dlq", "show", "t", "g", "0:0").stdout
    assert b"9:9" in run(path, "dlq", "show", "t", "g", "9:9", status=1).stderr


def test_text_that_looks_like_markup_is_shown_as_it_is(path: Path) -> None:
    with libqueue.open(path) as store:
        topic = store.topic("t")
        topic.send(b"\\[/bold] :x: [red]\x1b[2J")
        with topic.consumer("g") as consumer:
            consumer.dead_letter(consumer.receive(1, 5), "\\[/x] :x:")
    shown = run(path, "dlq", "show", "t", "g", "0:0").stdout
    assert b"\\[/bold] :x: [red]\\x1b[2J\n" in shown
    assert b"\\[/x] :x:" in shown
    assert b"\\[/x] :x:" in run(path, "dlq", "list", "t", "g").stdout


def test_a_reader_that_has_seen_enough_is_no_failure(path: Path) -> None:
    run(path, "send", "t", given=b"".join(b"%d\n" % n for n in range(50_000)))
    with subprocess.Popen(
        [PROGRAM, "tail", "t", "-s", str(path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as tail:
        assert tail.stdout is not None
        assert tail.stderr is not None
        assert tail.stdout.readline() == b"0\n"
        tail.stdout.close()
        assert tail.stderr.read() == b""
        assert tail.wait(WAIT) == 0


def test_what_could_not_be_shown_is_not_acknowledged(path: Path) -> None:
    run(path, "send", "t", given=b"x\n")
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [PROGRAM, "receive", "t", "-g", "g", "-s", str(path)],
            stdout=full,
            stderr=subprocess.PIPE,
            timeout=60,
            check=False,
        )
    assert done.returncode == 1
    assert b"No space left" in done.stderr
    assert run(path, "receive", "t", "-g", "g").stdout == b"x\n"


@pytest.mark.parametrize("command", [["receive", "t", "-g", "g"], ["tail", "t"]])
def test_following_shows_what_others_send_and_ends_by_ctrl_c(
    path: Path, launch: Callable[[list[str]], Child], command: list[str]
) -> None:
    with libqueue.open(path) as store:
        topic = store.topic("t")
        topic.send(b"first")
        start = ["--from", "earliest"] if command[0] == "tail" else []
        child = launch([PROGRAM, *command, *start, "--follow", "-s", str(path)])
        assert child.line() == "first"
        topic.send(b"second")
        assert child.line() == "second"
        child.signal(signal.SIGINT)
        assert child.end() == 130


def test_p12_what_is_shown_without_an_ack_does_not_fail_however_long_it_is_shown(
    path: Path, launch: Callable[[list[str]], Child]
) -> None:
    with libqueue.open(path) as store:
        topic = store.topic("t")
        topic.send(b"first")
        group = topic.create_group("g", lease=0.3, max_attempts=1)
        command = [PROGRAM, "receive", "t", "-g", "g", "--no-ack", "--follow", "-s", str(path)]
        child = launch(command)
        assert child.line() == "first"
        with topic.consumer("g") as other:
            assert other.receive(1, timeout=1.0) == [], "shown for longer than its lease"
            child.signal(signal.SIGINT)
            assert child.end() == 130
            (back,) = other.receive(1, timeout=WAIT)
        assert back.attempt == 2
        assert (group.stats()["failed"], group.dead_letters()) == (0, [])


def test_an_object_says_when_it_is_handed_out(path: Path) -> None:
    noon = datetime(2100, 1, 1, 12)
    times = [1.0e9, 1, None, noon.isoformat(), noon.timestamp() + 0.5]
    lines = "\n".join(json.dumps({"payload": str(at), "deliver_at": at}) for at in times)
    run(path, "send", "t", "--jsonl", given=lines.encode())
    assert run(path, "receive", "t", "-g", "g").stdout == b"1000000000.0\n1\nNone\n"
    with libqueue.open(path) as store:
        group = store.open_topic("t").group("g")
        until = [group.peek(offset).until for offset in (3, 4)]
    assert until == pytest.approx([noon.timestamp(), noon.timestamp() + 0.5], abs=0.001, rel=0)
    for bad in (b'"noon"', b"true", b"[1]"):
        line = b'{"payload": "x", "deliver_at": ' + bad + b"}"
        told = run(path, "send", "t", "--jsonl", given=line, status=1).stderr
        assert b"deliver_at is " + bad in told


def test_verify_and_dump_tell_of_damage(path: Path) -> None:
    run(path, "send", "t", given=b"one\ntwo\nthree\n")
    assert b"all whole" in run(path, "verify").stdout
    (segment,) = path.rglob("*.log")
    assert run(path, "dump", segment).stdout.count(b"payload") == 3
    damaged = bytearray(segment.read_bytes())
    damaged[damaged.index(b"two")] ^= 1
    segment.write_bytes(damaged)
    (report,) = objects(run(path, "verify", "--json", status=1))
    assert report["messages"] == 2
    (one,) = report["damage"] if isinstance(report["damage"], list) else []
    assert one["file"] == str(segment)
    assert str(one["position"]).encode() in run(path, "verify", status=1).stdout
    assert b"DAMAGED" in run(path, "dump", segment).stdout


def test_recover_copies_what_can_be_read_and_tells_what_is_lost(path: Path, tmp_path: Path) -> None:
    run(path, "send", "t", given=b"one\ntwo\nthree\n")
    run(path, "receive", "t", "-g", "g", "--max", 1)
    whole = run(path, "recover", path, tmp_path / "whole")
    assert b"nothing lost" in whole.stdout
    assert b"all whole" in run(path, "verify", "-s", tmp_path / "whole").stdout
    (segment,) = path.rglob("*.log")
    damaged = bytearray(segment.read_bytes())
    damaged[damaged.index(b"two")] ^= 1
    segment.write_bytes(damaged)
    shown = run(path, "verify", status=1).stdout
    assert b"topic t, partition 0: 2 messages can be read: offsets 0 and 2; lost: 1\n" in shown
    (done,) = objects(run(path, "recover", path, tmp_path / "new", "--json", status=1))
    assert (done["messages"], done["topics"], done["groups"]) == (2, 1, 1)
    (loss,) = done["losses"] if isinstance(done["losses"], list) else []
    assert (loss["file"], loss["lost"]) == (str(segment), [1, 1])
    assert run(tmp_path / "new", "tail", "t").stdout == b"one\nthree\n"
    assert run(tmp_path / "new", "receive", "t", "-g", "g").stdout == b"three\n"
    text = run(path, "recover", path, tmp_path / "again", status=1).stdout
    assert str(segment).encode() in text
    assert b"lost: 1" in text


def test_failures_of_verify_and_recover_are_2(path: Path, tmp_path: Path) -> None:
    assert b"no store" in run(path, "verify", status=2).stderr
    assert b"no store" in run(path, "recover", path, tmp_path / "new", status=2).stderr
    run(path, "send", "t", given=b"one\n")
    assert b"empty folder" in run(path, "recover", path, tmp_path, status=2).stderr
    with libqueue.open(path):
        busy = run(path, "recover", path, tmp_path / "new", status=2).stderr
    assert str(os.getpid()).encode() in busy
    run(path, "recover", path, status=2)
    assert not (tmp_path / "new").exists()


def test_bad_usage_is_2_and_failure_1(path: Path, tmp_path: Path) -> None:
    run(path, "send", status=2)
    run(path, "no-such-command", status=2)
    run(path, "send", "t", "--key", "(", given=b"x\n", status=2)
    run(path, "create", "a b", status=2)
    run(path, "tail", "t", "--from", "yesterday", status=2)
    assert b"no topic" in run(path, "tail", "t", status=1).stderr
    nowhere = run(path, "-s", tmp_path / "nowhere", "topics", status=1)
    assert b"nowhere" in nowhere.stderr
    assert libqueue.__version__.encode() in run(path, "--version").stdout
