"""The demo: flights through one queue shared by C and Python processes, one of them killed.

run.py --input FILE --bin FOLDER [--chaos SEED] [--keep]

Starts a C sender, four Python workers of one group, and one C process of a second group; kills a
worker with SIGKILL in the middle and starts another in its place. Then it mends what made flights
dead letters, and redrives them. At the end everything is compared with a plain pass over the file;
any difference makes it exit with 1. With --chaos it kills any of the processes, again and again, at
moments drawn from the seed.
"""

import argparse
import csv
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import libqueue
import plotext
from rich.console import Console
from rich.table import Table

TOPIC, GROUP, AUDIT = "flights", "delays", "audit"
MISSING = ("", "NA")
WORKERS = 4
DEADLINE_SECONDS = 300.0
console = Console()
# The command of a worker, by the names of its output and of the file that ends it.
Worker = Callable[[str, str], list[str]]


@dataclass
class Plain:
    """What a plain pass over the file gives."""

    columns: str = ""
    rows: int = 0
    carriers: dict[str, list[int]] = field(default_factory=lambda: defaultdict(lambda: [0, 0, 0]))
    legs: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    refused: set[int] = field(default_factory=set)


def plain_pass(path: Path) -> Plain:
    plain = Plain()
    with path.open(newline="") as file:
        plain.columns = file.readline().strip()
        for row, flight in enumerate(csv.DictReader(file, plain.columns.split(","))):
            plain.rows += 1
            if flight["arr_time"] in MISSING:
                plain.refused.add(row)
            else:
                count(plain, row, flight["carrier"], flight["tailnum"], flight["arr_delay"])
    return plain


def count(into: Plain, row: int, carrier: str, tail: str, delay: str) -> None:
    figures = into.carriers[carrier]
    figures[0] += 1
    if delay not in MISSING:
        figures[1] += 1
        figures[2] += int(float(delay))
    if tail not in MISSING:
        into.legs[tail].append(row)


class Family:
    """The child processes, each started again whenever a signal killed it."""

    def __init__(self) -> None:
        self.commands: dict[str, list[str]] = {}
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        self.killed: list[str] = []

    def start(self, name: str, command: list[str]) -> None:
        self.commands[name] = command
        self.running[name] = subprocess.Popen(command)

    def kill(self, name: str) -> None:
        child = self.running[name]
        if child.poll() is None:
            child.send_signal(signal.SIGKILL)
            self.killed.append(name)

    def look(self) -> None:
        """Starts the killed again; a process that failed by itself ends the demo."""
        for name, child in list(self.running.items()):
            code = child.poll()
            if code == -signal.SIGKILL:
                self.running[name] = subprocess.Popen(self.commands[name])
            elif code not in (None, 0):
                raise SystemExit(f"{name} ended with status {code}")

    def ended(self, name: str) -> bool:
        return self.running[name].poll() == 0

    def dismiss(self) -> None:
        """Waits for all of them, and starts none again, also of those killed last."""
        for child in self.running.values():
            child.wait(timeout=60)
        self.running.clear()

    def end(self) -> None:
        for child in self.running.values():
            if child.poll() is None:
                child.kill()
            child.wait()


def watch(store: libqueue.Store, family: Family, plain: Plain, chaos: random.Random | None):
    """Until both groups have settled every flight: the lag over time, and the kills."""
    topic = store.topic(TOPIC)
    topic.create_group(GROUP, max_attempts=5, backoff=(0.005, 0.02, 2.0))
    topic.create_group(AUDIT)
    yield "ready", 0.0, 0, 0
    began, struck, strike_at = time.monotonic(), False, 0.5
    while True:
        family.look()
        passed = time.monotonic() - began
        sent = topic.stats()["messages"]
        lag = topic.group(GROUP).stats()["lag_messages"]
        audit_lag = topic.group(AUDIT).stats()["lag_messages"]
        yield "lag", passed, lag, audit_lag
        if not struck and sent - lag > plain.rows // 3:
            family.kill("worker 2")
            struck = True
        if chaos is not None and passed > strike_at and len(family.killed) < 40:
            family.kill(chaos.choice(list(family.running)))
            strike_at = passed + chaos.uniform(0.02, 0.4)
        if family.ended("sender") and struck and lag == 0 and audit_lag == 0:
            return
        if passed > DEADLINE_SECONDS:
            raise SystemExit(f"not done after {DEADLINE_SECONDS:.0f} s: lag {lag}, {audit_lag}")
        time.sleep(0.1)


