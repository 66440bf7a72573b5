"""Statistics for programs that watch: `stats --prometheus` and `top`."""

from __future__ import annotations

from pathlib import Path

import libqueue
from libqueue.cli import metrics, topics
from prometheus_client.parser import text_string_to_metric_families
from test_command_line import objects, run


def filled(path: Path) -> None:
    with libqueue.open(path) as store:
        topic = store.topic("orders", partitions=2)
        for number in range(10):
            topic.send(b"%d" % number, partition=number % 2)
        with topic.consumer("billing") as consumer:
            batch = consumer.receive(4, timeout=5.0)
            consumer.ack(batch[:3])
            batch[3].dead_letter("no")


def test_prometheus_reads_every_statistic(path: Path) -> None:
    filled(path)
    text = run(path, "stats", "--prometheus").stdout.decode()
    found = {family.name: family for family in text_string_to_metric_families(text)}
    acked = found["libqueue_group_acked"]
    assert acked.type == "counter"
    assert [(one.labels, one.value) for one in acked.samples] == [
        ({"topic": "orders", "group": "billing"}, 3.0)
    ]
    lag = found["libqueue_group_lag_messages"]
    assert (lag.type, lag.samples[0].value) == ("gauge", 6.0)
    sent = {
        one.labels["partition"]: one.value
        for one in found["libqueue_partition_next_offset"].samples
        if one.labels["topic"] == "orders"
    }
    assert sent == {"0": 5.0, "1": 5.0}
    assert found["libqueue_store_topics"].samples[0].value == 2.0
    assert all(family.documentation for family in found.values())
    run(path, "stats", "--prometheus", "--json", status=2)


def test_no_statistic_is_left_out(path: Path) -> None:
    filled(path)
    with libqueue.open(path) as store:
        found = topics.topic_object(store.open_topic("orders"))
        of_store = set(store.stats())
    texts = {"delivery", "paused_by"}
    known = {name.removesuffix("_total") for name in metrics.OF_GROUP} | texts
    assert isinstance(found["groups"], dict)
    assert isinstance(found["partitions"], list)
    assert set(found["groups"]["billing"]) == known
    topic = set(found) - {"topic", "partitions", "groups"} - metrics.TEXTS
    assert topic == {name.removesuffix("_total") for name in metrics.OF_TOPIC}
    partition = {name.removesuffix("_total") for name in metrics.OF_PARTITION}
    assert set(found["partitions"][0]) == partition
    assert of_store == set(metrics.OF_STORE)
    assert set(topics.GROUP_NUMBERS) == known - {"delivery"}


def test_top_shows_what_changed_between_two_looks(path: Path) -> None:
    filled(path)
    seen = objects(run(path, "top", "orders", "--interval", 0.05, "--looks", 2, "--json"))
    assert [one["topic"] for one in seen] == ["orders", "orders"]
    group = seen[0]["groups"]["billing"]  # type: ignore[index]
    assert (group["lag_messages"], group["acked_rate"]) == (6, 0.0)
    shown = run(path, "top", "--interval", 0.05, "--looks", 1).stdout.decode()
    assert "orders/billing" in shown
    assert "delivered" in shown
    run(path, "top", "nothing", "--looks", 1, status=1)


def test_rates_are_by_the_second() -> None:
    from libqueue.cli.top import changed

    group = dict.fromkeys((*metrics_of_group(), "paused"), 0)
    before = {
        "topic": "t",
        "at": 10.0,
        "messages": 5,
        "bytes": 1,
        "partitions": [{}],
        "groups": {"g": group},
        **dict.fromkeys(("sent", "sent_bytes", "removed_messages", "lock_waits", "syncs"), 5),
        **dict.fromkeys(("segments", "pressure", "waiting_senders"), 0),
    }
    now = {
        **before,
        "at": 12.0,
        "sent": 25,
        "groups": {"g": {**group, "acked": 8}, "new": {**group, "acked": 9}},
    }
    found = changed(before, now)
    assert found["sent_rate"] == 10.0
    assert found["groups"]["g"]["acked_rate"] == 4.0
    assert found["groups"]["new"]["acked_rate"] == 0.0
    assert changed(None, now)["sent_rate"] == 0.0


def metrics_of_group() -> list[str]:
    return [name.removesuffix("_total") for name in metrics.OF_GROUP]
