"""What `exact.check` must find, and what it must leave alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import exact
import libqueue
import pytest


@pytest.fixture
def store(tmp_path: Path) -> Iterator[libqueue.Store]:
    with libqueue.open(tmp_path / "store") as opened:
        exact.lay_out(opened)
        yield opened


def order(store: libqueue.Store, name: str, dedup_id: str | None = None) -> libqueue.MessageId:
    body = f"{name}\nbody".encode()
    return store.topic(exact.ORDERS).send(body, partition=0, dedup_id=dedup_id or name)


def move(store: libqueue.Store, at: libqueue.MessageId, name: str) -> None:
    key = f"{at.partition}/{at.offset}".encode()
    store.topic(exact.MOVED).send(f"{name}\nbody".encode(), key=key)


def told(folder: Path, *lines: str, cut_off: str = "") -> None:
    exact.ids_of(folder, "s1").write_text("".join(f"{line}\n" for line in lines) + cut_off)


def kinds(folder: Path, store: libqueue.Store) -> list[str]:
    return [finding.kind for finding in exact.check(folder, store)[0]]


def test_what_was_sent_again_and_moved_once_is_good(tmp_path: Path, store: libqueue.Store) -> None:
    at = order(store, "s1 1")
    move(store, at, "s1 1")
    told(tmp_path, f"1 0 {at.offset}", f"1 0 {at.offset}", cut_off="2 0")
    found, counts = exact.check(tmp_path, store)
    assert found == []
    assert (counts["sent under ids"], counts["sent again under its id"]) == (1, 1)


def test_an_order_that_is_there_twice_is_found(tmp_path: Path, store: libqueue.Store) -> None:
    for dedup_id in ("one", "other"):
        move(store, order(store, "s1 1", dedup_id), "s1 1")
    assert kinds(tmp_path, store) == ["duplicated"]


@pytest.mark.parametrize("lines", [["1 0 7"], ["1 0 0", "1 0 1"], ["2 0 0"]])
def test_a_send_that_returned_a_wrong_place_is_found(
    tmp_path: Path, store: libqueue.Store, lines: list[str]
) -> None:
    move(store, order(store, "s1 1"), "s1 1")
    told(tmp_path, *lines)
    assert kinds(tmp_path, store) == ["lost"]


def test_what_was_not_moved_or_moved_twice_is_found(tmp_path: Path, store: libqueue.Store) -> None:
    order(store, "s1 1")
    assert kinds(tmp_path, store) == ["lost"]
    at = order(store, "s1 2")
    move(store, at, "s1 2")
    move(store, at, "s1 2")
    assert sorted(kinds(tmp_path, store)) == ["duplicated", "lost"]
