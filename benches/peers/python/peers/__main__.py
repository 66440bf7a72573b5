"""The program: `list` tells the peers, `run` does one work on one of them and prints one line."""

import argparse
import json
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any

from .peer import Setup
from .processes import HEAD
from .table import MODULES, NotHereError, load
from .works import Measured, StalledError, measure, plan_of

WORKS = ("W1", "W2", "W3", "W4", "W5", "W6", "W7")
NOT_HERE = 3


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="peers", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="one line of JSON a peer")
    run = commands.add_parser("run", help="measure one work, verify it, print one line of JSON")
    run.add_argument("--peer", required=True)
    run.add_argument("--work", required=True, choices=WORKS)
    run.add_argument("--size", type=int, default=100, help="bytes of a message, 16 or more")
    run.add_argument("--count", type=int, default=100_000, help="messages in all")
    run.add_argument("--batch", type=int, help="W2: sent at once; W4 to W7: taken at once (100)")
    run.add_argument("--senders", type=int, help="W3 (1) and W7 (4)")
    run.add_argument("--consumers", type=int, help="W6 and W7 (4)")
    run.add_argument("--rate", type=int, default=0, help="W5, W7: sends a second, 0: full speed")
    run.add_argument("--dir", type=Path, required=True, help="an empty folder, left empty")
    return parser


def list_peers() -> None:
    for name in MODULES:
        line: dict[str, Any] = {"peer": name, "language": "Python", "installed": True}
        try:
            peer = load(name)
            line |= {"version": peer.version(), "works": peer.works, "note": peer.note}
        except NotHereError as why:
            line |= {"installed": False, "version": None, "works": [], "note": str(why)}
        print(json.dumps(line))


def run_peer(given: argparse.Namespace) -> int:
    peer = load(given.peer)
    if given.work not in peer.works:
        raise NotHereError(f"{peer.name} does not do {given.work}: {peer.lacks}.")
    plan = plan_of(given.work, given.senders, given.consumers, given.batch)
    rate = given.rate if plan.senders and plan.consumers else 0
    count = min(given.count, peer.most_waiting) if plan.consumers else given.count
    with tempfile.TemporaryDirectory(prefix="peer-", dir=given.dir) as folder:
        setup = Setup(Path(folder), plan.sync, given.size, count)
        measured = measure(peer, setup, plan, rate)
    line = {
        "peer": peer.name,
        "version": peer.version(),
        "language": "Python",
        "work": given.work,
        "size": given.size,
        "count": count,
        "batch": max(plan.sends, plan.takes),
        "senders": plan.senders,
        "consumers": plan.consumers,
        "rate": rate,
        "durability": peer.durability(plan.sync),
        "seconds": measured.seconds,
        "checksum": measured.wrong is None,
        "latency_ns": latency(measured),
        "note": peer.note,
    }
    print(json.dumps(line))
    if measured.wrong:
        print(f"{peer.name}, {given.work}: {measured.wrong}.", file=sys.stderr)
        return 1
    return 0


def latency(measured: Measured) -> dict[str, int] | None:
    waits = measured.waits
    if not waits:
        return None
    parts = {"p50": 0.5, "p99": 0.99, "p999": 0.999, "p9999": 0.9999}
    return {name: waits[int(len(waits) * part)] for name, part in parts.items()}


def main() -> int:
    # The end that asks nicely is an exception, so that the folder is left empty then too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    parser = arguments()
    given = parser.parse_args()
    if given.command == "list":
        list_peers()
        return 0
    if given.size < HEAD.size or given.count < 1 or given.rate < 0:
        parser.error(f"expected --size {HEAD.size} or more, --count 1 or more, --rate 0 or more")
    try:
        return run_peer(given)
    except NotHereError as why:
        print(why, file=sys.stderr)
        return NOT_HERE
    except StalledError as why:
        print(f"{given.peer}, {given.work}: {why}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
