"""Statistics in the text format that Prometheus reads."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

OF_STORE = {
    "topics": "Topics of the store.",
    "members": "Openings of the store now, in all processes.",
    "disk_bytes": "Bytes of all files of the store.",
}
OF_TOPIC = {
    "pressure": "How full the topic is, 0 to 1; 0 where it has no limit.",
    "messages": "Offsets from the earliest to the next, over all partitions.",
    "bytes": "Bytes of the segments on disk.",
    "segments": "Segments on disk.",
    "pinned_seconds": "Age of the oldest segment.",
    "pinned_bytes": "Bytes that would be free without what keeps the oldest segment.",
    "compacted_messages_total": "Messages that compaction took.",
    "compacted_bytes_total": "Bytes of the messages that compaction took.",
    "sent_total": "Messages sent.",
    "sent_bytes_total": "Bytes of the messages sent.",
    "removed_messages_total": "Messages that went with segments that retention removed.",
    "removed_bytes_total": "Bytes of those messages.",
    "waiting_senders": "Threads that wait for room to send, as far as 32.",
    "lock_waits_total": "How often somebody slept for a lock of the topic.",
    "lock_wait_seconds_total": "Time slept for locks of the topic.",
    "syncs_total": "How often the topic was put on disk.",
    "sync_seconds_total": "Time that putting it on disk took.",
    "sync_longest_seconds": "The longest of those times.",
}
OF_PARTITION = {
    "earliest_offset": "Offset of the oldest message.",
    "next_offset": "Offset that the next message gets.",
    "durable_offset": "First offset that a power loss may take.",
    "bytes": "Bytes of the segments on disk.",
    "segments": "Segments on disk.",
    "sent_total": "Messages sent.",
    "sent_bytes_total": "Bytes of the messages sent.",
}
OF_GROUP = {
    "lag_messages": "Messages that are not settled.",
    "lag_bytes": "Bytes in the log of what is not settled.",
    "lag_seconds": "Age of the oldest message that is not settled.",
    "leased": "Messages handed out now.",
    "delayed": "Messages that wait for their time.",
    "held": "Messages that wait for an earlier one of their key.",
    "ready": "Messages that are ready to be handed out again.",
    "holding": "Dead letters that hold their keys.",
    "consumers": "Consumers, in all processes.",
    "paused": "Whether nothing is handed out until somebody resumes the group.",
    "paused_at": "Since when it is paused, in seconds since the epoch; 0 where it is not.",
    "delivered_total": "Hand-outs.",
    "redelivered_total": "Hand-outs that were not a message's first.",
    "acked_total": "Messages acknowledged.",
    "failed_total": "Failures: nacks, leases that ran out, deaths.",
    "timed_out_total": "Leases that ran out.",
    "expired_total": "Messages that were too late to be handed out.",
    "dead_lettered_total": "Messages that became dead letters.",
    "redriven_total": "Dead letters that were redriven.",
    "purged_total": "Dead letters that were purged.",
    "filtered_total": "Messages that the filter left out.",
    "lost_messages_total": "Messages that were gone before they were settled.",
    "dropped_total": "Messages dropped to make room in a full topic.",
    "damaged_total": "Messages whose bytes were damaged.",
    "dying": "Messages on their way to the dead letters.",
    "waiting_receivers": "Threads that wait in a receive, in all processes.",
    "window_used": "How much of the window is in use where it is most, 0 to 1.",
    "lock_waits_total": "How often somebody slept for a lock of the group.",
    "lock_wait_seconds_total": "Time slept for locks of the group.",
    "syncs_total": "How often a window of the group was put on disk by itself.",
    "sync_seconds_total": "Time that putting them on disk took.",
    "sync_longest_seconds": "The longest of those times.",
}
UNITS = {"paused_at": "paused_at_seconds", "window_used": "window_used_ratio"}
"""Names that the ecosystem wants with their unit."""
TEXTS = {"delivery", "paused_by", "pinned_by", "pinned_group"}
"""Statistics that are no numbers."""

Samples = list[tuple[dict[str, object], Mapping[str, Any]]]


def lines(store: Mapping[str, Any], topics: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """All statistics of a store, a metric after the other, as the format wants them."""
    listed = list(topics)
    partitions: Samples = []
    groups: Samples = []
    for topic in listed:
        named = {"topic": topic["topic"]}
        for number, one in enumerate(topic["partitions"]):
            partitions.append(({**named, "partition": number}, one))
        for name, one in topic["groups"].items():
            groups.append(({**named, "group": name}, one))
    yield from family("store", OF_STORE, [({}, store)])
    yield from family("topic", OF_TOPIC, [({"topic": one["topic"]}, one) for one in listed])
    yield from family("partition", OF_PARTITION, partitions)
    yield from family("group", OF_GROUP, groups)


def family(of: str, metrics: Mapping[str, str], samples: Samples) -> Iterator[str]:
    """The metrics of one kind of thing."""
    for metric, text in metrics.items():
        counts = metric.endswith("_total")
        name = f"libqueue_{of}_{UNITS.get(metric, metric)}"
        yield f"# HELP {name} {text}"
        yield f"# TYPE {name} {'counter' if counts else 'gauge'}"
        for labels, numbers in samples:
            value = numbers[metric.removesuffix("_total")]
            yield f"{name}{bracketed(labels)} {float(value or 0):.17g}"


def bracketed(labels: Mapping[str, object]) -> str:
    """Labels behind a name."""
    if not labels:
        return ""
    return "{" + ",".join(f'{name}="{escaped(value)}"' for name, value in labels.items()) + "}"


def escaped(value: object) -> str:
    """A label's value as the format wants it, whatever is in it."""
    return str(value).replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
