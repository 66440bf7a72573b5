"""Stores, topics, consumers and readers of libqueue."""

import os
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Protocol, TypedDict, final

from typing_extensions import Buffer, Self, Unpack

__all__ = [
    "Consumer",
    "ConsumerStats",
    "DeadLetter",
    "Delivery",
    "Group",
    "Message",
    "MessageId",
    "Peeked",
    "Producer",
    "ReadMessage",
    "Reader",
    "SeekPartition",
    "Snapshot",
    "Store",
    "Topic",
    "Transaction",
    "_Receiving",
    "__version__",
    "dump",
    "export_lines",
    "import_lines",
    "open",
    "recover",
    "verify",
]

__version__: str

_Durability = Literal["process", "sync", "interval"]
_OnFull = Literal["reject", "block", "throttle", "drop_oldest"]
_Delivery = Literal["at_least_once", "at_most_once"]
_Start = Literal["earliest", "latest"] | int | datetime
_Filter = Mapping[str, Any] | str
_State = Literal["fresh", "ready", "delayed", "leased", "held", "dying", "settled", "holding"]

class _GroupOptions(TypedDict, total=False):
    ordering: Literal["key", "partition", "none"]
    lease: float
    max_lease: float | None
    max_attempts: int
    backoff: tuple[float, float, float]
    dead_letter_topic: str | None
    on_expired: Literal["drop", "dead_letter"]
    start: _Start
    window: int
    filter: _Filter
    delivery: _Delivery
    brake: tuple[int, float] | None
    on_dead_letter: Literal["continue", "hold_key"]

class _TopicChanges(TypedDict, total=False):
    partitions: int | None
    durability: _Durability | None
    sync_interval: float | None
    max_message_bytes: int | None
    max_messages: int | None
    max_bytes: int | None
    on_full: _OnFull | None
    send_timeout: float | None
    low_mark: int | None
    high_mark: int | None
    min_free_bytes: int | None
    retention: Literal["settled", "forever"] | float | None
    retention_bytes: int | None
    on_lost: Literal["count", "dead_letter"] | None
    dedup_window: float | Literal["until_settled"] | None
    compaction: bool | None
    tombstone_grace: float | None

class _GroupChanges(TypedDict, total=False):
    ordering: Literal["key", "partition", "none"]
    lease: float
    max_lease: float | None
    max_attempts: int
    backoff: tuple[float, float, float]
    dead_letter_topic: str | None
    on_expired: Literal["drop", "dead_letter"]
    window: int
    filter: _Filter
    delivery: _Delivery
    brake: tuple[int, float] | None
    on_dead_letter: Literal["continue", "hold_key"]

class _WritesText(Protocol):
    def write(self, text: str, /) -> object: ...

class _Reads(Protocol):
    def read(self, size: int, /) -> bytes: ...

class _Writes(Protocol):
    def write(self, data: bytes, /) -> object: ...

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
    sent: int
    sent_bytes: int

class _TopicStats(TypedDict):
    messages: int
    bytes: int
    segments: int
    partitions: list[_PartitionStats]
    pinned_by: Literal["nothing", "retention", "group", "dead_letters"]
    pinned_group: str | None
    pinned_seconds: float
    pinned_bytes: int
    compacted_messages: int
    compacted_bytes: int
    sent: int
    sent_bytes: int
    removed_messages: int
    removed_bytes: int
    waiting_senders: int
    lock_waits: int
    lock_wait_seconds: float
    syncs: int
    sync_seconds: float
    sync_longest_seconds: float

class _GroupStats(TypedDict):
    lag_messages: int
    lag_bytes: int
    lag_seconds: float
    leased: int
    delayed: int
    held: int
    ready: int
    holding: int
    dead_lettered: int
    timed_out: int
    expired: int
    lost_messages: int
    damaged: int
    delivered: int
    acked: int
    failed: int
    redelivered: int
    consumers: int
    paused: bool
    filtered: int
    paused_by: Literal["", "user", "brake"]
    paused_at: float | None
    redriven: int
    purged: int
    dropped: int
    dying: int
    waiting_receivers: int
    window_used: float
    lock_waits: int
    lock_wait_seconds: float
    syncs: int
    sync_seconds: float
    sync_longest_seconds: float

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
    max_messages: int | None
    max_bytes: int | None
    on_full: _OnFull
    send_timeout: float | None
    low_mark: int
    high_mark: int
    min_free_bytes: int
    retention: Literal["settled", "forever"] | float
    retention_bytes: int
    on_lost: Literal["count", "dead_letter"]
    dedup_window: float | Literal["until_settled"]
    compaction: bool
    tombstone_grace: float

class _LeaseConfig(TypedDict, total=False):
    lease: float
    max_lease: float | None
    max_attempts: int
    backoff: tuple[float, float, float]

