"""JSON lines: what goes in and comes out, by whichever way, is what the core reads and writes."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import libqueue
import pytest
from libqueue import lines

ROOT = Path(__file__).resolve().parents[2]
TOOL = Path(sys.executable).with_name("libqueue")
GOOD = '{"topic": "a", "payload": "x"}'
KEPT = ROOT / "core/tests/copies/kept.jsonl"
"""Lines that were written by the first version of this format."""


def split(text: str) -> list[str]:
    """Its lines, without their ends; what JSON has within texts may look like an end to others."""
    return text.split("\n")[:-1]


def payloads(store: libqueue.Store, topic: str) -> list[bytes]:
    with store.open_topic(topic).reader() as reader:
        return [bytes(one.payload) for one in reader.receive(1000, timeout=0)]


def exported(store: libqueue.Store) -> str:
    out = io.StringIO()
    lines.export_lines(store, out)
    return out.getvalue()


def test_p6_lines_that_were_written_long_ago_come_back_as_the_same_bytes(tmp_path: Path) -> None:
    text = KEPT.read_text()
    with libqueue.open(tmp_path / "a") as store:
        made = lines.import_lines(store, split(text))
        assert made["messages"] == json.loads(split(text)[-1])["end"]["messages"]
        assert exported(store) == text
        group = store.open_topic("orders").group("billing")
        assert len(list(group.dead_letters())) == 2
        assert [one.name for one in group.snapshots()] == ["before"]


def test_paths_files_texts_and_bytes_are_all_the_same(tmp_path: Path) -> None:
    text = KEPT.read_text()
    path = tmp_path / "out.jsonl"

    def pieces() -> Iterator[bytes]:
        yield from (line.encode() for line in split(text))

    ways: list[Any] = [
        KEPT, str(KEPT), split(text), io.StringIO(text), pieces(),
        [bytearray(line.encode()) for line in split(text)], io.BytesIO(text.encode()),
    ]  # fmt: skip
    for number, way in enumerate(ways):
        with libqueue.open(tmp_path / str(number)) as store:
            lines.import_lines(store, way)
            done = lines.export_lines(store, path if number % 2 else str(path))
            assert done["bytes"] == len(text.encode())
            assert path.read_text() == text
    assert sorted(one.name for one in tmp_path.iterdir() if one.is_file()) == ["out.jsonl"]


def test_progress_is_told_of_halves_and_may_end_the_call(tmp_path: Path) -> None:
    text = "\n".join([GOOD.replace("x", "y" * 1000)] * 2000)
    path = tmp_path / "in.jsonl"
    path.write_text(text)
    told: list[tuple[int, int]] = []
    with libqueue.open(tmp_path / "a") as store:

        def stop(done: int, total: int) -> None:
            if done > total / 4:
                raise KeyError("enough")

        with pytest.raises(KeyError, match="enough"):
            lines.import_lines(store, path, progress=stop)
        assert store.topics() == []
        lines.import_lines(store, path, progress=lambda *at: told.append(at))
        assert told == sorted(told)
        assert told[-1] == (len(text), len(text))
        assert any(0 < done < len(text) // 2 for done, _ in told)
        assert any(len(text) // 2 < done < len(text) for done, _ in told)
        with pytest.raises(KeyError, match="enough"):
            lines.export_lines(store, io.StringIO(), progress=stop)


def test_what_the_lines_raise_and_what_is_no_line_end_the_call(tmp_path: Path) -> None:
    def broken() -> Iterator[str]:
        yield GOOD
        raise ZeroDivisionError("from within")

    with libqueue.open(tmp_path / "a") as store:
        with pytest.raises(ZeroDivisionError, match="from within"):
            lines.import_lines(store, broken())
        wrong: Any = [GOOD, 5]
        with pytest.raises(TypeError, match="a line is of int; expected text or bytes"):
            lines.import_lines(store, wrong)
        none: Any = 5
        with pytest.raises(TypeError):
            lines.import_lines(store, none)
        with pytest.raises(libqueue.InvalidArgument, match="line 2: byte 28 is not of UTF-8"):
            lines.import_lines(store, [GOOD, GOOD.replace('"x', '"\ud800')])
        with pytest.raises(libqueue.NotFound):
            lines.import_lines(store, tmp_path / "missing.jsonl")
        with pytest.raises(libqueue.NotFound):
            lines.export_lines(store, io.StringIO(), ["none"])
        assert store.topics() == []


def test_an_object_may_go_over_several_lines_where_it_is_one_text(tmp_path: Path) -> None:
    given = [json.dumps(json.loads(GOOD), indent=2), "", '{"topic":\r\n"a",\n"payload":"\\n"}\n']
    with libqueue.open(tmp_path / "a") as store:
        lines.import_lines(store, given)
        assert payloads(store, "a") == [b"x", b"\n"]
        with pytest.raises(ValueError, match=r"^line 3: "):
            lines.import_lines(store, [*given[:2], '{"topic":\n5}'], append=True)


def test_the_command_line_tells_the_number_of_a_bad_line_of_files_and_of_pipes(
    tmp_path: Path,
) -> None:
    path = tmp_path / "in.jsonl"
    path.write_text(f"\n{GOOD}\n\n{{}}\n")
    call = [str(TOOL), "import", "--into", str(tmp_path / "a")]
    for source in (str(path), "-"):
        done = subprocess.run(
            [*call, source], input=path.read_bytes(), capture_output=True, check=False
        )
        assert done.returncode == 1
        assert b"line 4: topic is missing" in done.stderr, done.stderr
