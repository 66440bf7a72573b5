"""Groups: leases, settling, order, dead letters."""

from __future__ import annotations

import threading
import time

import libqueue
import pytest
from conftest import QUICK, WAIT


def send(topic: libqueue.Topic, count: int, keys: int = 0) -> None:
    topic.send_many(
        libqueue.Message(b"%d" % n, key=b"k%d" % (n % keys) if keys else None) for n in range(count)
    )


def drain(consumer: libqueue.Consumer) -> list[bytes]:
    found = []
    while batch := consumer.receive(100, 0):
        found += [delivery.payload for delivery in batch]
        consumer.ack(batch)
    return found


def test_p6_p13_groups_are_independent_and_get_each_message_once(store: libqueue.Store) -> None:
    topic = store.topic("t", partitions=2)
    send(topic, 500)
    for group in ("a", "b"):
        with topic.consumer(group) as consumer:
            assert sorted(map(int, drain(consumer))) == list(range(500))
        stats = topic.group(group).stats()
        assert (stats["lag_messages"], stats["acked"]) == (0, 500)
    assert topic.groups() == ["a", "b"]


def test_a_delivery_acks_itself_or_fails_with_the_exception(store: libqueue.Store) -> None:
    topic = store.topic("t")
    topic.send(b"x")
    with topic.consumer("g", max_attempts=2, backoff=QUICK) as consumer:
        for attempt in (1, 2):
            (delivery,) = consumer.receive(1, WAIT)
            assert delivery.attempt == attempt
            with pytest.raises(RuntimeError), delivery:
                raise RuntimeError("no such plane")
        topic.send(b"y")
        with next(consumer) as delivery:
            assert delivery.payload == b"y"
    (dead,) = topic.group("g").dead_letters()
    assert dead.error == "RuntimeError: no such plane"
    assert topic.group("g").stats()["lag_messages"] == 0


def test_p12_ctrl_c_inside_a_with_is_not_the_messages_fault(store: libqueue.Store) -> None:
    topic = store.topic("t")
    topic.send(b"x")
    with topic.consumer("g", max_attempts=1) as consumer:
        for reason in (KeyboardInterrupt, SystemExit, GeneratorExit):
            (delivery,) = consumer.receive(1, 5)
            with pytest.raises(reason), delivery:
                raise reason
        stats = topic.group("g").stats()
        assert (stats["failed"], stats["dead_lettered"], stats["ready"]) == (0, 0, 1)


def test_dead_letters_of_one_call_keep_their_order(store: libqueue.Store) -> None:
    topic = store.topic("t")
    topic.send_many([b"x"] * 400)
    with topic.consumer("g", max_attempts=1) as consumer:
        consumer.nack(consumer.receive(400, 5), error="no")
    found = [dead.source_offset for dead in topic.group("g").dead_letters()]
    assert found == list(range(400))


def test_what_was_settled_inside_a_with_is_left_as_it_is(store: libqueue.Store) -> None:
    topic = store.topic("t")
    send(topic, 5)
    with topic.consumer("g", ordering="none") as consumer:
        dead, acked, nacked, released, extended = consumer.receive(5, WAIT)
        with dead:
            dead.dead_letter("no use")
        with acked:
            consumer.ack([acked])
        with nacked:
            nacked.nack(delay=3600)
        with released:
            released.release()
        with extended:
            extended.extend(60)
        stats = topic.group("g").stats()
        assert (stats["dead_lettered"], stats["acked"], stats["delayed"]) == (1, 2, 1)
        (again,) = consumer.receive(5, 0)
        assert again.offset == released.offset
        with pytest.raises(libqueue.StaleReceipt), again:
            released.ack()


def test_p9_receipts_of_another_group_settle_nothing(store: libqueue.Store) -> None:
    topic = store.topic("t")
    topic.send(b"x")
    with topic.consumer("a") as a, topic.consumer("b") as b:
        (mine,), (other,) = a.receive(1, WAIT), b.receive(1, WAIT)
        with pytest.raises(libqueue.StaleReceipt) as raised:
            b.ack([mine])
        assert raised.value.stale == [mine]
        mine.ack()
        other.ack()


def test_p12_a_dead_letter_carries_its_story(store: libqueue.Store) -> None:
    topic = store.topic("t")
    topic.send(b"before")
    sent = topic.send(b"bad", key=b"k", headers={"trace": b"42"})
    with topic.consumer("g", name="worker-1") as consumer:
        first, second = consumer.receive(2, WAIT)
        first.ack()
        second.dead_letter("not a number")
    (dead,) = topic.group("g").dead_letters(limit=10)
    assert (dead.source_partition, dead.source_offset) == (sent.partition, sent.offset)
    assert (dead.attempts, dead.failures) == (1, 1)
    assert (dead.error, dead.consumer) == ("not a number", "worker-1")
    assert (dead.message.payload, dead.message.key) == (b"bad", b"k")
    headers = dead.message.headers
    assert headers["trace"] == b"42"
    assert headers["lq-source-topic"] == b"t"
    assert headers["lq-group"] == b"g"
    assert int(headers["lq-last-failed"]) >= int(headers["lq-first-failed"]) > 10**18
    assert store.topics() == ["t", "t.g.dlq"]


def test_p9_a_late_receipt_settles_nothing_and_the_others_are_settled(
    store: libqueue.Store,
) -> None:
    topic = store.topic("t")
    send(topic, 2)
    with topic.consumer("g", ordering="none", backoff=QUICK) as consumer:
        old, good = consumer.receive(2, WAIT)
        old.extend(0.001)
        (again,) = consumer.receive(1, WAIT)
        assert (again.offset, again.attempt) == (old.offset, 2)
        with pytest.raises(libqueue.StaleReceipt) as raised:
            consumer.ack([old, good])
        assert raised.value.stale == [old]
        again.ack()
        with pytest.raises(libqueue.StaleReceipt):
            again.ack()
    assert topic.group("g").stats()["lag_messages"] == 0


