"""The list of bugs fits the sources, and the documentation's table fits the list."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from bugs import ROOT, BadList, Bug, Edit, bugs, parse
from prove import HEAD, TABLE, rows
from suites import FAILED, Places, suites

FEWEST = 30


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def table() -> list[str]:
    lines = TABLE.read_text(encoding="utf-8").splitlines()
    return lines[lines.index(HEAD[0]) :]


def test_there_are_enough_bugs_each_with_a_name_of_its_own() -> None:
    names = [bug.name for bug in bugs()]
    assert len(names) >= FEWEST
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("bug", bugs(), ids=lambda bug: bug.name)
def test_a_bug_fits_the_sources_and_says_what_it_breaks(bug: Bug) -> None:
    assert set(bug.fields) == {"promise", "what", "suites"}
    assert bug.edits, "it changes nothing"
    assert all(text != read(name) for name, text in bug.changed(read).items())
    assert re.fullmatch(r"P\d+(, P\d+)*", bug.promise)
    assert {name for name, _ in bug.suites} <= set(suites(Places(ROOT, ROOT)))


def test_the_documentation_lists_these_bugs_and_what_caught_each() -> None:
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in table()]
    caught = {bug: [suite, test.strip("`")] for bug, _, _, suite, test in cells[2:]}
    assert table() == rows(caught, bugs()), "run tests/prove/prove.py, then prove.py --table"
    for bug in bugs():
        suite, test = caught[bug.name]
        assert suite in {name for name, _ in bug.suites}
        assert test


def test_lines_are_found_once_or_not_at_all() -> None:
    edit = Edit("a file", ["  b"], ["  c", "  d"])
    assert edit.applied("a\n  b\n    b\n") == "a\n  c\n  d\n    b\n"
    for text in ("a\n", "  b\n  b\n", "    b\n"):
        with pytest.raises(BadList, match="not once"):
            edit.applied(text)


def test_a_list_that_is_none_is_told() -> None:
    good = "[name]\npromise: P1\nfile: f\nfind:\n|a\nreplace:\nfile: g\nfind:\n|b\nreplace:\n|c\n"
    (bug,) = parse(good)
    assert [(edit.file, edit.find, edit.replace) for edit in bug.edits] == [
        ("f", ["a"], []),
        ("g", ["b"], ["c"]),
    ]
    for bad in ("promise: P1\n", "[name]\n|code without a place\n", "[name]\nnonsense\n"):
        with pytest.raises(BadList):
            list(parse(bad))


def test_failures_are_seen_in_every_suites_words() -> None:
    for line, name in (
        ("test log::tests::p1_a ... FAILED", "log::tests::p1_a"),
        ("tests/c, settle (plain) failed", "tests/c, settle (plain)"),
        (
            "FAILED tests/python/test_a.py::test_b - AssertionError",
            "tests/python/test_a.py::test_b",
        ),
        (
            "  process didn't exit successfully: `x` (signal: 11, SIGSEGV: ...)",
            "signal: 11, SIGSEGV",
        ),
    ):
        found = [named[1] for pattern in FAILED if (named := pattern.match(line))]
        assert found == [name]
    for line in ("test a ... ok", "test result: FAILED. 1 passed", "12 passed"):
        assert not any(pattern.match(line) for pattern in FAILED)


def test_the_copy_is_no_part_of_the_repository() -> None:
    ignored = (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()
    assert "/build/" in ignored
    assert Path(__file__).parent == ROOT / "tests" / "prove"
