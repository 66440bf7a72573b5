"""The list of planted bugs: what stands in bugs/*.bugs, and putting one into a tree.

A bug begins with its name in brackets; lines `key: value` follow: `promise` (those it breaks),
`what` (it does wrong, in plain words), `suites` (to be tried in this order; behind the name of one
of Rust's may stand a part of the names of its tests, so that no others run), and for each change
`file`, then `find` and `replace` with the lines of code behind bars:

    [name-of-the-bug]
    promise: P2
    what: a send returns before its message is on disk
    suites: unit log::, simulation
    file: core/src/log/durable.rs
    find:
    |        while self.block.synced() < offset {
    replace:
    |        while false {

A line that begins with # is a comment.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]


class BadList(Exception):
    """What is wrong with the list of bugs."""


@dataclass
class Edit:
    """Lines of a file, and what stands there instead."""

    file: str
    find: list[str] = field(default_factory=list)
    replace: list[str] = field(default_factory=list)

    def applied(self, text: str) -> str:
        lines, length = text.split("\n"), len(self.find)
        starts = range(len(lines) - length + 1) if length else range(0)
        places = [at for at in starts if lines[at : at + length] == self.find]
        if len(places) != 1:
            find = "\n".join(self.find)
            raise BadList(f"{self.file} has these lines {len(places)} times, not once:\n{find}")
        lines[places[0] : places[0] + length] = self.replace
        return "\n".join(lines)


@dataclass
class Bug:
    """One deliberate fault."""

    name: str
    fields: dict[str, str] = field(default_factory=dict)
    edits: list[Edit] = field(default_factory=list)

    @property
    def promise(self) -> str:
        return self.fields["promise"]

    @property
    def what(self) -> str:
        return self.fields["what"]

    @property
    def suites(self) -> list[tuple[str, str]]:
        """Suites, each with the part of it that is to be run: of no name but this, or all."""
        found = []
        for suite in self.fields["suites"].split(","):
            name, _, part = suite.strip().partition(" ")
            found.append((name, part))
        return found

    def changed(self, read: Callable[[str], str]) -> dict[str, str]:
        """Texts of the files that the bug changes, by their paths, from what `read` says."""
        texts: dict[str, str] = {}
        for edit in self.edits:
            text = texts[edit.file] if edit.file in texts else read(edit.file)
            texts[edit.file] = edit.applied(text)
        return texts


def parse(text: str) -> Iterator[Bug]:
    bug: Bug | None = None
    lines: list[str] | None = None
    for number, line in enumerate(text.splitlines(), 1):
        if not line or line.startswith("#"):
            lines = None
        elif line.startswith("[") and line.endswith("]"):
            if bug:
                yield bug
            bug, lines = Bug(line[1:-1]), None
        elif line.startswith("|") and lines is not None:
            lines.append(line[1:])
        else:
            key, colon, value = line.partition(":")
            if bug is None or not colon:
                raise BadList(f"line {number} is neither key, name nor code: {line}")
            lines = None
            if key == "file":
                bug.edits.append(Edit(value.strip()))
            elif key in ("find", "replace") and bug.edits:
                lines = bug.edits[-1].find if key == "find" else bug.edits[-1].replace
            else:
                bug.fields[key] = value.strip()
    if bug:
        yield bug


def bugs() -> list[Bug]:
    """All of them, in the order of the files."""
    files = sorted((HERE / "bugs").glob("*.bugs"))
    return [bug for file in files for bug in parse(file.read_text(encoding="utf-8"))]
