"""The workloads through the Python package: FOLDER COUNT ROUNDS.

Prints one line a workload: name, messages, nanoseconds of the best round, separated by tabs.
"""

import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path

import libqueue


def append_single(topic: libqueue.Topic, payload: bytes, count: int) -> None:
    send = topic.send
    for _ in range(count):
        send(payload)


def append_batches(topic: libqueue.Topic, payload: bytes, count: int) -> None:
    batch = [payload] * 100
    for _ in range(count // 100):
        topic.send_many(batch)


def consume_single(topic: libqueue.Topic, payload: bytes, count: int) -> None:
    seen = 0
    with topic.consumer("work") as consumer:
        for delivery in consumer:
            assert len(delivery.payload) == len(payload)
            delivery.ack()
            seen += 1
            if seen == count:
                return


def consume_batches(topic: libqueue.Topic, payload: bytes, count: int) -> None:
    seen = 0
    with topic.consumer("work") as consumer:
        while seen < count:
            batch = consumer.receive(100, timeout=10.0)
            assert batch, f"only {seen} of {count} messages came"
            for delivery in batch:
                assert len(delivery.payload) == len(payload)
            consumer.ack(batch)
            seen += len(batch)


Work = Callable[[libqueue.Topic, bytes, int], None]
WORKLOADS: list[tuple[str, Work, bool]] = [
    ("append one by one", append_single, False),
    ("append batches of 100", append_batches, False),
    ("receive and ack one by one", consume_single, True),
    ("receive and ack batches of 100", consume_batches, True),
]


def measure(folder: Path, work: Work, payload: bytes, count: int, preload: bool) -> int:
    path = folder / "python-store"
    with libqueue.open(path) as store:
        topic = store.topic("bench")
        if preload:
            append_batches(topic, payload, count)
        began = time.perf_counter_ns()
        work(topic, payload, count)
        took = time.perf_counter_ns() - began
        del topic
    shutil.rmtree(path)
    return took


def main() -> None:
    folder, count, rounds = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    count = max(count // 100, 1) * 100
    for size in (100, 1024):
        payload = b"x" * size
        for name, work, preload in WORKLOADS:
            best = min(measure(folder, work, payload, count, preload) for _ in range(rounds))
            print(f"{name}, {size} B\t{count}\t{best}", flush=True)


if __name__ == "__main__":
    main()
