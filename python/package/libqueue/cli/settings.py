"""The configuration of topics and groups as words of the command line, `KEY=VALUE`."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import typer

from libqueue.cli.common import FROM_HELP, place_of, retention_of

OF_TOPIC = (
    "durability=process|sync|interval, sync_interval=SECONDS, max_message_bytes=N, "
    "max_messages=N, max_bytes=N (0 takes a limit off), on_full=reject|block|throttle|drop_oldest, "
    "send_timeout=SECONDS, low_mark=PERCENT, high_mark=PERCENT, min_free_bytes=N, "
    "retention=settled|forever|SECONDS, retention_bytes=N (0 for no limit), "
    "on_lost=count|dead_letter, compaction=true|false, tombstone_grace=SECONDS, "
    "dedup_window=SECONDS|until_settled (0: none)"
)
OF_GROUP = (
    "lease=SECONDS, max_lease=SECONDS, max_attempts=N, ordering=key|partition|none, "
    "backoff=FIRST,LONGEST,FACTOR, dead_letter_topic=NAME (empty drops), "
    "on_expired=drop|dead_letter, filter=JSON (empty takes all), "
    "brake=MESSAGES/SECONDS (none takes it off), on_dead_letter=continue|hold_key; of a new group "
    f"also delivery=at_least_once|at_most_once, window=N, start=PLACE ({FROM_HELP})"
)
NAMES = ("ordering", "on_expired", "on_dead_letter", "delivery")

Kinds = Mapping[str, Callable[[str], Any]]


def group_options(settings: list[str]) -> dict[str, Any]:
    """`KEY=VALUE` as keyword arguments of `create_group` and a group's `configure`."""
    return options(settings, GROUP_KINDS, OF_GROUP)


def topic_options(settings: list[str]) -> dict[str, Any]:
    """`KEY=VALUE` as keyword arguments of `create_topic` and a topic's `configure`."""
    return options(settings, TOPIC_KINDS, OF_TOPIC)


def options(settings: list[str], kinds: Kinds, expected: str) -> dict[str, Any]:
    """`KEY=VALUE` as keyword arguments."""
    found: dict[str, Any] = {}
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not equals or key not in kinds:
            raise typer.BadParameter(f"{setting!r}; expected {expected}")
        if key in found:
            raise typer.BadParameter(f"{setting!r}; expected {key}= once")
        try:
            found[key] = kinds[key](value)
        except (KeyError, ValueError):
            message = f"{setting!r}; expected {one_of(expected, key)}"
            raise typer.BadParameter(message) from None
    return found


def one_of(expected: str, key: str) -> str:
    """Of the settings that a text names, the one with this key."""
    named = re.split(r", (?=\w+=)", expected)
    return next((one for one in named if one.startswith(f"{key}=")), expected)


def backoff(value: str) -> tuple[float, float, float]:
    """FIRST,LONGEST,FACTOR."""
    first, longest, factor = map(float, value.split(","))
    return first, longest, factor


def brake(value: str) -> tuple[int, float] | None:
    """MESSAGES/SECONDS; `none` or 0 for no brake."""
    if value in ("0", "none"):
        return None
    messages, seconds = value.split("/")
    return int(messages), float(seconds)


def dedup_window(value: str) -> float | str:
    """SECONDS or `until_settled`."""
    return value if value == "until_settled" else float(value)


def truth(value: str) -> bool:
    """Whether the word is true, and not false."""
    return {"true": True, "false": False}[value]


TOPIC_KINDS: Kinds = {
    "durability": str,
    "sync_interval": float,
    "max_message_bytes": int,
    "max_messages": int,
    "max_bytes": int,
    "on_full": str,
    "send_timeout": float,
    "low_mark": int,
    "high_mark": int,
    "min_free_bytes": int,
    "retention": retention_of,
    "retention_bytes": int,
    "on_lost": str,
    "dedup_window": dedup_window,
    "compaction": truth,
    "tombstone_grace": float,
}
"""What stands behind each key of a topic, as a value."""
GROUP_KINDS: Kinds = {
    "lease": float,
    "max_lease": float,
    "max_attempts": int,
    "window": int,
    "backoff": backoff,
    "brake": brake,
    "filter": lambda value: value or "{}",
    "dead_letter_topic": lambda value: value or None,
    "start": place_of,
    **dict.fromkeys(NAMES, str),
}
"""What stands behind each key of a group, as a value."""
