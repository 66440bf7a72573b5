"""`config`, `delete`, `pause`, `resume`, `consumers`, `peek`, `settle` and `delay`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

import libqueue
from libqueue.cli.common import (
    JSON,
    STORE,
    console,
    fail,
    folder,
    message_object,
    print_fields,
    print_json,
    print_table,
    retention_of,
    show_text,
)

TOPIC = typer.Argument(help="The topic.", metavar="TOPIC")
GROUP = typer.Argument(help="The group.", metavar="GROUP")
OFFSET = typer.Argument(help="The message's offset.", metavar="OFFSET", min=0)
CHOICES = ("ordering", "on_expired", "on_dead_letter", "dead_letter_topic")
PARTITION = typer.Option(help="The message's partition.", min=0)


@contextmanager
def opened_group(
    context: typer.Context, store: Path | None, topic: str, group: str
) -> Iterator[libqueue.Group]:
    """An existing group of an existing topic."""
    with libqueue.open(folder(context, store), create=False) as opened:
        yield opened.open_topic(topic).group(group)


def changes_of(settings: list[str]) -> dict[str, Any]:
    """`KEY=VALUE` as keyword arguments of `configure`."""
    found: dict[str, Any] = {}
    for setting in settings:
        key, equals, value = setting.partition("=")
        try:
            if key in ("lease", "max_lease") and equals:
                found[key] = float(value)
            elif key in ("max_attempts", "window") and equals:
                found[key] = int(value)
            elif key == "backoff" and equals:
                first, longest, factor = map(float, value.split(","))
                found[key] = (first, longest, factor)
            elif key == "filter" and equals:
                found[key] = value or "{}"
            elif key == "brake" and equals:
                messages, slash, seconds = value.partition("/")
                found[key] = (int(messages), float(seconds)) if slash else None
                if not slash and messages not in ("0", "none"):
                    raise ValueError
            elif key in CHOICES and equals:
                found[key] = None if (key, value) == ("dead_letter_topic", "") else value
            else:
                raise typer.BadParameter(
                    f"{setting!r}; expected lease=SECONDS, max_lease=SECONDS, max_attempts=N, "
                    "ordering=key|partition|none, backoff=FIRST,LONGEST,FACTOR, "
                    "dead_letter_topic=NAME (empty drops), on_expired=drop|dead_letter, "
                    "filter=JSON (empty takes all), "
                    "brake=MESSAGES/SECONDS (none takes it off), on_dead_letter=continue|hold_key"
                )
        except ValueError:
            raise typer.BadParameter(f"{setting!r}; expected numbers behind {key}=") from None
    return found


def topic_changes_of(settings: list[str]) -> dict[str, Any]:
    """`KEY=VALUE` as keyword arguments of a topic's `configure`."""
    found: dict[str, Any] = {}
    for setting in settings:
        key, equals, value = setting.partition("=")
        try:
            if key in ("max_message_bytes", "retention_bytes") and equals:
                found[key] = int(value)
            elif key == "retention" and equals:
                found[key] = retention_of(value)
            elif key == "sync_interval" and equals:
                found[key] = float(value)
            elif key in ("durability", "on_lost") and equals:
                found[key] = value
            else:
                raise typer.BadParameter(
                    f"{setting!r}; expected durability=process|sync|interval, "
                    "sync_interval=SECONDS, max_message_bytes=N, "
                    "retention=settled|forever|SECONDS, retention_bytes=N (0 for no limit), "
                    "on_lost=count|dead_letter"
                )
        except ValueError:
            raise typer.BadParameter(f"{setting!r}; expected a number behind {key}=") from None
    return found


def config(
    context: typer.Context,
    target: Annotated[str, typer.Argument(help="A topic or a group.", metavar="TOPIC[/GROUP]")],
    settings: Annotated[list[str] | None, typer.Argument(metavar="[KEY=VALUE]...")] = None,
    as_json: Annotated[bool, JSON] = False,
    store: Annotated[Path | None, STORE] = None,
) -> None:
    """Show a stored configuration; with KEY=VALUE, change it, while it is in use."""
    topic, slash, name = target.partition("/")
    changes = (changes_of if slash else topic_changes_of)(settings or [])
    with libqueue.open(folder(context, store), create=False) as opened:
        found: dict[str, object] = {"topic": topic}
        if slash:
            group = opened.open_topic(topic).group(name)
            if changes:
                group.configure(**changes)
            found |= {"group": name, **group.config}
        else:
            named = opened.open_topic(topic)
            if changes:
                named.configure(**changes)
            found |= named.config
    if as_json:
        print_json(found)
    else:
        print_fields(found)


