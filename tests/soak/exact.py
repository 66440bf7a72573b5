"""Exactly once in the soak (P8): orders are sent under ids, and moved on in transactions.

Senders send each order under its own id, and again, also in their next lives; movers take orders
and send them on in one transaction each. However many die, each order is there once, at the place
that every send of it returned, and was moved once. The orders are few at a time (P14): senders wait
for movers.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import libqueue
from evidence import Finding

ORDERS, MOVED, GROUP = "orders", "moved", "move"
ROOM = 200
LEASE_SECONDS = 0.5
SOURCE = (ORDERS, GROUP)


def lay_out(store: libqueue.Store) -> None:
    """Makes both topics and the group."""
    keeps: dict[str, Any] = {"retention": "forever"}
    orders = store.topic(
        ORDERS, partitions=2, dedup_window=3600.0, max_messages=ROOM, on_full="block", **keeps
    )
    orders.create_group(GROUP, ordering="none", lease=LEASE_SECONDS, max_attempts=10_000)
    store.topic(MOVED, **keeps)


def ids_of(folder: Path, sender: str) -> Path:
    """Where a sender writes down, for its next lives, what each of its sends returned."""
    return folder / f"{sender}.ids"


def returned(path: Path) -> dict[int, set[tuple[int, int]]]:
    """By number all places that sends returned; a half line at the end is what a kill cut off."""
    places: dict[int, set[tuple[int, int]]] = {}
    text = path.read_text() if path.exists() else ""
    for line in text[: text.rfind("\n") + 1].splitlines():
        number, partition, offset = map(int, line.split(" "))
        places.setdefault(number, set()).add((partition, offset))
    return places


def check(folder: Path, store: libqueue.Store) -> tuple[list[Finding], dict[str, int]]:
    """What must not be, and how much was done, at the end of a round."""
    found: list[Finding] = []
    with store.topic(ORDERS).reader() as reader:
        orders = {(one.partition, one.offset): one.payload for one in reader}
    with store.topic(MOVED).reader() as reader:
        moved = [(one.key or b"", one.payload) for one in reader]
    names = Counter(payload.split(b"\n")[0].decode() for payload in orders.values())
    found += [
        Finding("duplicated", f"{ORDERS}: {name} is there {times} times, sent under one id")
        for name, times in names.items()
        if times > 1
    ]
    sent = repeats = 0
    for path in folder.glob("*.ids"):
        for number, places in returned(path).items():
            name = f"{path.stem} {number}"
            sent += 1
            there = [at for at in places if orders.get(at, b"").split(b"\n")[0].decode() == name]
            if len(places) != 1 or not there:
                text = f"{ORDERS}: {name} was sent as {sorted(places)}, is there at {there}"
                found.append(Finding("lost", text))
        repeats += path.read_text().count("\n") - len(returned(path))
    expected = Counter((f"{at[0]}/{at[1]}".encode(), body) for at, body in orders.items())
    for (key, _), times in (Counter(moved) - expected).items():
        found.append(Finding("duplicated", f"{MOVED}: {key!r} was moved {times} times too often"))
    found += [
        Finding("lost", f"{MOVED}: {key!r} was settled, and not moved")
        for key, _ in expected - Counter(moved)
    ]
    counts = {"moved in transactions": len(moved), "sent again under its id": repeats}
    return found, counts | {"sent under ids": sent}