class _GroupConfig(_LeaseConfig):
    ordering: Literal["key", "partition", "none"]
    delivery: _Delivery
    dead_letter_topic: str | None
    on_expired: Literal["drop", "dead_letter"]
    window: int
    filter: dict[str, Any]
    brake: tuple[int, float] | None
    on_dead_letter: Literal["continue", "hold_key"]

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
    a store that is opened cuts it. What was sent under dedup ids and by producers is known as far
    as its messages are copied, and transactions that had happened are not applied any further;
    `notes` say how much that concerns.
    `progress` is called as by `verify`; an exception that it raises ends the copy and leaves
    nothing. Raises `Busy`, `NotFound`, `NotAStore`, `Incompatible`, `AlreadyExists`,
    `InvalidArgument` or `DiskFull`.

        lost = libqueue.recover("damaged", "recovered")["losses"]
    """

def export_lines(
    store: Store,
    to: str | os.PathLike[str] | _WritesText,
    topics: Sequence[str] | None = None,
    *,
    progress: Callable[[int, int], object] | None = None,
) -> dict[str, int]:
    """Write topics, or all, as JSON lines; as `Store.export_topics` otherwise.

    `to` is a path, or anything with `write` that takes text. `progress` as of `Store.backup`. The
    `bytes` of the result are those of the lines.

        lines.export_lines(store, sys.stdout, ["orders"])
    """

def import_lines(
    store: Store,
    source: str | os.PathLike[str] | Iterable[str] | Iterable[bytes],
    *,
    append: bool = False,
    progress: Callable[[int, int], object] | None = None,
) -> dict[str, int]:
    """Make the topics of JSON lines; as `Store.import_topics` otherwise.

    `source` is a path, or lines one by one, as text or bytes. All lines are read before anything
    is made. A bad one raises `InvalidArgument`, a `ValueError`, with its number, and then nothing
    is. For `progress` reading them is the first half.

        lines.import_lines(store, ['{"topic": "orders", "payload": "paid"}'])
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
    def topic(self, name: str, **config: Unpack[_TopicChanges]) -> Topic:
        """Open the topic, creating it where there is none.

        `partitions` is 1 to 1024 (1 by default); `durability` overrides the store's;
        `max_message_bytes` limits key, headers and payload of a message (1 GiB by default).
        `max_messages` and `max_bytes` limit what some group has not settled, 0 for no limit;
        `on_full` says what becomes of more (`"reject"`, `"block"`, `"throttle"`, `"drop_oldest"`),
        `send_timeout` how many seconds a send waits for room, `low_mark` and `high_mark` (50, 90)
        between how many percent of the limit senders are slowed; `min_free_bytes` is left free on
        the disk. An existing topic keeps its stored configuration: an argument that contradicts it
        raises `ConfigMismatch`. A name that cannot be a topic's raises `InvalidName`.

        `dedup_window` is for how long a `dedup_id` keeps its message from being sent again:
        seconds, `"until_settled"` (until every group has settled the message), or 0, the default,
        which refuses them.

        Whole segments of messages are removed by `retention`: "settled" (the default) as soon as
        every group has settled them, never while there is no group; a number of seconds once their
        last message is so old, settled or not; "forever" never. `retention_bytes` removes the
        oldest, settled or not, beyond so many bytes on disk; 0, the default, is no limit. What a
        time or the bytes take from a group that has not settled it is counted as `lost_messages`
        of the group, or, with `on_lost="dead_letter"`, becomes its dead letters first.

            store.topic("clicks", retention=7 * 86_400, retention_bytes=10 << 30)

        With `compaction=True` only the last message of each key is kept, at its offset, and what
        has no key: of segments that every group has settled, housekeeping takes the rest. A
        message with a key and an empty payload is a tombstone, which goes too, `tombstone_grace`
        seconds (a day by default) after it was sent. `retention` then is "forever" unless seconds
        are given; "settled" is refused.

            store.topic("prices", compaction=True, tombstone_grace=3600)
        """
    def create_topic(self, name: str, **config: Unpack[_TopicChanges]) -> Topic:
        """Create the topic; as `topic`, but raises `AlreadyExists` if there is one."""
    def open_topic(self, name: str) -> Topic:
        """Open an existing topic; raises `NotFound` if there is none."""
    def delete_topic(self, name: str) -> None:
        """Delete a topic: its messages, its groups and their positions, durably.

        Whoever has it open in any process gets `NotFound` from the next call on, and so does who
        waits for messages; deliveries and views stay good. Topics that its groups' dead letters are
        in stay. Raises `NotFound` where there is none, and `Busy` where a group of another topic
        has its dead letters in it.

            store.delete_topic("trial")
        """
    def transaction(self) -> Transaction:
        """Begin a transaction: deliveries are settled and messages sent, all or nothing.

        Leaving it cleanly commits it, an exception drops all of it. Raises `ReadOnly`.

            with store.transaction() as tx:
                tx.send(invoices, b"invoice", key=delivery.key)
                tx.ack(delivery)
        """
    def topics(self) -> list[str]:
        """Return the names of the topics, sorted."""
    def stats(self) -> _StoreStats:
        """Return the numbers of the store: topics, members (openings), bytes on disk."""
    def sync(self) -> None:
        """Put on disk all that was sent to the topics that this process has open."""
    def backup(
        self,
        path: str | os.PathLike[str],
        progress: Callable[[int, int], object] | None = None,
    ) -> dict[str, int]:
        """Copy the store into a new folder while it is in use: a store of its own.

        It has the same ids, offsets, configuration, positions and dead letters. Nobody waits for
        it. It holds what had been sent when the call began; what is settled meanwhile may come
        once more in the copy. Nobody has a lease there: what was handed out is ready, and has not
        failed. It gets its name once it is whole and on disk. `progress` is called now and then
        with the bytes that are done and those there are; an exception that it raises ends the
        backup and leaves nothing. Raises `AlreadyExists`, `InvalidArgument`, `NotFound`, `Busy`,
        `Damaged`, `ReadOnly` or `DiskFull`.

            store.backup("queue-copy")["topics"]
        """
    def export_topics(
        self,
        to: str | os.PathLike[str] | _Writes,
        topics: Sequence[str] | None = None,
        *,
        progress: Callable[[int, int], object] | None = None,
    ) -> dict[str, int]:
        """Write topics, or all, in the native format: with groups, positions and dead letters.

        `to` is a path, or anything with `write` that takes bytes. Taken at one moment, as a
        backup is, while the store is in use. A file gets its name once it is whole and on disk.
        The topics that dead letters of the groups are in go along. `progress` as of `backup`.
        Raises `NotFound`, `InvalidName`, `Damaged`, `Busy`, `ReadOnly` or `DiskFull`.

            store.export_topics("orders.lqx", ["orders"])["messages"]
        """
    def import_topics(
        self,
        source: str | os.PathLike[str] | _Reads,
        *,
        append: bool = False,
        progress: Callable[[int, int], object] | None = None,
    ) -> dict[str, int]:
        """Make the topics of an export in the native format, as they were.

        `source` is a path, or anything with `read`. Offsets, timestamps, groups, positions,
        snapshots and dead letters are kept, ids where they are free. All of it is read and
        checked before anything is seen of it; then each topic is there as a whole. A topic that
        exists is refused; with `append` its messages are sent to it instead, with new offsets and
        without groups. Raises `Damaged` with the place, `Incompatible`, `AlreadyExists`,
        `InvalidArgument`, `ReadOnly` or `DiskFull`.

            store.import_topics("orders.lqx", append=True)["appended"]
        """
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
class Transaction:
    """Settles deliveries and sends messages, all or nothing. Made by `Store.transaction`.

    For one thread at a time. A context manager: leaving it cleanly commits, an exception drops all
    of it. Nothing happens before the commit, and nothing at all where the process dies before; once
    it has returned, all of it survives `kill -9` of any process, and power loss where any of the
    topics, sent to or consumed from, is `durability="sync"`. An open one keeps nobody from
    anything.

        with store.transaction() as tx:
            tx.send(invoices, b"invoice", key=delivery.key)
            tx.ack(delivery)
        print(tx.ids)
    """

    def send(
        self,
        topic: Topic,
        payload: Buffer,
        *,
        key: Buffer | None = None,
        headers: Mapping[str, Buffer] | None = None,
        partition: int | None = None,
        timestamp: float | None = None,
        delay: float | None = None,
        deliver_at: float | datetime | None = None,
        ttl: float | None = None,
        priority: int = 0,
    ) -> None:
        """Send a message when it is committed; the arguments are those of `Topic.send`.

        Raises `TooLarge` above `max_message_bytes` of the topic, or where the transaction would
        have more than 16 MiB of messages or 10,000 operations; `InvalidArgument` for a topic of
        another store, or a message with a `dedup_id`; `NotFound` where the topic was deleted;
        `Closed` after a commit or abort. Then nothing is added.

            tx.send(invoices, b"invoice", key=b"user-12345")
        """
    def send_many(self, topic: Topic, messages: Iterable[Buffer | Message]) -> None:
        """Send several when it is committed; all are added, or on an error none.

        tx.send_many(invoices, [b"a", libqueue.Message(b"b", key=b"k")])
        """
    def _send_on(self, topic: Topic, delivery: Delivery) -> None:
        """Send a delivery's message to a topic as it is, with each of its headers."""
    def ack(self, deliveries: Delivery | Iterable[Delivery]) -> None:
        """Acknowledge one delivery, or several, when it is committed.

        Raises `InvalidArgument` for one of another store, or of a group that hands out at most
        once;
        `TooLarge` above 10,000 operations; `Closed` after a commit or abort.

            tx.ack(delivery)
        """
    def commit(self) -> list[MessageId]:
        """Do all of it; return the ids of the messages, in the order in which they were sent.

        On an error nothing happened, and the transaction is over: `StaleReceipt`, whose `.stale`
        lists the deliveries that were settled or handed out again meanwhile; `NotFound` where a
        topic or group was deleted; `DiskFull`, `Stuck`. With `sync`, an error that begins with "the
        transaction is done" says that it has happened, and is not on disk.

        Where it sends to topics with limits there is room in all of them, or it waits as they are
        configured: `Full`, `TooLarge`, or `Timeout` after their `send_timeout`.

            ids = tx.commit()
        """
    def abort(self) -> None:
        """Drop all of it. Twice, or after a commit, is fine.

        tx.abort()
        """
    @property
    def ids(self) -> list[MessageId] | None:
        """The ids of the messages, once it was committed; None before, and after an abort."""
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
    def configure(self, **changes: Unpack[_TopicChanges]) -> None:
        """Change the stored configuration, durably; what is not named stays.

        Every process goes by it from its next call on; what was sent before keeps what it was sent
        with. `partitions` cannot be changed: keys find their order by it. Raises `NotFound` where
        the topic was deleted.

            topic.configure(durability="sync", max_message_bytes=1 << 20)
        """
    def send(
        self,
        payload: Buffer,
        *,
        key: Buffer | None = None,
        headers: Mapping[str, Buffer] | None = None,
        partition: int | None = None,
        timestamp: float | None = None,
        delay: float | None = None,
        deliver_at: float | datetime | None = None,
        ttl: float | None = None,
        priority: int = 0,
        timeout: float | None = None,
        dedup_id: Buffer | str | None = None,
    ) -> MessageId:
        """Send one message; return its id once it survives `kill -9` of any process.

        What a power loss may cost is the topic's durability. Messages of one `key` keep their order
        and go to one partition (murmur2, as Apache Kafka's); without a key the partitions take
        turns. `timestamp` is in seconds since the epoch, now by default, and is raised to that of
        the partition's last message if it is below.

        For `delay` seconds, or until `deliver_at` (seconds since the epoch, or a datetime; no upper
        limit), no group hands it out; then it joins its key's order. After `ttl` seconds nobody is
        handed it any more: it is settled, and counted as expired. Of the messages that are ready in
        a group those with the highest `priority`, 0 to 9, come first, but for the order
        within a key.

        Under a `dedup_id`, a text or 1 to 255 bytes, it is sent once: within the topic's
        `dedup_window` another send with the same id returns the first one's id and appends nothing.
        So it may be sent again after an error, a timeout or a kill.

        In a topic with a limit that it has reached it raises `Full`, waits for room, or makes some,
        as the topic's `on_full` says. `timeout` in seconds is how long it waits for room, instead
        of the topic's `send_timeout`, and answers Ctrl-C; then it raises `Timeout`.

        Raises `TooLarge`, `Full`, `DiskFull`, `IoError`, `Poisoned`, `ReadOnly`, `InvalidArgument`
        (no such partition), `Stuck` or `Closed`; then the message is not in the log.

            topic.send(b"paid", key=b"user-12345", headers={"trace": b"42"}, timeout=5.0)
        """
    def send_many(
        self, messages: Iterable[Buffer | Message], *, timeout: float | None = None
    ) -> list[MessageId]:
        """Send all or, on an error, none: one lock and one publish for each partition.

        A batch for several partitions is whole in each of them. A death in the middle of the call
        may leave the parts of some partitions in the log and not the others', and a failed sync may
        take some back and not others: then the error names the partitions whose part is in the log.

        `timeout` is that of `send`: there is room for all of them, or none is sent.

        topic.send_many([b"a", libqueue.Message(b"b", key=b"k")])
        """
    @property
    def pressure(self) -> float:
        """How full the topic is, from 0.0 to 1.0; 0.0 without a limit, 1.0 where it takes nothing.

        What is not settled as a part of `max_messages` or `max_bytes`, of the one that is nearer.
        It is read from shared memory, without a system call; the first time, and the first after
        the topic has another group, the groups' files are looked at.

            if topic.pressure > 0.8:
                time.sleep(0.1)
        """
    def producer(self, name: str) -> Producer:
        """Open the named producer, which is created where there is none.

        Each of its messages has a sequence, and one that is sent again is not there twice, across
        restarts. Handles of the name that were opened before, in any process, raise `Fenced` from
        then on. Raises `InvalidName`, `ReadOnly` or `Stuck`.

            with orders.producer("till-3") as till:
                first = till.send(b"paid", 1)
                again = till.send(b"paid", 1)
                assert first == again
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
        self,
        group: str,
        *,
        name: str | None = None,
        consumer_lease: float | None = None,
        auto_extend: bool = False,
        **config: Unpack[_GroupOptions],
    ) -> Consumer:
        """Open a consumer of a group, which is created where there is none.

        `name` is shown in dead letters. The configuration of the group: `ordering` is `"key"` (a
        message waits for the earlier ones of its key), `"partition"` (for all of its partition) or
        `"none"`; `lease` in seconds (30) is how long a message is handed out for; `max_lease`
        (None: no bound) is how long it may be leased in total, extensions included; `max_attempts`
        (5) is after how many failures it becomes a dead letter; `backoff` (1.0, 300.0, 2.0) is the
        first wait, the longest, and the factor; `dead_letter_topic` is `TOPIC.GROUP.dlq` by default
        and `None` drops; `on_expired` says whether what nobody was handed in time is settled
        (`"drop"`) or becomes a dead letter (`"dead_letter"`); `start` is where a new group begins
        (`"earliest"`); `window` (65,536) is how far it may run ahead of its oldest unsettled
        message; `brake`, as in `(100, 60.0)`, pauses the group when more than so many of its
        messages die within so many seconds (None: it has none); `on_dead_letter` says whether later
        messages of a dead letter's key go on (`"continue"`) or wait until it is redriven, and then
        comes first, or purged (`"hold_key"`). An existing group keeps its stored configuration: an
        argument that contradicts it raises `ConfigMismatch`.

        `filter` says which messages the group takes: a mapping of `key` (equal to a text or bytes;
        True for any key, False for none), `key_prefix`, `headers` (a mapping of names, each to what
        the header is equal to, `{"prefix": ...}`, True for there, False for absent), `any` and
        `all` (lists of filters) and `not` (a filter), all of which must hold; or the same as JSON,
        where `{"base64": ...}` stands for bytes. The others are settled for the group, and nobody
        is handed them. `{}` takes all. One that does not parse raises `InvalidFilter`.

            europe = {"key_prefix": "eu-", "headers": {"kind": "sale", "test": False}}
            topic.create_group("europe", filter=europe).config["filter"] == europe

        With `delivery="at_most_once"` each message is settled before it is handed out, as durably
        as the topic's durability says: none comes twice, and what a consumer was about to be handed
        when it died is lost. Then there is no `lease`, `max_lease`, `max_attempts`, `backoff`,
        `brake` or `hold_key`; `ack` does nothing, `nack` counts a failure, and `release`, `extend`
        and `dead_letter` raise `InvalidArgument`. The mode of a group never changes.

            with topic.consumer("alarms", delivery="at_most_once") as consumer:
                for delivery in consumer:
                    sound(delivery.payload)

        `consumer_lease` in seconds takes the place of the group's lease for what this consumer
        receives. `auto_extend` extends started deliveries, each at half of its lease, for as long
        as the `Delivery` lives and is not settled, at most for `max_lease` in total: a handler that
        hangs keeps its message until then.

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

        A `start` that is an offset needs one partition to be named; at one behind the end it waits
        for that offset. With `follow` iteration waits at the end for more.
        """
    def stats(self) -> _TopicStats:
        """Return what the topic holds: messages, bytes, segments, and the same by partition.

        `pinned_by` says what keeps the oldest segment from being removed: "group" (which has not
        settled all in it; `pinned_group` names it), "dead_letters" (of the group that it names as
        TOPIC/GROUP, if that is known), "retention" (its time is not over, it keeps all, or there is
        no group yet) or "nothing". `pinned_seconds` is the age of that segment's first message,
        `pinned_bytes` what would be removed if it were not kept. `compacted_messages` and
        `compacted_bytes` are what compaction took so far; `messages` counts those offsets too.

        `sent` and `sent_bytes` count what was sent, also what is gone since; `removed_messages` and
        `removed_bytes` what of it went with the segments that retention removed. `waiting_senders`
        wait for room now. `lock_waits` and `syncs`, and the seconds that they took, count since the
        first of those who have the store open now opened it. A rate is the difference of two looks.

        It waits for nobody who lives, and costs the same however much the topic holds.

            orders.stats()["pinned_by"] == "group"
        """

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
        delay: float | None = None,
        deliver_at: float | datetime | None = None,
        ttl: float | None = None,
        priority: int = 0,
        dedup_id: Buffer | str | None = None,
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
    @property
    def delay(self) -> float | None:
        """For so many seconds no group hands it out."""
    @property
    def deliver_at(self) -> float | datetime | None:
        """As `delay`, until a time: seconds since the epoch, or a datetime."""
    @property
    def ttl(self) -> float | None:
        """After so many seconds nobody is handed it any more."""
    @property
    def priority(self) -> int:
        """0 to 9, the most urgent."""
    @property
    def dedup_id(self) -> Buffer | str | None:
        """The id under which it is sent once, or None."""

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
    Ctrl-C, and ends only when the consumer is closed or drained. Under asyncio the same object:

        async with topic.consumer("billing") as consumer:
            async for delivery in consumer:
                with delivery:
                    await charge(delivery.payload)
    """

    @property
    def closed(self) -> bool:
        """Whether it hands out nothing more: closed or draining."""
    @property
    def group(self) -> str:
        """The group's name."""
    @property
    def name(self) -> str:
        """The consumer's name."""
    def receive(
        self,
        max_messages: int = 1,
        timeout: float | None = None,
        *,
        min_messages: int = 1,
        max_bytes: int | None = None,
        lease: float | None = None,
    ) -> list[Delivery]:
        """Return up to `max_messages`, waiting for the first at most `timeout` seconds.

        `None` waits for ever, 0 does not wait; empty after the timeout. Each message is leased from
        now on, for `lease` seconds where given, else for the consumer's or the group's lease.
        Answers Ctrl-C. Raises `Damaged` once for a message whose bytes are not what was sent, by
        the next call if this one returns messages; it is settled, and receiving goes on behind it.

        With `min_messages` it waits for so many, at most for the timeout, which then must be given;
        then what there is is returned. `max_bytes` bounds the keys, headers and payloads together;
        the first message is returned whatever its size.

        Where the group has a filter, the call passes over what that leaves out until its timeout,
        and for 50 ms where the timeout is shorter, 0 included; the next call goes on from there.
        """
    def receive_async(
        self,
        max_messages: int = 1,
        timeout: float | None = None,
        *,
        min_messages: int = 1,
        max_bytes: int | None = None,
        lease: float | None = None,
    ) -> Coroutine[Any, Any, list[Delivery]]:
        """Receive as `receive` does, with an asyncio event loop that waits.

            batch = await consumer.receive_async(max_messages=100, timeout=1.0)

        May be cancelled: no message is lost by it, and none is charged. Settling is a plain call.
        """
    def _receiving(
        self,
        max_messages: int = 1,
        timeout: float | None = None,
        *,
        min_messages: int = 1,
        max_bytes: int | None = None,
        lease: float | None = None,
    ) -> _Receiving:
        """Begin a receive call that an event loop drives."""
    def fileno(self) -> int:
        """Return a descriptor that is readable while `receive` may return something.

        For `select`, `poll`, `epoll` and event loops; not readable while nothing may come. When it
        is readable, receive with a timeout of 0: another consumer may have been faster. A receive
        that empties the group makes it unreadable. It belongs to the consumer: do not read or close
        it.

            selector.register(consumer, selectors.EVENT_READ)
            while selector.select():
                for delivery in consumer.receive(100, timeout=0):
                    with delivery:
                        print(delivery.payload)
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
        """Let the leases end so many seconds from now.

        Raises `InvalidArgument` whose `refused` lists those whose lease would end after the group's
        `max_lease`; all others are extended.
        """
    def dead_letter(self, deliveries: Delivery | Iterable[Delivery], reason: str) -> None:
        """Give up on the messages now: they become dead letters."""
    def drain(self, timeout: float | None = None) -> None:
        """Hand out nothing more, and wait until all that this consumer has out is settled.

        From here on `receive` raises `Closed`, and iterations end; settling goes on. Raises
        `Timeout` after `timeout` seconds (`None`: waits for ever) if some messages are still out;
        `close` hands those back, uncounted. Answers Ctrl-C. Draining is final: close the consumer
        afterwards.
        """
    def drain_async(self, timeout: float | None = None) -> Coroutine[Any, Any, None]:
        """Drain as `drain` does; handlers in the asyncio event loop go on."""
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
    def __aiter__(self) -> Self: ...
    def __anext__(self) -> Coroutine[Any, Any, Delivery]: ...
    def __aenter__(self) -> Coroutine[Any, Any, Self]: ...
    def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> Coroutine[Any, Any, None]: ...

@final
class _Receiving:
    """A receive call that an event loop drives; see `libqueue._aio`."""

    def poll(self) -> list[Delivery] | None:
        """Go on without waiting; None while it is to go on."""
    def poll_within(self) -> float:
        """Seconds after which to poll at the latest."""
    def close(self) -> None:
        """Hand back what was gathered and not returned, uncounted."""

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

        Follows what extends the lease in this process. In the year 2262 where the group hands
        out at most once: nobody takes the message back.
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
class Producer:
    """A named, idempotent producer. Made by `Topic.producer`.

    May be used from several threads, which take turns. A context manager.
    """

    @property
    def name(self) -> str:
        """The producer's name."""
    @property
    def last_sequence(self) -> int:
        """The highest sequence that was sent, by any opening of the name; 0 before the first.

        What was sent in a call that timed out or was killed is in it, or is not in the log and
        never will be.
        """
    def send(
        self,
        payload: Buffer,
        sequence: int | None = None,
        *,
        key: Buffer | None = None,
        headers: Mapping[str, Buffer] | None = None,
        partition: int | None = None,
        timestamp: float | None = None,
        delay: float | None = None,
        deliver_at: float | datetime | None = None,
        ttl: float | None = None,
        priority: int = 0,
        timeout: float | None = None,
    ) -> MessageId:
        """Send one message; a `sequence` that was sent before returns the first send's id.

        The first sequence is 1, gaps are allowed, and None counts on from the last one. A repeat,
        by this handle or an earlier one of the name, appends nothing, whatever the message is: so
        it may be sent again after an error, a timeout or a kill. The other arguments are those of
        `Topic.send`; `timeout` bounds also the wait for other threads that send by this handle and
        have no room.

        Raises `Fenced` where the name was opened again, and nothing was sent; `InvalidArgument` for
        a sequence that is older than the last 1,000 or was passed over; and what `Topic.send`
        raises.

            with orders.producer("till-3") as till:
                till.send(b"paid", till.last_sequence + 1)
        """
    def close(self) -> None:
        """End the handle. Closing twice is fine."""
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
        """Move to the earliest or latest message, an offset (of one partition), or a time.

        An offset behind the end is waited for: what comes before it is passed over.
        """
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
        """Return where the group stands: its lag, what is leased, delayed, dead-lettered.

        Numbers that name a state are of now: `lag_messages`, `lag_bytes`, `lag_seconds`, `leased`,
        `delayed`, `held`, `ready`, `dying`, `holding`, `consumers`, `waiting_receivers` (threads
        that wait in a receive) and `window_used` (0 to 1; at 1 a message that is not settled keeps
        all behind it from being handed out). The others count since the group was made, but for
        `lock_waits` and `syncs` and the seconds that they took: since the first of those who have
        the store open now opened it.

        It waits for nobody who lives, and costs the same however far the group is behind.

            billing = orders.group("billing")
            before = billing.stats()["acked"]
            time.sleep(1.0)
            print(billing.stats()["acked"] - before, "acknowledged in a second")
        """
    def dead_letters(self, limit: int | None = None) -> list[DeadLetter]:
        """Return up to `limit` dead letters of this group, oldest first."""
    def redrive(
        self,
        ids: Sequence[MessageId] | None = None,
        limit: int | None = None,
        *,
        rate: float | None = None,
        error_contains: str | None = None,
        progress: Callable[[int, int], object] | None = None,
        key: Buffer | None = None,
        partition: int | None = None,
        failed_since: float | datetime | None = None,
        failed_until: float | datetime | None = None,
    ) -> int:
        """Hand dead letters of this group out again, to its consumers and to nobody else; how many.

        `ids` are those of the letters as `dead_letters` shows them; without, all that are there.
        At most `limit`, oldest first, whose error has `error_contains` in it, whose key is `key`,
        that were in `partition`, that died at `failed_since` or later and before `failed_until`
        (seconds since the epoch, or a datetime), each as far as it is given; and at most `rate` in
        a second. `progress(done, of)` is called after some, and ends the call early where it
        returns False. Each is the message that it was, with its own id, key, headers, payload and
        timestamp, and a header `lq-cycles`, unless it held its key (`on_dead_letter="hold_key"`):
        then it has its own headers alone. It comes before fresh ones, its failures begin at 0.

        Raises `NotFound` whose `.refused` lists ids that are no dead letters of this group now; the
        others are redriven all the same.

            group.redrive(limit=100, error_contains="timeout", rate=10)
            group.redrive(key=b"order-1", failed_since=time.time() - 3600)
        """
    def purge_dead_letters(self, ids: Sequence[MessageId] | None = None) -> int:
        """Give up on dead letters for good; how many.

        `ids` are those of the letters as `dead_letters` shows them; without, all that are there.
        They stay in their topic, for who reads that. What was redriven is left alone. Where a
        letter is damaged its message goes on holding the key that it held: `settle` ends that, by
        the message's id. Raises as `redrive`.

            group.purge_dead_letters([dead.message.id for dead in group.dead_letters(10)])
        """
    def seek(self, to: _Start | str, *, partition: int | None = None) -> list[SeekPartition]:
        """Set the group to a place, in all partitions or in one, while its consumers are at work.

        `to` is `"earliest"`, `"latest"`, an offset (of one partition, which is to be named where
        there are several), a datetime (the first message that was appended then or later) or the
        name of a snapshot. What is before the place counts as settled, what is behind it comes,
        with no attempts and no failures; to a snapshot, what was settled then counts as settled,
        and all else comes with the attempts and failures that it had. Durable, and in force in all
        processes, before the call returns. Leases from before are stale. Returns what it does to
        each partition, as it was counted a moment before.

        Raises `Removed` for an offset that retention took, `InvalidArgument` for one behind the
        end, `NotFound` for an unknown snapshot; the group is where it was then. `gone` counts the
        messages of a snapshot that are missing, or of a file that was lost.

            group.seek(datetime.now() - timedelta(hours=1))
        """
    def preview_seek(
        self, to: _Start | str, *, partition: int | None = None
    ) -> list[SeekPartition]:
        """Return what `seek` would do now, which is not done. Raises as `seek`.

        sum(one.again for one in group.preview_seek("earliest"))
        """
    def snapshot(self, name: str) -> Snapshot:
        """Take a snapshot of where the group stands, to go back to with `seek`.

        It says which messages of each partition are settled, and the attempts and failures of those
        that are not, at one point of each. On disk before the call returns, and deleted with the
        group. Raises `AlreadyExists` for a name that is taken, `InvalidName` for one that does not
        begin with a letter or is `"earliest"` or `"latest"`, and `TooMany` for more than 100 of a
        group.

            group.snapshot("before-deploy")
        """
    def snapshots(self) -> list[Snapshot]:
        """Return the snapshots of the group, by name; a damaged one is listed, with `whole` false.

        [one.name for one in group.snapshots()]
        """
    def delete_snapshot(self, name: str) -> None:
        """Delete a snapshot, durably.

        Raises `NotFound` where there is none of the name, and `Busy` while a seek to it cannot be
        done with, as on a full disk.
        """
    def configure(self, **changes: Unpack[_GroupChanges]) -> None:
        """Change the stored configuration, durably; what is not named stays.

        Every process goes by it from its next call on; leases that are out keep their time.
        `window` and `delivery` cannot be changed: the layout of the group's files depends on the
        one, and what was handed out on the other. Another `ordering` than `"none"` raises `Busy`
        while messages are taken in and not settled. Another `dead_letter_topic`, or None, raises
        `Busy` while dead letters are left in the former one, where nobody would list them any more:
        redrive and settle them, or purge them, before. `max_lease` holds for consumers that are
        opened from then on, and None leaves it as it is. Another `filter` holds for messages that
        the group has not looked at yet; `{}` takes it off. `brake=None` takes the brake off.

            topic.group("billing").configure(lease=120.0, max_attempts=10)
        """
    def pause(self) -> None:
        """Stop handing out, in all processes, until `resume`: durably, also when everyone leaves.

        Receive calls wait as at an empty topic. What is out can be settled; leases and delays go on
        running. `stats()` tells of it: `paused`, `paused_by` (`"user"`, or `"brake"` where too many
        messages died) and `paused_at`. Pausing twice is fine.
        """
    def resume(self) -> None:
        """Hand out again, durably, and wake those who wait. Resuming twice is fine.

        What died before counts for the brake no more.

            if group.stats()["paused_by"] == "brake":
                group.resume()
        """
    def delete(self) -> None:
        """Delete the group, durably, with its position and all that it counted.

        Messages stay in the topic, dead letters in theirs, where no group lists or redrives them
        any more. Its consumers, in all processes, raise `NotFound` at their next call; a group made
        later under the name is another one.
        """
    def settle(self, id: MessageId) -> None:
        """Settle a message by its id, whoever has it; the receipt of its consumer is stale.

        It counts as acknowledged. Raises `StaleReceipt` where it is settled already, `Busy` where
        it is on its way to the dead letters, `NotFound` where it was never sent or is gone, and
        `Full` where it is further ahead than the group's window.

            group.settle(group.peek(41).message.id)
        """
    def delay(self, id: MessageId, seconds: float) -> None:
        """Have a message come back after `seconds`, at once where that is 0, whoever has it.

        It is taken from its consumer, whose receipt is stale, and goes on holding its key; nothing
        is counted. Raises as `settle`; `Busy` also where it waits for an earlier one of its key.
        """
    def dead_letter(self, id: MessageId, reason: str) -> None:
        """Give up on a message, whoever has it: it becomes a dead letter. Raises as `settle`."""
    def peek(self, offset: int, partition: int = 0) -> Peeked:
        """Look at a message, and at where it stands in this group, changing nothing.

        Raises `NotFound` where there is none at the offset, or one that is still being sent.

            group.peek(41).state  # "leased"
        """
    def consumers(self) -> list[ConsumerStats]:
        """Return the group's consumers, in all processes, in the order of their names.

        worst = max(group.consumers(), key=lambda one: one.failed)
        """

