"""Exports and imports as JSON lines: an object a line, to be looked at and changed with any tool.

    from libqueue import lines

    with libqueue.open("queue") as store, open("orders.jsonl", "w") as out:
        lines.export_lines(store, out, ["orders"])

A line is one of these, by the member that it has:

- `topic_config`: a topic's name and the fields of its configuration. It comes before its messages;
  where there is none, a topic has one partition and the defaults.
- `payload` or `payload_base64`, with `topic`: a message. `key` or `key_base64`, `headers`,
  `priority`, `deliver_at_ms`, `expires_at_ms` as it was sent; `partition`, `offset` and
  `timestamp_ns` where it stood. What `libqueue send --jsonl` takes, with `topic`, will do:
  `delay` and `ttl` are seconds from now on, and offsets follow on each other.
- `log_end`: the offset of the next message of a partition.
- `group`, `standing`, `snapshot`: a group with the fields of its configuration, where it stands in
  a partition, with the messages that are open, and its snapshots.
- `end`: how many topics, groups and messages there were. Where it is there, nothing is missing.
"""

from __future__ import annotations

import base64
import json
import os
import struct
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from tempfile import SpooledTemporaryFile
from typing import IO, Any, Protocol

from libqueue import _blocks as native
from libqueue import _fields as fields_of
from libqueue._native import Store

__all__ = ["export_lines", "import_lines"]

_Progress = Callable[[int, int], object]
_SPOOL = 1 << 20
_BLOCK = 256 * 1024
_OPEN = (
    "offset", "state", "redriven", "failures", "attempts", "key_hash", "time", "first_failed_ms",
)  # fmt: skip
_STATES = {
    1: "ready", 2: "delayed", 4: "held", 5: "dying", 7: "scheduled", 8: "dead", 9: "holding",
}  # fmt: skip
_BAD = (
    ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError, struct.error,
)  # fmt: skip
"""What a line that cannot be ends in."""
_NUMBERS = {name: number for number, name in _STATES.items()}
_DEFAULTS = {
    "id": "0" * 16, "partitions": "1", "max_message_bytes": str(1 << 30),
    "durability": "store",
}  # fmt: skip


class _TextOut(Protocol):
    def write(self, text: str, /) -> object: ...


def export_lines(
    store: Store,
    to: _TextOut,
    topics: Sequence[str] | None = None,
    *,
    progress: _Progress | None = None,
) -> dict[str, int]:
    """Write topics, or all, as JSON lines; as `Store.export_topics` otherwise.

    export_lines(store, sys.stdout, ["orders"])
    """
    read_end, write_end = os.pipe()
    done: dict[str, Any] = {}

    def work() -> None:
        with os.fdopen(write_end, "wb") as pipe:
            try:
                done["stats"] = store.export_topics(pipe, topics, progress=progress)
            except BaseException as error:  # told by the one that waits
                done["error"] = error

    exporter = threading.Thread(target=work, name="libqueue export")
    ended: native.Broken | None = None
    with os.fdopen(read_end, "rb") as source:
        exporter.start()
        try:
            for line in _lines(native.blocks(source)):
                to.write(json.dumps(line, ensure_ascii=False, separators=(",", ":")) + "\n")
        except native.Broken as error:
            # It ended early, and says why.
            ended = error
        finally:
            # First: or who still writes would wait for a reader for ever.
            source.close()
            exporter.join()
    if "error" in done:
        raise done["error"]
    if ended:
        raise ended
    stats: dict[str, int] = done["stats"]
    return stats


