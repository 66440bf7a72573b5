"""`dlq list` and `dlq show`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import libqueue
from libqueue.cli.common import (
    JSON,
    STORE,
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
        "source_partition": dead.source_partition,
        "source_offset": dead.source_offset,
        "attempts": dead.attempts,
        "failures": dead.failures,
        "error": dead.error,
        "consumer": dead.consumer,
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
    columns = ("id", "from", "attempts", "failures", "error", "consumer", "payload")
    print_table(columns, [row(dead) for dead in found])


def row(dead: libqueue.DeadLetter) -> tuple[object, ...]:
    """A dead letter in a table."""
    place = f"{dead.source_partition}:{dead.source_offset}"
    numbers = (dead.attempts, dead.failures)
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
