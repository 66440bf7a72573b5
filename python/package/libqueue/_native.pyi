"""Stores, topics, consumers and readers of libqueue."""

import os
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Literal, TypedDict, final

from typing_extensions import Buffer, Self, Unpack

__all__ = [
    "Consumer",
    "DeadLetter",
    "Delivery",
    "Group",
    "Message",
    "MessageId",
    "ReadMessage",
    "Reader",
    "Store",
    "Topic",
    "__version__",
    "dump",
    "open",
    "recover",
    "verify",
]

__version__: str

_Durability = Literal["process", "sync", "interval"]
_Start = Literal["earliest", "latest"] | int | datetime

class _GroupOptions(TypedDict, total=False):
    ordering: Literal["key", "none"]
    lease: float
    max_attempts: int
    backoff: tuple[float, float, float]
    dead_letter_topic: str | None
    start: _Start
    window: int

class _StoreStats(TypedDict):
    topics: int
    members: int
    disk_bytes: int

class _PartitionStats(TypedDict):
    earliest_offset: int
    next_offset: int
    durable_offset: int
    bytes: int
    segments: int

class _TopicStats(TypedDict):
    messages: int
    bytes: int
    segments: int
    partitions: list[_PartitionStats]

class _GroupStats(TypedDict):
    lag_messages: int
    lag_bytes: int
    lag_seconds: float
    leased: int
    delayed: int
    held: int
    ready: int
    dead_lettered: int
    expired: int
    lost_messages: int
    damaged: int
    delivered: int
    acked: int
    failed: int
    redelivered: int
    consumers: int

class _Damage(TypedDict):
    file: Path
    position: int
    what: str
    lost: tuple[int, int] | None

class _PartitionReport(TypedDict):
    topic: str
    partition: int
    messages: int
    readable: list[tuple[int, int]]
    lost: list[tuple[int, int]]

class _Report(TypedDict):
    files: int
    bytes: int
    topics: int
    groups: int
    messages: int
    partitions: list[_PartitionReport]
    damage: list[_Damage]
    unknown: list[Path]

class _Recovered(TypedDict):
    id: str
    topics: int
    groups: int
    messages: int
    losses: list[_Damage]
    notes: list[str]
    source: _Report

class _TopicConfig(TypedDict):
    partitions: int
    durability: _Durability | None
    sync_interval: float | None
    max_message_bytes: int

class _GroupConfig(TypedDict):
    ordering: Literal["key", "none"]
    lease: float
    max_attempts: int
    backoff: tuple[float, float, float]
    dead_letter_topic: str | None
    window: int

def open(
    path: str | os.PathLike[str],
    *,
    create: bool = True,
    read_only: bool = False,
    durability: _Durability = "process",
    sync_interval: float | None = None,
    mode: int = 0o660,
    lock_timeout: float = 10.0,
) -> Store:
    """Open the store in a folder, creating it where there is none.

    `durability` says what a power loss may cost once `send` has returned: with `"process"` what the
    kernel had not written back, with `"interval"` at most the last `sync_interval` (seconds, 0.01
    by default), with `"sync"` nothing. A killed process never costs a message. `read_only` writes
    nothing at all; `mode` are the permission bits of created files; `lock_timeout` is how long (in
    seconds) to wait for a lock that a live process holds.

    Raises `NotFound`, `NotAStore`, `Incompatible`, `NetworkFilesystem`, `PermissionDenied`,
    `ReadOnly`, `Damaged`, `InvalidArgument` or `Stuck`; a store that cannot be opened is not
    changed.

        with libqueue.open("queue", durability="sync") as store:
            store.topic("orders").send(b"paid")
    """

def verify(
    path: str | os.PathLike[str], progress: Callable[[int, int], object] | None = None
) -> _Report:
    """Check all of a store that carries a message or a position; it is neither joined nor written.

    `progress` is called now and then with the bytes that are done and those there are. All damage
    is listed with its file and position; a tail that a power loss tore, and that the next open
    cuts, is none. For each partition it says which offsets can be read, and copied by `recover`,
    and which are lost, as pairs of the first and the last. Raises `NotAStore` or `NotFound` where
    there is no store.
    """

