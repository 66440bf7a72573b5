"""Parts of messages and settings between their bytes and JSON."""

from __future__ import annotations

import base64
import struct
import zlib
from typing import Any

_PRIORITY, _DELIVER_AT, _EXPIRES_AT, _LETTER = 1, 2, 3, 4
_TAGS = {
    "priority": (_PRIORITY, "B"),
    "deliver_at_ms": (_DELIVER_AT, "<q"),
    "expires_at_ms": (_EXPIRES_AT, "<q"),
    "letter_of_group": (_LETTER, "<Q"),
}


def text_or_base64(name: str, value: bytes) -> dict[str, str]:
    """Bytes as JSON: text where they are UTF-8, else in base64 under another name."""
    try:
        return {name: value.decode()}
    except UnicodeDecodeError:
        return {f"{name}_base64": base64.b64encode(value).decode()}


def bytes_of(fields: dict[str, Any], name: str) -> bytes | None:
    """As `text_or_base64`, taken off an object."""
    text, coded = fields.pop(name, None), fields.pop(f"{name}_base64", None)
    if text is not None and coded is not None:
        raise ValueError(f"both {name} and {name}_base64; give one of them")
    if coded is not None:
        return base64.b64decode(_is(coded, str, f"{name}_base64"), validate=True)
    return None if text is None else _is(text, str, name).encode()


def number_of(fields: dict[str, Any], name: str, default: int | None = None) -> int:
    """A whole number, taken off an object."""
    found = fields.pop(name, default)
    if isinstance(found, bool) or not isinstance(found, int) or not 0 <= found < 1 << 63:
        raise ValueError(f"{name} is {found!r}; expected a whole number")
    return found


def _is(value: Any, kind: type, name: str) -> Any:
    if not isinstance(value, kind):
        raise TypeError(f"{name} is {value!r}; expected {kind.__name__}")
    return value


def headers_json(block: bytes) -> Any:
    """Headers: an object, or a list of pairs where a name comes twice."""
    pairs: list[tuple[str, Any]] = []
    count = int.from_bytes(block[:2], "little") if block else 0
    at = 2
    for _ in range(count):
        name_size, value_size = struct.unpack_from("<HI", block, at)
        at += 6
        name = block[at : at + name_size].decode()
        at += name_size
        value = block[at : at + value_size]
        at += value_size
        found = text_or_base64("base", value)
        pairs.append((name, found["base"] if "base" in found else {"base64": found["base_base64"]}))
    named = dict(pairs)
    return named if len(named) == len(pairs) else [list(pair) for pair in pairs]


def headers_block(headers: Any) -> bytes:
    """As `headers_json`, back."""
    if not headers:
        return b""
    pairs = list(headers.items()) if isinstance(headers, dict) else _is(headers, list, "headers")
    block = len(pairs).to_bytes(2, "little")
    for name, value in pairs:
        raw = _is(name, str, "a header's name").encode()
        if isinstance(value, dict):
            data = base64.b64decode(_is(value.get("base64"), str, f"header {name!r}"))
        else:
            data = _is(value, str, f"header {name!r}").encode()
        block += struct.pack("<HI", len(raw), len(data)) + raw + data
    return block


def extension_json(extension: bytes) -> dict[str, Any]:
    """What a message says of its delivery."""
    found: dict[str, Any] = {}
    at = 4
    while at + 2 <= len(extension):
        tag, size = extension[at], extension[at + 1]
        for name, (known, form) in _TAGS.items():
            if tag == known and size == struct.calcsize(form):
                value = struct.unpack_from(form, extension, at + 2)[0]
                found[name] = f"{value:016x}" if tag == _LETTER else value
        at += 2 + size
    if extension_bytes(dict(found)) == extension:
        return found
    return {"extension_base64": base64.b64encode(extension).decode()}


def extension_bytes(fields: dict[str, Any]) -> bytes:
    """As `extension_json`, back; taken off an object."""
    coded = bytes_of(fields, "extension")
    if coded is not None:
        return coded
    body = b""
    for name, (tag, form) in _TAGS.items():
        value = fields.pop(name, None)
        if value is None or (tag == _PRIORITY and value == 0):
            continue
        number = int(_is(value, str, name), 16) if tag == _LETTER else _is(value, int, name)
        if tag == _PRIORITY and not 0 <= number <= 9:
            raise ValueError(f"priority is {number}; expected 0 to 9")
        try:
            body += bytes([tag, struct.calcsize(form)]) + struct.pack(form, number)
        except struct.error:
            raise ValueError(f"{name} is {number}; expected a smaller number") from None
    return zlib.crc32(body).to_bytes(4, "little") + body if body else b""


def settings_json(text: bytes) -> dict[str, str]:
    """The fields of `topic.meta` or `group.meta`."""
    lines = text.decode().splitlines()[1:-1]
    return dict(line.split("=", 1) for line in lines)


def settings_text(kind: str, fields: dict[str, Any]) -> bytes:
    """As `settings_json`, back."""
    text = f"libqueue {kind} 1\n"
    for name, value in fields.items():
        if "\n" in _is(value, str, name) or "=" in name:
            raise ValueError(f"{name} is {value!r}; expected one line")
        text += f"{name}={value}\n"
    raw = text.encode()
    return raw + f"crc={zlib.crc32(raw):08x}\n".encode()


def partition_of(key: bytes, partitions: int) -> int:
    """The partition of a key, as Apache Kafka's default partitioner has it."""
    mask, mixer, length = 0xFFFFFFFF, 0x5BD1E995, len(key)
    value = (0x9747B28C ^ length) & mask
    whole = length - length % 4
    for (word,) in struct.iter_unpack("<I", key[:whole]):
        mixed = word * mixer & mask
        mixed = (mixed ^ mixed >> 24) * mixer & mask
        value = (value * mixer & mask) ^ mixed
    if length % 4:
        value = ((value ^ int.from_bytes(key[whole:], "little")) * mixer) & mask
    value = (value ^ value >> 13) * mixer & mask
    value ^= value >> 15
    return (value & 0x7FFFFFFF) % partitions
