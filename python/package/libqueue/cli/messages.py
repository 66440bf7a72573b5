"""`send`, `receive` and `tail`."""

from __future__ import annotations

import base64
import json
import re
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import IO, Annotated, Any, Literal

import typer
from rich.progress import Progress

import libqueue
from libqueue.cli.common import (
    FROM_HELP,
    JSON,
    STORE,
    errors,
    fail,
    folder,
    message_object,
    place_of,
    print_json,
    printable,
)

PREFETCH = 100
INTERRUPTED = 130
BAD_LINE = (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError)
KNOWN = {
    "payload", "payload_base64", "key", "key_base64", "headers", "partition",
    "delay", "deliver_at", "ttl", "priority", "dedup_id",
}  # fmt: skip


def send(
    context: typer.Context,
    topic: Annotated[str, typer.Argument(help="The topic; created if there is none.")],
    file: Annotated[Path | None, typer.Argument(help="Default: standard input.")] = None,
    key: Annotated[
        str | None, typer.Option("--key", metavar="REGEX", help="The key: what this matches.")
    ] = None,
    key_field: Annotated[
        int | None, typer.Option("--key-field", min=1, help="The key: this field, from 1.")
    ] = None,
    separator: Annotated[str, typer.Option(help="What is between fields.")] = ",",
    jsonl: Annotated[bool, typer.Option("--jsonl", help="Lines are JSON objects.")] = False,
    producer: Annotated[
        str | None,
        typer.Option(
            "--producer",
            metavar="NAME",
            help="Send by this named producer, under the lines' numbers: called again with the "
            "same lines, it sends those that were not sent. A name for each input.",
        ),
    ] = None,
    as_json: Annotated[bool, JSON] = False,
    store: Annotated[Path | None, STORE] = None,
) -> None:
    """Send each line of a file, or of standard input, as a message."""
    if sum((key is not None, key_field is not None, jsonl)) > 1:
        raise typer.BadParameter("--key, --key-field and --jsonl exclude each other")
    key_of = key_finder(key, key_field, separator)
    count = sent = before = 0
    with libqueue.open(folder(context, store)) as opened, source_of(file) as source:
        target = opened.topic(topic)
        till = target.producer(producer) if producer is not None else None
        known = till.last_sequence if till else 0
        try:
            for count, line in enumerate(progressing(source), 1):
                if count <= known:
                    before = count
                    continue
                given: dict[str, Any] = {"payload": line, "key": key_of(line)}
                if jsonl:
                    given = object_of(line)
                if till and "dedup_id" in given:
                    raise ValueError("a dedup_id; with --producer the line's number does the same")
                if till:
                    till.send(sequence=count, **given)
                else:
                    target.send(**given)
                sent += 1
        except KeyboardInterrupt:
            fail(f"interrupted; lines sent: {sent:,}", status=INTERRUPTED)
        except (*BAD_LINE, libqueue.Error) as error:
            fail(f"line {count}: {error}; lines sent before it: {sent:,}")
    if as_json:
        print_json({"sent": sent, **({"sent_before": before} if till else {})})
    else:
        more = f"; {before:,} lines were sent before" if before else ""
        errors.print(f"sent {sent:,} messages{more}")


@contextmanager
def source_of(file: Path | None) -> Iterator[IO[bytes]]:
    """The file, or standard input, which stays open."""
    if file is None:
        yield sys.stdin.buffer
    else:
        with file.open("rb") as opened:
            yield opened


def key_finder(
    pattern: str | None, field: int | None, separator: str
) -> Callable[[bytes], bytes | None]:
    """What finds the key in a line; None is no key."""
    if field is not None:
        place, between = field - 1, separator.encode()

        def by_field(line: bytes) -> bytes | None:
            fields = line.split(between)
            return fields[place] if place < len(fields) else None

        return by_field
    if pattern is None:
        return lambda line: None
    try:
        regex = re.compile(pattern.encode())
    except re.error as error:
        raise typer.BadParameter(f"--key {pattern!r}: {error}") from None

    def by_regex(line: bytes) -> bytes | None:
        found = regex.search(line)
        if found is None:
            return None
        return found.group(1) if regex.groups else found.group()

    return by_regex


def progressing(source: IO[bytes]) -> Iterator[bytes]:
    """Lines without their ends; with a bar where a terminal watches a file of known length."""
    status = None if not errors.is_terminal else Path(f"/dev/fd/{source.fileno()}").stat()
    if status is None or not stat.S_ISREG(status.st_mode):
        for line in source:
            yield line.rstrip(b"\r\n")
        return
    with Progress(console=errors, transient=True) as bar:
        task = bar.add_task("sending", total=status.st_size)
        for line in source:
            yield line.rstrip(b"\r\n")
            bar.advance(task, len(line))


def from_json(value: object) -> bytes:
    """Text, or base64 in an object, as bytes."""
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, dict) and isinstance(value.get("base64"), str):
        return base64.b64decode(value["base64"], validate=True)
    raise ValueError(f'expected text or {{"base64": …}}, found {json.dumps(value)}')


def moment(value: object) -> float | datetime | None:
    """A time of delivery: seconds since the epoch, or text such as 2026-01-31T12:00."""
    if value is None or (isinstance(value, int | float) and not isinstance(value, bool)):
        return value
    with suppress(ValueError):
        return datetime.fromisoformat(value if isinstance(value, str) else "")
    raise ValueError(
        f"deliver_at is {json.dumps(value)}; expected seconds since the epoch, or a time such as "
        '"2026-01-31T12:00", which is local where it names no zone'
    )


