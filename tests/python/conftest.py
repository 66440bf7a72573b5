"""A store in a temporary folder, and other processes that share it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import libqueue
import pytest

WAIT = 30.0
"""Seconds after which anything that a test waits for has gone wrong."""

QUICK = (0.001, 0.001, 1.0)
"""A backoff that does not keep a test waiting."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def store(path: Path) -> Iterator[libqueue.Store]:
    with libqueue.open(path) as opened:
        yield opened


def answer_ctrl_c() -> None:
    """Undo what a shell does to its background jobs: they and their children ignore Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def too_long(*_: object) -> None:
    raise TimeoutError(f"a process said nothing for {WAIT} seconds")


class Child:
    """Another process; it talks by lines."""

    def __init__(self, command: list[str]) -> None:
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            preexec_fn=answer_ctrl_c,
        )

    def line(self) -> str:
        """The next line it says; an error if it says nothing for too long."""
        assert self.process.stdout is not None
        signal.signal(signal.SIGALRM, too_long)
        signal.alarm(int(WAIT))
        try:
            return self.process.stdout.readline().rstrip("\n")
        finally:
            signal.alarm(0)

    def signal(self, number: int) -> None:
        os.kill(self.process.pid, number)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(WAIT)

    def end(self) -> int:
        """Its exit status, once it ended by itself."""
        return self.process.wait(WAIT)


@pytest.fixture
def launch() -> Iterator[Callable[[list[str]], Child]]:
    """Start processes that do not outlive the test."""
    children: list[Child] = []

    def start(command: list[str]) -> Child:
        children.append(Child(command))
        return children[-1]

    yield start
    for child in children:
        child.process.kill()
        child.process.wait(WAIT)
        for pipe in (child.process.stdin, child.process.stdout):
            if pipe is not None:
                pipe.close()


@pytest.fixture
def spawn(path: Path, launch: Callable[[list[str]], Child]) -> Callable[[str], Child]:
    """Start Python processes with the store's path in `path`."""

    def start(code: str) -> Child:
        program = "import libqueue, sys, time\npath = sys.argv[1]\n" + textwrap.dedent(code)
        return launch([sys.executable, "-u", "-c", program, str(path)])

    return start
