"""`dlq list` and `dlq show`."""

from __future__ import annotations

from typing import Annotated

import typer

import libqueue
from libqueue.cli.common import (
    JsonOption,
    StoreOption,
    console,
    escape,
    fail,
    folder,
    message_object,
    print_fields,
    print_json,
    print_table,
)

app = typer.Typer(no_args_is_help=True, help="Dead letters of a group.")
TopicArgument = Annotated[str, typer.Argument(help="The topic.")]
GroupArgument = Annotated[str, typer.Argument(help="The group.")]


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
    topic: TopicArgument,
    group: GroupArgument,
    limit: Annotated[int | None, typer.Option(min=1, help="At most so many.")] = None,
    as_json: JsonOption = False,
    store: StoreOption = None,
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
    payload = dead.message.payload[:40].decode(errors="backslashreplace")
    numbers = (dead.attempts, dead.failures)
    return (id_of(dead), place, *numbers, dead.error, dead.consumer, payload)


@app.command("show")
def show(
    context: typer.Context,
    topic: TopicArgument,
    group: GroupArgument,
    wanted: Annotated[str, typer.Argument(metavar="ID", help="As `dlq list` shows it.")],
    as_json: JsonOption = False,
    store: StoreOption = None,
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
    console.print(escape(dead.message.payload.decode(errors="backslashreplace")), soft_wrap=True)
