"""Changing and deleting topics while others have them open."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import libqueue
import pytest
from test_command_line import objects, run


def test_every_process_goes_by_a_change(tmp_path: Path) -> None:
    with libqueue.open(tmp_path / "store") as store:
        topic = store.topic("t")
        topic.send(b"123456789")
        change = (
            "import libqueue, sys\n"
            "with libqueue.open(sys.argv[1]) as store:\n"
            "    store.topic('t').configure(max_message_bytes=8, durability='sync')\n"
        )
        subprocess.run([sys.executable, "-c", change, tmp_path / "store"], check=True, timeout=60)
        with pytest.raises(libqueue.TooLarge):
            topic.send(b"123456789")
        assert topic.config["durability"] == "sync"
        topic.send(b"12345678")
        assert topic.durable_offsets() == [2]


def test_what_cannot_be_changed_is_told(tmp_path: Path) -> None:
    with libqueue.open(tmp_path / "store") as store:
        topic = store.topic("t", partitions=3)
        with pytest.raises(libqueue.InvalidArgument, match="expected 3"):
            topic.configure(partitions=2)
        topic.configure(partitions=3)
        topic.configure()
        with pytest.raises(TypeError, match='unknown option "lease"'):
            topic.configure(lease=1)  # type: ignore[call-arg]
        with pytest.raises(libqueue.ConfigMismatch, match="configure"):
            store.topic("t", partitions=2)


def test_a_deleted_topic_is_none_for_anybody(tmp_path: Path) -> None:
    with libqueue.open(tmp_path / "store") as store:
        topic = store.topic("t")
        topic.send(b"kept in hand")
        group = topic.create_group("g")
        with topic.consumer("g") as consumer:
            (held,) = consumer.receive()
            waiting: list[BaseException] = []

            def wait() -> None:
                try:
                    consumer.receive(timeout=20.0)
                except libqueue.Error as error:
                    waiting.append(error)

            thread = threading.Thread(target=wait)
            thread.start()
            with libqueue.open(tmp_path / "store") as other:
                other.delete_topic("t")
            thread.join(timeout=20.0)
            assert [type(one) for one in waiting] == [libqueue.NotFound]
            assert held.payload == b"kept in hand"
            for late in (lambda: topic.send(b"late"), group.stats, topic.stats, held.ack):
                with pytest.raises(libqueue.NotFound, match="deleted"):
                    late()
        assert store.topics() == []
        with pytest.raises(libqueue.NotFound):
            store.delete_topic("t")
        again = store.topic("t")
        assert again.send(b"first").offset == 0
        assert again.groups() == []
    assert libqueue.verify(tmp_path / "store")["damage"] == []


def test_a_topic_that_other_groups_letters_are_in_stays(tmp_path: Path) -> None:
    with libqueue.open(tmp_path / "store") as store:
        topic = store.topic("t")
        topic.send(b"poison")
        with topic.consumer("g") as consumer:
            consumer.receive()[0].dead_letter("bad")
            assert topic.group("g").redrive() == 1
        with pytest.raises(libqueue.Busy, match="dead letters"):
            store.delete_topic("t.g.dlq")
        with topic.consumer("g") as consumer:
            consumer.ack(consumer.receive(timeout=5.0))
        topic.group("g").configure(dead_letter_topic="other")
        store.delete_topic("t.g.dlq")
        assert store.topics() == ["t"]
        topic.consumer("h", dead_letter_topic="letters").close()
        store.topic("letters")
        with pytest.raises(libqueue.Busy, match='group "h" of topic "t"'):
            store.delete_topic("letters")
        topic.group("h").delete()
        store.delete_topic("letters")


def test_the_command_line_changes_and_deletes_topics(tmp_path: Path) -> None:
    path = tmp_path / "store"
    run(path, "create", "t", "--partitions", 2)
    (found,) = objects(run(path, "config", "t", "durability=sync", "--json"))
    assert (found["durability"], found["partitions"]) == ("sync", 2)
    run(path, "config", "t", "durability=interval", "sync_interval=0.5")
    assert objects(run(path, "config", "t", "--json"))[0]["sync_interval"] == 0.5
    for wrong in ("partitions=3", "max_message_bytes=x", "durability=never"):
        run(path, "config", "t", wrong, status=2)
    assert b"--yes" in run(path, "delete", "t", status=2).stderr
    assert b"deleted" in run(path, "delete", "t", "--yes").stdout
    run(path, "delete", "t", "--yes", status=1)
    assert objects(run(path, "topics", "--json")) == []
