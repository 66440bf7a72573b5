"""The soak: producers and consumers in C and Python on one store, killed at any instruction.

soak.py --bin FOLDER [--for 60s|20m] [--seed N] [--keep]

In rounds of half a minute, each with a new store, processes are killed, stopped, forked, ended and
started again, one by one, by PID namespaces and all at once; a stepper kills and stops some of them
inside of locks. All of them write down what they do; when a round has drained, the checker looks
for what must not happen. Where it finds something, store and histories are kept, and the exit
status is 1. A seed draws the same moments again, though the machine's part in it differs.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import shutil
import signal
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import libqueue
import machine
from checker import Finding, check
from crowd import Crowd, Failed, Member, Space
from figures import (
    REDELIVERY_AIM_MS,
    STALL_AIM_MS,
    Figures,
    figures,
    overdue,
    percentile,
)
from history import Group, Logged, Story, read_lives
from work import read_payload

ROUND_SECONDS = 30.0
DRAIN_SECONDS = 40.0
MAX_ATTEMPTS = 4
SHOWN = 20
SLOWEST = 3
TOPICS: dict[str, tuple[int, Literal["process", "interval", "sync"]]] = {
    "fast": (4, "process"),
    "ticked": (2, "interval"),
    "synced": (1, "sync"),
}
"""Partitions and durability."""
GROUPS: dict[Group, tuple[Literal["key", "none"], float]] = {
    ("fast", "keyed"): ("key", 1.0),
    ("fast", "loose"): ("none", 5.0),
    ("ticked", "keyed"): ("key", 0.4),
    ("synced", "loose"): ("none", 0.4),
}
"""Ordering and lease in seconds."""
SPACES = ["a", "b"]
IN_SPACE = "members at work in PID namespace "
FEWEST_SECONDS = 30.0
"""A soak of this length must have come to all that the machine lets it."""
PRODUCERS = ["producer", "producer.py"]
MEMBERS = [
    ("producer", "fast", ""), ("producer.py", "fast", ""), ("producer", "fast", "a"),
    ("producer", "ticked", "b"), ("producer.py", "ticked", ""),
    ("producer", "synced", ""), ("producer.py", "synced", "a"),
    ("consumer", "fast/keyed", ""), ("consumer.py", "fast/keyed", ""),
    ("consumer", "fast/keyed", "b"),
    ("consumer", "fast/loose", ""), ("consumer.py", "fast/loose", "a"),
    ("consumer", "fast/loose", ""),
    ("consumer.py", "ticked/keyed", ""), ("consumer", "ticked/keyed", "a"),
    ("consumer", "synced/loose", "b"), ("consumer.py", "synced/loose", ""),
]  # fmt: skip
"""Program, topic and group, PID namespace."""


@dataclass
class Total:
    """What all rounds came to."""

    seconds: float = 0.0
    counts: dict[str, int] = field(default_factory=dict)
    figures: Figures = field(default_factory=Figures)
    lacks: dict[str, str] = field(default_factory=dict)
    """What the machine does not let the soak do, and why."""

    def count(self, what: str, more: int) -> None:
        self.counts[what] = self.counts.get(what, 0) + more


class Round:
    """One store's life."""

    def __init__(self, folder: Path, programs: Path, spaces: list[str], seed: int) -> None:
        self.folder = folder
        self.store = folder / "store"
        self.chance = random.Random(seed)
        self.findings: list[Finding] = []
        (folder / "history").mkdir()
        with libqueue.open(self.store) as store:
            for name, (partitions, durability) in TOPICS.items():
                topic = store.topic(name, partitions=partitions, durability=durability)
                for (of, group), (ordering, lease) in GROUPS.items():
                    if of == name:
                        topic.create_group(
                            group,
                            ordering=ordering,
                            lease=lease,
                            max_attempts=MAX_ATTEMPTS,
                            backoff=(0.001, 0.005, 2.0),
                        )
        self.crowd = Crowd(folder, programs, spaces, seed)
        for number, (program, where, space) in enumerate(MEMBERS):
            topic_name, _, group = where.partition("/")
            letter = program[0]
            member = Member(f"{letter}{number}", program, topic_name, group)
            member.space = space if space in spaces else ""
            self.crowd.members.append(member)

    def run(self, seconds: float) -> None:
        """Half of the time, the end of all, the other half, and the way out."""
        self.trouble(seconds / 2)
        self.crowd.kill_all()
        self.verify("after all were killed")
        self.trouble(seconds / 2)
        self.drain()
        self.verify("at the end")

    def trouble(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        due = time.monotonic() + 1.0
        while (now := time.monotonic()) < until:
            self.crowd.look()
            if now >= due:
                self.act()
                due = now + self.chance.expovariate(1 / 0.08)
            time.sleep(0.002)

    def act(self) -> None:
        crowd = self.crowd
        grown = crowd.alive()
        what = self.chance.choices(
            ["kill", "trace kill", "trace stop", "stop", "fork", "term", "space"],
            [35, 30, 10, 12, 10, 4, 1],
        )[0]
        if what == "space":
            if crowd.spaces:
                crowd.kill_space(self.chance.choice(list(crowd.spaces)))
        elif what == "kill":
            if alive := crowd.alive(grown=False):
                crowd.kill(self.chance.choice(alive))
        elif grown:
            member = self.chance.choice(grown)
            if what.startswith("trace"):
                if crowd.tracing is None:
                    crowd.trace(member, what.split(" ")[1])
            elif what == "stop":
                crowd.stop(member)
            elif what == "fork":
                crowd.fork(member)
            else:
                crowd.term(member)

    def drain(self) -> None:
        """Producers end, consumers go on until nothing is left, then all leave."""
        self.crowd.end_tracing()
        (self.folder / "stop-producers").touch()
        self.crowd.stop_starting |= set(PRODUCERS)
        self.leave(PRODUCERS)
        with libqueue.open(self.store, create=False) as store:
            until = time.monotonic() + DRAIN_SECONDS
            while any(lags(store).values()) and time.monotonic() < until:
                self.crowd.look()
                time.sleep(0.02)
        (self.folder / "stop-consumers").touch()
        self.crowd.stop_starting |= {"consumer", "consumer.py"}
        self.leave(["consumer", "consumer.py"])
        until = time.monotonic() + DRAIN_SECONDS
        while left := self.crowd.descendants():
            self.crowd.look()
            if time.monotonic() > until:
                raise Failed(f"children {left} do not end")
            time.sleep(0.01)

    def leave(self, programs: list[str]) -> None:
        until = time.monotonic() + DRAIN_SECONDS
        members = [member for member in self.crowd.members if member.program in programs]
        while any(member.process is not None for member in members):
            for member in members:
                member.expected = True
            self.crowd.look()
            if time.monotonic() > until:
                names = [member.who for member in members if member.process is not None]
                raise Failed(f"{names} do not end")
            time.sleep(0.005)

    def verify(self, when: str) -> None:
        for damage in libqueue.verify(self.store)["damage"]:
            text = f"{when}: {damage['file']} at {damage['position']}: {damage['what']}"
            self.findings.append(Finding("damaged", text))

    def story(self) -> Story:
        ordered = {group for group, (ordering, _) in GROUPS.items() if ordering == "key"}
        lives = read_lives(self.folder / "history")
        story = Story(lives, self.crowd.events, {}, {}, ordered, MAX_ATTEMPTS)
        with libqueue.open(self.store, create=False) as store:
            for name in TOPICS:
                with store.topic(name).reader() as reader:
                    story.logs[name] = [logged(message) for message in reader]
            for name, group in GROUPS:
                story.dead[name, group] = [
                    letter_of(letter) for letter in store.topic(name).group(group).dead_letters()
                ]
            story.lag = lags(store)
        return story

    def look_back(self, total: Total) -> None:
        """Checks the round and takes its figures."""
        story = self.story()
        self.findings += check(story)
        events = story.events
        locked = [event for event in events if event.lock]
        found = figures(story, {"synced"})
        total.figures.add(found)
        self.findings += [Finding("late", text) for text in overdue(found)]
        total.count("kills", sum(event.what == "kill" for event in events))
        total.count("kills inside a lock", sum(event.what == "kill" for event in locked))
        total.count("stops", sum(event.what == "stop" for event in events))
        total.count("stops inside a lock", sum(event.what == "stop" for event in locked))
        total.count("forks", sum("f" in life.name.partition(".")[2] for life in story.lives))
        total.count("clean ends", sum(event.what == "term" for event in events))
        total.count("ends of a PID namespace", sum(event.what == "space" for event in events))
        total.count("ends of all", sum(event.what == "all" for event in events))
        total.count("messages", sum(len(log) for log in story.logs.values()))
        total.count("deliveries", sum(len(life.hand_outs) for life in story.lives))
        total.count("stale receipts", count_stale(story))
        total.count("dead letters", sum(len(dead) for dead in story.dead.values()))
        total.count("locks the stepper missed", self.crowd.missed)
        names = {life.name.partition(".")[0] for life in story.lives}
        for space in self.crowd.spaces:
            members = [one for one in self.crowd.members if one.space == space]
            total.count(IN_SPACE + space, sum(one.name in names for one in members))
        if self.crowd.untraceable and not total.counts["kills inside a lock"]:
            total.lacks["ptrace"] = self.crowd.untraceable

    def complaints(self) -> None:
        """What the stepper saw, and what workers and the library said on standard error."""
        self.findings += [Finding("robbed", text) for text in self.crowd.robbed]
        said = (self.folder / "errors").read_text(errors="replace").strip()
        if said:
            self.findings.append(Finding("failed", said[:4000]))


def count_stale(story: Story) -> int:
    return sum(settle.outcome == 1 for life in story.lives for settle in life.settles)


def lags(store: libqueue.Store) -> dict[Group, int]:
    """What each group has not settled."""
    return {
        (topic, group): store.topic(topic).group(group).stats()["lag_messages"]
        for topic, group in GROUPS
    }


def logged(message: libqueue.ReadMessage) -> Logged:
    sender, number, total, whole = read_payload(message.payload)
    key = "-" if message.key is None else message.key.decode()
    return Logged((message.partition, message.offset), key, sender, number, total, whole)


def letter_of(letter: libqueue.DeadLetter) -> Logged:
    found = logged(letter.message)
    found.place = (letter.source_partition, letter.source_offset)
    found.attempts, found.failures = letter.attempts, letter.failures
    return found


def available_spaces(total: Total) -> list[str]:
    """PID namespaces, where the machine lets this user have them."""
    try:
        Space("try").end()
    except OSError as error:
        total.lacks["unshare"] = f"no PID namespaces, all processes share one: {error}"
        return []
    return SPACES


def fell_short(total: Total, spaces: list[str]) -> list[str]:
    """What did not happen, though the machine lets it: a soak that does nothing finds nothing."""
    short = machine.errors(total.lacks)
    if total.seconds < FEWEST_SECONDS:
        return short
    wanted = ["kills", "stops", "forks", "ends of all", "messages", "deliveries", "dead letters"]
    wanted += [IN_SPACE + space for space in spaces]
    if "ptrace" not in total.lacks:
        wanted += ["kills inside a lock"]
    return short + [f"no {what}" for what in wanted if not total.counts.get(what)]


def soak(seconds: float, seed: int, programs: Path, keep: bool) -> int:
    total, number = Total(), 0
    spaces = available_spaces(total)
    for line in machine.left_out(total.lacks):
        print(line, flush=True)
    while total.seconds < seconds:
        number += 1
        length = min(ROUND_SECONDS, max(seconds - total.seconds, 5.0))
        folder = Path(tempfile.mkdtemp(prefix="libqueue-soak-"))
        kept = keep
        try:
            findings = one_round(folder, programs, spaces, seed + number - 1, length, total)
            kept = kept or bool(findings)
        finally:
            if not kept:
                shutil.rmtree(folder, ignore_errors=True)
        total.seconds += length
        if findings:
            print(f"soak: FOUND in round {number} (seed {seed + number - 1}), kept in {folder}:")
            for finding in findings[:SHOWN]:
                print(f"  {finding.kind}: {finding.text}")
            print(f"  {len(findings)} in all", flush=True)
            report(total)
            return 1
        if keep:
            print(f"soak: round {number} kept in {folder}")
        print(f"soak: round {number}: {length:.0f} s, nothing found", flush=True)
    report(total)
    short = fell_short(total, spaces)
    for what in short:
        print(f"soak: FELL SHORT: {what}")
    return 1 if short else 0


def one_round(
    folder: Path, programs: Path, spaces: list[str], seed: int, seconds: float, total: Total
) -> list[Finding]:
    this = Round(folder, programs, spaces, seed)
    try:
        this.run(seconds)
    except (Failed, libqueue.Error) as error:
        this.findings.append(Finding("failed", f"{type(error).__name__}: {error}"))
    finally:
        this.crowd.end()
    this.complaints()
    if not this.findings:
        this.look_back(total)
    return this.findings


def report(total: Total) -> None:
    without = f", LEFT OUT: {', '.join(total.lacks)}" if total.lacks else ", nothing left out"
    print(f"soak minutes: {total.seconds / 60:.1f}{without}")
    for line in machine.left_out(total.lacks):
        print(line)
    for what, count in total.counts.items():
        print(f"{what}: {count:,}")
    found = total.figures
    stalls, calm = [one[0] for one in found.stalls], found.calm_stalls
    print(
        f"longest stall of a live process when another was killed inside a lock "
        f"(aim: {STALL_AIM_MS:.0f} ms): "
        f"{max(stalls, default=0):.1f} ms (p50 {percentile(stalls, 50):.1f}, "
        f"p99 {percentile(stalls, 99):.1f}, of {len(stalls)}); "
        f"in calls that need no such lock: {max(found.other_stalls, default=0):.1f} ms; "
        f"before the stepper came: {max(calm, default=0):.1f} ms "
        f"(p50 {percentile(calm, 50):.1f}, p99 {percentile(calm, 99):.1f})"
    )
    for stall, text in sorted(found.stalls, reverse=True)[:SLOWEST]:
        print(f"  {stall:.1f} ms: {text}")
    again = [one[0] for one in found.redeliveries]
    print(
        f"from a consumer's death to the redelivery of what it held "
        f"(aim: p99 {REDELIVERY_AIM_MS:.0f} ms): "
        f"p50 {percentile(again, 50):.1f} ms, p99 {percentile(again, 99):.1f} ms, "
        f"longest {max(again, default=0):.1f} ms, of {len(again):,} "
        f"({found.kept_waiting:,} more while no other consumer of the group was free)"
    )
    for time_ms, text in sorted(found.redeliveries, reverse=True)[:SLOWEST]:
        print(f"  {time_ms:.1f} ms: {text}")


def seconds_of(text: str) -> float:
    """Reads 90, 90s, 20m or 2h."""
    unit = {"s": 1, "m": 60, "h": 3600}.get(text[-1:], 0)
    try:
        return float(text[:-1]) * unit if unit else float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no time as 90s, 20m or 2h") from None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bin", type=Path, required=True)
    parser.add_argument("--for", dest="seconds", type=seconds_of, default=60.0)
    parser.add_argument("--seed", type=int)
    parser.add_argument("--keep", action="store_true")
    args = parser.parse_args()
    seed = random.SystemRandom().randrange(1 << 32) if args.seed is None else args.seed
    print(f"soak: {args.seconds:.0f} s, seed {seed}", flush=True)
    # What ends the soak ends its processes too, and removes its folder.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("soak: ended by SIGTERM"))
    with contextlib.suppress(KeyboardInterrupt):
        sys.exit(soak(args.seconds, seed, args.bin, args.keep))
    sys.exit("soak: interrupted")


if __name__ == "__main__":
    main()