def _lines(blocks: Iterable[tuple[int, bytes]]) -> Iterator[dict[str, Any]]:
    """The objects of an export."""
    topic = group = ""
    standing: native.Standing | None = None
    left = 0
    parts: list[bytes] = []
    snapshot, missing = "", 0
    for kind, body in blocks:
        if kind == native.TOPIC:
            topic, text = native.read_named(body)
            yield {"topic_config": {"topic": topic, **fields_of.settings_json(text)}}
        elif kind == native.MESSAGES:
            partition, records = native.read_records(body)
            for record in records:
                yield _message(topic, partition, record)
        elif kind == native.LOG_END:
            partition, after = native.read_log_end(body)
            yield {"log_end": {"topic": topic, "partition": partition, "next_offset": after}}
        elif kind == native.GROUP:
            group, text = native.read_named(body)
            named = {"topic": topic, "group": group}
            yield {"group": {**named, **fields_of.settings_json(text)}}
        elif kind == native.STANDING:
            standing, left = native.read_standing(body)
        elif kind == native.OPEN and standing:
            some = native.read_open(body)
            standing.open.extend(some)
            left -= len(some)
        elif kind == native.SNAPSHOT:
            snapshot, rest = native.read_named(body)
            missing, parts = int.from_bytes(rest, "little"), []
        elif kind == native.PART:
            parts.append(body)
            missing -= len(body)
            if missing == 0:
                data = base64.b64encode(b"".join(parts)).decode()
                named = {"topic": topic, "group": group, "name": snapshot}
                yield {"snapshot": {**named, "base64": data}}
        elif kind == native.END:
            names = ("topics", "groups", "messages")
            yield {"end": dict(zip(names, native.read_end(body), strict=True))}
        if standing and left == 0:
            yield {"standing": _standing(topic, group, standing)}
            standing = None


def _message(topic: str, partition: int, record: native.Record) -> dict[str, Any]:
    found: dict[str, Any] = {
        "topic": topic,
        "partition": partition,
        "offset": record.offset,
        "timestamp_ns": record.timestamp_ns,
    }
    if record.key is not None:
        found.update(fields_of.text_or_base64("key", record.key))
    if record.headers:
        found["headers"] = fields_of.headers_json(record.headers)
    if record.extension:
        found.update(fields_of.extension_json(record.extension))
    found.update(fields_of.text_or_base64("payload", record.payload))
    return found


def _standing(topic: str, group: str, standing: native.Standing) -> dict[str, Any]:
    opened = []
    for one in standing.open:
        values = dict(zip(_OPEN, one, strict=True))
        shown: dict[str, Any] = {name: value for name, value in values.items() if value}
        opened.append({**shown, "offset": one[0], "state": _STATES.get(one[1], one[1])})
    return {
        "topic": topic,
        "group": group,
        "partition": standing.partition,
        "floor": standing.floor,
        "next_offset": standing.next_offset,
        "epoch": standing.epoch,
        "dead_from": standing.dead_from,
        "counters": standing.counters,
        "open": opened,
    }


class _Partition:
    """The messages of a partition, put aside until all lines were read."""

    def __init__(self) -> None:
        self.spool: IO[bytes] = SpooledTemporaryFile(_SPOOL)  # noqa: SIM115 - closed by `_Topic`
        self.sizes: list[int] = []
        self.next_offset = 0
        self.ended = False

    def blocks(self, number: int, writer: native.Writer) -> Iterator[bytes]:
        """Blocks of them, as many in each as in an export."""
        self.spool.seek(0)
        some: list[bytes] = []
        held = 0
        for size in self.sizes:
            if some and held + size > _BLOCK:
                yield self._block(number, some, writer)
                some, held = [], 0
            some.append(self.spool.read(size))
            held += size
        if some:
            yield self._block(number, some, writer)
        end = native.log_end(number, self.next_offset)
        yield writer.block(native.LOG_END, end)

    @staticmethod
    def _block(number: int, some: list[bytes], writer: native.Writer) -> bytes:
        head = number.to_bytes(4, "little") + len(some).to_bytes(4, "little")
        return writer.block(native.MESSAGES, head + b"".join(some))


class _Topic:
    def __init__(self, settings: dict[str, Any]) -> None:
        self.settings = settings
        count = int(settings["partitions"])
        if not 1 <= count <= 1024:
            raise ValueError(f"partitions is {count}; expected 1 to 1024")
        self.partitions: dict[int, _Partition] = {}
        self.count = count
        self.turn = 0
        # Name, settings, standings and snapshots, as they come.
        self.groups: dict[str, tuple[bytes, list[native.Standing], list[tuple[str, bytes]]]] = {}

    def partition(self, number: int) -> _Partition:
        """The partition with this number."""
        if not 0 <= number < self.count:
            raise ValueError(f"partition is {number}; the topic has {self.count}")
        if number not in self.partitions:
            self.partitions[number] = _Partition()
        return self.partitions[number]