@final
class SeekPartition:
    """What a seek does to one partition of a group. Made by `Group.seek` and `Group.preview_seek`.

    Messages are counted by their offsets.
    """

    @property
    def partition(self) -> int:
        """The partition."""
    @property
    def position(self) -> int:
        """The first offset that the group has not settled."""
    @property
    def target(self) -> int:
        """The first one that it has not settled afterwards."""
    @property
    def again(self) -> int:
        """Messages that it had settled, and gets again."""
    @property
    def passed_over(self) -> int:
        """Messages that it had not settled, and does not get any more."""
    @property
    def stale_leases(self) -> int:
        """Leases that become stale."""
    @property
    def gone(self) -> int:
        """Messages that it would get, but that the log does not have any more."""

@final
class Snapshot:
    """A snapshot of a group. Made by `Group.snapshot` and `Group.snapshots`."""

    @property
    def name(self) -> str:
        """Its name."""
    @property
    def taken(self) -> float:
        """When it was taken, in seconds since the epoch."""
    @property
    def open(self) -> int:
        """Messages that the group had taken in and not settled then."""
    @property
    def bytes(self) -> int:
        """Bytes of its file."""
    @property
    def whole(self) -> bool:
        """Whether it can be sought; false where its file is damaged."""

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
    @property
    def source_topic(self) -> str:
        """The topic it was in."""
    @property
    def source_id(self) -> MessageId:
        """The id it had."""
    @property
    def first_failed(self) -> float | None:
        """When it first failed, in seconds since the epoch; None if that is not known."""
    @property
    def last_failed(self) -> float | None:
        """When it became a dead letter, in seconds since the epoch; None if that is not known."""
    @property
    def cycles(self) -> int:
        """How often it came back dead from a redrive; 0 in its first dead letter."""