def test_p11_an_unsettled_message_holds_back_its_key_alone(store: libqueue.Store) -> None:
    topic = store.topic("t")
    send(topic, 9, keys=3)
    with topic.consumer("g") as consumer:
        first = consumer.receive(10, 0)
        assert [int(one.payload) for one in first] == [0, 1, 2]
        first[0].nack(delay=3600)
        consumer.ack(first[1:])
        assert [int(one.payload) for one in consumer.receive(10, 0)] == [4, 5]


def test_a_release_is_not_a_failure_and_a_nack_waits_its_delay(store: libqueue.Store) -> None:
    topic = store.topic("t")
    topic.send(b"x")
    with topic.consumer("g", max_attempts=1) as consumer:
        for attempt in range(1, 20):
            (delivery,) = consumer.receive(1, WAIT)
            assert delivery.attempt == attempt
            delivery.release()
        assert topic.group("g").stats()["failed"] == 0


def test_p10_closing_hands_the_leases_back_at_once(store: libqueue.Store) -> None:
    topic = store.topic("t")
    send(topic, 10)
    with topic.consumer("g") as consumer:
        assert len(consumer.receive(10, WAIT)) == 10
    with topic.consumer("g") as consumer:
        assert len(consumer.receive(10, 0)) == 10
    assert topic.group("g").stats()["failed"] == 0


def test_iteration_ends_when_another_thread_closes(store: libqueue.Store) -> None:
    topic = store.topic("t")
    consumer = topic.consumer("g")
    seen: list[bytes] = []
    waiting = threading.Event()

    def work() -> None:
        for delivery in consumer:
            with delivery:
                seen.append(delivery.payload)
            waiting.set()

    thread = threading.Thread(target=work)
    thread.start()
    topic.send(b"x")
    assert waiting.wait(WAIT)
    consumer.close()
    thread.join(WAIT)
    assert not thread.is_alive()
    assert seen == [b"x"]


def test_a_waiting_receive_wakes_for_a_message_and_ends_at_its_timeout(
    store: libqueue.Store,
) -> None:
    topic = store.topic("t")
    with topic.consumer("g") as consumer:
        assert consumer.receive(1, timeout=0.05) == []
        timer = threading.Timer(0.05, topic.send, [b"x"])
        timer.start()
        (delivery,) = consumer.receive(1, timeout=WAIT)
        delivery.ack()
        timer.join()


def test_a_group_starts_where_it_was_told(store: libqueue.Store) -> None:
    topic = store.topic("t")
    send(topic, 5)
    assert topic.create_group("late", start="latest").stats()["lag_messages"] == 0
    assert topic.create_group("middle", start=3).stats()["lag_messages"] == 2
    assert topic.create_group("all").stats()["lag_messages"] == 5
    topic.send(b"new")
    with topic.consumer("late") as consumer:
        assert drain(consumer) == [b"new"]


def test_configurations_are_kept_and_contradictions_are_named(store: libqueue.Store) -> None:
    topic = store.topic("t", partitions=2)
    config = topic.create_group("g", lease=5.0, ordering="none", dead_letter_topic=None).config
    assert (config["lease"], config["ordering"]) == (5.0, "none")
    assert config["dead_letter_topic"] is None
    with topic.consumer("g") as consumer:
        assert consumer.group == "g"
    with pytest.raises(libqueue.ConfigMismatch, match="configure"):
        topic.consumer("g", lease=6.0)
    with pytest.raises(libqueue.ConfigMismatch):
        store.topic("t", partitions=3)
    with pytest.raises(TypeError, match="unknown option"):
        topic.consumer("g", leese=6.0)  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("option", "value", "told"),
    [
        ("backoff", 0.5, r"backoff is 0\.5; expected \(first, longest, factor\)"),
        ("brake", 3, r"brake is 3; expected \(messages, seconds\) or None"),
        ("lease", "long", r"lease is 'long'; expected seconds"),
        ("max_attempts", "many", r"max_attempts is 'many'; expected a whole number"),
        ("ordering", 7, r"ordering is 7; expected a str"),
        ("dead_letter_topic", 7, r"dead_letter_topic is 7; expected a topic's name or None"),
    ],
)
def test_an_option_of_another_type_is_named(
    store: libqueue.Store, option: str, value: object, told: str
) -> None:
    topic = store.topic("t")
    with pytest.raises(TypeError, match=told):
        topic.create_group("g", **{option: value})  # type: ignore[arg-type]
    assert topic.groups() == []


def test_dropped_dead_letters_are_counted(store: libqueue.Store) -> None:
    topic = store.topic("t")
    topic.send(b"x")
    with topic.consumer("g", dead_letter_topic=None) as consumer:
        (delivery,) = consumer.receive(1, WAIT)
        delivery.dead_letter("no use")
    stats = topic.group("g").stats()
    assert (stats["dead_lettered"], stats["lag_messages"]) == (1, 0)
    assert topic.group("g").dead_letters() == []
    assert store.topics() == ["t"]


def test_the_deadline_is_the_lease_from_now(store: libqueue.Store) -> None:
    topic = store.topic("t")
    topic.send(b"x")
    with topic.consumer("g", lease=100.0) as consumer:
        before = time.time()
        (delivery,) = consumer.receive(1, WAIT)
        assert before + 100 - 1 <= delivery.deadline <= time.time() + 100 + 1
        assert abs(delivery.deadline_ns / 1e9 - delivery.deadline) < 1
