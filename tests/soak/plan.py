"""Who is at work in a round of the soak, and on what."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import exact
import flow
import libqueue
import sought
import table
from history import Group, Send, Terms, takes_all

MAX_ATTEMPTS = 4
BACKOFF = (0.001, 0.005, 2.0)
TOPICS: dict[str, tuple[int, Literal["process", "interval", "sync"]]] = {
    "fast": (4, "process"),
    "ticked": (2, "interval"),
    "synced": (1, "sync"),
    "strict": (2, "process"),
    sought.TOPIC: (sought.PARTITIONS, "process"),
    "narrow": (2, "process"),
    "paced": (1, "process"),
    flow.RING: (2, "process"),
}
"""Partitions and durability."""
SOLD = {"any": [{"key_prefix": "k1"}, {"headers": {"kind": "sale"}}]}


def is_sold(send: Send) -> bool:
    """What SOLD takes."""
    return send.kind == "sale" or send.key.startswith("k1")


@dataclass(frozen=True)
class Plan:
    """One group."""

    ordering: Literal["key", "partition", "none"]
    leases: tuple[float, ...]
    """In seconds: the first one, and those that it is given later."""
    holds: bool = False
    once: bool = False
    sold: bool = False
    """It takes only what SOLD says."""
    brake: tuple[int, float] | None = None

    def options(self) -> dict[str, Any]:
        """As `create_group` takes them."""
        options: dict[str, Any] = {"ordering": self.ordering}
        if self.once:
            return options | {"delivery": "at_most_once"}
        options |= {"lease": self.leases[0], "max_attempts": MAX_ATTEMPTS, "backoff": BACKOFF}
        if self.sold:
            options["filter"] = SOLD
        if self.holds:
            options["on_dead_letter"] = "hold_key"
        if self.brake is not None:
            options["brake"] = self.brake
        return options

    def terms(self) -> Terms:
        """As the checker holds it to them."""
        shortest, longest = (round(1000 * pick(self.leases)) for pick in (min, max))
        takes = is_sold if self.sold else takes_all
        return Terms(self.ordering, (shortest, longest), self.holds, self.once, takes)


GROUPS: dict[Group, Plan] = {
    ("fast", "keyed"): Plan("key", (1.0,)),
    ("fast", "loose"): Plan("none", (5.0,)),
    ("ticked", "keyed"): Plan("key", (0.4, 0.7)),
    ("synced", "loose"): Plan("none", (0.4,)),
    ("strict", "lined"): Plan("partition", (0.4, 0.6)),
    ("strict", "held"): Plan("key", (0.5,), holds=True, brake=(25, 1.0)),
    ("strict", "once"): Plan("key", (30.0,), once=True),
    ("strict", "sold"): Plan("key", (0.8,), sold=True),
    ("narrow", "turns"): Plan("key", (0.5,)),
    ("paced", "turns"): Plan("none", (0.5,)),
}
PRODUCERS = ["producer", "producer.py", "sender.py", "clerk", "clerk.py", "ender.py"]
CONSUMERS = ["consumer", "consumer.py", "mover.py", "booker.py"]
KEEPERS = ["keeper.py", "seeker.py", "copier.py", "looker.py", "scanner.py"]
MEMBERS = [
    ("producer", "fast", ""), ("producer.py", "fast", ""), ("producer", "fast", "a"),
    ("producer", "ticked", "b"), ("producer.py", "ticked", ""),
    ("producer", "synced", ""), ("producer.py", "synced", "a"),
    ("producer", "strict/calm", ""), ("producer.py", "strict/calm", "b"),
    ("consumer", "fast/keyed", ""), ("consumer.py", "fast/keyed", ""),
    ("consumer", "fast/keyed", "b"),
    ("consumer", "fast/loose", ""), ("consumer.py", "fast/loose", "a"),
    ("consumer", "fast/loose", ""),
    ("consumer.py", "ticked/keyed", ""), ("consumer", "ticked/keyed", "a"),
    ("consumer", "synced/loose", "b"), ("consumer.py", "synced/loose", ""),
    ("consumer", "strict/lined", ""), ("consumer.py", "strict/lined", "a"),
    ("consumer", "strict/held", "b"), ("consumer.py", "strict/held", ""),
    ("consumer", "strict/once", ""), ("consumer.py", "strict/once", "b"),
    ("consumer", "strict/sold", "a"), ("consumer.py", "strict/sold", ""),
    ("keeper.py", "strict", ""), ("keeper.py", "fast", "a"), ("keeper.py", "ticked", ""),
    ("sender.py", "orders", ""), ("sender.py", "orders", "a"), ("mover.py", "orders/move", ""),
    ("mover.py", "orders/move", "b"), ("mover.py", "orders/move", ""),
    ("producer", "again/calm", ""), ("producer.py", "again/calm", "a"),
    ("consumer", "again/sought", ""), ("consumer", "again/sought", "b"),
    ("consumer", "again/sought", ""), ("seeker.py", "again", ""),
    ("producer", "table/bulky", ""), ("ender.py", "table", "b"), ("scanner.py", "table", ""),
    ("consumer", "table/view", ""), ("consumer.py", "table/view", "a"),
    ("producer", "narrow", ""), ("producer", "narrow", "a"), ("producer.py", "narrow", ""),
    ("consumer", "narrow/turns", "b"), ("consumer.py", "narrow/turns", ""),
    ("producer", "paced", ""), ("producer", "paced", "b"), ("consumer", "paced/turns", ""),
    ("producer", "ring", ""), ("producer.py", "ring", "a"), ("consumer", "ring/near", "b"),
    ("consumer.py", "ring/near", ""), ("consumer", "ring/far", ""), ("looker.py", "narrow", "a"),
    ("clerk", "ledger/till", ""), ("clerk.py", "ledger/till", "a"),
    ("clerk.py", "ledger/desk", "b"), ("booker.py", "ledger/book", ""),
    ("booker.py", "ledger/book", "a"), ("copier.py", "strict", ""),
]  # fmt: skip
"""Program, topic and group (of a producer its pace, of a clerk its name), PID namespace."""


def lay_out(store: libqueue.Store) -> None:
    """Makes all topics and groups."""
    exact.lay_out(store)
    for name, (partitions, durability) in TOPICS.items():
        # The checker reads all that was sent, at the end of a round, whatever was settled.
        limit = flow.LIMITS[name].options() if name in flow.LIMITS else {}
        keeps: dict[str, Any] = {"durability": durability, "retention": "forever", **limit}
        topic = store.topic(name, partitions=partitions, **keeps)
        for (of, group), plan in GROUPS.items():
            if of == name:
                topic.create_group(group, **plan.options())
    sought.lay_out(store)
    flow.lay_out(store)
    table.lay_out(store)
