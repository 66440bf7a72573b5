"""A group's configuration as words of the command line, `KEY=VALUE`."""

from __future__ import annotations

from typing import Any

import typer

from libqueue.cli.common import FROM_HELP, place_of

EXPECTED = (
    "lease=SECONDS, max_lease=SECONDS, max_attempts=N, ordering=key|partition|none, "
    "backoff=FIRST,LONGEST,FACTOR, dead_letter_topic=NAME (empty drops), "
    "on_expired=drop|dead_letter, filter=JSON (empty takes all), "
    "brake=MESSAGES/SECONDS (none takes it off), on_dead_letter=continue|hold_key; of a new group "
    f"also delivery=at_least_once|at_most_once, window=N, start=PLACE ({FROM_HELP})"
)
NAMES = ("ordering", "on_expired", "on_dead_letter", "delivery")


def options_of(settings: list[str]) -> dict[str, Any]:
    """`KEY=VALUE` as keyword arguments of `create_group` and `configure`."""
    found: dict[str, Any] = {}
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not equals or key not in KINDS:
            raise typer.BadParameter(f"{setting!r}; expected {EXPECTED}")
        if key in found:
            raise typer.BadParameter(f"{setting!r}; expected {key}= once")
        try:
            found[key] = KINDS[key](value)
        except ValueError:
            raise typer.BadParameter(f"{setting!r}; expected numbers behind {key}=") from None
    return found


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


KINDS: dict[str, Any] = {
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
"""What stands behind each key, as a value."""
