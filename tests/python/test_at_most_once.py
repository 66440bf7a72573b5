"""Groups that hand out at most once (P7): settled before they are returned."""

from __future__ import annotations

import asyncio
import random
import signal
import subprocess
import sys
from pathlib import Path
from typing import Final

import libqueue
import pytest

ONCE: Final = "at_most_once"


@pytest.fixture
def topic(tmp_path: Path) -> libqueue.Topic:
    return libqueue.open(tmp_path / "store").topic("alarms", partitions=2)


@pytest.mark.parametrize(
    "contradicting",
    [
        {"lease": 1.0},
        {"max_lease": 60.0},
        {"max_attempts": 3},
        {"backoff": (1.0, 2.0, 2.0)},
        {"brake": (3, 60.0)},
        {"on_dead_letter": "hold_key"},
    ],
    ids=lambda given: next(iter(given)),
)
def test_p7_what_is_about_leases_and_failures_contradicts_it(
    topic: libqueue.Topic, contradicting: dict[str, object]
) -> None:
    (name,) = contradicting
    with pytest.raises(libqueue.InvalidArgument, match=name):
        topic.consumer("g", delivery=ONCE, **contradicting)  # type: ignore[arg-type]
    group = topic.create_group("g", delivery=ONCE)
    with pytest.raises(libqueue.InvalidArgument, match=name):
        group.configure(**contradicting)  # type: ignore[arg-type]


def test_p7_the_mode_is_stored_and_never_changes(topic: libqueue.Topic) -> None:
    group = topic.create_group("g", delivery=ONCE)
    assert group.config["delivery"] == ONCE
    assert "lease" not in group.config
    topic.consumer("g", delivery=group.config["delivery"]).close()
    assert topic.create_group("plain").config["delivery"] == "at_least_once"
    with pytest.raises(libqueue.ConfigMismatch, match="another group"):
        topic.consumer("plain", delivery=ONCE)
    with pytest.raises(libqueue.InvalidArgument, match="another group"):
        group.configure(delivery="at_least_once")
    with pytest.raises(libqueue.InvalidArgument, match="at_least_once"):
        topic.consumer("g", delivery="exactly_once")  # type: ignore[arg-type]
    for wrong in ({"consumer_lease": 1.0}, {"auto_extend": True}):
        with pytest.raises(libqueue.InvalidArgument, match=r"lease|auto_extend"):
            topic.consumer("g", **wrong)
    with topic.consumer("g") as consumer, pytest.raises(libqueue.InvalidArgument, match="lease"):
        consumer.receive(1, 0, lease=1.0)


def test_p7_a_settle_call_afterwards_brings_nothing_back(topic: libqueue.Topic) -> None:
    topic.send_many([b"a", b"b", b"c"])
    with topic.consumer("g", delivery=ONCE) as consumer:
        batch = consumer.receive(9, 0)
        assert len(batch) == 3
        assert topic.group("g").stats()["acked"] == 3
        consumer.ack(batch[:1])
        consumer.nack(batch[:1], error="no use")
        for refused in (batch[0].release, lambda: batch[0].extend(1.0)):
            with pytest.raises(libqueue.InvalidArgument, match="settled before"):
                refused()
        with pytest.raises(libqueue.InvalidArgument, match="settled before"):
            batch[0].dead_letter("no use")
        with pytest.raises(ZeroDivisionError), batch[1]:
            raise ZeroDivisionError("what went wrong")
        with pytest.raises(KeyboardInterrupt), batch[2]:
            raise KeyboardInterrupt
        assert batch[0].deadline > 9e9
        assert consumer.receive(9, 0) == []
    one = topic.group("g").stats()
    assert (one["failed"], one["leased"], one["lag_messages"]) == (2, 0, 0)


def test_p7_iteration_takes_one_message_at_a_time(topic: libqueue.Topic) -> None:
    topic.send_many([b"%d" % number for number in range(10)])
    with topic.consumer("g", delivery=ONCE) as consumer:
        for _ in consumer:
            break
    assert topic.group("g").stats()["acked"] == 1

    async def two() -> int:
        async with topic.consumer("g") as consumer:
            count = 0
            async for _ in consumer:
                count += 1
                if count == 2:
                    break
            return count

    assert asyncio.run(two()) == 2
    assert topic.group("g").stats()["acked"] == 3


def test_p7_a_cancelled_receive_loses_nothing(topic: libqueue.Topic) -> None:
    topic.send_many([b"a", b"b"])

    async def cancelled() -> None:
        async with topic.consumer("g", delivery=ONCE) as consumer:
            waits = asyncio.ensure_future(
                consumer.receive_async(9, 20.0, min_messages=9),
            )
            while topic.group("g").stats()["leased"] < 2:
                await asyncio.sleep(0)
            waits.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waits
            assert len(await consumer.receive_async(9, 0)) == 2

    asyncio.run(cancelled())


WORKER = """
import sys, libqueue
store = libqueue.open(sys.argv[1], durability=sys.argv[2])
with store.topic("alarms").consumer("g") as consumer:
    for delivery in consumer:
        print(delivery.payload.decode(), flush=True)
"""


@pytest.mark.parametrize("durability", ["process", "sync"])
def test_p7_killed_consumers_were_handed_nothing_twice(tmp_path: Path, durability: str) -> None:
    dice, said, kills = random.Random(7), [], 0
    store = libqueue.open(tmp_path / "store")
    topic = store.topic("alarms", partitions=2)
    topic.create_group("g", delivery=ONCE)
    for first in range(0, 2000, 500):
        topic.send_many([b"%d" % number for number in range(first, first + 500)])
        # One at a time, so that it is sure to be handed some.
        worker = subprocess.Popen(
            [sys.executable, "-c", WORKER, str(tmp_path / "store"), durability],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert worker.stdout is not None
        said += [next(worker.stdout) for _ in range(dice.randrange(1, 60))]
        worker.send_signal(signal.SIGKILL)
        kills += 1
        said += [line for line in worker.stdout if line.endswith("\n")]
        worker.wait()
        worker.stdout.close()
    with topic.consumer("g") as consumer:
        while batch := consumer.receive(100, 0.2):
            said += [f"{delivery.payload.decode()}\n" for delivery in batch]
    assert len(set(said)) == len(said)
    assert 2000 - len(said) <= kills
    stats = topic.group("g").stats()
    assert (stats["lag_messages"], stats["redelivered"]) == (0, 0)
