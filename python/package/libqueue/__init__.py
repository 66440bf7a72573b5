"""A durable message queue without a server.

Processes of one host, in any language, open the same directory and share topics, consumer groups,
acknowledgements and dead letters.

    import libqueue

    with libqueue.open("queue") as store:
        orders = store.topic("orders")
        orders.send(b"paid", key=b"user-12345")
        with orders.consumer("billing") as consumer:
            for delivery in consumer.receive(max_messages=100, timeout=1.0):
                with delivery:
                    print(delivery.payload)
"""

from libqueue._errors import (
    AlreadyExists,
    Busy,
    Closed,
    ConfigMismatch,
    Damaged,
    DiskFull,
    Error,
    Fenced,
    Forked,
    Full,
    Incompatible,
    Internal,
    InvalidArgument,
    InvalidFilter,
    InvalidName,
    IoError,
    NetworkFilesystem,
    NotAStore,
    NotFound,
    PermissionDenied,
    Poisoned,
    ReadOnly,
    StaleReceipt,
    Stuck,
    Timeout,
    TooLarge,
    TooMany,
    Unsupported,
)
from libqueue._native import (
    Consumer,
    ConsumerStats,
    DeadLetter,
    Delivery,
    Group,
    Message,
    MessageId,
    Peeked,
    Reader,
    ReadMessage,
    Store,
    Topic,
    __version__,
    dump,
    open,
    recover,
    verify,
)

__all__ = [
    "AlreadyExists",
    "Busy",
    "Closed",
    "ConfigMismatch",
    "Consumer",
    "ConsumerStats",
    "Damaged",
    "DeadLetter",
    "Delivery",
    "DiskFull",
    "Error",
    "Fenced",
    "Forked",
    "Full",
    "Group",
    "Incompatible",
    "Internal",
    "InvalidArgument",
    "InvalidFilter",
    "InvalidName",
    "IoError",
    "Message",
    "MessageId",
    "NetworkFilesystem",
    "NotAStore",
    "NotFound",
    "Peeked",
    "PermissionDenied",
    "Poisoned",
    "ReadMessage",
    "ReadOnly",
    "Reader",
    "StaleReceipt",
    "Store",
    "Stuck",
    "Timeout",
    "TooLarge",
    "TooMany",
    "Topic",
    "Unsupported",
    "__version__",
    "dump",
    "open",
    "recover",
    "verify",
]
