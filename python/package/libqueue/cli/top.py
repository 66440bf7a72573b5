"""`top`: rates and lag as they change.

A rate is the difference of a counter between two looks by the time between them.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Group as Lines
from rich.live import Live
from rich.table import Table
from rich.text import Text

import libqueue
from libqueue.cli.common import JSON, STORE, console, folder, print_json, show_text, shown
from libqueue.cli.keys import pressed, single_keys
from libqueue.cli.topics import topic_object

TOPIC_RATES = ("sent", "sent_bytes", "removed_messages", "lock_waits", "syncs")
TOPIC_LEVELS = ("messages", "bytes", "segments", "pressure", "waiting_senders")
RATES = (
    "delivered",
    "acked",
    "failed",
    "redelivered",
    "expired",
    "dead_lettered",
    "lost_messages",
    "dropped",
    "lock_waits",
    "syncs",
)
LEVELS = (
    "lag_messages",
    "lag_bytes",
    "lag_seconds",
    "leased",
    "delayed",
    "held",
    "ready",
    "dying",
    "window_used",
    "consumers",
    "waiting_receivers",
)
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
    """Show rates, lag and what is out, again and again; q ends it.

    In place on a terminal, else a line for each topic and group with each look.
    """
    with libqueue.open(folder(context, store), create=False) as opened, single_keys() as keys:
        live = Live(console=console, auto_refresh=False, screen=console.is_terminal)
        before, shows = look(opened, topics), not as_json
        if shows and console.is_terminal:
            live.start()
        try:
            while looks is None or looks > 0:
                if pressed(keys, b"qQ", interval):
                    break
                now = look(opened, topics)
                found = [changed(before.get(name), one) for name, one in now.items()]
                if as_json:
                    for one in found:
                        print_json(one)
                elif console.is_terminal:
                    live.update(tables(found), refresh=True)
                else:
                    for line in lines(found):
                        show_text(line)
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

    # One whose counters fell, or with another number of partitions, is another of the name.
    same = before and len(before["partitions"]) == len(now["partitions"])
    groups = {
        name: {
            **{f"{one}_rate": rate((before or now)["groups"].get(name), one, new) for one in RATES},
            **{one: new[one] for one in LEVELS},
            "paused": new["paused"],
        }
        for name, new in now["groups"].items()
    }
    return {
        "topic": now["topic"],
        **{f"{one}_rate": rate(before if same else None, one, now) for one in TOPIC_RATES},
        **{one: now[one] for one in TOPIC_LEVELS},
        "groups": groups,
    }


def lines(found: list[Sample]) -> Iterator[str]:
    """The topics, and their groups, a line each: for files and pipes."""
    for one in found:
        yield line(one["topic"], one, TOPIC_RATES, TOPIC_LEVELS)
        for name, group in one["groups"].items():
            paused = " paused" if group["paused"] else ""
            yield line(f"{one['topic']}/{name}", group, RATES, LEVELS) + paused


def line(name: str, sample: Sample, rates: tuple[str, ...], levels: tuple[str, ...]) -> str:
    """A name, its rates by the second and its levels."""
    numbers = [f"{one}/s={sample[f'{one}_rate']:.1f}" for one in rates]
    for one in levels:
        value = sample[one]
        numbers.append(f"{one}={value:.3f}" if isinstance(value, float) else f"{one}={value}")
    return " ".join([name, *numbers])


def tables(found: list[Sample]) -> Lines:
    """The topics, and their groups, as tables."""
    look: Any = {"box": SIMPLE_HEAD, "padding": (0, 1, 0, 0)}
    topics = Table("topic", "sent\n/s", "messages", "bytes", "pressure\n%", "waiting", **look)
    heads = (*(f"{name}\n/s" for name in RATES[:3]), *SHOWN.values(), "consumers", "waiting")
    groups = Table("group", *heads, **look)
    groups.columns[0].no_wrap = topics.columns[0].no_wrap = True
    for column in (*topics.columns[1:], *groups.columns[1:]):
        column.justify = "right"
    for one in found:
        pressure, waiting = round(one["pressure"] * 100), one["waiting_senders"]
        numbers = (one["sent_rate"], one["messages"], one["bytes"], pressure, waiting)
        topics.add_row(one["topic"], *map(shown, numbers))
        for name, group in one["groups"].items():
            rates = [group[f"{name}_rate"] for name in RATES[:3]]
            levels = [group[name] for name in (*SHOWN, "consumers", "waiting_receivers")]
            text = f"{one['topic']}/{name}" + (" (paused)" if group["paused"] else "")
            groups.add_row(Text(text), *map(shown, rates + levels))
    return Lines(topics, groups)