def recover(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    progress: Callable[[int, int], object] | None = None,
    *,
    all: bool = False,
) -> _Recovered:
    """Copy everything readable out of a damaged store into a new one, and tell what was lost.

    The store at `source` is neither joined nor changed; nobody may have it in use. `target` is a
    new or an empty folder. Messages keep offset, timestamp, key, headers and payload, groups their
    positions; a group whose window is damaged begins again where all before is settled for sure.
    With `all` also what stands whole behind the place where a power loss tore a log is copied;
    a store that is opened cuts it.
    `progress` is called as by `verify`; an exception that it raises ends the copy and leaves
    nothing. Raises `Busy`, `NotFound`, `NotAStore`, `Incompatible`, `AlreadyExists`,
    `InvalidArgument` or `DiskFull`.

        lost = libqueue.recover("damaged", "recovered")["losses"]
    """

def dump(path: str | os.PathLike[str], write: Callable[[str], object]) -> None:
    """Decode one file of a store for a person; `write` is called with text.

    Raises `InvalidArgument` for a file that is none of a store's.

        libqueue.dump("queue/topics/orders/0/reserve", sys.stdout.write)
    """

@final
class Store:
    """A folder of topics that this process has open. Made by `libqueue.open`.

    May be used from several threads. A context manager: leaving it closes the store.
    """

    @property
    def path(self) -> Path:
        """The store's folder, absolute."""
    @property
    def id(self) -> str:
        """The store's id, which stays the same wherever its folder is moved."""
    def topic(
        self,
        name: str,
        *,
        partitions: int | None = None,
        durability: _Durability | None = None,
        sync_interval: float | None = None,
        max_message_bytes: int | None = None,
    ) -> Topic:
        """Open the topic, creating it where there is none.

        `partitions` is 1 to 1024 (1 by default); `durability` overrides the store's;
        `max_message_bytes` limits key, headers and payload of a message (1 GiB by default). An
        existing topic keeps its stored configuration: an argument that contradicts it raises
        `ConfigMismatch`. A name that cannot be a topic's raises `InvalidName`.
        """
    def create_topic(
        self,
        name: str,
        *,
        partitions: int | None = None,
        durability: _Durability | None = None,
        sync_interval: float | None = None,
        max_message_bytes: int | None = None,
    ) -> Topic:
        """Create the topic; as `topic`, but raises `AlreadyExists` if there is one."""
    def open_topic(self, name: str) -> Topic:
        """Open an existing topic; raises `NotFound` if there is none."""
    def topics(self) -> list[str]:
        """Return the names of the topics, sorted."""
    def stats(self) -> _StoreStats:
        """Return the numbers of the store: topics, members (openings), bytes on disk."""
    def sync(self) -> None:
        """Put on disk all that was sent to the topics that this process has open."""
    def close(self) -> None:
        """Leave the store. Closing twice is fine.

        Raises `Busy`, naming them, while consumers or readers are open. Topics and groups need not
        be closed; used afterwards they raise `Closed`.
        """
    def __enter__(self) -> Self: ...
    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...

