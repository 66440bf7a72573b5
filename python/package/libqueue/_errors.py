"""The exceptions, one for each kind of error; their numbers are the C library's status codes."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from libqueue._native import Delivery, MessageId


class Error(Exception):
    """Any error of libqueue. Its text says what was expected, found, where, and what to do."""

    kind = 0
    """The stable number of the kind of error."""


class InvalidArgument(Error, ValueError):
    """An argument is outside of what the call takes."""

    kind = 1
    refused: list[Delivery]
    """Of `extend`: deliveries whose lease would end after `max_lease`; all others were extended."""

    def __init__(self, *args: object) -> None:
        """Make one with nothing in `refused`."""
        super().__init__(*args)
        self.refused = []


class InvalidName(Error, ValueError):
    """A name has characters or a length that are not allowed."""

    kind = 2


class NotFound(Error, FileNotFoundError):
    """The store, topic, group or file does not exist, or what an id names."""

    kind = 3
    refused: list[MessageId]
    """Of `redrive` and `purge_dead_letters`: ids that are no dead letters; all others were done."""

    def __init__(self, *args: object) -> None:
        """Make one with nothing in `refused`."""
        super().__init__(*args)
        self.refused = []


class AlreadyExists(Error, FileExistsError):
    """What was to be created exists already."""

    kind = 4


class PermissionDenied(Error, PermissionError):
    """The operating system does not let this user do it."""

    kind = 5


class ReadOnly(Error, PermissionError):
    """The store was opened with `read_only`, or lies on a read-only file system."""

    kind = 6


class NotAStore(Error, ValueError):
    """The path is a file, or a folder that holds something else than a store."""

    kind = 7


class Incompatible(Error):
    """The store was written by a version that this one cannot share it with."""

    kind = 8


class NetworkFilesystem(Error, OSError):
    """The path lies on a network file system, where locks and mappings cannot be relied on."""

    kind = 9


class DiskFull(Error, OSError):
    """The disk or the quota is full; nothing was stored."""

    kind = 10


class IoError(Error, OSError):
    """The operating system reported another input or output error."""

    kind = 11


class Damaged(Error):
    """Stored bytes are not what was written: the text names file and position."""

    kind = 12


class Timeout(Error, TimeoutError):
    """The time that the caller gave is over."""

    kind = 13


class Closed(Error, ValueError):
    """The store, consumer or reader was closed."""

    kind = 14


class StaleReceipt(Error):
    """A delivery was handed out again, settled already, or its group was sought."""

    kind = 15
    stale: list[Delivery]
    """The deliveries of the call that were not settled; all others were."""
    refused: list[Delivery]
    """Of `extend`: deliveries whose lease would end after `max_lease`, besides."""

    def __init__(self, *args: object) -> None:
        """Make one with nothing in `stale` and `refused`."""
        super().__init__(*args)
        self.stale = []
        self.refused = []


class Full(Error, BlockingIOError):
    """The topic is at its limit."""

    kind = 16


class TooLarge(Error, ValueError):
    """The message is larger than the topic or the format allows."""

    kind = 17


class ConfigMismatch(Error, ValueError):
    """A stored configuration says otherwise."""

    kind = 18


class Stuck(Error, TimeoutError):
    """A live process has held a lock for longer than the lock timeout."""

    kind = 19


class Fenced(Error):
    """This member was replaced and may not write any more."""

    kind = 20


class Forked(Error):
    """The object was made before a fork and cannot be used in the child."""

    kind = 21


class TooMany(Error):
    """A table of fixed size (members, consumers) has no free place."""

    kind = 22


class Busy(Error):
    """Something that depends on the object is still open."""

    kind = 23


class Poisoned(Error, OSError):
    """An earlier sync failed; the partition takes nothing until a `sync` succeeds."""

    kind = 24


class Unsupported(Error):
    """The platform or file system cannot do this."""

    kind = 25


class Internal(Error):
    """A bug in libqueue: please report it with the text."""

    kind = 26


class InvalidFilter(Error, ValueError):
    """A group's filter does not parse: the text names the place in it."""

    kind = 27


class Removed(Error, LookupError):
    """Retention took the messages that were asked for: the text names their offsets."""

    kind = 28


BY_KIND = {error.kind: error for error in Error.__subclasses__()}
"""The class for each number; the native module raises by it."""