def object_of(line: bytes) -> dict[str, Any]:
    """What a JSON object says to send."""
    given = json.loads(line)
    if not isinstance(given, dict):
        raise ValueError("expected a JSON object")
    unknown = set(given) - KNOWN
    if unknown:
        raise ValueError(f"unknown fields {sorted(unknown)}; expected {sorted(KNOWN)}")

    def either(name: str) -> bytes | None:
        if given.get(f"{name}_base64") is not None:
            return from_json({"base64": given[f"{name}_base64"]})
        return None if given.get(name) is None else from_json(given[name])

    payload = either("payload")
    if payload is None:
        raise ValueError("it has neither payload nor payload_base64")
    named = given.get("headers") or {}
    if not isinstance(named, dict):
        raise ValueError(f"headers is {json.dumps(named)}; expected an object")
    headers = {name: from_json(value) for name, value in named.items()}
    found = {
        "payload": payload,
        "key": either("key"),
        "headers": headers,
        "partition": given.get("partition"),
        "delay": given.get("delay"),
        "deliver_at": moment(given.get("deliver_at")),
        "ttl": given.get("ttl"),
        "priority": given.get("priority", 0),
    }
    return found if given.get("dedup_id") is None else {**found, "dedup_id": given["dedup_id"]}


def show(message: libqueue.ReadMessage | libqueue.Delivery, as_json: bool) -> None:
    """A payload on a line, or a message as an object."""
    if as_json:
        print_json(message_object(message))
    elif sys.stdout.isatty():
        # A payload is not to command the terminal of whoever looks at it.
        print(printable(message.payload.decode(errors="backslashreplace")))
    else:
        sys.stdout.buffer.write(message.payload + b"\n")


def delivery_of(topic: libqueue.Topic, group: str) -> object:
    """How a group delivers; None where there is none."""
    return topic.group(group).config["delivery"] if group in topic.groups() else None


def receive(
    context: typer.Context,
    topic: Annotated[str, typer.Argument(help="The topic.")],
    group: Annotated[str, typer.Option("--group", "-g", help="Created if there is none.")],
    most: Annotated[int | None, typer.Option("--max", min=1, help="So many messages.")] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Wait for more.")] = False,
    no_ack: Annotated[
        bool, typer.Option("--no-ack", help="Hand back what was shown, at the end.")
    ] = False,
    selection: Annotated[
        str | None,
        typer.Option(
            "--filter",
            metavar="JSON",
            help="What it takes, by key and headers, where it is created.",
        ),
    ] = None,
    mode: Annotated[
        Literal["at_least_once", "at_most_once"] | None,
        typer.Option("--delivery", help="Of a new group; at_most_once settles before it shows."),
    ] = None,
    as_json: Annotated[bool, JSON] = False,
    store: Annotated[Path | None, STORE] = None,
) -> None:
    """Receive messages of a group, show them, and acknowledge them."""
    with libqueue.open(folder(context, store), create=False) as opened:
        found = opened.open_topic(topic)
        options: dict[str, Any] = {"delivery": mode, "filter": selection}
        given = {name: value for name, value in options.items() if value is not None}
        if no_ack and (mode or delivery_of(found, group)) == "at_most_once":
            raise typer.BadParameter("--no-ack: the group settles each message before it comes")
        # What is handed back in the end must not run out of time meanwhile, and fail by that.
        with found.consumer(group, auto_extend=no_ack, **given) as consumer:
            at_most_once = delivery_of(found, group) == "at_most_once"
            shown: list[libqueue.Delivery] = []
            left = most
            while left is None or left > 0:
                # What is settled before it is shown is taken one by one.
                ahead = 1 if at_most_once else PREFETCH
                wanted = ahead if left is None else min(left, ahead)
                batch = consumer.receive(wanted, None if follow else 0)
                if not batch:
                    return
                for delivery in batch:
                    delivery.start()
                    show(delivery, as_json)
                # Shown first, acknowledged then: a death in between shows them once more.
                sys.stdout.flush()
                if no_ack:
                    shown += batch
                else:
                    consumer.ack(batch)
                left = None if left is None else left - len(batch)


def tail(
    context: typer.Context,
    topic: Annotated[str, typer.Argument(help="The topic.")],
    start: Annotated[
        str | None,
        typer.Option("--from", help=f"{FROM_HELP}. Default: earliest, with --follow latest."),
    ] = None,
    partition: Annotated[int | None, typer.Option(min=0, help="Only this one.")] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Wait for more.")] = False,
    as_json: Annotated[bool, JSON] = False,
    store: Annotated[Path | None, STORE] = None,
) -> None:
    """Show the messages of a topic without a group; nothing is settled or written."""
    place = place_of(start or ("latest" if follow else "earliest"))
    partitions = None if partition is None else [partition]
    with libqueue.open(folder(context, store), read_only=True) as opened:
        found = opened.open_topic(topic)
        with found.reader(place, partitions, follow=follow) as reader:
            for message in reader:
                show(message, as_json)
                if follow:
                    sys.stdout.flush()
            sys.stdout.flush()