@final
class Topic:
    """A named stream of messages. Made by `Store.topic`. May be used from several threads."""

    @property
    def name(self) -> str:
        """The topic's name."""
    @property
    def partitions(self) -> int:
        """The number of partitions."""
    @property
    def config(self) -> _TopicConfig:
        """The stored configuration."""
    def send(
        self,
        payload: Buffer,
        *,
        key: Buffer | None = None,
        headers: Mapping[str, Buffer] | None = None,
        partition: int | None = None,
        timestamp: float | None = None,
    ) -> MessageId:
        """Send one message; return its id once it survives `kill -9` of any process.

        What a power loss may cost is the topic's durability. Messages of one `key` keep their order
        and go to one partition (murmur2, as Apache Kafka's); without a key the partitions take
        turns. `timestamp` is in seconds since the epoch, now by default, and is raised to that of
        the partition's last message if it is below.

        Raises `TooLarge`, `DiskFull`, `IoError`, `Poisoned`, `ReadOnly`, `InvalidArgument` (no such
        partition), `Stuck` or `Closed`; then the message is not in the log.

            topic.send(b"paid", key=b"user-12345", headers={"trace": b"42"})
        """
    def send_many(self, messages: Iterable[Buffer | Message]) -> list[MessageId]:
        """Send all or, on an error, none: one lock and one publish for each partition.

        A batch for several partitions is whole in each of them. A death in the middle of the call
        may leave the parts of some partitions in the log and not the others', and a failed sync may
        take some back and not others: then the error names the partitions whose part is in the log.

        topic.send_many([b"a", libqueue.Message(b"b", key=b"k")])
        """
    def durable_offsets(self) -> list[int]:
        """Return for each partition the first offset that a power loss may take."""
    def wait_durable(self, id: MessageId, timeout: float | None = None) -> None:
        """Return once the message is on disk; raises `Timeout` after `timeout` seconds.

        `None` waits for ever; answers Ctrl-C. Raises `NotFound` for an id that was never sent,
        `InvalidArgument` for one of another topic, and `Poisoned` when the disk refuses.
        """
    def sync(self) -> None:
        """Put everything sent to the topic on disk."""
    def consumer(
        self, group: str, *, name: str | None = None, **config: Unpack[_GroupOptions]
    ) -> Consumer:
        """Open a consumer of a group, which is created where there is none.

        `name` is shown in dead letters. The configuration of the group: `ordering` is `"key"` (a
        message waits for the earlier ones of its key) or `"none"`; `lease` in seconds (30) is how
        long a message is handed out for; `max_attempts` (5) is after how many failures it becomes a
        dead letter; `backoff` (1.0, 300.0, 2.0) is the first wait, the longest, and the factor;
        `dead_letter_topic` is `TOPIC.GROUP.dlq` by default and `None` drops; `start` is where a new
        group begins (`"earliest"`); `window` (65,536) is how far it may run ahead of its oldest
        unsettled message. An existing group keeps its stored configuration: an argument that
        contradicts it raises `ConfigMismatch`.

            with topic.consumer("billing", lease=60.0) as consumer:
                for delivery in consumer:
                    with delivery:
                        charge(delivery.payload)
        """
    def create_group(self, name: str, **config: Unpack[_GroupOptions]) -> Group:
        """Open the group, creating it durably where there is none; see `consumer`."""
    def group(self, name: str) -> Group:
        """Open an existing group; raises `NotFound` if there is none."""
    def groups(self) -> list[str]:
        """Return the names of the topic's groups, sorted."""
    def reader(
        self,
        start: _Start | None = None,
        partitions: list[int] | None = None,
        *,
        follow: bool = False,
    ) -> Reader:
        """Open a reader, at the earliest message by default.

        A `start` that is an offset needs one partition to be named. With `follow` iteration waits
        at the end for more.
        """
    def stats(self) -> _TopicStats:
        """Return what the topic holds: messages, bytes, segments, and the same by partition."""

@final
class Message:
    """A message for `Topic.send_many`: what `Topic.send` takes, as an object."""

    def __new__(
        cls,
        payload: Buffer,
        *,
        key: Buffer | None = None,
        headers: Mapping[str, Buffer] | None = None,
        partition: int | None = None,
        timestamp: float | None = None,
    ) -> Self: ...
    @property
    def payload(self) -> Buffer:
        """The payload."""
    @property
    def key(self) -> Buffer | None:
        """The key, or None."""
    @property
    def headers(self) -> Mapping[str, Buffer] | None:
        """The headers, or None."""
    @property
    def partition(self) -> int | None:
        """The partition, or None for the key's or each in turn."""
    @property
    def timestamp(self) -> float | None:
        """Seconds since the epoch, or None for now."""