def delete(
    context: typer.Context,
    target: Annotated[str, typer.Argument(help="A topic or a group.", metavar="TOPIC[/GROUP]")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: Annotated[bool, JSON] = False,
    store: Annotated[Path | None, STORE] = None,
) -> None:
    """Delete a group with its position, or a topic with all its messages and groups."""
    topic, slash, name = target.partition("/")
    with libqueue.open(folder(context, store), create=False) as opened:
        of = opened.open_topic(topic)
        if slash:
            of.group(name).delete()
        else:
            if not yes:
                if not sys.stdin.isatty():
                    fail("delete asks before it deletes a topic; say --yes", status=2)
                what = f"Delete topic {topic} with {of.stats()['messages']} messages for good?"
                typer.confirm(what, abort=True, err=True)
            opened.delete_topic(topic)
    if slash:
        told(as_json, topic, name, "deleted")
    elif as_json:
        print_json({"topic": topic, "done": "deleted"})
    else:
        show_text(f"topic {topic}: deleted")


def pause(
    context: typer.Context,
    topic: Annotated[str, TOPIC],
    group: Annotated[str, GROUP],
    as_json: Annotated[bool, JSON] = False,
    store: Annotated[Path | None, STORE] = None,
) -> None:
    """Stop handing out messages of a group, in all processes, until it is resumed."""
    with opened_group(context, store, topic, group) as found:
        found.pause()
    told(as_json, topic, group, "paused")


def resume(
    context: typer.Context,
    topic: Annotated[str, TOPIC],
    group: Annotated[str, GROUP],
    as_json: Annotated[bool, JSON] = False,
    store: Annotated[Path | None, STORE] = None,
) -> None:
    """Hand out messages of a group again."""
    with opened_group(context, store, topic, group) as found:
        found.resume()
    told(as_json, topic, group, "resumed")


def consumers(
    context: typer.Context,
    topic: Annotated[str, TOPIC],
    group: Annotated[str, GROUP],
    as_json: Annotated[bool, JSON] = False,
    store: Annotated[Path | None, STORE] = None,
) -> None:
    """List the consumers of a group: what each has, was handed, managed and failed.

    One stands out that fails what others manage: 5 messages or more, and a share more than twice
    that of the others and a twentieth.
    """
    columns = ("name", "process", "leased", "delivered", "acked", "failed")
    more = ("failed_share", "others_failed_share", "stands_out")
    with opened_group(context, store, topic, group) as found:
        all_of_it = found.consumers()
    if as_json:
        for one in all_of_it:
            print_json({column: getattr(one, column) for column in (*columns, *more)})
        return
    rows = [
        [
            *(getattr(one, column) for column in columns),
            f"{one.failed_share:.0%}",
            f"{one.others_failed_share:.0%}",
            "fails what others manage" if one.stands_out else "",
        ]
        for one in all_of_it
    ]
    print_table((*columns, "share", "others", "stands out"), rows)


def peek(
    context: typer.Context,
    topic: Annotated[str, TOPIC],
    group: Annotated[str, GROUP],
    offset: Annotated[int, OFFSET],
    partition: Annotated[int, PARTITION] = 0,
    as_json: Annotated[bool, JSON] = False,
    store: Annotated[Path | None, STORE] = None,
) -> None:
    """Show a message and where it stands in a group, changing nothing."""
    with opened_group(context, store, topic, group) as opened:
        found = opened.peek(offset, partition)
    fields = {
        name: getattr(found, name)
        for name in ("state", "attempts", "failures", "until", "consumer")
    }
    if as_json:
        print_json({**fields, "message": message_object(found.message)})
    else:
        message = found.message
        print_fields({**fields, "key": message.key, **message.headers, "payload": message.payload})


def settle(
    context: typer.Context,
    topic: Annotated[str, TOPIC],
    group: Annotated[str, GROUP],
    offset: Annotated[int, OFFSET],
    partition: Annotated[int, PARTITION] = 0,
    as_json: Annotated[bool, JSON] = False,
    store: Annotated[Path | None, STORE] = None,
) -> None:
    """Settle one message of a group, whoever has it."""
    with opened_group(context, store, topic, group) as found:
        found.settle(found.peek(offset, partition).message.id)
    told(as_json, topic, group, "settled", partition=partition, offset=offset)


def delay(
    context: typer.Context,
    topic: Annotated[str, TOPIC],
    group: Annotated[str, GROUP],
    offset: Annotated[int, OFFSET],
    seconds: Annotated[float, typer.Argument(help="From now; 0 is at once.", metavar="SECONDS")],
    partition: Annotated[int, PARTITION] = 0,
    as_json: Annotated[bool, JSON] = False,
    store: Annotated[Path | None, STORE] = None,
) -> None:
    """Have one message of a group come back after so many seconds, whoever has it."""
    with opened_group(context, store, topic, group) as found:
        found.delay(found.peek(offset, partition).message.id, seconds)
    told(as_json, topic, group, "delayed", partition=partition, offset=offset)


def told(as_json: bool, topic: str, group: str, done: str, **more: object) -> None:
    """Say what was done."""
    if as_json:
        print_json({"topic": topic, "group": group, **more, "done": done})
        return
    what = "".join(f" {name} {value}" for name, value in more.items())
    console.print(
        f"{done}{what} of group {group} of topic {topic}"
        if more
        else f"{done} group {group} of topic {topic}"
    )
