"""`topics`, `create` and `stats`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

import libqueue
from libqueue.cli import metrics
from libqueue.cli.common import (
    JSON,
    STORE,
    console,
    fail,
    folder,
    print_fields,
    print_json,
    print_table,
    retention_of,
)
from libqueue.cli.settings import group_options, topic_options

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
    "dropped",
    "dying",
    "waiting_receivers",
    "window_used",
    "lock_waits",
    "lock_wait_seconds",
    "syncs",
    "sync_seconds",
    "sync_longest_seconds",
)
TOPIC_NUMBERS = (
    "sent",
    "sent_bytes",
    "removed_messages",
    "removed_bytes",
    "compacted_messages",
    "compacted_bytes",
    "waiting_senders",
    "lock_waits",
    "lock_wait_seconds",
    "syncs",
    "sync_seconds",
    "sync_longest_seconds",
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
    target: Annotated[
        str, typer.Argument(help="The topic, or the group of a topic.", metavar="TOPIC[/GROUP]")
    ],
    settings: Annotated[
        list[str] | None,
        typer.Argument(metavar="[KEY=VALUE]...", help="As config takes them."),
    ] = None,
    partitions: Annotated[int | None, typer.Option(help="1 to 1024; 1 by default.")] = None,
    durability: Annotated[
        Literal["process", "sync", "interval"] | None, typer.Option(help="Overrides the store's.")
    ] = None,
    sync_interval: Annotated[float | None, typer.Option(help="Seconds, with interval.")] = None,
    max_message_bytes: Annotated[int | None, typer.Option(help="Key, headers, payload.")] = None,
    max_messages: Annotated[int | None, typer.Option(help="Most that are not settled.")] = None,
    max_bytes: Annotated[int | None, typer.Option(help="Most bytes of those.")] = None,
    on_full: Annotated[
        Literal["reject", "block", "throttle", "drop_oldest"] | None,
        typer.Option(help="What a full topic does; reject by default."),
    ] = None,
    send_timeout: Annotated[float | None, typer.Option(help="Seconds to wait for room.")] = None,
    low_mark: Annotated[int | None, typer.Option(help="Percent, with throttle.")] = None,
    high_mark: Annotated[int | None, typer.Option(help="Percent, with throttle.")] = None,
    min_free_bytes: Annotated[int | None, typer.Option(help="Left free on the disk.")] = None,
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
    compaction: Annotated[
        bool | None, typer.Option(help="Keep only the last message of each key.")
    ] = None,
    tombstone_grace: Annotated[
        float | None, typer.Option(help="Seconds to keep messages that end their key.")
    ] = None,
    as_json: Annotated[bool, JSON] = False,
    store: Annotated[Path | None, STORE] = None,
) -> None:
    """Create a topic, and the store if there is none; or a group of a topic.

    A group also takes delivery=at_least_once|at_most_once, window=N and start=earliest, latest, an
    offset or a time, which stay as they are.
    """
    topic, slash, group = target.partition("/")
    try:
        keeps: Any = None if retention is None else retention_of(retention)
    except ValueError:
        message = f"{retention!r}; expected settled, forever or a number of seconds"
        raise typer.BadParameter(message, param_hint="--retention") from None
    options = {
        "partitions": partitions,
        "durability": durability,
        "sync_interval": sync_interval,
        "max_message_bytes": max_message_bytes,
        "max_messages": max_messages,
        "max_bytes": max_bytes,
        "on_full": on_full,
        "send_timeout": send_timeout,
        "low_mark": low_mark,
        "high_mark": high_mark,
        "min_free_bytes": min_free_bytes,
        "retention": keeps,
        "retention_bytes": retention_bytes,
        "on_lost": on_lost,
        "compaction": compaction,
        "tombstone_grace": tombstone_grace,
    }
    given: dict[str, Any] = {name: one for name, one in options.items() if one is not None}
    if slash:
        if given:
            first = next(iter(given)).replace("_", "-")
            raise typer.BadParameter(f"--{first} is a topic's; it is no option of a group")
        create_group(folder(context, store), (topic, group), group_options(settings or []), as_json)
        return
    named = topic_options(settings or [])
    if twice := given.keys() & named.keys():
        raise typer.BadParameter(f"{min(twice)} is given twice; name it once")
    with libqueue.open(folder(context, store)) as opened:
        made = opened.create_topic(topic, **given, **named)
        if as_json:
            print_json({"topic": topic, **made.config})
        else:
            console.print(f"created topic {topic} with {made.partitions} partitions")


def create_group(
    path: Path, named: tuple[str, str], options: dict[str, Any], as_json: bool
) -> None:
    """Create a group of an existing topic."""
    topic, group = named
    with libqueue.open(path, create=False) as opened:
        found = opened.open_topic(topic)
        if group in found.groups():
            fail(f"group {group!r} of topic {topic!r} exists already; config shows and changes it")
        made = found.create_group(group, **options)
    if as_json:
        print_json({"topic": topic, "group": group, **made.config})
    else:
        console.print(f"created group {group} of topic {topic}")


def stats(
    context: typer.Context,
    topic: Annotated[str | None, typer.Argument(help="Default: all topics.")] = None,
    as_json: Annotated[bool, JSON] = False,
    prometheus: Annotated[
        bool, typer.Option("--prometheus", help="In the text format of Prometheus.")
    ] = False,
    store: Annotated[Path | None, STORE] = None,
) -> None:
    """Show what the topics hold and where their groups stand."""
    if as_json and prometheus:
        raise typer.BadParameter("--json and --prometheus are two formats; ask for one")
    with libqueue.open(folder(context, store), create=False) as opened:
        found = list(objects(opened, topic))
        if prometheus:
            for line in metrics.lines(opened.stats(), found):
                print(line)
            return
        if as_json:
            for one in found:
                print_json(one)
            return
        if topic is None:
            print_fields(dict(opened.stats()))
    for one in found:
        show_topic(one)


def objects(store: libqueue.Store, topic: str | None) -> Iterator[dict[str, object]]:
    """The statistics of a topic or of all, without those that are deleted meanwhile."""
    if topic is not None:
        yield topic_object(store.open_topic(topic))
        return
    for name in store.topics():
        with suppress(libqueue.NotFound):
            yield topic_object(store.open_topic(name))


def topic_object(topic: libqueue.Topic) -> dict[str, object]:
    """A topic's statistics with those of its groups."""
    groups: dict[str, object] = {}
    for name in topic.groups():
        # One that was deleted since is none.
        with suppress(libqueue.NotFound):
            group = topic.group(name)
            groups[name] = {"delivery": group.config["delivery"], **group.stats()}
    own = {"topic": topic.name, "pressure": topic.pressure, **topic.stats()}
    return {**own, "groups": groups}


