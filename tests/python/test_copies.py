"""Backups, exports and imports: what they hold, and what is refused."""

from __future__ import annotations

import io
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import libqueue
import pytest
from libqueue import lines

ROOT = Path(__file__).resolve().parents[2]
TOOL = Path(sys.executable).with_name("libqueue")


def fill(folder: Path) -> libqueue.Store:
    store = libqueue.open(folder)
    orders = store.topic("orders", partitions=2)
    for number in range(40):
        headers = {"number": str(number).encode(), "raw": b"\xff"} if number % 3 == 0 else None
        priority = number % 4
        key = (b"key %d" % (number % 5), b"\x80\xff")[number % 2]
        orders.send(b"payload %d" % number, key=key, headers=headers, priority=priority)
    orders.send(b"\x00\xff", delay=3600.0, ttl=7200.0)
    with orders.consumer("billing", ordering="none", max_attempts=1) as consumer:
        batch = consumer.receive(12, timeout=0)
        consumer.ack(batch[:8])
        consumer.dead_letter(batch[8:10], "never")
    orders.group("billing").snapshot("before")
    return store


def contents(store: libqueue.Store) -> list[tuple[Any, ...]]:
    found: list[tuple[Any, ...]] = []
    for name in store.topics():
        with store.open_topic(name).reader() as reader:
            while batch := reader.receive(100, timeout=0):
                found.extend(
                    (
                        name, one.partition, one.offset, one.timestamp, one.key,
                        dict(one.headers), bytes(one.payload),
                    )
                    for one in batch
                )  # fmt: skip
    return found


