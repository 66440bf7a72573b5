"""The largest message, and what a process takes that uses many topics."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import libqueue
import pytest

LARGEST = 1 << 30


@pytest.mark.skipif(
    os.environ.get("LIBQUEUE_TEST_LARGE") != "1",
    reason="wants 4 GiB of memory and 1 GiB of disk; LIBQUEUE_TEST_LARGE=1 runs it",
)
def test_p3_a_message_of_the_largest_size_comes_back_and_one_of_a_byte_more_is_refused(
    store: libqueue.Store,
) -> None:
    topic = store.topic("large")
    pattern = bytes(range(251)) * (LARGEST // 251 + 1)
    with pytest.raises(libqueue.TooLarge, match=str(LARGEST)):
        topic.send(memoryview(pattern)[: LARGEST + 1])
    payload = memoryview(pattern)[:LARGEST]
    with pytest.raises(libqueue.TooLarge):
        topic.send(payload, key=b"k")
    topic.send(payload)
    consumer = topic.consumer("g")
    (message,) = consumer.receive(10, timeout=0)
    assert len(message) == LARGEST
    assert memoryview(message) == payload
    message.ack()


def test_p19_many_topics_one_after_the_other_cost_no_descriptors(
    path: Path, store: libqueue.Store
) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for number in range(100):
        topic = store.topic(f"t{number}")
        topic.send(b"x")
        (message,) = topic.consumer("g").receive(1, timeout=0)
        message.ack()
        del message, topic
    assert len(os.listdir("/proc/self/fd")) < before + 10, sys.version
