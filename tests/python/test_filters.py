"""Filters of groups: what they take, how they are written, and what they refuse."""

from __future__ import annotations

import json
from pathlib import Path
from types import MappingProxyType
from typing import Any

import libqueue
import pytest
from conftest import WAIT
from test_command_line import objects, run

EUROPE = {"key_prefix": "eu-", "headers": {"test": False}}


def send(topic: libqueue.Topic, payload: bytes, key: bytes | None, **headers: bytes) -> None:
    topic.send(payload, key=key, headers=headers)


def taken(consumer: libqueue.Consumer) -> list[bytes]:
    """What is received, and acknowledged, until nothing is there."""
    found = []
    while batch := consumer.receive(100, 0):
        found += [delivery.payload for delivery in batch]
        consumer.ack(batch)
    return found


def test_a_group_takes_what_its_filter_says_and_counts_the_rest(store: libqueue.Store) -> None:
    topic = store.topic("t")
    group = topic.create_group("g", filter=EUROPE)
    assert group.config["filter"] == EUROPE
    send(topic, b"0", b"us-1")
    send(topic, b"1", b"eu-1", test=b"1")
    send(topic, b"2", b"eu-1")
    send(topic, b"3", None)
    with topic.consumer("g", filter=EUROPE) as consumer:
        assert taken(consumer) == [b"2"]
        stats = group.stats()
        assert (stats["filtered"], stats["delivered"], stats["lag_messages"]) == (3, 1, 0)
        group.configure(filter={"key": False})
        send(topic, b"4", b"eu-1")
        send(topic, b"5", None)
        assert taken(consumer) == [b"5"]
        group.configure(lease=60.0)
        assert group.config["filter"] == {"key": False}
        group.configure(filter={})
        assert group.config["filter"] == {}
        send(topic, b"6", b"us-1")
        assert [one.payload for one in consumer.receive(9, WAIT)] == [b"6"]
        assert group.stats()["filtered"] == 4


@pytest.mark.parametrize(
    ("given", "stored"),
    [
        ({"key": b"\xff\x00"}, {"key": {"base64": "/wA="}}),
        ({"key": bytearray(b"text"), "headers": {}} | {"headers": {"a": b"b"}},
         {"key": "text", "headers": {"a": "b"}}),
        (MappingProxyType({"not": MappingProxyType({"key_prefix": memoryview(b"x")})}),
         {"not": {"key_prefix": "x"}}),
        ({"any": ({"key": "é"}, {"headers": {"a": {"prefix": "b"}, "c": True}})},
         {"any": [{"key": "é"}, {"headers": {"a": {"prefix": "b"}, "c": True}}]}),
        ('{"all": [{"key": true}]}', {"all": [{"key": True}]}),
        ({}, {}),
        ("{}", {}),
    ],
)  # fmt: skip
def test_a_mapping_and_its_json_say_the_same(
    store: libqueue.Store, given: Any, stored: dict[str, Any]
) -> None:
    topic = store.topic("t")
    assert topic.create_group("g", filter=given).config["filter"] == stored
    # Each of them agrees with what is stored.
    topic.create_group("g", filter=stored)
    topic.create_group("g", filter=json.dumps(stored))
    topic.create_group("g")
    with pytest.raises(libqueue.ConfigMismatch, match="configure"):
        topic.create_group("g", filter={"key": "another"})


def test_a_filter_that_does_not_parse_is_an_error_of_its_own(store: libqueue.Store) -> None:
    topic = store.topic("t")
    group = topic.create_group("there")
    endless: dict[str, Any] = {}
    endless["not"] = endless
    deep: dict[str, Any] = {}
    for _ in range(16):
        deep = {"not": deep}
    for wrong, told in [
        ({"keys": "a"}, "filter.keys is no member; expected key"),
        ({"any": [{"key": 1}]}, "filter.any[0].key is a number"),
        ({"key": None}, "filter.key is null"),
        ({"key": object()}, "cannot be written as JSON"),
        ({b"key": "a"}, "cannot be written as JSON"),
        (endless, "cannot be written as JSON"),
        (deep, "inside of 16 others"),
        ({"key": "k" * 5000}, "expected at most 4096"),
        ("{", "at byte 1"),
        (None, "filter is a NoneType; expected a mapping or JSON"),
        (7, "filter is a int"),
    ]:
        with pytest.raises(libqueue.InvalidFilter) as caught:
            topic.create_group("g", filter=wrong)  # type: ignore[arg-type]
        assert told in str(caught.value)
        assert isinstance(caught.value, ValueError)
        with pytest.raises(libqueue.InvalidFilter):
            group.configure(filter=wrong)  # type: ignore[arg-type]
    assert topic.groups() == ["there"]
    assert group.config["filter"] == {}


def test_the_command_line_creates_shows_and_changes_filters(
    store: libqueue.Store, path: Path
) -> None:
    topic = store.topic("t")
    for number in range(6):
        send(topic, b"%d" % number, (b"eu-" if number % 2 else b"us-") + b"1")
    europe = '{"key_prefix": "eu-"}'
    command = ("receive", "t", "--group", "g", "--filter")
    assert run(path, *command, europe).stdout == b"1\n3\n5\n"
    (config,) = objects(run(path, "config", "t/g", "--json"))
    assert config["filter"] == {"key_prefix": "eu-"}
    (stats,) = objects(run(path, "stats", "t", "--json"))
    assert stats["groups"]["g"]["filtered"] == 3  # type: ignore[index]
    assert b"filtered" in run(path, "stats", "t").stdout
    assert b"configure" in run(path, *command, '{"key": "a"}', status=1).stderr
    assert b"filter.kez" in run(path, "config", "t/g", 'filter={"kez": 1}', status=1).stderr
    (config,) = objects(run(path, "config", "t/g", 'filter={"key": "us-1"}', "--json"))
    assert config["filter"] == {"key": "us-1"}
    send(topic, b"6", b"us-1")
    send(topic, b"7", b"eu-1")
    assert run(path, "receive", "t", "--group", "g").stdout == b"6\n"
    (config,) = objects(run(path, "config", "t/g", "filter=", "--json"))
    assert config["filter"] == {}
