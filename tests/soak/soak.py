"""The soak: producers and consumers in C and Python on one store, killed at any instruction.

soak.py --bin FOLDER [--for 60s|20m] [--seed N] [--keep]

In rounds of half a minute, each with a new store, processes are killed, stopped, forked, ended and
started again, one by one, by PID namespaces and all at once; a stepper kills and stops some of them
inside of locks, and others are waylaid in the middle of a seek, a backup or a compaction. All of
them write down what they do; when a round has drained, the checker looks for what must not happen.
Where it finds something, store and histories are kept, and the exit status is 1. A seed draws the
same moments again, though the machine's part in it differs.
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
from pathlib import Path

import copies
import exact
import flow
import ledger
import libqueue
import machine
import sought
import table
import waylay
from checker import check
from crowd import Crowd, Failed, Member, Space
from evidence import Finding
from figures import figures, overdue
from history import Group, Logged, Story, read_lives
from plan import CONSUMERS, GROUPS, KEEPERS, MAX_ATTEMPTS, MEMBERS, PRODUCERS, TOPICS, lay_out
from total import IN_SPACE, Total, count_deeds, count_events, fell_short, report
from work import read_payload

ROUND_SECONDS = 30.0
DRAIN_SECONDS = 40.0
SHOWN = 20
SPACES = ["a", "b"]
ASIDE = [exact.SOURCE, sought.GROUP, table.GROUP, ledger.GROUP,
         *((flow.RING, name) for name in flow.RING_GROUPS)]  # fmt: skip
"""Groups that have rules of their own."""


class Round:
    """One store's life."""

    def __init__(self, folder: Path, programs: Path, spaces: list[str], seed: int) -> None:
        self.folder = folder
        self.store = folder / "store"
        self.chance = random.Random(seed)
        self.findings: list[Finding] = []
        (folder / "history").mkdir()
        with libqueue.open(self.store) as store:
            lay_out(store)
            ledger.lay_out(store, folder)
        self.crowd = Crowd(folder, programs, spaces, seed)
        for number, (program, where, space) in enumerate(MEMBERS):
            topic_name, _, group = where.partition("/")
            member = Member(f"{program[0]}{number}", program, topic_name, group)
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
            self.crowd.nap()

    def act(self) -> None:
        crowd = self.crowd
        grown = crowd.alive()
        what = self.chance.choices(
            ["kill", "trace kill", "trace stop", "stop", "fork", "term", "space", "waylay"],
            [35, 30, 10, 12, 10, 4, 1, 4],
        )[0]
        if what == "space":
            if crowd.spaces:
                crowd.kill_space(self.chance.choice(list(crowd.spaces)))
        elif what == "waylay":
            crowd.waylaid = self.chance.choice(list(waylay.SECONDS))
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
        """Producers end, the others go on until nothing is left, then all leave."""
        self.crowd.end_tracing()
        self.crowd.waylaid = ""
        (self.folder / "stop-producers").touch()
        self.leave(PRODUCERS)
        with libqueue.open(self.store, create=False) as store:
            self.until_settled(store)
            (self.folder / "stop-keepers").touch()
            self.leave(KEEPERS)
            # What they had redriven last.
            self.until_settled(store)
        (self.folder / "stop-consumers").touch()
        self.leave(CONSUMERS)
        until = time.monotonic() + DRAIN_SECONDS
        while left := self.crowd.descendants():
            self.crowd.look()
            if time.monotonic() > until:
                raise Failed(f"children {left} do not end")
            time.sleep(0.01)

    def until_settled(self, store: libqueue.Store) -> None:
        until = time.monotonic() + DRAIN_SECONDS
        while any(lags(store).values()) and time.monotonic() < until:
            self.crowd.look()
            time.sleep(0.02)

    def leave(self, programs: list[str]) -> None:
        self.crowd.stop_starting |= set(programs)
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
        lives = read_lives(self.folder / "history")
        terms = {group: plan.terms() for group, plan in GROUPS.items()}
        terms |= {sought.GROUP: sought.TERMS, table.GROUP: table.TERMS}
        terms |= {(flow.RING, name): flow.RING_TERMS for name in flow.RING_GROUPS}
        story = Story(
            lives, self.crowd.when_gone(), {}, {}, terms, MAX_ATTEMPTS, sought=sought.GROUP
        )
        with libqueue.open(self.store, create=False) as store:
            for name in TOPICS:
                with store.topic(name).reader() as reader:
                    story.logs[name] = [logged(message) for message in reader]
            for name, group in GROUPS:
                story.dead[name, group] = [
                    letter_of(letter) for letter in store.topic(name).group(group).dead_letters()
                ]
                story.stats[name, group] = store.topic(name).group(group).stats()
            story.lag = lags(store)
        return story

    def look_back(self, total: Total) -> None:
        """Checks the round and takes its figures."""
        story = self.story()
        self.findings += check(story)
        with libqueue.open(self.store, create=False) as store:
            parts = [
                exact.check(self.folder, store),
                sought.check(story, self.store, store),
                table.check(story, self.folder, store),
                flow.check(story, self.folder, store),
                ledger.check(self.folder, store),
                copies.check(story, self.folder),
            ]
        for findings, counts in parts:
            self.findings += findings
            for what, count in counts.items():
                total.count(what, count)
        total.count("killed while they compacted", self.crowd.caught[waylay.COMPACTOR])
        found = figures(story, {"synced", *flow.WAITING})
        total.figures.add(found)
        self.findings += [Finding("late", text) for text in overdue(found)]
        count_events(story, total)
        count_deeds(story, total)
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


def lags(store: libqueue.Store) -> dict[Group, int]:
    """What each group has not settled."""
    return {
        (topic, group): store.topic(topic).group(group).stats()["lag_messages"]
        for topic, group in [*GROUPS, *ASIDE]
    }


def logged(message: libqueue.ReadMessage) -> Logged:
    sender, number, total, whole = read_payload(message.payload)
    key = "-" if message.key is None else message.key.decode()
    return Logged((message.partition, message.offset), key, sender, number, total, whole)


def letter_of(letter: libqueue.DeadLetter) -> Logged:
    found = logged(letter.message)
    found.place = (letter.source_partition, letter.source_offset)
    found.attempts, found.failures = letter.attempts, letter.failures
    found.cycles, found.letter = letter.cycles, letter.message.offset
    return found


def available_spaces(total: Total) -> list[str]:
    """PID namespaces, where the machine lets this user have them."""
    try:
        Space("try").end()
    except OSError as error:
        total.lacks["unshare"] = f"no PID namespaces, all processes share one: {error}"
        return []
    return SPACES


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
