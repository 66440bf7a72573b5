"""`seek` and `snapshot`."""

from __future__ import annotations

import sys
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

import libqueue
from libqueue.cli.common import (
    JSON,
    STORE,
    errors,
    fail,
    print_json,
    print_table,
    show_text,
)
from libqueue.cli.groups import GROUP, TOPIC, opened_group, told

TO_HELP = "earliest, latest, an offset, a time as 2026-11-26T07:30:00, or a snapshot"
COLUMNS = ("partition", "position", "target", "again", "passed_over", "stale_leases", "gone")


def place_of(text: str) -> int | datetime | str:
    """Where to, from its text; what begins with a letter and is no end of the log is a snapshot."""
    if text[:1].isalpha():
        return text
    if text.isdecimal():
        return int(text)
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r}; expected {TO_HELP}") from None


def as_object(one: libqueue.SeekPartition) -> dict[str, object]:
    """What a seek does to a partition, as JSON."""
    return {column: getattr(one, column) for column in COLUMNS}


def show_plan(plan: list[libqueue.SeekPartition]) -> None:
    """What a seek does, for people."""
    columns = ("partition", "stands at", "goes to", "again", "passed over", "stale", "gone")
    rows = [[getattr(one, column) for column in COLUMNS] for one in plan]
    print_table(columns, rows)


def seek(
    context: typer.Context,
    topic: Annotated[str, TOPIC],
    group: Annotated[str, GROUP],
    to: Annotated[str, typer.Option("--to", metavar="PLACE", help=f"Where to: {TO_HELP}.")],
    partition: Annotated[int | None, typer.Option(min=0, help="Only this one.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show it, and do nothing.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: Annotated[bool, JSON] = False,
    store: Annotated[Path | None, STORE] = None,
) -> None:
    """Set a group to a place while its consumers work; shows what that does, then asks.

    For each partition: where the group stands and where it would stand, how many messages it would
    get again and how many it would pass over, how many leases become stale, and how many messages
    are gone.
    """
    place = place_of(to)
    with opened_group(context, store, topic, group) as found:
        plan = found.preview_seek(place, partition=partition)
        if not (dry_run or yes):
            if not sys.stdin.isatty():
                fail("seek asks before it moves a group; say --yes, or --dry-run", status=2)
            if not as_json:
                show_plan(plan)
            again = sum(one.again for one in plan)
            passed = sum(one.passed_over for one in plan)
            what = (
                f"Set group {group} to {to}: {again} messages again, {passed} passed over, "
                f"{sum(one.stale_leases for one in plan)} leases stale?"
            )
            typer.confirm(what, abort=True, err=True)
        if not dry_run:
            plan = found.seek(place, partition=partition)
    if as_json:
        for one in plan:
            print_json({"topic": topic, "group": group, "sought": not dry_run, **as_object(one)})
        return
    if dry_run or yes:
        show_plan(plan)
    if not dry_run:
        show_text(f"sought group {group} of topic {topic} to {to}")
    lost = sum(one.gone for one in plan)
    if lost:
        errors.print(f"{lost} messages of before the earliest one are gone", highlight=False)


def snapshot(
    context: typer.Context,
    topic: Annotated[str, TOPIC],
    group: Annotated[str, GROUP],
    name: Annotated[str | None, typer.Argument(help="Its name.", metavar="NAME")] = None,
    list_all: Annotated[bool, typer.Option("--list", help="List those there are.")] = False,
    delete: Annotated[bool, typer.Option("--delete", help="Delete it.")] = False,
    as_json: Annotated[bool, JSON] = False,
    store: Annotated[Path | None, STORE] = None,
) -> None:
    """Keep where a group stands, to go back to with `seek`; or list or delete what is kept."""
    if list_all and (delete or name is not None):
        raise typer.BadParameter("--list lists all; leave NAME and --delete out")
    if not list_all and name is None:
        raise typer.BadParameter("expected the NAME of a snapshot, or --list")
    with opened_group(context, store, topic, group) as found:
        if list_all:
            all_of_them = found.snapshots()
        elif delete:
            found.delete_snapshot(name or "")
        else:
            all_of_them = [found.snapshot(name or "")]
    if delete:
        told(as_json, topic, group, "deleted", snapshot=name)
        return
    columns = ("name", "taken", "open", "bytes", "whole")
    if as_json:
        for one in all_of_them:
            print_json({column: getattr(one, column) for column in columns})
        return
    rows = [
        (
            one.name,
            datetime.fromtimestamp(one.taken).isoformat(sep=" ", timespec="seconds"),
            one.open,
            one.bytes,
            "" if one.whole else "damaged",
        )
        for one in all_of_them
    ]
    print_table(("name", "taken", "open messages", "bytes", ""), rows)
