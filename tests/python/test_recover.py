"""Copying out of a damaged store."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import libqueue
import pytest
from conftest import QUICK, Child


def fill(path: Path) -> dict[tuple[int, int], libqueue.ReadMessage]:
    """Three partitions, a group that acknowledged some and failed some."""
    with libqueue.open(path) as store:
        orders = store.topic("orders", partitions=3, max_message_bytes=1 << 20)
        for number in range(90):
            payload = bytes([number]) * (30_000 if number % 2 else 10)
            orders.send(payload, key=b"%d" % number, headers={"n": b"%d" % number})
        with orders.consumer("billing", backoff=QUICK, ordering="none", max_attempts=9) as billing:
            batch = billing.receive(40, 5)
            billing.ack(batch[:20])
            billing.nack(batch[20:25], error="not yet")
            billing.dead_letter(batch[25:27], "no use")
        return {(one.partition, one.offset): one for one in orders.reader()}


def rest(path: Path, group: str) -> dict[tuple[int, int], int]:
    """What a group is still delivered, with its attempts."""
    found: dict[tuple[int, int], int] = {}
    with libqueue.open(path) as store, store.topic("orders").consumer(group) as consumer:
        while batch := consumer.receive(50, 0.1):
            for one in batch:
                assert (one.partition, one.offset) not in found
                found[one.partition, one.offset] = one.attempt
            consumer.ack(batch)
    return found


def same(one: libqueue.ReadMessage, other: libqueue.ReadMessage) -> bool:
    return (one.payload, one.key, one.headers, one.timestamp_ns, one.id) == (
        other.payload,
        other.key,
        other.headers,
        other.timestamp_ns,
        other.id,
    )


def test_p3_p4_p6_a_whole_store_is_copied_as_it_is(path: Path, tmp_path: Path) -> None:
    sent = fill(path)
    told: list[tuple[int, int]] = []
    done = libqueue.recover(path, tmp_path / "new", lambda now, total: told.append((now, total)))
    assert (done["messages"], done["losses"], done["notes"]) == (92, [], [])
    assert told[0][0] == 0
    assert told[-1][0] == told[-1][1]
    with libqueue.open(tmp_path / "new") as store, libqueue.open(path) as before:
        assert store.id == before.id == done["id"]
        orders = store.topic("orders")
        assert orders.config == before.topic("orders").config
        found = {(one.partition, one.offset): one for one in orders.reader()}
        assert found.keys() == sent.keys()
        assert all(same(one, sent[place]) for place, one in found.items())
        dead = orders.group("billing").dead_letters()
        assert [one.error for one in dead] == ["no use", "no use"]
    left = rest(tmp_path / "new", "billing")
    assert left == rest(path, "billing")
    assert len(left) == 68
    assert set(left.values()) >= {1, 2}


@pytest.mark.parametrize("gone", ["store.meta", "topic.meta", "group.meta", "1.window", "reserve"])
def test_p3_p6_files_that_are_gone_cost_no_message(path: Path, tmp_path: Path, gone: str) -> None:
    sent = fill(path)
    wanted = rest_of_copy(path, tmp_path / "copy")
    file = next(one for one in sorted(path.rglob(gone)) if ".dlq" not in str(one))
    file.unlink()
    done = libqueue.recover(path, tmp_path / "new")
    assert done["messages"] == 92
    if gone != "reserve":
        assert file in [loss["file"] for loss in done["losses"]]
    assert libqueue.verify(tmp_path / "new")["damage"] == []
    with libqueue.open(tmp_path / "new") as store:
        assert {(one.partition, one.offset) for one in store.topic("orders").reader()} == set(sent)
    assert rest(tmp_path / "new", "billing").keys() >= wanted.keys()


def rest_of_copy(path: Path, to: Path) -> dict[tuple[int, int], int]:
    """What a group is still delivered; the store is left as it is."""
    shutil.copytree(path, to)
    return rest(to, "billing")


def test_p3_p4_lost_offsets_are_told_and_never_used_again(path: Path, tmp_path: Path) -> None:
    sent = fill(path)
    last = max(sent)
    (segment,) = path.glob(f"topics/orders/{last[0]}/*.log")
    damaged = bytearray(segment.read_bytes())
    where = damaged.rindex(sent[last].payload)
    damaged[where] ^= 1
    segment.write_bytes(damaged)
    report = libqueue.verify(path)
    (lost,) = [one for one in report["partitions"] if one["lost"]]
    assert (lost["topic"], lost["partition"], lost["lost"]) == ("orders", last[0], [(last[1],) * 2])
    assert lost["readable"] == [(0, last[1] - 1)]
    done = libqueue.recover(path, tmp_path / "new")
    (loss,) = done["losses"]
    assert (loss["file"], loss["lost"]) == (segment, (last[1], last[1]))
    with libqueue.open(tmp_path / "new") as store:
        new = store.topic("orders").send(b"new", partition=last[0])
        assert new.offset == last[1] + 1


def test_what_is_refused_says_why(path: Path, tmp_path: Path) -> None:
    with pytest.raises(libqueue.NotFound):
        libqueue.recover(path, tmp_path / "new")
    fill(path)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    with pytest.raises(libqueue.AlreadyExists, match="file"):
        libqueue.recover(path, tmp_path / "full")
    with pytest.raises(libqueue.InvalidArgument, match="inside"):
        libqueue.recover(path, path / "new")
    with libqueue.open(path), pytest.raises(libqueue.Busy, match=str(os.getpid())):
        libqueue.recover(path, tmp_path / "new")

    def enough(done: int, total: int) -> None:
        raise LookupError(done, total)

    with pytest.raises(LookupError):
        libqueue.recover(path, tmp_path / "new", enough)
    assert not (tmp_path / "new").exists()


def test_ctrl_c_ends_a_copy_and_leaves_nothing(
    path: Path, tmp_path: Path, spawn: Callable[[str], Child]
) -> None:
    with libqueue.open(path) as store:
        store.topic("orders").send_many([bytes(1 << 20)] * 40)
    before = {file: file.read_bytes() for file in path.rglob("*.log")}
    child = spawn(
        """
        def tell(done, total):
            if done:
                print("copying")
                time.sleep(60)
        libqueue.recover(path, path + ".new", tell)
        """
    )
    assert child.line() == "copying"
    child.signal(signal.SIGINT)
    assert child.end() != 0
    assert sorted(tmp_path.iterdir()) == [path]
    assert {file: file.read_bytes() for file in path.rglob("*.log")} == before


def test_p17_a_killed_copy_is_no_store(path: Path, spawn: Callable[[str], Child]) -> None:
    fill(path)
    child = spawn(
        """
        def tell(done, total):
            if done:
                print("copying")
                time.sleep(60)
        libqueue.recover(path, path + ".new", tell)
        """
    )
    assert child.line() == "copying"
    child.kill()
    new = path.with_name("store.new")
    with pytest.raises(libqueue.NotAStore):
        libqueue.open(new)
    with pytest.raises(libqueue.AlreadyExists, match="interrupted"):
        libqueue.recover(path, new)
    shutil.rmtree(new)
    assert libqueue.recover(path, new)["messages"] == 92
