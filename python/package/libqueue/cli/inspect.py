"""`verify` and `dump`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import Progress
from rich.text import Text

import libqueue
from libqueue.cli.common import (
    JSON,
    STORE,
    console,
    errors,
    folder,
    print_json,
    printable,
)


def verify(
    context: typer.Context,
    as_json: Annotated[bool, JSON] = False,
    store: Annotated[Path | None, STORE] = None,
) -> None:
    """Check every byte of the store; report damage by file and position."""
    path = folder(context, store)
    with Progress(console=errors, transient=True, disable=not errors.is_terminal) as bar:
        task = bar.add_task("verifying", total=None)
        report = libqueue.verify(
            path, lambda done, total: bar.update(task, completed=done, total=total)
        )
    if as_json:
        print_json(report)
    else:
        for one in report["damage"]:
            place = f"{one['file']} at byte {one['position']}: {one['what']}"
            damaged = Text.assemble(("damaged ", "red"), printable(place))
            console.print(damaged, soft_wrap=True)
        console.print(
            f"{report['messages']:,} messages, {report['topics']:,} topics, "
            f"{report['groups']:,} groups in {report['files']:,} files, {report['bytes']:,} bytes: "
            + (f"{len(report['damage']):,} damaged places" if report["damage"] else "all whole")
        )
    if report["damage"]:
        raise typer.Exit(1)


def dump(
    file: Annotated[Path, typer.Argument(help="A file of a store.", exists=True, dir_okay=False)],
) -> None:
    """Decode one file of a store for a person."""
    libqueue.dump(file, sys.stdout.write)