@dataclass
class Redriven:
    """What became of the dead letters once the cause was mended."""

    count: int
    rows: list[int]
    left: int
    seen_by_others: int


def redrive(
    store: libqueue.Store, family: Family, command: Worker, chaos: random.Random | None
) -> Redriven:
    """The dead letters come again, to a worker that can take them."""
    topic = store.topic(TOPIC)
    group, name = topic.group(GROUP), "mended worker"
    family.start(name, [*command("mended.csv", "stop-mended"), "mended"])
    count = group.redrive()
    began = time.monotonic()
    if chaos is not None:
        family.kill(name)
    while group.stats()["lag_messages"] > 0:
        family.look()
        if time.monotonic() - began > DEADLINE_SECONDS:
            raise SystemExit(f"{group.stats()['lag_messages']} redriven flights are still open")
        time.sleep(0.05)
    family.look()
    folder = store.path.parent
    (folder / "stop-mended").touch()
    family.running[name].wait(timeout=60)
    rows = sorted({int(line[1]) for line in lines_of(folder / "mended.csv")})
    others = topic.group(AUDIT).stats()["lag_messages"]
    return Redriven(count, rows, len(group.dead_letters(10)), others)


def lines_of(output: Path) -> list[list[str]]:
    """The whole lines of a worker.

    One that was killed while it wrote left a torn line, and had not acknowledged it.
    """
    lines = [line.split(",") for line in output.read_text().splitlines()]
    return [fields[:-1] for fields in lines if len(fields) == 6 and fields[-1] == "."]


def gather(folder: Path) -> tuple[Plain, int]:
    """What the workers wrote, each row once, in the order of time; and how many came again."""
    lines = []
    for output in folder.glob("worker-*.csv"):
        lines += lines_of(output)
    lines.sort(key=lambda line: int(line[0]))
    done, seen = Plain(), set()
    for _, row, carrier, tail, delay in lines:
        if row not in seen:
            seen.add(row)
            count(done, int(row), carrier, tail, delay)
    done.rows = len(seen)
    return done, len(lines) - len(seen)


def dead_rows(store: libqueue.Store) -> list[int]:
    name = f"{TOPIC}.{GROUP}.dlq"
    if name not in store.topics():
        return []
    with store.topic(name).reader() as reader:
        return [int(message.payload.split(b"\t", 1)[0]) for message in reader]


def compare(plain: Plain, done: Plain, dead: list[int], seen: bytes) -> list[tuple[str, bool, str]]:
    unordered = sum(done.legs.get(tail) != legs for tail, legs in plain.legs.items())
    planes = len(plain.legs)
    return [
        (
            "carriers' figures",
            dict(plain.carriers) == dict(done.carriers),
            f"{len(plain.carriers)}",
        ),
        ("planes' legs in order", unordered == 0, f"{planes - unordered:,} of {planes:,}"),
        ("dead letters", sorted(dead) == sorted(plain.refused), f"{len(dead):,}"),
        ("second group saw all", seen == b"\x01" * plain.rows, f"{sum(seen):,} of {plain.rows:,}"),
        ("flights processed", done.rows + len(dead) == plain.rows, f"{done.rows:,}"),
    ]