def show_topic(found: dict[str, object]) -> None:
    """A topic and its groups as tables."""
    partitions, groups = found["partitions"], found["groups"]
    assert isinstance(partitions, list)
    assert isinstance(groups, dict)
    pressure = found["pressure"]
    assert isinstance(pressure, float)
    console.print(f"\n[bold]{found['topic']}[/]" + (f" {pressure:.0%} full" if pressure else ""))
    columns = ["earliest_offset", "next_offset", "durable_offset", "bytes", "segments", "sent"]
    columns.append("sent_bytes")
    rows = [[number, *(one[c] for c in columns)] for number, one in enumerate(partitions)]
    print_table(["partition", *(name.removesuffix("_offset") for name in columns)], rows)
    pin = {name: found[name] for name in ("pinned_by", "pinned_seconds", "pinned_bytes")}
    if found["pinned_group"] is not None:
        pin["pinned_by"] = f"{pin['pinned_by']} {found['pinned_group']}"
    print_fields(pin | {name: found[name] for name in TOPIC_NUMBERS})
    if groups:
        # Groups side by side: there are fewer of them than of their numbers.
        shown = ("delivery", *GROUP_NUMBERS)
        rows = [[name, *(one[name] for one in groups.values())] for name in shown]
        print_table(["group", *groups], rows)
