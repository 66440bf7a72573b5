"""The largest message, and what a process takes that uses many topics."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import libqueue
import pytest

LARGEST = 1 << 30


def descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


@pytest.mark.skipif(
    os.environ.get("LIBQUEUE_TEST_LARGE") != "1",
    reason="wants 4 GiB of memory and 1 GiB of disk; make test-large runs it",
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
    assert message.payload == payload
    message.ack()


def test_p19_many_topics_one_after_the_other_cost_no_descriptors(
    path: Path, store: libqueue.Store
) -> None:
    before = descriptors()
    for number in range(100):
        topic = store.topic(f"t{number}")
        topic.send(b"x")
        (message,) = topic.consumer("g").receive(1, timeout=0)
        message.ack()
        del message, topic
    assert descriptors() < before + 10, sys.version


def test_p17_p19_a_child_of_a_fork_and_its_parent_go_on_with_topics_that_were_released(
    path: Path, store: libqueue.Store
) -> None:
    names = [f"t{number}" for number in range(100)]
    for name in names:
        store.topic(name).send(b"before")
    child = os.fork()
    if child == 0:
        code = 1
        try:
            for name in names:
                store.topic(name).send(b"child")
            code = 0
        finally:
            os._exit(code)
    for name in names:
        store.topic(name).send(b"parent")
    assert os.waitpid(child, 0)[1] == 0
    for name in names:
        found = [message.payload for message in store.topic(name).reader().receive(10, timeout=0)]
        assert found[0] == b"before", name
        assert sorted(found[1:]) == [b"child", b"parent"], name