def run(*arguments: str | Path, given: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    call = [str(TOOL), *map(str, arguments)]
    return subprocess.run(call, input=given, capture_output=True, check=False)


def test_p1_a_backup_is_a_store_of_its_own(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    with fill(tmp_path / "a") as store:
        done = store.backup(tmp_path / "b", progress=lambda *at: told.append(at))
        assert (done["topics"], done["groups"]) == (2, 1)
        assert told[-1][0] == told[-1][1] > 0
        assert libqueue.verify(tmp_path / "b")["damage"] == []
        with libqueue.open(tmp_path / "b") as copy:
            assert contents(copy) == contents(store)
            assert len(list(copy.topic("orders").group("billing").dead_letters())) == 2
        with pytest.raises(libqueue.AlreadyExists):
            store.backup(tmp_path / "b")

        def stop(done: int, total: int) -> None:
            raise KeyError("enough")

        with pytest.raises(KeyError, match="enough"):
            store.backup(tmp_path / "c", progress=stop)
        assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]


def test_p6_p12_an_export_goes_through_a_file_and_through_anything_that_writes(
    tmp_path: Path,
) -> None:
    with fill(tmp_path / "a") as store, libqueue.open(tmp_path / "b") as other:
        done = store.export_topics(tmp_path / "all.lqx")
        out = io.BytesIO()
        assert store.export_topics(out, ["orders"]) == done
        # But for the moment that a delay is told by.
        assert len(out.getvalue()) == (tmp_path / "all.lqx").stat().st_size
        with pytest.raises(libqueue.Damaged, match="at byte"):
            other.import_topics(io.BytesIO(out.getvalue()[:-5]))
        out.seek(0)
        made = other.import_topics(out)
        assert (made["topics"], made["messages"]) == (done["topics"], done["messages"])
        assert contents(other) == contents(store)
        with pytest.raises(libqueue.AlreadyExists):
            other.import_topics(tmp_path / "all.lqx")
        again = other.import_topics(tmp_path / "all.lqx", append=True)
        assert again["appended"] == done["messages"]
        with pytest.raises(ZeroDivisionError):
            store.export_topics(Failing())
        with pytest.raises(libqueue.NotFound):
            store.export_topics(io.BytesIO(), ["none"])


class Failing:
    """A file that cannot be written."""

    def write(self, data: bytes, /) -> object:
        return len(data) // 0


def test_p6_p12_json_lines_say_all_and_come_back_as_the_same_lines(tmp_path: Path) -> None:
    with fill(tmp_path / "a") as store:
        out = io.StringIO()
        done = lines.export_lines(store, out)
        assert done["messages"] == 43
        first = out.getvalue()
        found = [json.loads(line) for line in first.splitlines()]
        assert found[0]["topic_config"]["topic"] == "orders"
        message = next(one for one in found if one.get("payload") == "payload 0")
        assert message["headers"] == {"number": "0", "raw": {"base64": "/w=="}}
        assert found[-1] == {"end": {"topics": 2, "groups": 1, "messages": 43}}
        with libqueue.open(tmp_path / "b") as other:
            lines.import_lines(other, first.splitlines())
            assert contents(other) == contents(store)
            again = io.StringIO()
            lines.export_lines(other, again)
            assert again.getvalue() == first
            billing = other.topic("orders").group("billing")
            assert billing.stats()["lag_messages"] == 31
            assert len(list(billing.dead_letters())) == 2
            assert [one.name for one in billing.snapshots()] == ["before"]


class Narrow(io.StringIO):
    """A file that cannot hold what is written."""

    def write(self, text: str, /) -> int:
        return len(text.encode("ascii"))


def test_an_export_of_lines_ends_where_they_cannot_be_written(tmp_path: Path) -> None:
    with libqueue.open(tmp_path / "a") as store:
        topic = store.topic("t")
        # More than a pipe holds, behind what cannot be written.
        topic.send_many(["é".encode(), *[bytes(1000)] * 1000])
        with pytest.raises(UnicodeEncodeError):
            lines.export_lines(store, Narrow())
        closed = io.StringIO()
        closed.close()
        with pytest.raises(ValueError, match="closed file"):
            lines.export_lines(store, closed)


def test_what_send_takes_is_imported_where_it_names_its_topic(tmp_path: Path) -> None:
    given = [
        '{"topic": "a", "payload": "one", "key": "k", "headers": {"h": "v"}}',
        "",
        '{"topic": "b", "payload_base64": "/w==", "priority": 3}',
        '{"topic": "a", "payload": "two", "delay": 0.0, "ttl": 60}',
        '{"topic_config": {"topic": "c", "partitions": "8"}}',
        *(f'{{"topic": "c", "payload": "", "key": "key {one}"}}' for one in range(30)),
    ]
    with libqueue.open(tmp_path / "a") as store:
        done = lines.import_lines(store, given)
        assert (done["topics"], done["messages"]) == (3, 33)
        assert [one[6] for one in contents(store) if one[0] == "a"] == [b"one", b"two"]
        # Keys are where a send would have put them.
        for one in contents(store):
            if one[0] == "c":
                sent = store.topic("c").send(b"", key=one[4])
                assert sent.partition == one[1]


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("{", "line 3"),
        ("[]", "object"),
        ('{"topic": "a"}', "payload"),
        ('{"payload": "x"}', "topic"),
        ('{"topic": "a", "payload": "x", "offset": 0}', "offset is 0"),
        ('{"topic": "a", "payload": "x", "other": 1}', "unknown members: other"),
        ('{"topic": "a", "payload": "x", "payload_base64": "eA=="}', "both"),
        ('{"topic": "a", "payload_base64": "?"}', "line 3"),
        ('{"topic": "a", "payload": "x", "partition": 1}', "partition is 1"),
        ('{"topic_config": {"topic": "a"}}', "topic is 'a'"),
        ('{"end": {"topics": 5, "groups": 0, "messages": 1}}', "were read"),
        ('{"standing": {"topic": "a", "group": "g"}}', "line 3"),
        ('{"topic": "a", "payload": "x", "delay": 1e999}', "line 3"),
        ('{"topic": "a", "payload": "x", "timestamp_ns": 99999999999999999999}', "line 3"),
        ('{"topic_config": {"topic": "b", "partitions": 1e999}}', "line 3"),
        ('{"topic_config": {"topic": "b", "max_messages": 5}}', "max_messages is 5"),
        ('{"topic": "' + "b" * 70_000 + '", "payload": "x"}', "line 3"),
        ('{"topic": "b\\ud800", "payload": "x"}', "line 3"),
    ],
)
def test_a_bad_line_is_told_of_with_its_number_and_nothing_is_made(
    tmp_path: Path, line: str, what: str
) -> None:
    good = '{"topic": "a", "payload": "x"}'
    with libqueue.open(tmp_path / "a") as store:
        with pytest.raises(ValueError, match=r"line 3: .*; nothing was imported") as error:
            lines.import_lines(store, [good, "", line, good])
        assert what in str(error.value)
        assert store.topics() == []


