"""Dedup ids and named producers (P8): nothing is there twice, through repeats, kills, restarts."""

from __future__ import annotations

import json
import random
import re
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import libqueue
import pytest
from conftest import Child
from test_command_line import run

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "core/docs/exactly-once.md").read_text()


def payloads(topic: libqueue.Topic) -> list[bytes]:
    return sorted(bytes(one.payload) for one in topic.reader())


def test_p8_a_repeated_id_returns_the_first_id(store: libqueue.Store) -> None:
    topic = store.topic("t", partitions=2, dedup_window=60.0)
    first = topic.send(b"one", dedup_id="a")
    assert topic.send(b"two", dedup_id=b"a", key=b"k") == first
    batch = [libqueue.Message(b"x", dedup_id=name) for name in ("a", "b", "b")]
    assert batch[0].dedup_id == "a"
    ids = topic.send_many([*batch, b"plain"])
    assert ids[0] == first
    assert ids[1] == ids[2] != first
    assert payloads(topic) == [b"one", b"plain", b"x"]


def test_p8_ids_are_known_across_restarts(path: Path) -> None:
    sent = []
    for _ in range(3):
        with libqueue.open(path) as store:
            topic = store.topic("t", dedup_window="until_settled")
            with topic.producer("till") as till:
                again = [topic.send(b"x", dedup_id=str(n)) for n in range(50)]
                again += [till.send(b"y", n) for n in range(1, 50)]
                assert till.last_sequence == 49
            sent.append(again)
            assert len(payloads(topic)) == 99
    assert sent[0] == sent[1] == sent[2]


def test_p8_a_recovered_copy_knows_what_was_sent(path: Path, tmp_path: Path) -> None:
    def send(path: Path) -> list[object]:
        with libqueue.open(path) as store:
            topic = store.topic("t", dedup_window=3600.0)
            with topic.producer("till") as till:
                ids: list[object] = [topic.send(b"x", dedup_id=str(n)) for n in range(20)]
                ids += [till.send(b"y", n) for n in range(1, 20)]
            assert len(payloads(topic)) == 39
            return ids

    first = send(path)
    libqueue.recover(path, tmp_path / "copy")
    assert libqueue.verify(tmp_path / "copy")["unknown"] == []
    assert send(tmp_path / "copy") == first
    lines: list[str] = []
    for file in sorted((path / "topics/t").glob("dedup/*")):
        libqueue.dump(file, lines.append)
    libqueue.dump(path / "topics/t/producers/till/ring", lines.append)
    text = "".join(lines)
    assert text.count("partition 0, offset") == 39
    assert "until" not in text


def test_p8_bad_ids_and_windows_say_what_is_expected(store: libqueue.Store) -> None:
    topic = store.topic("t", dedup_window=1.5)
    assert topic.config["dedup_window"] == 1.5
    for bad in (b"", b"x" * 10_000):
        with pytest.raises(libqueue.InvalidArgument, match="1 to 255"):
            topic.send(b"", dedup_id=bad)
    with pytest.raises(libqueue.InvalidArgument, match="dedup_window"):
        store.topic("plain").send(b"", dedup_id="a")
    for wrong in ("for ever", -1.0, float("nan")):
        with pytest.raises(libqueue.InvalidArgument, match="dedup_window"):
            topic.configure(dedup_window=wrong)  # type: ignore[arg-type]
    for window in ("until_settled", 0.0):
        topic.configure(dedup_window=window)
        assert topic.config["dedup_window"] == window
    with pytest.raises(libqueue.InvalidArgument, match="dedup_window"):
        topic.send(b"", dedup_id="a")
    with pytest.raises(libqueue.ConfigMismatch, match="dedup_window"):
        store.topic("t", dedup_window=3.0)


def test_p8_sequences_and_fencing(store: libqueue.Store) -> None:
    topic = store.topic("t")
    older = topic.producer("till")
    assert (older.name, older.last_sequence) == ("till", 0)
    first = older.send(b"1", 1)
    assert older.send(b"1", 1) == first
    older.send(b"5", 5)
    older.send(b"6", key=b"k", headers={"h": b"v"})
    assert older.last_sequence == 6
    for wrong, told in ((0, "first one is 1"), (3, "passed over")):
        with pytest.raises(libqueue.InvalidArgument, match=told):
            older.send(b"", wrong)
    newer = topic.producer("till")
    with pytest.raises(libqueue.Fenced, match="till"):
        older.send(b"7", 7)
    assert newer.send(b"1", 1) == first
    newer.close()
    newer.close()
    with pytest.raises(libqueue.Closed, match="till"):
        newer.send(b"7")
    assert payloads(topic) == [b"1", b"5", b"6"]


def test_p8_p17_two_processes_send_the_same_ids_at_once(
    store: libqueue.Store, spawn: Callable[[str], Child]
) -> None:
    store.topic("t", partitions=3, dedup_window=60.0)
    code = """
        topic = libqueue.open(path).topic("t")
        print("ready")
        sys.stdin.readline()
        for n in range(2000):
            print(topic.send(b"%d" % n, dedup_id=str(n)))
    """
    children = [spawn(code) for _ in range(3)]
    assert [child.line() for child in children] == ["ready"] * 3
    for child in children:
        assert child.process.stdin is not None
        child.process.stdin.write("\n")
        child.process.stdin.flush()
    said = [[child.line() for _ in range(2000)] for child in children]
    assert said[0] == said[1] == said[2]
    assert len(payloads(store.topic("t"))) == 2000