@final
class Peeked:
    """A message, and where it stands in a group. Made by `Group.peek`."""

    @property
    def message(self) -> ReadMessage:
        """The message."""
    @property
    def state(self) -> _State:
        """Where it stands in the group.

        One of `"fresh"`, `"ready"`, `"delayed"`, `"leased"`, `"held"` by an earlier message of its
        key, `"dying"` (on its way to the dead letters) and `"settled"`.
        """
    @property
    def attempts(self) -> int:
        """How often it was handed out, as far as the group remembers."""
    @property
    def failures(self) -> int:
        """How many of those failed."""
    @property
    def until(self) -> float | None:
        """When its lease or delay ends, in seconds since the epoch; None in other states."""
    @property
    def consumer(self) -> str | None:
        """Name of the consumer that it is handed out to; None in other states."""

@final
class ConsumerStats:
    """A consumer of a group, and what it did since it was opened. Made by `Group.consumers`.

    One that fails what others manage has a larger part of `failed` in `delivered` than they.
    """

    @property
    def name(self) -> str:
        """Its name."""
    @property
    def process(self) -> int:
        """Id of its process, as its own container numbers it."""
    @property
    def leased(self) -> int:
        """Messages that it has now."""
    @property
    def delivered(self) -> int:
        """Messages that it was handed, each as often as it was."""
    @property
    def acked(self) -> int:
        """Those that were acknowledged while it had them."""
    @property
    def failed(self) -> int:
        """Those that failed in its hands: nacks, leases that ran out, messages that it gave up."""
    @property
    def failed_share(self) -> float:
        """The part of `failed` in `delivered`, 0 to 1."""
    @property
    def others_failed_share(self) -> float:
        """That part of all other consumers of the group together; 0 where there are none."""
    @property
    def stands_out(self) -> bool:
        """Whether it fails what others manage.

        5 messages or more failed in its hands, and its share is more than twice that of the others
        and a twentieth. Never where there are no others.
        """
