"""README.md's figures are those of the results, none is invented and no peer that is ahead is kept.

The program runs in a small tree of its own, with results that are made by hand.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BEFORE, AFTER = "# a queue\n\n## How fast it is\n\n", "\n\nWhy so: reasons.\n"
Row = dict[str, object]


def row(part: str, workload: str, who: str, value: float | None, **more: object) -> Row:
    """A row of libqueue's in messages a second, unless more is said."""
    found: Row = {"part": part, "workload": workload, "kind": "libqueue", "who": who}
    found |= {"value": value, "unit": "messages/s", "ratio": None, "limit": None}
    found |= {"durability": "process", "note": None, "failed": value is None}
    return found | more


def peer(part: str, workload: str, who: str, value: float | None, **more: object) -> Row:
    return row(part, workload, who, value, kind="peer", **more)


def program(root: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    call = [sys.executable, root / "benches/readme.py", *arguments]
    return subprocess.run(call, capture_output=True, text=True, check=False, timeout=30)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    (tmp_path / "benches/results").mkdir(parents=True)
    for name in ("readme.py", "figures.py"):
        shutil.copy(ROOT / "benches" / name, tmp_path / "benches")
    marks = [line for line in (ROOT / "README.md").read_text().splitlines() if "figures:" in line]
    assert len(marks) == 2
    (tmp_path / "README.md").write_text(BEFORE + "\nold\n".join(marks) + AFTER)
    return tmp_path


def results(tree: Path, rows: list[Row], name: str = "2026-01-31-box.json", **more: object) -> Path:
    machine = {"name": "box", "cpu": "Some CPU", "cores": 2, "kernel": "6.1", "file_system": "ext4"}
    machine["memory_bytes"] = 8 << 30
    versions = {"C": "gcc 12.2.0", "libqueue": "0.1.0", "rust": "1.95.0"}
    run = {"date": name[:10], "machine": machine, "versions": versions, "short": False}
    file = tree / "benches/results" / name
    file.write_text(json.dumps({**run, "rows": rows, **more}))
    return file


def written(tree: Path, rows: list[Row]) -> str:
    results(tree, rows)
    done = program(tree)
    assert done.returncode == 0, done.stderr
    readme = (tree / "README.md").read_text()
    assert readme.startswith(BEFORE) and readme.endswith(AFTER) and "old" not in readme
    return readme


def lines(text: str, begin: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith(begin)]


def test_a_line_has_the_figures_of_all_languages_and_the_best_peers(tree: Path) -> None:
    name = "one by one, 1 KiB"
    ours = [
        row("w1", name, "Rust", 9_123_000, ratio=1.234, limit="probe"),
        row("w1", name, "C", 999_600, ratio=1.0, limit="probe"),
        row("w1", name, "Python", 2_500, ratio=30.4, limit="a call"),
    ]
    peers = [
        peer("w1", name, "slow 1.0 (C)", 912_300),
        peer("w1", name, "quick 2.0 (Java)", 4_561_500),
        peer("w1", name, "snake 3 (SQLite 3.4) (Python)", 5_000),
        # What is not compared: another durability, another work, another size.
        peer("w1", name, "weak 1 (Rust)", 1e9, durability="none"),
        peer("w4", name, "other 1 (Rust)", 1e9),
        peer("w1", "one by one, 64 KiB", "large 1 (Rust)", 1e9),
    ]
    assert lines(written(tree, ours + peers), "| W") == [
        "| W1, send one by one | 1 KiB | 9.1 M | 1.0 M | 2.5 k | 1.23 / 1.00 / 30 "
        "| quick 4.6 M / snake 5.0 k | 2.00 / 0.50 |"
    ]


def test_what_is_not_in_the_results_is_left_out(tree: Path) -> None:
    rows = [
        row("w3", "8 processes, 100 B", "C", 850.4, durability="sync"),
        row("w3", "1 process, 100 B", "Rust", None),
        row("w9", "cold topic, reader, 1 KiB", "Rust", 1234.5, unit="MB/s", durability=None),
        peer("w3", "8 processes, 100 B", "unsynced 1 (C)", 1e6),
        peer("w7", "4 producers, 4 consumers, 100 B", "alone 1 (C)", 1e6),
    ]
    text = written(tree, rows)
    assert lines(text, "| W") == [
        "| W3, send durably, 8 processes | 100 B | – | 850 | – | – | – | – |",
        "| W9, from disk, reader | 1 KiB | 1,234 MB/s | – | – | – | – | – |",
    ]
    assert "No peer was measured." in text and "![" not in text
    assert "Nothing takes more than 1.5 times as long as its limit." in text


def test_every_peer_that_is_ahead_is_named_with_both_figures(tree: Path) -> None:
    name = "batches of 100, 100 B"
    rows = [
        row("w2", name, "Rust", 2e6, ratio=1.6, limit="probe"),
        row("w2", name, "C", 4e6, ratio=1.5, limit="probe"),
        peer("w2", name, "mid 1 (Rust)", 3e6),
        peer("w2", name, "top 1 (C)", 5e6),
        peer("w2", name, "behind 1 (C)", 1e6),
        # C is compared with what can be called from it.
        peer("w2", name, "vm 1 (Java)", 4.5e6),
    ]
    text = written(tree, rows)
    assert lines(text, "- ") == [
        "- W2, send in batches of 100, 100 B, Rust: libqueue 2.0 M, top 5.0 M, vm 4.5 M, mid 3.0 M",
        "- W2, send in batches of 100, 100 B, C: libqueue 4.0 M, top 5.0 M",
        "- W2, send in batches of 100, 100 B: Rust 1.60 of probe",
    ]
    assert "| top 5.0 M / – | 0.40 / – |" in text


def test_where_libqueue_is_ahead_no_peer_is_named(tree: Path) -> None:
    name = "one producer, one consumer, 100 B"
    text = written(tree, [row("w5", name, "Rust", 2e6), peer("w5", name, "slow 1 (C)", 1e6)])
    assert lines(text, "- ") == []
    assert "No peer of the same durability is faster in any line of the table." in text


def test_of_times_on_the_way_less_is_better_and_each_figure_counts(tree: Path) -> None:
    rows = []
    for which, ours, theirs in (("p50", 9.5, 19.0), ("p99", 100.0, 25.4)):
        name = f"sleeping, 10,000 a second, {which}, 100 B"
        rows += [
            row("latency", name, "Rust", ours, unit="us", durability=None),
            peer("latency", name, "even 1 (Rust)", theirs, unit="us"),
        ]
    text = written(tree, rows)
    assert lines(text, "| W") == [
        "| W5 at 10,000 a second (p50; p99) | 100 B | 9.5 us; 100 us | – | – | – "
        "| even 19 us / –; even 25 us / – | 2.00 / –; 0.25 / – |"
    ]
    assert lines(text, "- ") == [
        "- W5 at 10,000 a second, p99, 100 B, Rust: libqueue 100 us, even 25 us"
    ]


def test_a_peer_that_failed_is_left_out(tree: Path) -> None:
    name = "one by one, 100 B"
    rows = [
        row("w4", name, "Rust", 2e6),
        peer("w4", name, "broken 1 (Rust)", None, unit="", durability=None),
        peer("w4", name, "lossy 1 (Rust)", 9e6, failed=True),
        peer("w4", name, "whole 1 (Rust)", 1e6),
    ]
    text = written(tree, rows)
    assert "| whole 1.0 M / – | 2.00 / – |" in text
    assert "broken" not in text and "lossy" not in text


def test_machine_versions_results_and_plot_are_told(tree: Path) -> None:
    (tree / "benches/results/2026-01-31-box.svg").write_text("<svg/>")
    text = written(tree, [row("w1", "one by one, 100 B", "Rust", 1.0)])
    joined = " ".join(text.split())
    assert "2026-01-31 on Some CPU, 2 cores, 8 GiB, Linux 6.1, ext4; libqueue 0.1.0, gcc" in joined
    assert "gcc 12.2.0, rust 1.95.0. Every rate is of one run on one machine" in joined
    assert "(benches/results/2026-01-31-box.json)." in joined
    assert "](benches/results/2026-01-31-box.svg)" in joined


def test_the_newest_results_count_unless_others_are_named(tree: Path) -> None:
    old = results(tree, [row("w1", "one by one, 100 B", "Rust", 1.0)], "2025-12-31-box.json")
    text = written(tree, [row("w1", "one by one, 100 B", "Rust", 2.0)])
    assert "Measured on 2026-01-31" in text
    assert program(tree, old).returncode == 0
    assert "Measured on 2025-12-31" in (tree / "README.md").read_text()


def test_check_tells_and_writes_nothing(tree: Path) -> None:
    before = (tree / "README.md").read_text()
    told = program(tree, "--check")
    assert told.returncode == 1 and "make bench-readme" in told.stderr
    assert (tree / "README.md").read_text() == before
    assert program(tree).returncode == 0
    assert "Nothing has been measured" in (tree / "README.md").read_text()
    assert program(tree, "--check").returncode == 0
    file = results(tree, [row("w1", "one by one, 100 B", "Rust", 1.0)])
    # What somebody measured since is nothing that README.md speaks of.
    assert program(tree, "--check").returncode == 0
    assert program(tree, "--check", file).returncode == 1
    assert program(tree).returncode == 0
    assert program(tree, "--check").returncode == 0
    results(tree, [row("w1", "one by one, 100 B", "Rust", 2.0)])
    assert program(tree, "--check").returncode == 1


def test_what_must_not_stand_there_is_refused(tree: Path) -> None:
    good = [row("w1", "one by one, 100 B", "Rust", 1.0)]
    before = (tree / "README.md").read_text()
    other = tree.parent / f"{tree.name}.json"
    for file, why in [
        (results(tree, good, "2026-01-31-short.json", short=True), "a short run"),
        (results(tree, [row("steps", "send", "Rust", 1.0)], "2026-01-31-none.json"), "nothing"),
        (shutil.copy(results(tree, good), other), "has to be in"),
    ]:
        told = program(tree, file)
        assert told.returncode == 1 and why in told.stderr, told.stderr
    assert (tree / "README.md").read_text() == before
    (tree / "README.md").write_text("no markers")
    assert "lacks" in program(tree, results(tree, good)).stderr


def test_the_readme_is_what_is_written_from_the_results_that_it_names() -> None:
    told = program(ROOT, "--check")
    assert told.returncode == 0, told.stderr
