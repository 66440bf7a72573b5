"""What the results of `make bench` say of libqueue and of its peers, by workload and size.

`readme.py` writes it down. The names are those of `src/works`, and what is compared with what is
decided as in `src/peers/mod.rs`.
"""

from __future__ import annotations

from typing import Any, NamedTuple, TypedDict, cast

# Those that figures are named for.
SIZES = ("100 B", "1 KiB")


class Row(TypedDict):
    """A row of the results; `src/report/json.rs` writes more."""

    part: str
    workload: str
    kind: str
    who: str
    value: float
    unit: str
    ratio: float | None
    limit: str | None
    durability: str | None


class Work(NamedTuple):
    """A workload: what it is called here, and its part and name in the results."""

    label: str
    part: str
    what: str
    # Its figures, where it has several.
    figures: tuple[str, ...] = ("",)


FOUR = "4 consumers, no keys"
KEYED = "4 consumers, 1,000 keys"
WORKS = (
    Work("W1, send one by one", "w1", "one by one"),
    Work("W2, send in batches of 100", "w2", "batches of 100"),
    Work("W3, send durably, 1 process", "w3", "1 process"),
    Work("W3, send durably, 8 processes", "w3", "8 processes"),
    Work("W4, receive and ack one by one", "w4", "one by one"),
    Work("W4, receive and ack in batches of 100", "w4", "batches of 100"),
    Work("W5, one producer, one consumer", "w5", "one producer, one consumer"),
    Work("W5 at 10,000 a second", "latency", "sleeping, 10,000 a second", ("p50", "p99")),
    Work(f"W6, {FOUR}, one by one", "w6", f"{FOUR}, one by one"),
    Work(f"W6, {FOUR}, batches of 100", "w6", f"{FOUR}, batches of 100"),
    Work(f"W6, {KEYED}, one by one", "w6", f"{KEYED}, one by one"),
    Work(f"W6, {KEYED}, batches of 100", "w6", f"{KEYED}, batches of 100"),
    Work("W7, 4 producers, 4 consumers", "w7", "4 producers, 4 consumers"),
    Work("W8, 10 groups, deliveries", "w8", "10 groups, 1 producer, deliveries"),
    Work("W9, from disk, reader", "w9", "cold topic, reader"),
    Work("W9, from disk, receive and ack", "w9", "cold topic, receive and ack"),
)


class Figure(NamedTuple):
    """One number: libqueue's by language, and the peers'."""

    name: str
    ours: dict[str, Row]
    peers: list[Row]


class Line(NamedTuple):
    """A workload and size of which there is something."""

    work: Work
    size: str
    figures: list[Figure]


def figure(rows: list[Row], work: Work, size: str, which: str) -> Figure:
    called, name = (
        ", ".join(one for one in (what, which, size) if one) for what in (work.what, work.label)
    )
    found = [row for row in rows if (row["part"], row["workload"]) == (work.part, called)]
    ours = {row["who"]: row for row in found if row["kind"] == "libqueue"}
    return Figure(name, ours, [row for row in found if row["kind"] == "peer"])


def lines_of(run: dict[str, Any]) -> list[Line]:
    # What failed has no value.
    rows = [cast(Row, row) for row in run["rows"] if row["value"] and not row["failed"]]
    lines = [
        Line(work, size, [figure(rows, work, size, which) for which in work.figures])
        for work in WORKS
        for size in SIZES
    ]
    return [line for line in lines if any(one.ours for one in line.figures)]


def speed(row: Row) -> float:
    """Higher is better."""
    return 1 / row["value"] if row["unit"] == "us" else row["value"]


def is_beside(peer: Row, who: str) -> bool:
    """Whether it is what this language is compared with."""
    language = peer["who"].rpartition(" (")[2].rstrip(")")
    if language == "Python" or who == "Python":
        return language == who
    return who == "Rust" or language in ("Rust", "C", "C++")


def rivals(of: Figure, who: str) -> list[Row]:
    """What this language is compared with, the fastest first."""
    if who not in of.ours:
        return []
    durability = of.ours[who]["durability"] or "process"
    same = [peer for peer in of.peers if peer["durability"] == durability and is_beside(peer, who)]
    return sorted(same, key=speed, reverse=True)
