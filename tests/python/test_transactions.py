"""Transactions from Python (P8)."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from pathlib import Path

import libqueue
import pytest
from conftest import Child


def payloads(topic: libqueue.Topic) -> list[bytes]:
    with topic.reader() as reader:
        return [one.payload for one in reader.receive(100, timeout=0)]


def test_p8_a_clean_exit_commits_and_an_exception_drops_everything(store: libqueue.Store) -> None:
    orders, invoices = store.topic("orders"), store.topic("invoices")
    orders.send_many([b"0", b"1"])
    with orders.consumer("billing") as billing:
        first, second = billing.receive(2, timeout=1)
        with store.transaction() as tx:
            tx.send(invoices, b"a", key=b"k", headers={"trace": b"42"})
            tx.send_many(invoices, [b"b", libqueue.Message(b"c", key=b"k")])
            tx.ack(first)
            assert tx.ids is None
            assert payloads(invoices) == []
            assert "3 messages and 1 deliveries" in repr(tx)
        assert tx.ids is not None
        assert [one.offset for one in tx.ids] == [0, 1, 2]
        assert payloads(invoices) == [b"a", b"b", b"c"]
        with pytest.raises(RuntimeError, match="stop"), store.transaction() as tx:
            tx.send(invoices, b"never")
            tx.ack(second)
            raise RuntimeError("stop")
        assert tx.ids is None
        assert payloads(invoices) == [b"a", b"b", b"c"]
        second.ack()
    assert orders.group("billing").stats()["lag_messages"] == 0


def test_p8_what_a_transaction_settled_is_left_alone_by_the_end_of_with(
    store: libqueue.Store,
) -> None:
    orders, invoices = store.topic("orders"), store.topic("invoices")
    orders.send_many([b"0", b"1", b"2"])
    with orders.consumer("billing", ordering="none") as billing:
        for delivery in billing.receive(2, timeout=1):
            with delivery, store.transaction() as tx:
                tx.send(invoices, delivery.payload)
                tx.ack([delivery])
        (last,) = billing.receive(1, timeout=1)
        with pytest.raises(ValueError), last, store.transaction() as tx:
            tx.ack(last)
            raise ValueError
        # It failed, as outside of a transaction.
        assert billing.receive(1, timeout=0) == []
    assert payloads(invoices) == [b"0", b"1"]
    assert orders.group("billing").stats()["failed"] == 1


def test_p8_p9_a_stale_receipt_fails_it_as_a_whole_and_is_named(store: libqueue.Store) -> None:
    orders, invoices = store.topic("orders"), store.topic("invoices")
    orders.send_many([b"0", b"1"])
    with orders.consumer("billing") as billing:
        first, second = billing.receive(2, timeout=1)
        first.ack()
        with pytest.raises(libqueue.StaleReceipt, match="nothing of the transaction") as raised:
            with store.transaction() as tx:
                tx.send(invoices, b"never")
                tx.ack([second, first])
        assert raised.value.stale == [first]
        assert payloads(invoices) == []
        second.ack()


def test_p8_it_is_over_after_a_commit_and_an_abort(store: libqueue.Store) -> None:
    topic = store.topic("orders")
    tx = store.transaction()
    tx.send(topic, b"a")
    assert len(tx.commit()) == 1
    for use in (lambda: tx.send(topic, b"b"), tx.commit, lambda: tx.send_many(topic, [b"b"])):
        with pytest.raises(libqueue.Closed, match="begin another"):
            use()
    tx.abort()
    tx = store.transaction()
    tx.send(topic, b"never")
    tx.abort()
    with pytest.raises(libqueue.Closed):
        tx.commit()
    # Committed, or aborted, inside.
    with store.transaction() as tx:
        tx.send(topic, b"b")
        tx.commit()
    with store.transaction() as tx:
        tx.send(topic, b"never")
        tx.abort()
    assert payloads(topic) == [b"a", b"b"]


def test_p8_wrong_uses_are_told_and_add_nothing(store: libqueue.Store, tmp_path: Path) -> None:
    orders = store.topic("orders")
    orders.send(b"0")
    with libqueue.open(tmp_path / "other") as other, store.transaction() as tx:
        with pytest.raises(libqueue.InvalidArgument, match="another opening"):
            tx.send(other.topic("orders"), b"x")
        with pytest.raises(libqueue.TooLarge, match="16777216"):
            tx.send(orders, bytes((16 << 20) + 1))
        with pytest.raises(TypeError):
            tx.ack("no delivery")  # type: ignore[arg-type]
        with pytest.raises(TypeError):
            tx.send("orders", b"x")  # type: ignore[arg-type]
        with orders.consumer("once", delivery="at_most_once") as once:
            (handed,) = once.receive(1, timeout=1)
            with pytest.raises(libqueue.InvalidArgument, match="at most once"):
                tx.ack(handed)
    assert tx.ids == []
    assert payloads(orders) == [b"0"]
    with libqueue.open(store.path, read_only=True) as readable:
        with pytest.raises(libqueue.ReadOnly):
            readable.transaction()


def test_p8_p14_there_is_room_for_all_of_it_or_nothing_happens(store: libqueue.Store) -> None:
    orders, invoices = store.topic("orders"), store.topic("invoices")
    few = store.topic("few", max_messages=1, send_timeout=0.02)
    orders.send(b"0")
    few.send(b"there")
    with orders.consumer("billing") as billing:
        (delivery,) = billing.receive(1, timeout=1)
        for on_full, error in [("reject", libqueue.Full), ("block", libqueue.Timeout)]:
            few.configure(on_full=on_full)  # type: ignore[arg-type]
            tx = store.transaction()
            tx.send(invoices, b"never")
            tx.send(few, b"never")
            tx.ack(delivery)
            with pytest.raises(error, match="nothing was sent"):
                tx.commit()
        delivery.ack()
    assert payloads(invoices) == []
    assert payloads(few) == [b"there"]


def test_p8_p14_a_commit_that_waits_for_room_answers_ctrl_c(
    store: libqueue.Store, spawn: Callable[[str], Child]
) -> None:
    store.topic("t", max_messages=1, on_full="block").send(b"a")
    child = spawn(
        """
        store = libqueue.open(path)
        topic = store.topic("t")
        tx = store.transaction()
        tx.send(topic, b"b")
        print("waits", flush=True)
        try:
            tx.commit()
        except KeyboardInterrupt:
            print("interrupted", topic.stats()["messages"], flush=True)
        """
    )
    assert child.line() == "waits"
    time.sleep(0.2)
    child.signal(signal.SIGINT)
    assert child.line() == "interrupted 1"


def test_p8_p16_a_seek_makes_stale_what_a_transaction_was_to_acknowledge(
    store: libqueue.Store,
) -> None:
    orders, invoices = store.topic("orders"), store.topic("invoices")
    orders.send(b"0")
    with orders.consumer("billing") as billing:
        (delivery,) = billing.receive(1, timeout=1)
        tx = store.transaction()
        tx.send(invoices, b"never")
        tx.ack(delivery)
        orders.group("billing").seek("earliest")
        with pytest.raises(libqueue.StaleReceipt):
            tx.commit()
        (again,) = billing.receive(1, timeout=1)
        with store.transaction() as tx:
            tx.send(invoices, again.payload)
            tx.ack(again)
    assert payloads(invoices) == [b"0"]