@pytest.mark.parametrize("durability", ["process", "sync"])
def test_p8_p17_killed_senders_that_begin_again_send_nothing_twice(
    path: Path, spawn: Callable[[str], Child], durability: str
) -> None:
    code = f"""
        topic = libqueue.open(path, durability={durability!r}).topic("t", dedup_window=60.0)
        till = topic.producer("till")
        print("last", till.last_sequence)
        for n in range(1, 100000):
            a = topic.send(b"a%d" % n, dedup_id=str(n))
            b = till.send(b"b%d" % n, n) if n > max(0, till.last_sequence - 900) else None
            print(n, a, b, sep="|")
    """
    told: dict[str, str] = {}
    chance = random.Random(7)
    with libqueue.open(path) as store:
        for _ in range(8):
            child = spawn(code)
            child.line()
            for _ in range(chance.randrange(1, 400)):
                number, a, b = child.line().split("|")
                for name, sent in (("a" + number, a), ("b" + number, b)):
                    if sent != "None":
                        assert told.setdefault(name, sent) == sent, name
            time.sleep(chance.random() / 100)
            child.kill()
        found = payloads(store.topic("t"))
    assert len(found) == len(set(found))
    assert set(told) <= {one.decode() for one in found}


def test_p8_the_examples_of_the_document_run(tmp_path: Path) -> None:
    found = re.findall(r"^```python\n(.*?)^```$", TEXT, re.M | re.S)
    assert len(found) > 3
    names: dict[str, object] = {"libqueue": libqueue, "folder": tmp_path}
    for example in found:
        exec(compile(example, "exactly-once.md", "exec"), names)


def test_the_examples_in_c_are_c(tmp_path: Path) -> None:
    compiler = shutil.which("cc")
    assert compiler, "a C compiler is needed"
    found = re.findall(r"^```c\n(.*?)^```$", TEXT, re.M | re.S)
    assert len(found) > 1
    for number, example in enumerate(found):
        source = tmp_path / f"example{number}.c"
        source.write_text(
            "#include <libqueue.h>\n"
            "void example(lq_store *store, lq_topic *topic);\n"
            "void example(lq_store *store, lq_topic *topic)\n"
            f"{{\n    (void)store;\n    (void)topic;\n{{\n{example}}}\n}}\n"
        )
        flags = ["-std=c11", "-Wall", "-Wextra", "-Werror", "-fsyntax-only", f"-I{ROOT}/include"]
        call = [compiler, *flags, str(source)]
        checked = subprocess.run(call, capture_output=True, text=True, check=False)
        assert checked.returncode == 0, f"{example}\n{checked.stderr}"


def test_p8_a_file_that_was_sent_in_part_is_sent_to_its_end_by_the_same_call(path: Path) -> None:
    def told(given: bytes, *more: str) -> tuple[int, int]:
        done = json.loads(
            run(path, "send", "t", "--producer", "in", "--json", *more, given=given).stdout
        )
        return done["sent"], done["sent_before"]

    assert told(b"a\nb\n") == (2, 0)
    assert told(b"a\nb\nc\n") == (1, 2)
    assert told(b"a\nb\nc\n") == (0, 3)
    line = b'{"payload": "x", "key": "k"}\n'
    assert told(line * 4, "--jsonl") == (1, 3)
    run(path, "config", "t", "max_messages=5")
    full = run(path, "send", "t", "--producer", "in", given=b"\n" * 4 + b"y\nz\n", status=1)
    assert b"line 6: " in full.stderr
    assert b"is full" in full.stderr
    assert b"lines sent before it: 1" in full.stderr
    run(path, "config", "t", "max_messages=0")
    assert told(b"\n" * 4 + b"y\nz\n") == (1, 5)
    for wrong in (b'{"payload": "", "dedup_id": "a"}', b'{"payload": "", "headers": [1]}'):
        refused = run(path, "send", "t", "--jsonl", "--producer", "q", given=wrong, status=1)
        assert refused.stderr.startswith(b"error: line 1: "), refused.stderr
    with libqueue.open(path) as store:
        assert payloads(store.topic("t")) == [b"a", b"b", b"c", b"x", b"y", b"z"]
        assert store.topic("t").producer("in").last_sequence == 6


def test_p8_the_command_line_knows_windows_and_ids(path: Path) -> None:
    run(path, "create", "t", "dedup_window=until_settled")
    line = b'{"payload": "x", "dedup_id": "a"}\n'
    run(path, "send", "t", "--jsonl", given=line * 3)
    run(path, "config", "t", "dedup_window=60")
    with libqueue.open(path) as store:
        topic = store.topic("t")
        assert topic.config["dedup_window"] == 60
        assert payloads(topic) == [b"x"]
