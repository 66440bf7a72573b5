"""The rules for topics with a limit, on histories that break them, and good ones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import flow
import libqueue
import pytest
from evidence import Evidence, Finding, sends_by
from figures import Pauses
from flow import Glance, RingCheck
from history import Event, HandOut, Life, Logged, Send, Settle, Story, Terms
from test_checker import MS

GROUP = ("narrow", "turns")
MOST = flow.LIMITS["narrow"].highest


class Narrow:
    """Fifty messages, one each 10 ms, of which each is acknowledged when forty are there."""

    def __init__(self, group: tuple[str, str] = GROUP, terms: Terms | None = None) -> None:
        self.producer = Life("p.1", "producer", group[0], "-", "-", 0)
        self.consumer = Life("x.1", "consumer", *group, "-", 0)
        self.log: list[Logged] = []
        for number in range(50):
            send = Send("p.1", number, 10 * number * MS, "-", number, (10 * number + 5) * MS)
            send.place = (0, number)
            self.producer.sends[number] = send
            self.log.append(Logged(send.place, "-", "p.1", number, number, True))
            self.take(number, 10 * (number + 40) - 3)
        self.story = Story(
            [self.producer, self.consumer], [], {group[0]: self.log}, {group: []},
            {group: terms or Terms(leases_ms=(500, 500))}, 4,
        )  # fmt: skip
        self.group = group

    def take(self, number: int, at: int) -> None:
        began = (at - 1) * MS
        one = HandOut("x.1", began, began + 1000, (0, number), 1, began + 500 * MS, "p.1", number,
                      number, True)  # fmt: skip
        self.consumer.hand_outs.append(one)
        settle = Settle("x.1", "a", at * MS, (0, number), 1, 0, (at + 1) * MS, 0)
        self.consumer.settles.append(settle)

    def over(self) -> list[Finding]:
        of = Evidence(self.story, self.group, [], sends_by(self.story))
        return flow.check_limit(of, MOST)

    def glance(self, lag: int, pressure: float = 1.0) -> list[Finding]:
        """At 402 to 404 ms, while one call was under way."""
        one = Glance(402 * MS, 404 * MS, GROUP, lag, pressure)
        sends = {"narrow": list(self.producer.sends.values())}
        return flow.check_glances([one], sends, self.story)


def test_a_limit_that_is_kept_passes() -> None:
    good = Narrow()
    assert good.over() == []
    assert good.glance(MOST) == []
    assert good.glance(MOST + 1) == []


def test_more_than_the_limit_is_found() -> None:
    bad = Narrow()
    bad.consumer.settles[3].will += 10 * MS
    assert {one.kind for one in bad.over()} == {"over"}
    # It may have expired, or have been given up.
    bad.producer.sends[3].ttl_ms = 100
    assert bad.over() == []


def test_a_look_that_saw_more_is_found() -> None:
    bad = Narrow()
    assert [one.kind for one in bad.glance(MOST + 2)] == ["over"]
    assert [one.kind for one in bad.glance(0, 1.5)] == ["over"]
    # One that was killed in its call may have sent by then, and no longer.
    bad.producer.sends[50] = Send("p.1", 50, 100 * MS, "-", 0)
    bad.story.events.append(Event("kill", 380 * MS, "p.1"))
    assert bad.glance(MOST + 2) == []
    bad.story.events[0].time = 300 * MS
    assert [one.kind for one in bad.glance(MOST + 2)] == ["over"]
    # Killing all may take its time.
    bad.story.events[0] = Event("all", 300 * MS, until=403 * MS)
    assert bad.glance(MOST + 2) == []
    bad.story.events[0].until = 340 * MS
    assert [one.kind for one in bad.glance(MOST + 2)] == ["over"]


def test_one_that_waits_while_others_send_is_found() -> None:
    calls = [Send("p.1", 1, 0, "-", 0, 10_000 * MS)]
    calls += [Send("q.1", n, n * MS, "-", 0, n * MS + 1000) for n in range(1, flow.PASSED_MOST + 2)]
    lives = {name: Life(name, "producer", "narrow", "-", "-", 0) for name in ("p.1", "q.1")}
    story = Story(list(lives.values()), [], {}, {}, {}, 4)
    found = flow.check_waits(flow.passed(calls, lives, Pauses(story)))
    assert [one.kind for one in found] == ["starved"]
    assert flow.check_waits(flow.passed(calls[:-1], lives, Pauses(story))) == []
    # Who was stopped lost his place.
    story.events.append(Event("stop", 5 * MS, "p.1", 900 * MS))
    assert flow.check_waits(flow.passed(calls, lives, Pauses(story))) == []


class Ring(Narrow):
    """The same in a ring: 10 messages are dropped, of which nobody was handed the half."""

    def __init__(self) -> None:
        super().__init__((flow.RING, "near"), flow.RING_TERMS)
        self.consumer.hand_outs = self.consumer.hand_outs[5:]
        self.consumer.settles = self.consumer.settles[10:]
        self.stats = {"dropped": 9, "expired": 1}

    def find(self) -> list[Finding]:
        return RingCheck(self.story, self.group, [], sends_by(self.story)).look(self.stats)


def test_a_ring_that_counts_what_it_drops_passes() -> None:
    good = Ring()
    assert good.find() == []
    # Stale, for it was dropped; and one of which nobody was told.
    good.consumer.settles[0].outcome = 1
    good.stats["dropped"] += 1
    assert good.find() == []
    good.consumer.settles[1].outcome = 2
    assert good.find() == []
    good.stats["dropped"] += 1
    assert good.find() == []


def one_is_neither_acknowledged_nor_counted(bad: Ring) -> None:
    bad.stats["dropped"] -= 1


def one_is_acknowledged_and_counted(bad: Ring) -> None:
    bad.stats["dropped"] += 1


def one_that_was_acknowledged_comes_again(bad: Ring) -> None:
    bad.take(20, 2000)
    bad.consumer.hand_outs[-1].attempt = bad.consumer.settles[-1].attempt = 2
    bad.consumer.settles[-1].outcome = 1


def a_stale_receipt_settles(bad: Ring) -> None:
    bad.take(20, 590)
    bad.consumer.hand_outs[-1].attempt = 2
    bad.consumer.hand_outs[-1].began -= 10 * MS
    bad.consumer.hand_outs[-1].ended -= 10 * MS
    bad.consumer.settles.pop()
    bad.consumer.hand_outs[15].deadline = 0


BAD: list[tuple[set[str], Callable[[Ring], None]]] = [
    ({"lost"}, one_is_neither_acknowledged_nor_counted),
    ({"lost"}, one_is_acknowledged_and_counted),
    ({"duplicated"}, one_that_was_acknowledged_comes_again),
    ({"receipts"}, a_stale_receipt_settles),
]


@pytest.mark.parametrize(("kinds", "spoil"), BAD, ids=[spoil.__name__ for _, spoil in BAD])
def test_a_broken_promise_is_found(kinds: set[str], spoil: Callable[[Ring], None]) -> None:
    bad = Ring()
    spoil(bad)
    assert {finding.kind for finding in bad.find()} == kinds, bad.find()


def test_a_death_may_leave_one_uncounted() -> None:
    bad = Ring()
    bad.stats["dropped"] -= 1
    bad.story.events.append(Event("kill", 900 * MS, "p.1"))
    assert bad.find() == []


def test_lines_and_numbers_are_read_as_they_are_written(tmp_path: Path) -> None:
    (tmp_path / "l.1.looks").write_text("402000000 404000000 narrow turns 42 1.0\n402 404 nar")
    story = Narrow().story
    for name in flow.RING_GROUPS:
        story.terms[flow.RING, name] = flow.RING_TERMS
    story.logs[flow.RING] = []
    with libqueue.open(tmp_path / "store") as store:
        store.topic(flow.RING, **flow.LIMITS[flow.RING].options())
        flow.lay_out(store)
        found, counts = flow.check(story, tmp_path, store)
    assert [one.kind for one in found] == ["over"]
    assert list(counts.values()) == [1, 0, 0, 0]