class _Reading:
    """Lines that are read; then they are an export."""

    def __init__(self) -> None:
        self.topics: dict[str, _Topic] = {}
        self.messages = 0
        self.ended = False
        self.now_ns = time.time_ns()

    def line(self, text: str | bytes) -> None:
        """Take a line."""
        if self.ended:
            raise ValueError("a line behind the one with end")
        found = json.loads(text)
        if not isinstance(found, dict):
            raise TypeError("expected an object")
        kinds = ("topic_config", "log_end", "group", "standing", "snapshot", "end")
        kind = next((kind for kind in kinds if isinstance(found.get(kind), dict)), None)
        if kind is None:
            self._message(found)
        elif len(found) > 1:
            raise ValueError(f"{kind} and other members; expected it alone")
        else:
            getattr(self, f"_{kind}")(dict(found[kind]))

    def _of(self, fields: dict[str, Any]) -> _Topic:
        name = fields.pop("topic", None)
        if not isinstance(name, str):
            raise TypeError(f"topic is {name!r}; expected a topic's name")
        if name not in self.topics:
            native.named(name, b"")
            self.topics[name] = _Topic(dict(_DEFAULTS))
        return self.topics[name]

    def _topic_config(self, fields: dict[str, Any]) -> None:
        name = fields.pop("topic", None)
        if not isinstance(name, str) or name in self.topics:
            raise ValueError(f"topic is {name!r}; expected one that no line before names")
        topic = _Topic({**_DEFAULTS, **fields})
        # Here, where it has a line.
        native.named(name, fields_of.settings_text("topic", topic.settings))
        self.topics[name] = topic

    def _message(self, fields: dict[str, Any]) -> None:
        topic = self._of(fields)
        key, payload = fields_of.bytes_of(fields, "key"), fields_of.bytes_of(fields, "payload")
        if payload is None:
            raise ValueError("expected payload or payload_base64")
        for name, until in (("delay", "deliver_at_ms"), ("ttl", "expires_at_ms")):
            seconds = fields.pop(name, None)
            if seconds is not None:
                fields[until] = self.now_ns // 1_000_000 + round(float(seconds) * 1000)
        headers = fields_of.headers_block(fields.pop("headers", None))
        extension = fields_of.extension_bytes(fields)
        if "partition" in fields and fields["partition"] is not None:
            number = fields_of.number_of(fields, "partition")
        elif key is not None:
            number = fields_of.partition_of(key, topic.count)
        else:
            number, topic.turn = topic.turn % topic.count, topic.turn + 1
        fields.pop("partition", None)
        partition = topic.partition(number)
        offset = fields_of.number_of(fields, "offset", partition.next_offset)
        timestamp = fields.pop("timestamp_ns", self.now_ns)
        if partition.ended or offset < partition.next_offset:
            raise ValueError(f"offset is {offset}; expected {partition.next_offset} or more")
        if isinstance(timestamp, bool) or not isinstance(timestamp, int):
            raise TypeError(f"timestamp_ns is {timestamp!r}; expected a whole number")
        if fields:
            raise ValueError(f"unknown members: {', '.join(sorted(fields))}")
        record = native.Record(offset, timestamp, extension, key, headers, payload).encode()
        partition.spool.write(record)
        partition.sizes.append(len(record))
        partition.next_offset = offset + 1
        self.messages += 1

    def _log_end(self, fields: dict[str, Any]) -> None:
        partition = self._of(fields).partition(fields_of.number_of(fields, "partition"))
        end = fields_of.number_of(fields, "next_offset")
        if end < partition.next_offset or partition.ended:
            raise ValueError(f"next_offset is {end}; expected {partition.next_offset} or more")
        partition.next_offset, partition.ended = end, True

    def _group(self, fields: dict[str, Any]) -> None:
        topic, name = self._of(fields), fields.pop("group", None)
        if not isinstance(name, str) or name in topic.groups:
            raise ValueError(f"group is {name!r}; expected one that no line before names")
        settings = fields_of.settings_text("group", fields)
        native.named(name, settings)
        topic.groups[name] = (settings, [], [])

    def _standing(self, fields: dict[str, Any]) -> None:
        topic, name = self._of(fields), fields.pop("group", None)
        number = fields_of.number_of
        opened = [
            tuple(
                _NUMBERS[one["state"]] if part == "state" else number(dict(one), part, 0)
                for part in _OPEN
            )
            for one in fields.pop("open", [])
        ]
        standing = native.Standing(
            number(fields, "partition"), number(fields, "epoch", 0), number(fields, "floor"),
            number(fields, "next_offset"), number(fields, "dead_from", 0),
            list(fields.pop("counters", [])), opened,
        )  # fmt: skip
        for _ in standing.encode(native.Writer()):
            pass
        topic.groups[name][1].append(standing)

    def _snapshot(self, fields: dict[str, Any]) -> None:
        topic, name = self._of(fields), fields.pop("group", None)
        data = base64.b64decode(fields["base64"], validate=True)
        native.named(fields["name"], data)
        topic.groups[name][2].append((fields["name"], data))

    def _end(self, fields: dict[str, Any]) -> None:
        found = (len(self.topics), self._groups(), self.messages)
        told = tuple(fields.get(name) for name in ("topics", "groups", "messages"))
        if told != found:
            raise ValueError(f"topics, groups and messages are {told}; {found} were read")
        self.ended = True

    def _groups(self) -> int:
        named = (name for topic in self.topics.values() for name in topic.groups)
        return sum(not name.startswith("lq.redrive.") for name in named)

    def blocks(self) -> Iterator[bytes]:
        """The export."""
        writer = native.Writer()
        yield writer.head()
        for name, topic in self.topics.items():
            text = fields_of.settings_text("topic", topic.settings)
            yield writer.block(native.TOPIC, native.named(name, text))
            for number in range(topic.count):
                yield from topic.partition(number).blocks(number, writer)
            for group, (settings, standings, snapshots) in topic.groups.items():
                yield writer.block(native.GROUP, native.named(group, settings))
                for standing in standings:
                    yield from standing.encode(writer)
                for snapshot, data in snapshots:
                    yield from native.snapshot(writer, snapshot, data)
        counts = native.end(len(self.topics), self._groups(), self.messages)
        yield writer.block(native.END, counts)

    def close(self) -> None:
        """Give back what was put aside."""
        for topic in self.topics.values():
            for partition in topic.partitions.values():
                partition.spool.close()


class _Chunks:
    """Bytes that come in pieces, to be read."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces, self._left = pieces, b""

    def read(self, size: int, /) -> bytes:
        """Up to so many of them."""
        while not self._left:
            piece = next(self._pieces, None)
            if piece is None:
                return b""
            self._left = piece
        found, self._left = self._left[:size], self._left[size:]
        return found


def import_lines(
    store: Store,
    source: Iterable[str] | Iterable[bytes],
    *,
    append: bool = False,
    progress: _Progress | None = None,
) -> dict[str, int]:
    """Make the topics of JSON lines; as `Store.import_topics` otherwise.

    All lines are read before anything is made. A bad one raises `ValueError` with its number, and
    then nothing is.

        import_lines(store, ['{"topic": "orders", "payload": "paid"}'])
    """
    reading = _Reading()
    try:
        texts: Iterable[str | bytes] = source
        for number, text in enumerate(texts, 1):
            if not text.strip():
                continue
            try:
                reading.line(text)
            except _BAD as error:
                what = f"{error} is missing or unknown" if isinstance(error, KeyError) else error
                raise ValueError(f"line {number}: {what}; nothing was imported") from None
        return store.import_topics(_Chunks(reading.blocks()), append=append, progress=progress)
    finally:
        reading.close()
