"""`top`: rates and lag as they change."""

from __future__ import annotations

import time
from itertools import zip_longest
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Group as Lines
from rich.live import Live
from rich.table import Table
from rich.text import Text

import libqueue
from libqueue.cli.common import JSON, STORE, console, folder, print_json, shown
from libqueue.cli.topics import topic_object

RATES = ("delivered", "acked", "failed", "redelivered")
LEVELS = ("lag_messages", "lag_bytes", "lag_seconds", "leased", "delayed", "held", "ready")
SHOWN = {
    "lag_messages": "lag",
    "lag_seconds": "oldest\ns",
    "leased": "leased",
    "delayed": "delayed",
}
"""Of those, what a terminal has room for."""

Sample = dict[str, Any]


def top(
    context: typer.Context,
    topics: Annotated[list[str] | None, typer.Argument(metavar="[TOPIC]...")] = None,
    interval: Annotated[float, typer.Option(min=0.05, help="Seconds between two looks.")] = 1.0,
    looks: Annotated[
        int | None, typer.Option("--looks", min=1, help="End after so many; else on Ctrl-C.")
    ] = None,
    as_json: Annotated[bool, JSON] = False,
    store: Annotated[Path | None, STORE] = None,
) -> None:
    """Show rates, lag and what is out, again and again."""
    with libqueue.open(folder(context, store), create=False) as opened:
        live = Live(console=console, auto_refresh=False, screen=console.is_terminal)
        before, shows = look(opened, topics), not as_json
        if shows and console.is_terminal:
            live.start()
        try:
            while looks is None or looks > 0:
                time.sleep(interval)
                now = look(opened, topics)
                found = [changed(before.get(name), one) for name, one in now.items()]
                if as_json:
                    for one in found:
                        print_json(one)
                elif console.is_terminal:
                    live.update(tables(found), refresh=True)
                else:
                    console.print(tables(found))
                before = now
                looks = None if looks is None else looks - 1
        except KeyboardInterrupt:
            pass
        finally:
            live.stop()


def look(store: libqueue.Store, topics: list[str] | None) -> dict[str, Sample]:
    """What the topics and their groups are at now; one that is deleted meanwhile is left out."""
    found: dict[str, Sample] = {}
    for name in topics or store.topics():
        try:
            topic = topic_object(store.open_topic(name))
        except libqueue.NotFound:
            if topics:
                raise
            continue
        found[name] = {**topic, "at": time.monotonic()}
    return found


def changed(before: Sample | None, now: Sample) -> Sample:
    """A topic with its rates since an earlier look; 0 where there was none."""
    seconds = max(now["at"] - before["at"], 1e-9) if before else 1.0

    def rate(earlier: Any, name: str, later: Any) -> float:
        return max(later[name] - earlier[name], 0) / seconds if earlier else 0.0

    # One of another number of partitions is another topic of the name.
    same = before and len(before["partitions"]) == len(now["partitions"])
    earlier = before["partitions"] if before and same else []
    sent = sum(
        rate(old, "next_offset", new) for old, new in zip_longest(earlier, now["partitions"])
    )
    groups = {
        name: {
            **{f"{one}_rate": rate((before or now)["groups"].get(name), one, new) for one in RATES},
            **{one: new[one] for one in LEVELS},
            "consumers": new["consumers"],
            "paused": new["paused"],
        }
        for name, new in now["groups"].items()
    }
    return {
        "topic": now["topic"],
        "sent_rate": sent,
        "messages": now["messages"],
        "bytes": now["bytes"],
        "groups": groups,
    }


def tables(found: list[Sample]) -> Lines:
    """The topics, and their groups, as tables."""
    look: Any = {"box": SIMPLE_HEAD, "padding": (0, 1, 0, 0)}
    topics = Table("topic", "sent\n/s", "messages", "bytes", **look)
    heads = (*(f"{name}\n/s" for name in RATES[:3]), *SHOWN.values(), "consumers")
    groups = Table("group", *heads, **look)
    groups.columns[0].no_wrap = topics.columns[0].no_wrap = True
    for column in (*topics.columns[1:], *groups.columns[1:]):
        column.justify = "right"
    for one in found:
        numbers = (one["sent_rate"], one["messages"], one["bytes"])
        topics.add_row(one["topic"], *map(shown, numbers))
        for name, group in one["groups"].items():
            rates = [group[f"{name}_rate"] for name in RATES[:3]]
            levels = [group[name] for name in (*SHOWN, "consumers")]
            text = f"{one['topic']}/{name}" + (" (paused)" if group["paused"] else "")
            groups.add_row(Text(text), *map(shown, rates + levels))
    return Lines(topics, groups)
