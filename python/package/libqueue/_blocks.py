"""The blocks of an export in the native format, as `core/docs/format.md` has them."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

MAGIC = b"LQEXPORT"
VERSION = 1
TOPIC, MESSAGES, LOG_END, GROUP, STANDING, OPEN, SNAPSHOT, PART, END = range(1, 10)
_HEAD = struct.Struct("<8sII")
_BLOCK = struct.Struct("<IIII")
_MESSAGE = struct.Struct("<QqIIIHBB")
_STANDING = struct.Struct("<IIQQQQQ")
_OPEN = struct.Struct("<QBBHIQQQ")
_END = struct.Struct("<QQQ")
_PIECE = 256 * 1024
_OPENS = 4096


class Broken(ValueError):
    """What is read is no whole export."""


class Reads(Protocol):
    """What bytes are read from."""

    def read(self, size: int, /) -> bytes:
        """Up to so many bytes; none at the end."""
        ...


class Writer:
    """Makes blocks."""

    def __init__(self) -> None:
        """Begin with none."""
        self._number = 0

    @staticmethod
    def head() -> bytes:
        """What an export begins with."""
        start = MAGIC + VERSION.to_bytes(4, "little")
        return start + zlib.crc32(start).to_bytes(4, "little")

    def block(self, kind: int, body: bytes) -> bytes:
        """The next block."""
        start = struct.pack("<III", kind, len(body), self._number)
        self._number = (self._number + 1) & 0xFFFFFFFF
        return start + zlib.crc32(body, zlib.crc32(start)).to_bytes(4, "little") + body


def blocks(source: Reads) -> Iterator[tuple[int, bytes]]:
    """Kind and body of each block, up to the end mark; for what this library wrote a moment ago."""

    def exactly(size: int) -> bytes:
        parts = []
        while size:
            part = source.read(size)
            if not part:
                raise Broken("the export ends in the middle of a block")
            parts.append(part)
            size -= len(part)
        return b"".join(parts)

    magic, version, _ = _HEAD.unpack(exactly(_HEAD.size))
    if magic != MAGIC or version != VERSION:
        raise Broken("it does not begin as an export of this version does")
    while True:
        start = exactly(_BLOCK.size)
        kind, length, _, crc = _BLOCK.unpack(start)
        body = exactly(length)
        if zlib.crc32(body, zlib.crc32(start[:12])) != crc:
            raise Broken("the checksum of a block is wrong")
        yield kind, body
        if kind == END:
            return


def named(name: str, rest: bytes) -> bytes:
    """A name and what follows it."""
    raw = name.encode()
    return len(raw).to_bytes(2, "little") + raw + rest


def read_named(body: bytes) -> tuple[str, bytes]:
    """The name and what follows it."""
    end = 2 + int.from_bytes(body[:2], "little")
    return body[2:end].decode(), body[end:]


@dataclass
class Record:
    """A message, its parts encoded."""

    offset: int
    timestamp_ns: int
    extension: bytes
    key: bytes | None
    headers: bytes
    payload: bytes

    def encode(self) -> bytes:
        """Its bytes."""
        key = self.key or b""
        head = _MESSAGE.pack(
            self.offset, self.timestamp_ns, len(self.payload), len(key), len(self.headers),
            len(self.extension), self.key is not None, 0,
        )  # fmt: skip
        return head + self.extension + key + self.headers + self.payload


def read_records(body: bytes) -> tuple[int, list[Record]]:
    """The partition, and its messages in this block."""
    partition, count = struct.unpack_from("<II", body)
    at, found = 8, []
    for _ in range(count):
        offset, time, payload, key, headers, extension, has_key, _ = _MESSAGE.unpack_from(body, at)
        at += _MESSAGE.size
        parts = []
        for size in (extension, key, headers, payload):
            parts.append(body[at : at + size])
            at += size
        key_bytes = parts[1] if has_key else None
        found.append(Record(offset, time, parts[0], key_bytes, parts[2], parts[3]))
    return partition, found


@dataclass
class Standing:
    """Where a group stands in a partition."""

    partition: int
    epoch: int
    floor: int
    next_offset: int
    dead_from: int
    counters: list[int]
    open: list[tuple[int, ...]] = field(default_factory=list)

    def encode(self, writer: Writer) -> Iterator[bytes]:
        """Its blocks."""
        head = _STANDING.pack(
            self.partition, len(self.counters), self.epoch, self.floor, self.next_offset,
            self.dead_from, len(self.open),
        )  # fmt: skip
        yield writer.block(STANDING, head + struct.pack(f"<{len(self.counters)}Q", *self.counters))
        for start in range(0, len(self.open), _OPENS):
            some = self.open[start : start + _OPENS]
            yield writer.block(OPEN, b"".join(_OPEN.pack(*one) for one in some))


def read_standing(body: bytes) -> tuple[Standing, int]:
    """Where a group stands, and how many open messages follow."""
    partition, count, epoch, floor, end, dead_from, opened = _STANDING.unpack_from(body)
    counters = list(struct.unpack_from(f"<{count}Q", body, _STANDING.size))
    return Standing(partition, epoch, floor, end, dead_from, counters), opened


def read_open(body: bytes) -> list[tuple[int, ...]]:
    """The open messages of a block."""
    return list(_OPEN.iter_unpack(body))


def log_end(partition: int, end: int) -> bytes:
    """The body of the block that ends a partition."""
    return struct.pack("<IIQ", partition, 0, end)


def read_log_end(body: bytes) -> tuple[int, int]:
    """The partition, and the offset of its next message."""
    partition, _, end = struct.unpack("<IIQ", body)
    return partition, end


def snapshot(writer: Writer, name: str, data: bytes) -> Iterator[bytes]:
    """The blocks of a snapshot."""
    yield writer.block(SNAPSHOT, named(name, len(data).to_bytes(8, "little")))
    for start in range(0, len(data), _PIECE):
        yield writer.block(PART, data[start : start + _PIECE])


def end(topics: int, groups: int, messages: int) -> bytes:
    """The body of the end mark."""
    return _END.pack(topics, groups, messages)


def read_end(body: bytes) -> tuple[int, int, int]:
    """Topics, groups and messages."""
    topics, groups, messages = _END.unpack(body)
    return topics, groups, messages