@final
class MessageId:
    """Names a message for ever: an id is never used twice.

    Compares and sorts by topic, partition and offset; may be a key of a dict.
    """

    def __new__(cls, topic_id: int, partition: int, offset: int) -> Self: ...
    @property
    def topic_id(self) -> int:
        """The id of the topic."""
    @property
    def partition(self) -> int:
        """The partition of the topic."""
    @property
    def offset(self) -> int:
        """The number of the message in its partition."""
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
    def __lt__(self, other: MessageId, /) -> bool: ...
    def __le__(self, other: MessageId, /) -> bool: ...
    def __gt__(self, other: MessageId, /) -> bool: ...
    def __ge__(self, other: MessageId, /) -> bool: ...
    def __hash__(self) -> int: ...

@final
class Consumer:
    """One worker of a group. Made by `Topic.consumer`. May be used from several threads.

    A context manager: leaving it hands its leases back. Iterating waits for messages, answers
    Ctrl-C, and ends only when the consumer is closed.
    """

    @property
    def group(self) -> str:
        """The group's name."""
    @property
    def name(self) -> str:
        """The consumer's name."""
    def receive(self, max_messages: int = 1, timeout: float | None = None) -> list[Delivery]:
        """Return up to `max_messages`, waiting for the first at most `timeout` seconds.

        `None` waits for ever, 0 does not wait; empty after the timeout. Each message is leased from
        now on. Answers Ctrl-C. Raises `Damaged` once for a message whose bytes are not what was
        sent, by the next call if this one returns messages; it is settled, and receiving goes on
        behind it.
        """
    def ack(self, deliveries: Delivery | Iterable[Delivery]) -> None:
        """Acknowledge: the messages are done.

        Raises `StaleReceipt` whose `stale` lists those that were not settled, since they had been
        handed out again or settled before; all others are settled. So do the other settle calls.
        """
    def nack(
        self,
        deliveries: Delivery | Iterable[Delivery],
        *,
        delay: float | None = None,
        error: str | None = None,
    ) -> None:
        """Fail the messages: they come back after `delay` seconds, or the group's backoff.

        After `max_attempts` failures they become dead letters, with `error` as the reason.
        """
    def release(self, deliveries: Delivery | Iterable[Delivery]) -> None:
        """Hand the messages back, uncounted; they are ready at once."""
    def extend(self, deliveries: Delivery | Iterable[Delivery], seconds: float) -> None:
        """Let the leases end so many seconds from now."""
    def dead_letter(self, deliveries: Delivery | Iterable[Delivery], reason: str) -> None:
        """Give up on the messages now: they become dead letters."""
    def close(self) -> None:
        """Hand all leases back, uncounted. Closing twice is fine."""
    def __iter__(self) -> Self: ...
    def __next__(self) -> Delivery: ...
    def __enter__(self) -> Self: ...
    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...

@final
class ReadMessage:
    """A message that a `Reader` read."""

    @property
    def payload(self) -> bytes:
        """The payload, copied."""
    @property
    def view(self) -> memoryview:
        """The payload in the mapped log, not copied and read-only; may outlive the store."""
    @property
    def key(self) -> bytes | None:
        """The key, or None."""
    @property
    def headers(self) -> dict[str, bytes]:
        """The headers; of a name that comes twice the last value."""
    @property
    def timestamp(self) -> float:
        """Seconds since the epoch; never falls within a partition."""
    @property
    def timestamp_ns(self) -> int:
        """Nanoseconds since the epoch."""
    @property
    def topic(self) -> str:
        """The topic's name."""
    @property
    def partition(self) -> int:
        """The partition."""
    @property
    def offset(self) -> int:
        """The number in the partition."""
    @property
    def id(self) -> MessageId:
        """The message's id."""
    def __len__(self) -> int: ...

