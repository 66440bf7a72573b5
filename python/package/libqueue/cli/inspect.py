"""`verify`, `recover` and `dump`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from rich.progress import Progress
from rich.text import Text

import libqueue
from libqueue.cli.common import (
    JSON,
    STORE,
    console,
    errors,
    fail,
    folder,
    print_json,
    printable,
    show_text,
)

_T = TypeVar("_T")


def with_bar(doing: str, work: Callable[[Callable[[int, int], object]], _T]) -> _T:
    """Run what tells of its progress; a failure is 2, since 1 says that something is damaged."""
    try:
        with Progress(console=errors, transient=True, disable=not errors.is_terminal) as bar:
            task = bar.add_task(doing, total=None)
            return work(lambda done, total: bar.update(task, completed=done, total=total))
    except (libqueue.Error, OSError) as error:
        fail(error, status=2)


def offsets(ranges: Iterable[tuple[int, int]]) -> str:
    """Offsets for people."""
    parts = [f"{first:,} to {last:,}" if last > first else f"{first:,}" for first, last in ranges]
    if len(parts) < 2:
        return "".join(parts)
    return f"{', '.join(parts[:-1])} and {parts[-1]}"


def show_damage(word: str, entries: Iterable[Mapping[str, Any]]) -> None:
    """A line for each damaged place."""
    for one in entries:
        place = f"{one['file']} at byte {one['position']}: {one['what']}"
        if one["lost"] is not None:
            place += f"; lost: {offsets([one['lost']])}"
        line = Text.assemble((f"{word} ", "red"), printable(place))
        console.print(line, soft_wrap=True)


def show_partitions(partitions: Iterable[Mapping[str, Any]]) -> None:
    """What can be read of each partition."""
    for one in partitions:
        name = f"topic {one['topic']}, partition {one['partition']}"
        readable = f"offsets {offsets(one['readable'])}" if one["readable"] else "nothing"
        lost = f"; lost: {offsets(one['lost'])}" if one["lost"] else ""
        show_text(f"{name}: {one['messages']:,} messages can be read: {readable}{lost}")


def verify(
    context: typer.Context,
    as_json: Annotated[bool, JSON] = False,
    store: Annotated[Path | None, STORE] = None,
) -> None:
    """Check every byte that carries a message or a position; say what can still be read.

    What lies behind the end of a log and what is derived from the rest carries nothing.
    Exit status 0 if all is whole, 1 if anything is damaged, 2 if the store could not be checked.
    """
    path = folder(context, store)
    report = with_bar("verifying", lambda tell: libqueue.verify(path, tell))
    if as_json:
        print_json(report)
    else:
        show_damage("damaged", report["damage"])
        if report["damage"]:
            show_partitions(report["partitions"])
        for name in report["unknown"]:
            show_text(f"unknown {name}: not of a store, nobody looks into it")
        console.print(
            f"{report['messages']:,} messages, {report['topics']:,} topics, "
            f"{report['groups']:,} groups in {report['files']:,} files, {report['bytes']:,} bytes: "
            + (f"{len(report['damage']):,} damaged places" if report["damage"] else "all whole")
        )
    if report["damage"]:
        raise typer.Exit(1)


def recover(
    source: Annotated[Path, typer.Argument(metavar="FROM", help="The damaged store.")],
    target: Annotated[Path, typer.Argument(metavar="TO", help="A new or an empty folder.")],
    as_json: Annotated[bool, JSON] = False,
    everything: Annotated[
        bool,
        typer.Option("--all", help="Also what is whole behind the place a power loss tore."),
    ] = False,
) -> None:
    """Copy everything readable out of a damaged store into a new one; say what was lost.

    The damaged store is not changed. Exit status 0 if nothing was lost, 1 if something was, 2 if
    the store could not be copied.
    """
    done = with_bar(
        "recovering", lambda tell: libqueue.recover(source, target, tell, all=everything)
    )
    if as_json:
        print_json(done)
    else:
        show_damage("lost", done["losses"])
        for note in done["notes"]:
            show_text(f"note {note}")
        show_partitions(one for one in done["source"]["partitions"] if one["lost"])
        console.print(
            f"{done['messages']:,} messages, {done['topics']:,} topics, {done['groups']:,} groups "
            f"copied into {target}, {len(done['source']['damage']):,} damaged places met: "
            + (f"{len(done['losses']):,} losses" if done["losses"] else "nothing lost"),
            soft_wrap=True,
            markup=False,
        )
    if done["losses"]:
        raise typer.Exit(1)


def dump(
    file: Annotated[Path, typer.Argument(help="A file of a store.", exists=True, dir_okay=False)],
) -> None:
    """Decode one file of a store for a person."""
    libqueue.dump(file, sys.stdout.write)
