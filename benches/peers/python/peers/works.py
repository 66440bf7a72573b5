"""The works W1 to W7: who sends, who takes, what is timed and how it is verified."""

import ctypes
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any

from .peer import Peer, Setup
from .processes import HEAD, SPAWN, WRAP, Progress, Report, Task, main, send_chunk

# How long a run may stand still before it counts as failed.
STALL = 120.0
# Between two looks at how far the consumers are: rarely, for the driver has no core to itself.
LOOK = 0.005
PRELOAD = 100


@dataclass(frozen=True)
class Plan:
    """How many processes send and take, and in what steps.

    Producers send one by one where consumers stand beside them: the batch is the consumers' then.
    """

    senders: int
    consumers: int
    sends: int = 1
    takes: int = 1
    preloaded: bool = False
    sync: bool = False


def plan_of(work: str, senders: int | None, consumers: int | None, batch: int | None) -> Plan:
    """A number that is not given is the work's own."""
    some = batch or 100
    plans = {
        "W1": Plan(1, 0),
        "W2": Plan(1, 0, sends=some),
        "W3": Plan(senders or 1, 0, sync=True),
        "W4": Plan(0, 1, takes=some, preloaded=True),
        "W5": Plan(1, 1, takes=some),
        "W6": Plan(0, consumers or 4, takes=some, preloaded=True),
        "W7": Plan(senders or 4, consumers or 4, takes=some),
    }
    return plans[work]


@dataclass(frozen=True)
class Measured:
    """A run that ended; `wrong` says what does not agree, if anything."""

    seconds: float
    waits: list[int]
    wrong: str | None


class StalledError(Exception):
    """A run that did not get to its end."""


def measure(peer: Peer, setup: Setup, plan: Plan, rate: int) -> Measured:
    shared = peer.prepare(setup)
    if plan.preloaded:
        preload(peer, setup, shared)
    run = Run(peer, setup, plan, rate, shared)
    try:
        seconds = run.go()
    finally:
        run.end()
    waits = sorted(one for report in run.reports[plan.senders :] for one in report.waits)
    return Measured(seconds, waits, run.wrong())


def preload(peer: Peer, setup: Setup, shared: Any) -> None:
    sender = peer.sender(setup, shared)
    filler = b"x" * (setup.size - HEAD.size)
    for begin in range(0, setup.count, PRELOAD):
        send_chunk(sender, range(begin, min(begin + PRELOAD, setup.count)), filler)
    sender.flush()
    sender.close()


class Run:
    """The processes of one run, senders first."""

    def __init__(self, peer: Peer, setup: Setup, plan: Plan, rate: int, shared: Any) -> None:
        self.peer, self.setup, self.plan, self.shared = peer, setup, plan, shared
        self.rate, self.complete = rate, False
        ends = plan.senders + plan.consumers
        self.progress: Progress = SPAWN.RawArray(ctypes.c_uint64, 1 + ends)
        self.reports = [Report() for _ in range(ends)]
        self.lines: list[Connection] = []
        self.children = [self.start(task) for task in self.tasks()]

    def tasks(self) -> Sequence[Task]:
        count, senders, slot = self.setup.count, self.plan.senders, 1
        tasks = []
        for number in range(senders + self.plan.consumers):
            sends = number < senders
            first = count * number // senders if sends else 0
            share = count * (number + 1) // senders - first if sends else 0
            step = self.plan.sends if sends else self.plan.takes
            tasks.append(
                Task(
                    self.peer.name,
                    self.setup,
                    sends,
                    slot + number,
                    step,
                    self.rate,
                    os.getpid(),
                    first,
                    share,
                )
            )
        return tasks

    def start(self, task: Task) -> Any:
        ours, theirs = SPAWN.Pipe()
        child = SPAWN.Process(
            target=main, args=(task, theirs, self.progress, self.shared), daemon=True
        )
        child.start()
        theirs.close()
        self.lines.append(ours)
        return child

    def go(self) -> float:
        """From the word to go to the last ack, or to the last send where none takes."""
        deadline = time.monotonic() + STALL
        for line in self.lines:
            if not line.poll(max(deadline - time.monotonic(), 0)):
                raise StalledError("a process did not get ready")
            said = self.hear(line)
            if said is not None:
                raise StalledError(f"expected a process to be ready, it said {said}")
        began = time.monotonic_ns()
        for line in self.lines:
            line.send(None)
        self.wait_for_reports()
        self.complete = True
        consumers = self.reports[self.plan.senders :]
        ended = max(report.ended for report in consumers or self.reports)
        return (ended - began) / 1e9

    def wait_for_reports(self) -> None:
        open_lines: list[Any] = list(self.lines)
        seen: list[int] = []
        deadline = time.monotonic() + STALL
        while open_lines:
            ready: list[Any] = wait(open_lines, LOOK)
            for line in ready:
                said = self.hear(line)
                if said is None:
                    raise StalledError("a process was ready a second time")
                self.reports[self.lines.index(line)] = said
                open_lines.remove(line)
                deadline = time.monotonic() + STALL
            now = list(self.progress)
            if now != seen:
                seen, deadline = now, time.monotonic() + STALL
            elif time.monotonic() > deadline:
                raise StalledError(self.far(now))
            taken = sum(now[1 + self.plan.senders :])
            if self.plan.consumers and not now[0] and taken >= self.setup.count:
                self.progress[0] = 1
                self.peer.release(self.shared, self.plan.consumers)

    def hear(self, line: Any) -> Report | None:
        """The next of a process: nothing but that it is ready, or its report."""
        try:
            said = line.recv()
        except EOFError:
            raise StalledError("a process ended before its report") from None
        if isinstance(said, str):
            raise StalledError(said)
        report: Report | None = said
        return report

    def far(self, progress: list[int]) -> str:
        taken = sum(progress[1 + self.plan.senders :])
        return f"nothing moved for {STALL:.0f} s; {taken} of {self.setup.count} messages came"

    def wrong(self) -> str | None:
        """What does not agree with what was sent."""
        count = self.setup.count
        if not self.plan.consumers:
            held = self.peer.held(self.setup)
            return None if held >= count else f"{count} messages sent, it holds {held}"
        consumers = self.reports[self.plan.senders :]
        taken = sum(report.count for report in consumers)
        if taken != count:
            return f"{count} messages sent, {taken} deliveries"
        total = sum(report.total for report in consumers) & WRAP
        expected = count * (count - 1) // 2 & WRAP
        return None if total == expected else "as many messages as sent, but not the same ones"

    def end(self) -> None:
        """No process is left, whether the run was complete or not."""
        for child in self.children:
            if self.complete:
                child.join(5)
            child.kill()
            child.join()
