"""`move`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import Progress

import libqueue
from libqueue.cli.common import JSON, STORE, errors, fail, folder, print_json
from libqueue.cli.messages import INTERRUPTED, delivery_of

BATCH = 500
BATCH_MAX = 5000
"""A transaction holds 10,000 messages and acknowledgements."""
BYTES = 8 << 20
"""What a batch has of keys, headers and payloads, unless one message has more."""


class Mover:
    """Moves what a consumer is handed to a topic: sent and acknowledged in one transaction (P8)."""

    def __init__(
        self, store: libqueue.Store, target: libqueue.Topic, tell: Callable[[int], object]
    ) -> None:
        self._store, self._target, self._tell = store, target, tell
        # Set as a whole, so that Ctrl-C between two of its instructions leaves the count right.
        self._state: tuple[int, libqueue.Transaction | None] = (0, None)

    @property
    def moved(self) -> int:
        """How many messages were moved, at any moment, also in the middle of a commit."""
        before, last = self._state
        return before + len(last.ids or () if last else ())

    def move(self, deliveries: list[libqueue.Delivery]) -> None:
        """Move all of them, in as few transactions as they fit in, in their order.

        What was handed to somebody else meanwhile is his.
        """
        left = deliveries
        most = len(left)
        while left:
            try:
                count = self._commit(left[:most])
            except libqueue.StaleReceipt as error:
                stale = {delivery.id for delivery in error.stale}
                left = [delivery for delivery in left if delivery.id not in stale]
                if not stale:
                    raise
                continue
            except (libqueue.TooLarge, libqueue.Full) as error:
                most = min(most, len(left))
                if most == 1:
                    one = left[0]
                    place = f"offset {one.offset} of partition {one.partition}"
                    raise type(error)(
                        f"{place} of topic {one.topic!r}: {error}; it stays in the group"
                    ) from error
                # Together they are too many, or too large, for the transaction or for the topic.
                most = (most + 1) // 2
                continue
            left = left[count:]
            self._tell(self.moved)

    def _commit(self, deliveries: list[libqueue.Delivery]) -> int:
        """Move them in one transaction; how many there was room for in it."""
        tx = self._store.transaction()
        self._state = (self.moved, tx)
        with tx:
            for count, delivery in enumerate(deliveries):
                try:
                    tx._send_on(self._target, delivery)
                except libqueue.TooLarge:
                    if count == 0:
                        raise
                    return count
                tx.ack(delivery)
        return len(deliveries)


def move(
    context: typer.Context,
    topic: Annotated[str, typer.Argument(help="The topic.")],
    group: Annotated[str, typer.Option("--group", "-g", help="Created if there is none.")],
    to: Annotated[str, typer.Option("--to", metavar="TOPIC", help="Where to; it must exist.")],
    most: Annotated[int | None, typer.Option("--max", min=1, help="So many messages.")] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Wait for more.")] = False,
    batch: Annotated[
        int,
        typer.Option(
            min=1, max=BATCH_MAX, help="So many in a transaction at most; fewer if they are large."
        ),
    ] = BATCH,
    as_json: Annotated[bool, JSON] = False,
    store: Annotated[Path | None, STORE] = None,
) -> None:
    """Move the messages of a group to another topic: each is there once, whatever is killed when.

    Each is sent with its payload, key and headers, and acknowledged in the same transaction. Called
    again after an end of any kind, it goes on with what was not moved.
    """
    with libqueue.open(folder(context, store), create=False) as opened:
        found = opened.open_topic(topic)
        try:
            target = opened.open_topic(to)
        except libqueue.NotFound as error:
            fail(f"--to {to}: {error}, and on the command line `libqueue create {to}`")
        if topic == to:
            raise typer.BadParameter(
                f"--to {to!r} is the topic that the messages come from, and the group would get "
                "them again without end; expected another topic"
            )
        if delivery_of(found, group) == "at_most_once":
            raise typer.BadParameter(
                f"group {group!r} of topic {topic!r} settles each message before it comes "
                "(delivery=at_most_once), so that one could be lost on its way; expected a group "
                "with delivery=at_least_once: name another one, or a new one"
            )
        # Named once more for a group that is made anew meanwhile. A wait for room in the topic may
        # be longer than a lease.
        with found.consumer(group, delivery="at_least_once", auto_extend=True) as consumer:
            total = None if follow else found.group(group).stats()["lag_messages"]
            with Progress(
                console=errors, transient=True, disable=follow or not errors.is_terminal
            ) as bar:
                task = bar.add_task("moving", total=total if most is None else most)
                mover = Mover(opened, target, lambda moved: bar.update(task, completed=moved))
                try:
                    move_all(consumer, mover, most, batch, follow)
                except KeyboardInterrupt:
                    bar.stop()
                    fail(f"interrupted; messages moved: {mover.moved:,}", status=INTERRUPTED)
                except libqueue.Error as error:
                    bar.stop()
                    fail(f"{error}; messages moved before it: {mover.moved:,}")
    if as_json:
        print_json({"moved": mover.moved})
    else:
        errors.print(f"moved {mover.moved:,} messages")


def move_all(
    consumer: libqueue.Consumer, mover: Mover, most: int | None, batch: int, follow: bool
) -> None:
    """Move what there is, or all that comes, up to so many."""
    while most is None or mover.moved < most:
        wanted = batch if most is None else min(batch, most - mover.moved)
        deliveries = consumer.receive(wanted, None if follow else 0, max_bytes=BYTES)
        if not deliveries:
            return
        for delivery in deliveries:
            delivery.start()
        mover.move(deliveries)