@pytest.mark.parametrize("form", ["native", "jsonl"])
def test_the_command_line_exports_and_imports_both_formats(tmp_path: Path, form: str) -> None:
    fill(tmp_path / "a").close()
    file = tmp_path / "out"
    done = run("export", "orders", "--format", form, "-o", file, "--json", "-s", tmp_path / "a")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["messages"] == 43
    piped = run("export", "orders", "--format", form, "-s", tmp_path / "a")
    assert piped.returncode == 0, piped.stderr
    assert len(piped.stdout) == file.stat().st_size
    sources: tuple[Path | str, ...] = (file, "-")
    for number, source in enumerate(sources):
        target = tmp_path / str(number)
        given = piped.stdout if source == "-" else b""
        made = run("import", source, "--into", target, "--json", given=given)
        assert made.returncode == 0, made.stderr
        assert json.loads(made.stdout)["topics"] == 2
        again = run("import", file, "--into", target)
        assert again.returncode == 1
        assert b"exists" in again.stderr
        more = run("import", file, "--into", target, "--append")
        assert more.returncode == 0, more.stderr
        assert b"43 messages appended" in more.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0", "1", "a", "out"]


def test_the_command_line_backs_up_and_says_what_is_wrong(tmp_path: Path) -> None:
    fill(tmp_path / "a").close()
    done = run("backup", tmp_path / "b", "--json", "-s", tmp_path / "a")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["topics"] == 2
    assert run("verify", "-s", tmp_path / "b").returncode == 0
    for bad in (
        run("backup", tmp_path / "b", "-s", tmp_path / "a"),
        run("backup", tmp_path / "c", "-s", tmp_path / "missing"),
        run("import", tmp_path / "missing", "--into", tmp_path / "d"),
        run("export", "none", "-s", tmp_path / "a"),
        run("import", "-", "--into", tmp_path / "e", given=b'{"topic": "a"}\n'),
    ):
        assert bad.returncode == 1, bad
        assert bad.stderr.startswith(b"error: "), bad.stderr
    assert not (tmp_path / "missing").exists()


def test_the_example_of_the_module_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path / "queue").close()
    monkeypatch.chdir(tmp_path)
    text = (lines.__doc__ or "").split("\n\n")[1]
    example = "\n".join(line[4:] for line in text.splitlines())
    exec(compile("import libqueue\n" + example, "lines", "exec"), {})
    more = (lines.__doc__ or "").split("\n\n")[2]
    exec(
        compile(
            "import libqueue\nfrom libqueue import lines\n"
            + "\n".join(line[4:] for line in more.splitlines()),
            "lines",
            "exec",
        ),
        {},
    )
    assert (tmp_path / "orders.jsonl").stat().st_size > 1000


def examples(language: str) -> list[str]:
    text = (ROOT / "core/docs/copy.md").read_text()
    found = re.findall(rf"^```{language}\n(.*?)^```$", text, re.M | re.S)
    assert len(found) > 1, language
    return [str(one) for one in found]


def test_the_examples_of_copying_run_one_after_the_other(tmp_path: Path) -> None:
    names: dict[str, object] = {"libqueue": libqueue, "folder": tmp_path}
    for example in examples("python"):
        exec(compile(example, "copy.md", "exec"), names)
    store = names["store"]
    assert isinstance(store, libqueue.Store)
    assert store.topics() == ["orders", "visits"]
    store.close()


def test_the_examples_of_copying_in_c_are_c(tmp_path: Path) -> None:
    compiler = shutil.which("cc")
    assert compiler, "a C compiler is needed"
    for number, example in enumerate(examples("c")):
        source = tmp_path / f"example{number}.c"
        source.write_text(
            "#include <libqueue.h>\n#include <stdio.h>\nvoid example(lq_store *store);\n"
            f"void example(lq_store *store)\n{{\n{example}}}\n"
        )
        flags = ["-std=c11", "-Wall", "-Wextra", "-Werror", "-fsyntax-only", f"-I{ROOT}/include"]
        done = subprocess.run([compiler, *flags, str(source)], capture_output=True, check=False)
        assert done.returncode == 0, done.stderr


def test_the_examples_of_copying_on_the_command_line_name_what_there_is() -> None:
    commands = {line.split()[1] for example in examples("sh") for line in example.splitlines()}
    assert commands == {"backup", "export", "import"}
    for command in commands:
        assert run(command, "--help").returncode == 0
