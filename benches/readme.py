"""Writes what README.md says of how fast libqueue is, from the results of `make bench`.

    python benches/readme.py [RESULTS.json]
    python benches/readme.py --check [RESULTS.json]

The results are the newest of benches/results, by name, unless they are named. What is between the
two markers in README.md is replaced, and nothing else; text about it may stand outside. `--check`
writes nothing and ends with 1 where something else stands there than what the results say that are
named there, however many newer ones somebody has measured. What is not in the results is left
out, and every figure is one of theirs, or one of them over another.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import textwrap
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from figures import Figure, Line, Row, lines_of, rivals, speed

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
RESULTS = ROOT / "benches/results"
BEGIN = "<!-- figures: from here to the end of them benches/readme.py writes -->"
END = "<!-- figures: end -->"
EMPTY = (
    "Nothing has been measured for this section yet: `make peers && make bench` measures, "
    "`make bench-readme` writes it."
)
LANGUAGES = ("Rust", "C", "Python")
# Whose peers are shown: those of Rust, C and Java stand beside Rust, those of Python beside Python.
COMPARED = ("Rust", "Python")
# Whose time is more than so many times the limit's is named.
BOUND = 1.5
NONE = "–"
HEAD = ("workload", "size", *LANGUAGES, "time / limit", "best peer", "times as fast")
LEGEND = (
    "Rates are messages a second. Time over the limit is from Rust / C / Python: 1 is the limit, "
    "which [benches/README.md](benches/README.md) names for each workload. The best peer is the "
    "fastest of the same durability: of all beside Rust / of Python's beside Python."
)


def amount(row: Row) -> str:
    """Rates with two or three digits: 844 k, 9.1 M."""
    value, scale = row["value"], ""
    if row["unit"] != "messages/s":
        return f"{value:{',.0f' if value >= 9.95 else '.1f'}} {row['unit']}"
    for larger in (" k", " M"):
        if value >= 999.5:
            value, scale = value / 1000, larger
    return f"{value:.{1 if value < 9.95 else 0}f}{scale}"


def times(ratio: float) -> str:
    return f"{ratio:.{2 if ratio < 9.995 else 0}f}"


def peer_and_amount(peer: Row) -> str:
    return f"{peer['who'].split(' ')[0]} {amount(peer)}"


def joined(cells: Iterable[str], between: str) -> str:
    found = list(cells)
    return between.join(found) if set(found) != {NONE} else NONE


def cells(of: Figure) -> list[str]:
    """What stands below `HEAD`, behind workload and size."""
    ours = [of.ours.get(who) for who in LANGUAGES]
    rates = [amount(row) if row else NONE for row in ours]
    limits = [times(row["ratio"]) if row and row["ratio"] else NONE for row in ours]
    best = [next(iter(rivals(of, who)), None) for who in COMPARED]
    peers = [peer_and_amount(peer) if peer else NONE for peer in best]
    faster = [
        times(speed(of.ours[who]) / speed(peer)) if peer else NONE
        for who, peer in zip(COMPARED, best, strict=True)
    ]
    return [*rates, *(joined(some, " / ") for some in (limits, peers, faster))]


def table(lines: list[Line]) -> Iterator[str]:
    yield "| " + " | ".join(HEAD) + " |"
    yield "| --- | --- |" + " ---: |" * len(LANGUAGES) + " --- | --- | --- |"
    for work, size, figures in lines:
        which = f" ({'; '.join(work.figures)})" if len(figures) > 1 else ""
        columns = zip(*(cells(one) for one in figures), strict=True)
        found = [work.label + which, size, *(joined(one, "; ") for one in columns)]
        yield "| " + " | ".join(found) + " |"


def slower(of: Figure) -> Iterator[str]:
    """Where peers are faster: by how much each."""
    for who, mine in of.ours.items():
        ahead = [peer for peer in rivals(of, who) if speed(peer) > speed(mine)]
        if ahead:
            theirs = ", ".join(peer_and_amount(peer) for peer in ahead)
            yield f"- {of.name}, {who}: libqueue {amount(mine)}, {theirs}"


def far(of: Figure) -> Iterator[str]:
    """Where it takes much longer than the limit."""
    found = [
        f"{who} {times(row['ratio'])} of {row['limit']}"
        for who, row in of.ours.items()
        if row["ratio"] is not None and row["ratio"] > BOUND
    ]
    if found:
        yield f"- {of.name}: {', '.join(found)}"


def not_ahead(lines: list[Line]) -> Iterator[str]:
    figures = [one for line in lines for one in line.figures]
    behind = [line for one in figures for line in slower(one)]
    beyond = [line for one in figures for line in far(one)]
    said = "A peer of the same durability is faster here:"
    if not behind:
        said = "No peer of the same durability is faster in any line of the table."
    if not any(rivals(one, who) for one in figures for who in LANGUAGES):
        said = "No peer was measured."
    yield from (f"**Where libqueue is not ahead.** {said}", "", *behind)
    if behind:
        yield ""
    if beyond:
        yield from (f"It takes more than {BOUND} times as long as its limit here:", "", *beyond)
    else:
        yield f"Nothing takes more than {BOUND} times as long as its limit."


def about(run: dict[str, Any], link: str) -> str:
    machine, versions = run["machine"], dict(run["versions"])
    versions = {"libqueue": versions.pop("libqueue", "unknown"), **versions}
    # As in "CPython 3.11.7" of Python.
    named = [found if " " in found else f"{of} {found}" for of, found in versions.items()]
    return (
        f"Measured on {run['date']} on {machine['cpu']}, {machine['cores']} cores, "
        f"{machine['memory_bytes'] / 2**30:.0f} GiB, Linux {machine['kernel']}, "
        f"{machine['file_system']}; {', '.join(named)}. Every rate is of one run on one machine: "
        "the ratios are what can be compared. `make peers && make bench` measures again; "
        f"[all figures of this run]({link})."
    )


def section(file: Path | None) -> str:
    """All that stands between the markers."""
    if file is None:
        return "\n".join(wrapped(EMPTY))
    file = file.resolve()
    run = json.loads(file.read_text())
    if run["short"]:
        sys.exit(f"{file}: of a short run, whose figures mean nothing")
    if not file.is_relative_to(ROOT):
        sys.exit(f"{file}: README.md links to it, so it has to be in {ROOT}")
    link = file.relative_to(ROOT)
    found = lines_of(run)
    if not found:
        sys.exit(f"{file}: has nothing that the table is of")
    lines = [*wrapped(about(run, str(link))), "", *table(found), "", *wrapped(LEGEND), ""]
    lines += not_ahead(found)
    if file.with_suffix(".svg").exists():
        plot = link.with_suffix(".svg")
        lines += ["", f"![time over limit, and rate over the best peer's]({plot})"]
    return "\n".join(lines)


def wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, 100, break_long_words=False, break_on_hyphens=False)


def replaced(readme: str, text: str) -> str:
    before, begin, rest = readme.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        sys.exit(f"README.md: lacks {BEGIN} and, below it, {END}")
    return f"{before}{begin}\n\n{text}\n\n{end}{after}"


def linked(readme: str) -> Path | None:
    """The results that README.md names."""
    found = re.search(r"\]\((benches/results/[^)]*\.json)\)", readme.partition(BEGIN)[2])
    return ROOT / found[1] if found else None


def main() -> None:
    parser = argparse.ArgumentParser(description="writes README.md's figures")
    parser.add_argument("results", nargs="?", type=Path, metavar="RESULTS.json")
    parser.add_argument("--check", action="store_true", help="only tell whether it is written")
    args = parser.parse_args()
    readme = README.read_text()
    if args.results:
        results = args.results
    elif args.check:
        results = linked(readme)
    else:
        results = max(RESULTS.glob("*.json"), key=lambda file: file.name, default=None)
    wanted = replaced(readme, section(results))
    if not args.check:
        README.write_text(wanted)
    elif readme != wanted:
        sys.exit("README.md: its figures are not those of the results: make bench-readme")


if __name__ == "__main__":
    main()
