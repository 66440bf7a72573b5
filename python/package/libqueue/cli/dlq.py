"""`dlq list`, `dlq show`, `dlq redrive` and `dlq purge`."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import Progress

import libqueue
from libqueue.cli.common import (
    JSON,
    STORE,
    errors,
    fail,
    folder,
    message_object,
    print_fields,
    print_json,
    print_table,
    show_text,
    shown,
)

app = typer.Typer(no_args_is_help=True, help="Dead letters of a group.")


def id_of(dead: libqueue.DeadLetter) -> str:
    """The id of a dead letter in its topic, as `show` takes it."""
    return f"{dead.message.partition}:{dead.message.offset}"


def as_object(dead: libqueue.DeadLetter) -> dict[str, object]:
    """A dead letter as JSON."""
    return {
        "id": id_of(dead),
        "source_topic": dead.source_topic,
        "source_partition": dead.source_partition,
        "source_offset": dead.source_offset,
        "attempts": dead.attempts,
        "failures": dead.failures,
        "error": dead.error,
        "consumer": dead.consumer,
        "first_failed": dead.first_failed,
        "last_failed": dead.last_failed,
        "cycles": dead.cycles,
        "message": message_object(dead.message),
    }


@app.command("list")
def list_dead(
    context: typer.Context,
    topic: Annotated[str, typer.Argument(help="The topic.")],
    group: Annotated[str, typer.Argument(help="The group.")],
    limit: Annotated[int | None, typer.Option(min=1, help="At most so many.")] = None,
    as_json: Annotated[bool, JSON] = False,
    store: Annotated[Path | None, STORE] = None,
) -> None:
    """List the dead letters of a group, oldest first."""
    with libqueue.open(folder(context, store), create=False) as opened:
        found = opened.open_topic(topic).group(group).dead_letters(limit)
    if as_json:
        for dead in found:
            print_json(as_object(dead))
        return
    columns = ("id", "from", "attempts", "failures", "cycles", "error", "consumer", "payload")
    print_table(columns, [row(dead) for dead in found])


def row(dead: libqueue.DeadLetter) -> tuple[object, ...]:
    """A dead letter in a table."""
    place = f"{dead.source_partition}:{dead.source_offset}"
    numbers = (dead.attempts, dead.failures, dead.cycles)
    return (id_of(dead), place, *numbers, dead.error, dead.consumer, dead.message.payload[:40])


@app.command("show")
def show(
    context: typer.Context,
    topic: Annotated[str, typer.Argument(help="The topic.")],
    group: Annotated[str, typer.Argument(help="The group.")],
    wanted: Annotated[str, typer.Argument(metavar="ID", help="As `dlq list` shows it.")],
    as_json: Annotated[bool, JSON] = False,
    store: Annotated[Path | None, STORE] = None,
) -> None:
    """Show one dead letter whole."""
    with libqueue.open(folder(context, store), create=False) as opened:
        found = opened.open_topic(topic).group(group).dead_letters()
    dead = next((dead for dead in found if id_of(dead) == wanted), None)
    if dead is None:
        fail(f"group {group!r} of topic {topic!r} has no dead letter {wanted!r}; see dlq list")
    if as_json:
        print_json(as_object(dead))
        return
    fields = as_object(dead)
    del fields["message"]
    print_fields({**fields, "key": dead.message.key, **dead.message.headers})
    show_text(shown(dead.message.payload))


IDS = typer.Argument(metavar="ID...", help="As `dlq list` shows them. Default: all there are now.")


def named(group: libqueue.Group, wanted: Iterable[str]) -> list[libqueue.MessageId]:
    """The dead letters with these ids; ends the program where one is none."""
    known = {id_of(dead): dead.message.id for dead in group.dead_letters()}
    missing = [name for name in wanted if name not in known]
    if missing:
        fail(f"group {group.name!r} has no dead letter {', '.join(missing)}; see dlq list")
    return [known[name] for name in wanted]


@app.command("redrive")
def redrive(
    context: typer.Context,
    topic: Annotated[str, typer.Argument(help="The topic.")],
    group: Annotated[str, typer.Argument(help="The group.")],
    ids: Annotated[list[str] | None, IDS] = None,
    limit: Annotated[int | None, typer.Option(min=0, help="At most so many, oldest first.")] = None,
    rate: Annotated[float | None, typer.Option(help="At most so many in a second.")] = None,
    error_contains: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Only with this in the last error.")
    ] = None,
    key: Annotated[str | None, typer.Option(help="Only with this key.")] = None,
    partition: Annotated[
        int | None, typer.Option(min=0, help="Only those that were in this partition.")
    ] = None,
    since: Annotated[
        datetime | None, typer.Option(help="Only those that died then or later, in local time.")
    ] = None,
    until: Annotated[
        datetime | None, typer.Option(help="Only those that died before then, in local time.")
    ] = None,
    as_json: Annotated[bool, JSON] = False,
    store: Annotated[Path | None, STORE] = None,
) -> None:
    """Hand dead letters out again, to their group only, before what is fresh."""
    with libqueue.open(folder(context, store), create=False) as opened:
        of = opened.open_topic(topic).group(group)
        chosen = named(of, ids) if ids else None
        with Progress(console=errors, transient=True, disable=not errors.is_terminal) as bar:
            task = bar.add_task("redriving", total=None)
            count = of.redrive(
                chosen,
                limit,
                rate=rate,
                error_contains=error_contains,
                key=None if key is None else key.encode(),
                partition=partition,
                failed_since=since,
                failed_until=until,
                progress=lambda done, total: bar.update(task, completed=done, total=total),
            )
    if as_json:
        print_json({"topic": topic, "group": group, "redriven": count})
    else:
        show_text(f"redriven: {count}")


@app.command("purge")
def purge(
    context: typer.Context,
    topic: Annotated[str, typer.Argument(help="The topic.")],
    group: Annotated[str, typer.Argument(help="The group.")],
    ids: Annotated[list[str] | None, IDS] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: Annotated[bool, JSON] = False,
    store: Annotated[Path | None, STORE] = None,
) -> None:
    """Give up on dead letters for good; they stay in their topic, for who reads that."""
    with libqueue.open(folder(context, store), create=False) as opened:
        of = opened.open_topic(topic).group(group)
        chosen = named(of, ids) if ids else None
        if not yes:
            if chosen is None:
                # What dies while somebody thinks about the answer stays.
                chosen = [dead.message.id for dead in of.dead_letters()]
            if not sys.stdin.isatty():
                fail("purge asks before it gives up on dead letters; say --yes", status=2)
            what = f"Give up on {len(chosen)} dead letters of group {group} for good?"
            typer.confirm(what, abort=True, err=True)
        count = of.purge_dead_letters(chosen)
    if as_json:
        print_json({"topic": topic, "group": group, "purged": count})
    else:
        show_text(f"purged: {count}")
