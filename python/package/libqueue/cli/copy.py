"""`export`, `import` and `backup`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import IO, Annotated, Any, Literal, TypeVar

import typer
from rich.progress import Progress

import libqueue
from libqueue import lines
from libqueue.cli.common import JSON, STORE, errors, fail, folder, print_json

_T = TypeVar("_T")
_Tell = Callable[[int, int], object]
_MAGIC = b"LQEXPORT"
"""What an export in the native format begins with."""


def with_bar(doing: str, work: Callable[[_Tell], _T]) -> _T:
    """Run what tells of its progress."""
    with Progress(console=errors, transient=True, disable=not errors.is_terminal) as bar:
        task = bar.add_task(doing, total=None)
        return work(lambda done, total: bar.update(task, completed=done, total=total or None))


def told(as_json: bool, done: dict[str, int], text: str, out: Any = None) -> None:
    """Say what was done: to programs, or to people, where the output is not taken by something."""
    if as_json and out is None:
        print_json(done)
    else:
        errors.print(text, soft_wrap=True, markup=False)


def export(
    context: typer.Context,
    topics: Annotated[
        list[str] | None, typer.Argument(metavar="[TOPIC]...", help="Default: all topics.")
    ] = None,
    form: Annotated[
        Literal["jsonl", "native"],
        typer.Option("--format", help="native keeps all; jsonl can be read and changed."),
    ] = "native",
    output: Annotated[
        str, typer.Option("-o", "--output", metavar="FILE", help="-: standard output.")
    ] = "-",
    as_json: Annotated[bool, JSON] = False,
    store: Annotated[Path | None, STORE] = None,
) -> None:
    """Write topics with their groups, settings and dead letters, to be imported elsewhere.

    Taken at one moment, while the store is in use. The topics that dead letters are in go along.
    """
    with libqueue.open(folder(context, store), create=False) as opened:
        wanted = topics or None
        if output == "-" and form == "native" and sys.stdout.isatty():
            raise typer.BadParameter("the native format is not for a terminal; give -o FILE")

        def work(tell: _Tell) -> dict[str, int]:
            if form == "native":
                to: Any = sys.stdout.buffer if output == "-" else output
                return opened.export_topics(to, wanted, progress=tell)
            text: Any = sys.stdout if output == "-" else output
            return lines.export_lines(opened, text, wanted, progress=tell)

        done = with_bar("exporting", work)
    text = f"{done['messages']:,} messages, {done['topics']:,} topics, {done['groups']:,} groups"
    told(as_json, done, f"exported {text}", out=sys.stdout if output == "-" else None)


class _Whole:
    """A file of which the beginning was read already."""

    def __init__(self, start: bytes, rest: IO[bytes]) -> None:
        self._start, self._rest = start, rest

    def read(self, size: int, /) -> bytes:
        """Up to so many bytes."""
        found, self._start = self._start[:size], self._start[size:]
        return found or self._rest.read(size)

    def lines(self) -> Iterator[bytes]:
        """Its lines."""
        yield from BytesIO(self._start + self._rest.readline())
        yield from self._rest


def import_(
    context: typer.Context,
    file: Annotated[str, typer.Argument(metavar="FILE", help="-: standard input.")],
    into: Annotated[
        Path | None, typer.Option("--into", metavar="STORE", help="Default: the store.")
    ] = None,
    append: Annotated[
        bool, typer.Option("--append", help="Send messages to topics that exist, without groups.")
    ] = False,
    as_json: Annotated[bool, JSON] = False,
    store: Annotated[Path | None, STORE] = None,
) -> None:
    """Make the topics of an export, in either format; the store is made where there is none.

    All of it is read and checked before anything is seen of it.
    """
    path = into or folder(context, store)
    if file != "-" and not Path(file).exists():
        fail(f"there is no file {file}")
    with libqueue.open(path) as opened:
        source = sys.stdin.buffer if file == "-" else Path(file).open("rb")  # noqa: SIM115
        try:
            start = source.read(len(_MAGIC))
            whole = _Whole(start, source)

            def work(tell: _Tell) -> dict[str, int]:
                if start == _MAGIC:
                    return opened.import_topics(whole, append=append, progress=tell)
                # Of a file the length is known, so that there is a bar.
                named = file != "-" and Path(file).is_file()
                found = file if named else whole.lines()
                return lines.import_lines(opened, found, append=append, progress=tell)

            done = with_bar("importing", work)
        except ValueError as error:
            fail(error)
        finally:
            if file != "-":
                source.close()
    text = f"{done['messages']:,} messages, {done['topics']:,} topics, {done['groups']:,} groups"
    more = f"; {done['appended']:,} messages appended" if append else ""
    told(as_json, done, f"imported {text}{more}")


def backup(
    context: typer.Context,
    target: Annotated[Path, typer.Argument(metavar="FOLDER", help="A new or an empty folder.")],
    as_json: Annotated[bool, JSON] = False,
    store: Annotated[Path | None, STORE] = None,
) -> None:
    """Copy the store while it is in use; what is copied is a store of its own."""
    with libqueue.open(folder(context, store), create=False) as opened:
        done = with_bar("copying", lambda tell: opened.backup(target, progress=tell))
    text = f"{done['topics']:,} topics, {done['groups']:,} groups, {done['bytes']:,} bytes"
    told(as_json, done, f"copied {text} into {target}")