@final
class Delivery:
    """A message handed to a consumer until its deadline.

    A context manager: leaving it cleanly acknowledges the message; an exception fails it, with the
    exception's text, and goes on. What is no `Exception`, as KeyboardInterrupt, hands it back
    uncounted. A message that was settled inside is left as it is.
    """

    @property
    def payload(self) -> bytes:
        """The payload, copied."""
    @property
    def view(self) -> memoryview:
        """The payload in the mapped log, not copied and read-only; may outlive the store."""
    @property
    def key(self) -> bytes | None:
        """The key, or None."""
    @property
    def headers(self) -> dict[str, bytes]:
        """The headers; of a name that comes twice the last value."""
    @property
    def timestamp(self) -> float:
        """Seconds since the epoch; never falls within a partition."""
    @property
    def timestamp_ns(self) -> int:
        """Nanoseconds since the epoch."""
    @property
    def topic(self) -> str:
        """The topic's name."""
    @property
    def partition(self) -> int:
        """The partition."""
    @property
    def offset(self) -> int:
        """The number in the partition."""
    @property
    def id(self) -> MessageId:
        """The message's id."""
    @property
    def attempt(self) -> int:
        """The number of this hand-out, from 1; counts released ones too."""
    @property
    def deadline(self) -> float:
        """When the lease ends, in seconds since the epoch, if the wall clock does not jump.

        As it was when the message was handed out: `extend` does not change it.
        """
    @property
    def deadline_ns(self) -> int:
        """When the lease ends, in nanoseconds since the epoch."""
    def start(self) -> None:
        """Say that work on it begins; iterating and `with` do so.

        If this process dies, only started deliveries of a batch are charged with a failure, or all
        of it if none was started.
        """
    def ack(self) -> None:
        """Acknowledge: the message is done; raises `StaleReceipt` if the lease was lost."""
    def nack(self, delay: float | None = None, error: str | None = None) -> None:
        """Fail the message: it comes back after `delay` seconds, or the group's backoff."""
    def release(self) -> None:
        """Hand the message back, uncounted; it is ready at once."""
    def extend(self, seconds: float) -> None:
        """Let the lease end so many seconds from now."""
    def dead_letter(self, reason: str) -> None:
        """Give up on the message now: it becomes a dead letter."""
    def __len__(self) -> int: ...
    def __enter__(self) -> Self: ...
    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...

@final
class Reader:
    """A cursor without a group: sees everything, settles nothing. Made by `Topic.reader`.

    For one thread at a time. A context manager. Iterating ends at the end, or waits there with
    `follow=True`.
    """

    def receive(self, max_messages: int = 1, timeout: float | None = None) -> list[ReadMessage]:
        """Return up to `max_messages`, waiting for the first at most `timeout` seconds.

        `None` waits for ever, 0 does not wait; empty at the end. Answers Ctrl-C. Raises `Damaged`
        once for a record whose bytes are not what was sent, and goes on behind it.
        """
    def seek(self, start: _Start) -> None:
        """Move to the earliest or latest message, an offset (of one partition), or a time."""
    def close(self) -> None:
        """End the reader. Closing twice is fine."""
    def __iter__(self) -> Self: ...
    def __next__(self) -> ReadMessage: ...
    def __enter__(self) -> Self: ...
    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...

@final
class Group:
    """A group, to look at and to manage. Made by `Topic.group` and `Topic.create_group`."""

    @property
    def name(self) -> str:
        """The group's name."""
    @property
    def config(self) -> _GroupConfig:
        """The stored configuration."""
    def stats(self) -> _GroupStats:
        """Return where the group stands: its lag, what is leased, delayed, dead-lettered."""
    def dead_letters(self, limit: int | None = None) -> list[DeadLetter]:
        """Return up to `limit` dead letters of this group, oldest first."""

@final
class DeadLetter:
    """A dead letter of a group: the message, and its story."""

    @property
    def message(self) -> ReadMessage:
        """The dead letter itself, with its id in the dead-letter topic."""
    @property
    def source_partition(self) -> int:
        """The partition it was in."""
    @property
    def source_offset(self) -> int:
        """The offset it had."""
    @property
    def attempts(self) -> int:
        """How often it was handed out."""
    @property
    def failures(self) -> int:
        """How many of those failed."""
    @property
    def error(self) -> str:
        """The last error."""
    @property
    def consumer(self) -> str:
        """The last consumer."""
