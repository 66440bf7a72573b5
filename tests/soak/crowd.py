"""The processes of the soak: started, stopped, forked, killed, traced, and all gone at the end."""

from __future__ import annotations

import contextlib
import ctypes
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import waylay
from evidence import STALL_NS
from gone import Gone
from history import Event
from work import boot_ns

HERE = Path(__file__).parent
CLONE_NEWPID = 0x20000000
PR_SET_CHILD_SUBREAPER = 36
GROWN_SECONDS = 0.4
"""Younger processes are only killed: they may not listen to signals yet, and hold no lock."""
GONE_SECONDS = 15.0
SPACE_SECONDS = "900"
"""Longer than a round; should the driver be gone, its namespaces do not stay."""
libc = ctypes.CDLL(None, use_errno=True)


class Failed(Exception):
    """Something ended in a way that nobody asked for."""


class Space:
    """A PID namespace, held open by a process that sleeps in it."""

    def __init__(self, name: str) -> None:
        self.name = name
        command = ["unshare", "--pid", "--fork", "--kill-child", "sleep", SPACE_SECONDS]
        self.anchor = subprocess.Popen(command, stderr=subprocess.PIPE)
        self.pids = {self.anchor.pid}
        until = time.monotonic() + 5
        # Its first process has to be there before another one is put into it.
        while not (sleepers := children_of([self.anchor.pid])):
            if self.anchor.poll() is not None or time.monotonic() > until:
                raise OSError(self.end() or "unshare made none")
            time.sleep(0.005)
        self.pids |= sleepers
        self.file = os.open(f"/proc/{sleepers.pop()}/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
        self.enter(self.file)
        self.leave()

    def end(self) -> str:
        """Kills all in it: with its first process, which may not have asked yet to die with us."""
        if self.anchor.poll() is None:
            for pid in self.pids - {self.anchor.pid}:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        self.anchor.kill()
        _, said = self.anchor.communicate()
        with contextlib.suppress(AttributeError):
            os.close(self.file)
        return said.decode(errors="replace").strip()

    def enter(self, file: int) -> None:
        """Whom this process starts from now on is in there; it itself is not."""
        if libc.setns(file, CLONE_NEWPID) != 0:
            number = ctypes.get_errno()
            raise OSError(number, f"setns: {os.strerror(number)}")

    def leave(self) -> None:
        own = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
        try:
            self.enter(own)
        finally:
            os.close(own)


@dataclass
class Member:
    """A worker through its lives."""

    name: str
    program: str
    topic: str
    group: str
    space: str = ""
    life: int = 0
    process: subprocess.Popen[bytes] | None = None
    born: float = 0.0
    expected: bool = False
    """Its end was asked for."""
    due: float = 0.0
    """When it starts again, or goes on where it is stopped."""
    stopped: Event | None = None
    traced: bool = False

    @property
    def who(self) -> str:
        return f"{self.name}.{self.life}"


@dataclass
class Tracing:
    """A stepper at work."""

    member: Member
    process: subprocess.Popen[str]
    began: int


class Crowd:
    """All members, and what is done to them."""

    def __init__(self, folder: Path, programs: Path, spaces: list[str], seed: int) -> None:
        self.folder, self.programs = folder, programs
        self.chance = random.Random(seed)
        self.members: list[Member] = []
        self.spaces = {name: Space(name) for name in spaces}
        self.events: list[Event] = []
        self.gone = Gone()
        self.tracing: Tracing | None = None
        self.robbed: list[str] = []
        self.missed = 0
        self.untraceable = ""
        """Why the machine lets nobody be traced, if so."""
        self.stop_starting: set[str] = set()
        self.waylaid = ""
        """Who is to be killed in the middle of what he does: a program, or a compactor."""
        self.caught: Counter[str] = Counter()
        self.errors = (folder / "errors").open("ab")
        libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)

    def note(self, event: Event) -> Event:
        self.events.append(event)
        return event

    def start(self, member: Member) -> None:
        member.life += 1
        seed = self.chance.getrandbits(48)
        if member.program.endswith(".py"):
            command = [sys.executable, str(HERE / member.program)]
        else:
            command = [str(self.programs / member.program)]
        command += [str(self.folder), member.topic, member.group or "-", member.who]
        command += [member.space or "-", str(seed)]
        space = self.spaces.get(member.space)
        if space is not None:
            space.enter(space.file)
        try:
            member.process = subprocess.Popen(command, stderr=self.errors, stdout=self.errors)
        finally:
            if space is not None:
                space.leave()
        self.gone.watch(member.process.pid, member.who)
        member.born, member.expected, member.stopped = time.monotonic(), False, None

    def alive(self, grown: bool = True, among: list[Member] | None = None) -> list[Member]:
        """Those to whom something may be done; grown ones listen to signals."""
        born = time.monotonic() - (GROWN_SECONDS if grown else 0)
        return [
            member
            for member in (self.members if among is None else among)
            if member.process is not None and not member.traced and not member.expected
            if member.born < born
            if not grown or (member.stopped is None and self.listens(member))
        ]

    def listens(self, member: Member) -> bool:
        history = self.folder / "history" / f"{member.who}.log"
        return history.exists() and history.stat().st_size > 0

    def when_gone(self) -> list[Event]:
        """The events, with those that were killed until the kernel had ended them."""
        for event in self.events:
            if event.what == "kill":
                event.until = self.gone.times.get(event.name, event.time)
        return self.events

    def kill(self, member: Member) -> None:
        self.go_on(member)
        member.expected = True
        self.note(Event("kill", boot_ns(), member.who))
        self.signal(member, signal.SIGKILL)

    def waylay(self, what: str) -> None:
        """Kills one that is in the middle of it."""
        suspects = [one for one in self.members if what in (one.program, waylay.COMPACTOR)]
        for member in self.alive(among=suspects):
            history = self.folder / "history" / f"{member.who}.log"
            if member.process and waylay.is_at_it(what, history, member.process.pid):
                self.waylaid = ""
                self.caught[what] += 1
                time.sleep(self.chance.uniform(0, waylay.SECONDS[what]))
                self.kill(member)
                return

    def stop(self, member: Member) -> None:
        member.stopped = self.note(Event("stop", boot_ns(), member.who, until=1 << 62))
        member.due = time.monotonic() + self.chance.uniform(0.02, 1.2)
        self.signal(member, signal.SIGSTOP)

    def go_on(self, member: Member) -> None:
        if member.stopped is not None:
            self.signal(member, signal.SIGCONT)
            member.stopped.until = boot_ns()
            member.stopped = None

    def term(self, member: Member) -> None:
        member.expected = True
        self.note(Event("term", boot_ns(), member.who))
        self.signal(member, signal.SIGTERM)

    def fork(self, member: Member) -> None:
        self.note(Event("fork", boot_ns(), member.who))
        self.signal(member, signal.SIGUSR1)

    def signal(self, member: Member, number: signal.Signals) -> None:
        # Not reaped yet, so the number is still its own.
        if member.process is not None and member.process.returncode is None:
            os.kill(member.process.pid, number)

    def trace(self, member: Member, how: str) -> None:
        """Has the stepper kill or stop it inside a lock."""
        assert member.process is not None
        command = [str(self.programs / "stepper"), str(self.folder / "store")]
        command += [str(member.process.pid), str(self.chance.getrandbits(48)), how]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=self.errors, text=True)
        member.traced = True
        self.tracing = Tracing(member, process, boot_ns())

    def look_at_tracing(self) -> None:
        tracing = self.tracing
        if tracing is None or tracing.process.poll() is None:
            return
        self.tracing = None
        member = tracing.member
        member.traced = False
        said = tracing.process.communicate()[0].strip()
        self.note(Event("trace", tracing.began, member.who, until=boot_ns()))
        words = said.split(" ")
        if words[0] == "killed":
            member.expected = True
            self.note(Event("kill", int(words[1]), member.who, lock=words[2]))
        elif words[0] == "stopped":
            self.note(Event("stop", int(words[1]), member.who, int(words[2]), lock=words[3]))
        elif words[0] == "robbed":
            self.robbed.append(f"{member.who}: a lock was taken from it while stopped: {said}")
        elif words[0] in ("missed:", "gone"):
            self.missed += 1
            if said.startswith("missed: tracing:"):
                self.untraceable = said
        else:
            raise Failed(f"the stepper at {member.who} said {said!r}")

    def nap(self) -> None:
        """Between two looks. One that takes long is a stall of the machine, and of all on it."""
        began = boot_ns()
        time.sleep(0.002)
        if (ended := boot_ns()) - began >= STALL_NS:
            self.note(Event("stall", began, until=ended))

    def look(self) -> None:
        """Starts again who ended, lets go on who was stopped long enough."""
        self.look_at_tracing()
        if self.waylaid:
            self.waylay(self.waylaid)
        now = time.monotonic()
        for member in self.members:
            if member.process is None:
                if now >= member.due and member.program not in self.stop_starting:
                    self.start(member)
            elif member.traced:
                continue
            elif member.process.poll() is not None:
                code = member.process.returncode
                if code not in (0, -signal.SIGKILL) or not member.expected:
                    raise Failed(f"{member.who} ended with status {code}")
                self.go_on(member)
                member.process = None
                member.due = now + self.chance.choice((0, 0, 0.05, 0.2))
            elif member.stopped is not None and now >= member.due:
                self.go_on(member)
        self.reap_orphans()

    def reap_orphans(self) -> None:
        """Children that members forked come here when their parents are gone."""
        own = {member.process.pid for member in self.members if member.process is not None}
        own |= {space.anchor.pid for space in self.spaces.values()}
        if self.tracing is not None:
            own.add(self.tracing.process.pid)
        with contextlib.suppress(ChildProcessError):
            while ended := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT):
                if ended.si_pid in own:
                    break
                os.waitpid(ended.si_pid, 0)

    def kill_space(self, name: str) -> None:
        """All in it die at once; a new one takes its place."""
        inside = [member for member in self.members if member.space == name]
        self.end_tracing()
        event = self.note(Event("space", boot_ns(), name))
        for member in inside:
            member.expected = True
        self.spaces[name].end()
        for member in inside:
            if member.process is not None:
                member.process.wait(GONE_SECONDS)
        event.until = boot_ns()
        self.spaces[name] = Space(name)

    def end_tracing(self) -> None:
        """Waits for the stepper, which is bounded in time."""
        if self.tracing is not None:
            self.tracing.process.wait(GONE_SECONDS)
            self.look_at_tracing()

    def kill_all(self) -> None:
        """Every process that comes of this one, but for those that hold namespaces."""
        self.waylaid = ""
        self.end_tracing()
        event = self.note(Event("all", boot_ns()))
        self.kill_descendants()
        event.until = boot_ns()

    def kill_descendants(self) -> None:
        for member in self.members:
            member.expected = True
        until = time.monotonic() + GONE_SECONDS
        while left := self.descendants():
            for pid in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            for member in self.members:
                if member.process is not None and member.process.poll() is not None:
                    member.process, member.due = None, 0.0
                    if member.stopped is not None:
                        member.stopped.until, member.stopped = boot_ns(), None
            self.reap_orphans()
            if time.monotonic() > until:
                raise Failed(f"{left} did not end by SIGKILL")
            time.sleep(0.002)

    def descendants(self) -> set[int]:
        """Of this process, without those that hold namespaces."""
        found: set[int] = set()
        todo = {os.getpid()}
        while todo:
            todo = children_of(todo) - found
            found |= todo
        for space in self.spaces.values():
            found -= space.pids
        return found

    def end(self) -> None:
        """Nothing is left running."""
        with contextlib.suppress(Failed):
            self.kill_descendants()
        for space in self.spaces.values():
            space.end()
        self.gone.end()
        lines = [f"{event}\n" for event in self.when_gone()]
        (self.folder / "events").write_text("".join(lines))
        self.errors.close()


def children_of(parents: Collection[int]) -> set[int]:
    """The processes whose parents they are; not every kernel lists them by parent."""
    found: set[int] = set()
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            # The program's name, in brackets, may hold anything.
            fields = path.read_text(errors="replace").rpartition(")")[2].split()
            # The dead may stay: the first process of a namespace asks for nobody's end.
            if fields[0] not in "ZX" and int(fields[1]) in parents:
                found.add(int(path.parent.name))
    return found
