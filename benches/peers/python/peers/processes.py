"""The processes of a run: each opens its end, stands ready, goes at the driver's word, reports."""

import ctypes
import multiprocessing
import os
import signal
import struct
import time
import traceback
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any, TypeAlias

from .peer import Consumer, Peer, Sender, Setup
from .table import load

# Started anew and not forked: no peer's open database may be carried into a child.
SPAWN = multiprocessing.get_context("spawn")

HEAD = struct.Struct("<QQ")
WRAP = (1 << 64) - 1
# A consumer looks at the driver's word to stop as often.
WAIT = 0.1
# Sends between two looks of the driver at how far a sender is.
STRIDE = 256
# What a sleep may be late by, and is spun instead: as the other programs of the benches do.
SPIN_NS = 60_000
PR_SET_PDEATHSIG = 1

Progress: TypeAlias = "ctypes.Array[ctypes.c_uint64]"


@dataclass(frozen=True)
class Task:
    """What one process is to do: consumers take until the driver says stop."""

    peer: str
    setup: Setup
    sends: bool
    # Its slot in the progress, where the driver sees how far it is; slot 0 is the driver's stop.
    slot: int
    step: int
    rate: int
    driver: int
    first: int = 0
    share: int = 0


@dataclass
class Report:
    """What one process has done, and when it was done with the last of it."""

    count: int = 0
    total: int = 0
    ended: int = 0
    waits: list[int] = field(default_factory=list)


def die_with(parent: int) -> None:
    """The kernel ends this process with its driver, whatever ended that."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def main(task: Task, line: Connection, progress: Progress, shared: Any) -> None:
    """Entry of a child; a failure goes to the driver as the text that it prints."""
    die_with(task.driver)
    try:
        peer = load(task.peer)
        line.send(work_of(task, peer, line, progress, shared))
    except Exception:
        line.send(traceback.format_exc(limit=-3))


def work_of(task: Task, peer: Peer, line: Connection, progress: Progress, shared: Any) -> Report:
    if task.sends:
        sender = peer.sender(task.setup, shared)
        stand_ready(line)
        report = send_share(task, sender, progress)
        sender.close()
    else:
        consumer = peer.consumer(task.setup, shared)
        stand_ready(line)
        report = take_until_stopped(task, consumer, progress)
        consumer.close()
    return report


def stand_ready(line: Connection) -> None:
    line.send(None)
    line.recv()


def send_share(task: Task, sender: Sender, progress: Progress) -> Report:
    filler = b"x" * (task.setup.size - HEAD.size)
    last = task.first + task.share
    if task.rate:
        send_paced(task, sender, filler, progress)
    elif task.step > 1:
        for begin in range(task.first, last, task.step):
            send_chunk(sender, range(begin, min(begin + task.step, last)), filler)
            progress[task.slot] = begin
    else:
        pack, send, now = HEAD.pack, sender.send, time.monotonic_ns
        for begin in range(task.first, last, STRIDE):
            for number in range(begin, min(begin + STRIDE, last)):
                send(pack(number, now()) + filler)
            progress[task.slot] = begin
    sender.flush()
    return Report(task.share, 0, time.monotonic_ns())


def send_chunk(sender: Sender, numbers: range, filler: bytes) -> None:
    """Sends these in one batch."""
    now = time.monotonic_ns()
    sender.send_batch([HEAD.pack(number, now) + filler for number in numbers])


def send_paced(task: Task, sender: Sender, filler: bytes, progress: Progress) -> None:
    """One message each period: asleep until shortly before it is due, then awake."""
    now = time.monotonic_ns
    began = now()
    for number in range(task.share):
        due = began + number * 1_000_000_000 // task.rate
        while (left := due - now()) > 0:
            if left > SPIN_NS:
                time.sleep((left - SPIN_NS) / 1e9)
        sender.send(HEAD.pack(task.first + number, now()) + filler)
        progress[task.slot] = number


def take_until_stopped(task: Task, consumer: Consumer, progress: Progress) -> Report:
    report, size, unpack, now = Report(), task.setup.size, HEAD.unpack_from, time.monotonic_ns
    waits = report.waits
    total = 0

    def add(payload: bytes) -> None:
        nonlocal total
        if len(payload) != size:
            raise ValueError(f"a message of {size} bytes came back with {len(payload)}")
        total += unpack(payload)[0]

    def add_with_wait(payload: bytes) -> None:
        add(payload)
        waits.append(now() - unpack(payload)[1])

    each = add_with_wait if task.rate else add
    while not progress[0]:
        taken = consumer.take(task.step, WAIT, each)
        if taken:
            report.count += taken
            report.ended = now()
            progress[task.slot] = report.count
    report.total = total & WRAP
    return report
