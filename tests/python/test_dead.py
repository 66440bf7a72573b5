"""What becomes of a group's dead."""

from __future__ import annotations

from pathlib import Path

import libqueue
import pytest
from conftest import QUICK, WAIT
from test_command_line import objects, run


def test_p12_dead_letters_that_would_come_back_to_where_they_came_from_are_refused(
    path: Path, store: libqueue.Store
) -> None:
    a, b = store.topic("a"), store.topic("b")
    a.create_group("g", dead_letter_topic="b")
    with pytest.raises(libqueue.InvalidArgument, match="b/h -> a/g -> b"):
        b.create_group("h", dead_letter_topic="a")
    group = b.create_group("h")
    with pytest.raises(libqueue.InvalidArgument, match="b/h -> a/g -> b"):
        group.configure(dead_letter_topic="a")
    done = run(path, "config", "b/h", "dead_letter_topic=a", status=2)
    assert b"leads back" in done.stderr or b"lead back" in done.stderr


def one_dies(topic: libqueue.Topic, consumer: libqueue.Consumer) -> bool:
    """Have a message of the consumer die; whether it was handed out."""
    topic.send(b"x")
    for delivery in consumer.receive(1, timeout=0):
        delivery.dead_letter("no")
        return True
    return False


def test_p12_a_group_of_which_too_many_die_is_paused_says_why_and_goes_on(
    path: Path, store: libqueue.Store
) -> None:
    topic = store.topic("t")
    with topic.consumer("g", brake=(1, 60.0)) as consumer:
        group = topic.group("g")
        assert one_dies(topic, consumer)
        stats = group.stats()
        assert (stats["paused"], stats["paused_by"], stats["paused_at"]) == (False, "", None)
        assert one_dies(topic, consumer)
        stats = group.stats()
        assert (stats["paused"], stats["paused_by"]) == (True, "brake")
        assert stats["paused_at"] is not None
        assert not one_dies(topic, consumer)
        (shown,) = objects(run(path, "stats", "t", "--json"))
        assert shown["groups"]["g"]["paused_by"] == "brake"  # type: ignore[index]
        assert b"brake" in run(path, "stats", "t").stdout
        run(path, "resume", "t", "g")
        assert group.stats()["paused"] is False
        assert one_dies(topic, consumer)
        group.pause()
        assert group.stats()["paused_by"] == "user"


def test_a_brake_is_configured_and_taken_off(path: Path, store: libqueue.Store) -> None:
    group = store.topic("t").create_group("g")
    assert group.config["brake"] is None
    (shown,) = objects(run(path, "config", "t/g", "brake=100/60", "--json"))
    assert shown["brake"] == [100, 60.0]
    assert group.config["brake"] == (100, 60.0)
    with pytest.raises(libqueue.ConfigMismatch, match="brake"):
        store.topic("t").create_group("g", brake=(5, 1.0))
    with pytest.raises(libqueue.InvalidArgument, match="take the brake off"):
        group.configure(dead_letter_topic=None)
    run(path, "config", "t/g", "brake=none")
    assert group.config["brake"] is None
    group.configure(brake=(7, 0.5))
    group.configure(brake=None)
    assert group.config["brake"] is None
    for wrong in ((10_001, 1.0), (1, 0.0), (-1, 1.0)):
        with pytest.raises(libqueue.InvalidArgument, match="brake"):
            group.configure(brake=wrong)
    assert b"brake=MESSAGES/SECONDS" in run(path, "config", "t/g", "brake=5", status=2).stderr


def test_p10_a_consumer_that_fails_what_others_manage_stands_out(
    path: Path, store: libqueue.Store
) -> None:
    topic = store.topic("t")
    quick = {"ordering": "none", "backoff": QUICK, "max_attempts": 1000}
    with (
        topic.consumer("g", name="bad", **quick) as bad,  # type: ignore[arg-type]
        topic.consumer("g", name="good") as good,
    ):
        topic.send_many([b"x"] * 10)
        for delivery in bad.receive(5, timeout=WAIT):
            delivery.nack()
        for delivery in good.receive(5, timeout=WAIT):
            delivery.ack()
        first, second = topic.group("g").consumers()
        assert (first.name, first.failed_share, first.stands_out) == ("bad", 1.0, True)
        assert (second.failed_share, second.others_failed_share) == (0.0, 1.0)
        assert not second.stands_out
        shown = objects(run(path, "consumers", "t", "g", "--json"))
        assert [one["stands_out"] for one in shown] == [True, False]
        assert b"others manage" in run(path, "consumers", "t", "g").stdout


def test_p11_a_dead_letter_holds_its_key_until_it_is_redriven_and_then_comes_first(
    path: Path, store: libqueue.Store
) -> None:
    topic = store.topic("t")
    with pytest.raises(libqueue.InvalidArgument, match="hold_key"):
        topic.create_group("g", on_dead_letter="hold_key", ordering="none")
    with topic.consumer("g", on_dead_letter="hold_key") as consumer:
        group = topic.group("g")
        assert group.config["on_dead_letter"] == "hold_key"
        topic.send(b"first", key=b"k")
        topic.send(b"second", key=b"k")
        for delivery in consumer.receive(1, timeout=0):
            delivery.dead_letter("no")
        assert consumer.receive(1, timeout=0) == []
        stats = group.stats()
        assert (stats["holding"], stats["held"]) == (1, 1)
        assert group.peek(0).state == "holding"
        failed = run(path, "config", "t/g", "on_dead_letter=continue", status=1)
        assert b"redrive or purge" in failed.stderr
        run(path, "dlq", "redrive", "t", "g")
        for expected in (b"first", b"second"):
            for delivery in consumer.receive(1, timeout=WAIT):
                assert delivery.payload == expected
                delivery.ack()
        run(path, "config", "t/g", "on_dead_letter=continue")
        assert topic.group("g").config["on_dead_letter"] == "continue"