def compare_redriven(plain: Plain, redriven: Redriven) -> list[tuple[str, bool, str]]:
    refused, rows = sorted(plain.refused), redriven.rows
    return [
        ("redriven once mended", redriven.count == len(refused), f"{redriven.count:,}"),
        ("redriven ones processed", rows == refused, f"{len(rows):,} of {len(refused):,}"),
        ("dead letters left", redriven.left == 0, f"{redriven.left:,}"),
        ("second group undisturbed", redriven.seen_by_others == 0, ""),
    ]


def show(plain: Plain, checks, lags, killed: list[str], again: int) -> None:
    carriers = Table("carrier", "flights", "mean arrival delay (min)", title="by four workers")
    for name, (flights, known, total) in sorted(plain.carriers.items()):
        carriers.add_row(name, f"{flights:,}", f"{total / known:.2f}" if known else "-")
    console.print(carriers)
    plotext.clear_figure()
    plotext.plot_size(min(console.width, 100), 16)
    plotext.theme("clear")
    for place, name in ((1, GROUP), (2, AUDIT)):
        plotext.plot([lag[0] for lag in lags], [lag[place] for lag in lags], label=name)
    plotext.title("lag in messages over seconds")
    print(plotext.uncolorize(plotext.build()))
    verdicts = Table("compared with a plain pass", "", "found")
    for name, good, found in checks:
        verdicts.add_row(name, "[green]equal" if good else "[red]DIFFERENT", found)
    console.print(verdicts)
    seconds = max(lag[0] for lag in lags)
    console.print(
        f"{plain.rows:,} flights in {seconds:.1f} s, "
        f"{plain.rows / max(seconds, 0.1):,.0f} a second through two groups; "
        f"killed: {', '.join(killed)}; rows written twice by the kill: {again}"
    )


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--input", type=Path, required=True)
    parser.add_argument("--bin", type=Path, required=True)
    parser.add_argument("--chaos", type=int)
    parser.add_argument("--keep", action="store_true")
    return parser.parse_args()


def start(family: Family, args: argparse.Namespace, command: Worker, folder: Path) -> None:
    store, stop = str(folder / "store"), str(folder / "stop")
    for number in range(1, WORKERS + 1):
        family.start(f"worker {number}", command(f"worker-{number}.csv", "stop"))
    seen = str(folder / "seen")
    family.start("counter", [str(args.bin / "count_flights"), store, TOPIC, seen, stop])
    family.start("sender", [str(args.bin / "send_flights"), store, TOPIC, str(args.input)])


def run(args: argparse.Namespace, folder: Path) -> int:
    plain = plain_pass(args.input)
    (folder / "seen").write_bytes(bytes(plain.rows))
    family, lags = Family(), []
    chaos = None if args.chaos is None else random.Random(args.chaos)
    program = [sys.executable, str(Path(__file__).with_name("worker.py"))]

    def command(output: str, stop: str) -> list[str]:
        places = [str(folder / name) for name in ("store", output, stop)]
        return [*program, places[0], TOPIC, *places[1:], plain.columns]

    try:
        with libqueue.open(folder / "store") as store:
            store.topic(TOPIC, partitions=4)
            for event, passed, lag, audit_lag in watch(store, family, plain, chaos):
                if event == "ready":
                    start(family, args, command, folder)
                else:
                    lags.append((passed, lag, audit_lag))
            (folder / "stop").touch()
            family.dismiss()
            done, again = gather(folder)
            checks = compare(plain, done, dead_rows(store), (folder / "seen").read_bytes())
            checks += compare_redriven(plain, redrive(store, family, command, chaos))
    finally:
        family.end()
    show(done, checks, lags, family.killed, again)
    return 0 if all(good for _, good, _ in checks) else 1


def main() -> None:
    args = arguments()
    folder = Path(tempfile.mkdtemp(prefix="libqueue-demo-"))
    try:
        status = run(args, folder)
    finally:
        if not args.keep:
            shutil.rmtree(folder, ignore_errors=True)
    sys.exit(status)


if __name__ == "__main__":
    main()
