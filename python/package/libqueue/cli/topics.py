"""`topics`, `create` and `stats`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

import libqueue
from libqueue.cli.common import (
    JSON,
    STORE,
    console,
    folder,
    print_fields,
    print_json,
    print_table,
    retention_of,
)

GROUP_NUMBERS = (
    "lag_messages",
    "lag_bytes",
    "lag_seconds",
    "leased",
    "delayed",
    "held",
    "ready",
    "holding",
    "delivered",
    "redelivered",
    "acked",
    "failed",
    "dead_lettered",
    "timed_out",
    "expired",
    "lost_messages",
    "damaged",
    "consumers",
    "paused",
    "filtered",
    "paused_by",
    "paused_at",
    "redriven",
    "purged",
)


def list_topics(
    context: typer.Context,
    as_json: Annotated[bool, JSON] = False,
    store: Annotated[Path | None, STORE] = None,
) -> None:
    """List the topics with what they hold."""
    with libqueue.open(folder(context, store), read_only=True) as opened:
        rows = []
        for name in opened.topics():
            topic = opened.open_topic(name)
            found = topic.stats()
            groups = topic.groups()
            rows.append((name, topic.partitions, found["messages"], found["bytes"], groups))
    if as_json:
        for name, partitions, messages, size, groups in rows:
            print_json(
                {
                    "topic": name,
                    "partitions": partitions,
                    "messages": messages,
                    "bytes": size,
                    "groups": groups,
                }
            )
        return
    columns = ("topic", "partitions", "messages", "bytes", "groups")
    print_table(columns, [(*row[:4], " ".join(row[4])) for row in rows])


def create(
    context: typer.Context,
    topic: Annotated[str, typer.Argument(help="The topic's name.")],
    partitions: Annotated[int | None, typer.Option(help="1 to 1024; 1 by default.")] = None,
    durability: Annotated[
        Literal["process", "sync", "interval"] | None, typer.Option(help="Overrides the store's.")
    ] = None,
    sync_interval: Annotated[float | None, typer.Option(help="Seconds, with interval.")] = None,
    max_message_bytes: Annotated[int | None, typer.Option(help="Key, headers, payload.")] = None,
    retention: Annotated[
        str | None, typer.Option(help="settled (the default), forever, or seconds.")
    ] = None,
    retention_bytes: Annotated[
        int | None, typer.Option(help="Remove the oldest beyond so many bytes; 0: no limit.")
    ] = None,
    on_lost: Annotated[
        Literal["count", "dead_letter"] | None,
        typer.Option(help="What a time or bytes take from a group that has not settled it."),
    ] = None,
    as_json: Annotated[bool, JSON] = False,
    store: Annotated[Path | None, STORE] = None,
) -> None:
    """Create a topic, and the store if there is none."""
    try:
        keeps: Any = None if retention is None else retention_of(retention)
    except ValueError:
        message = f"{retention!r}; expected settled, forever or a number of seconds"
        raise typer.BadParameter(message, param_hint="--retention") from None
    with libqueue.open(folder(context, store)) as opened:
        made = opened.create_topic(
            topic,
            partitions=partitions,
            durability=durability,
            sync_interval=sync_interval,
            max_message_bytes=max_message_bytes,
            retention=keeps,
            retention_bytes=retention_bytes,
            on_lost=on_lost,
        )
        if as_json:
            print_json({"topic": topic, **made.config})
        else:
            console.print(f"created topic {topic} with {made.partitions} partitions")


def stats(
    context: typer.Context,
    topic: Annotated[str | None, typer.Argument(help="Default: all topics.")] = None,
    as_json: Annotated[bool, JSON] = False,
    store: Annotated[Path | None, STORE] = None,
) -> None:
    """Show what the topics hold and where their groups stand."""
    with libqueue.open(folder(context, store), create=False) as opened:
        names = opened.topics() if topic is None else [topic]
        found = [topic_object(opened.open_topic(name)) for name in names]
        if as_json:
            for one in found:
                print_json(one)
            return
        if topic is None:
            print_fields(dict(opened.stats()))
    for one in found:
        show_topic(one)


def topic_object(topic: libqueue.Topic) -> dict[str, object]:
    """A topic's statistics with those of its groups."""
    opened = {name: topic.group(name) for name in topic.groups()}
    groups = {
        name: {"delivery": group.config["delivery"], **group.stats()}
        for name, group in opened.items()
    }
    return {"topic": topic.name, **topic.stats(), "groups": groups}


def show_topic(found: dict[str, object]) -> None:
    """A topic and its groups as tables."""
    partitions, groups = found["partitions"], found["groups"]
    assert isinstance(partitions, list)
    assert isinstance(groups, dict)
    console.print(f"\n[bold]{found['topic']}[/]")
    columns = ["earliest_offset", "next_offset", "durable_offset", "bytes", "segments"]
    rows = [[number, *(one[c] for c in columns)] for number, one in enumerate(partitions)]
    print_table(["partition", *(name.removesuffix("_offset") for name in columns)], rows)
    pin = {name: found[name] for name in ("pinned_by", "pinned_seconds", "pinned_bytes")}
    if found["pinned_group"] is not None:
        pin["pinned_by"] = f"{pin['pinned_by']} {found['pinned_group']}"
    print_fields(pin)
    if groups:
        # Groups side by side: there are fewer of them than of their numbers.
        shown = ("delivery", *GROUP_NUMBERS)
        rows = [[name, *(one[name] for one in groups.values())] for name in shown]
        print_table(["group", *groups], rows)
