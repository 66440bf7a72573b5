"""Shows that the tests find what they are for: plants one bug after the other and runs the suites.

prove.py [NAME ...]   these bugs, or all; exit status 1 if one is not caught
prove.py --table      writes the table of core/docs/planted-bugs.md from what was caught last
prove.py --list       names and descriptions

The tree is copied to build/prove/tree and built in build/prove, so that nothing else is touched.
First the suites run without a bug: one that fails then would prove nothing. Of each bug the suites
that it names run until one fails; its first failing test is what caught the bug, if it fails again
alone, so that no chance counts. A bug that does not compile is an error of the list, not a catch.
A bug that makes a suite wait for ever is caught by the bound that the test has, or by the runner's,
which is then named.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

from bugs import ROOT, BadList, Bug, bugs
from suites import NotBuilt, Places, Suite, build, run, suites

WORK = ROOT / "build" / "prove"
PLACES = Places(WORK / "tree", WORK)
CAUGHT = WORK / "caught.json"
"""By bug: the suite and the test that caught it last."""
TABLE = ROOT / "core" / "docs" / "planted-bugs.md"
HEAD = ["| bug | what it does wrong | promise | suite | test |", "| --- | --- | --- | --- | --- |"]


def write_if_new(path: Path, data: bytes) -> None:
    """Leaves a file that is so already alone, or it would be built anew."""
    if not path.exists() or path.read_bytes() != data:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def copy_tree() -> None:
    """The files of the repository as they are now, and no others."""
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    output = subprocess.run(listed, cwd=ROOT, check=True, capture_output=True).stdout
    names = {name.decode() for name in output.split(b"\0") if name}
    wanted = {name for name in names if (ROOT / name).is_file()}
    for name in wanted:
        write_if_new(PLACES.tree / name, (ROOT / name).read_bytes())
    for path in PLACES.tree.rglob("*"):
        if path.is_file() and str(path.relative_to(PLACES.tree)) not in wanted:
            path.unlink()


class Prover:
    """Runs suites in the tree, and notes what they caught."""

    def __init__(self) -> None:
        self.suites: dict[str, Suite] = suites(PLACES)
        self.logs = WORK / "logs"
        self.logs.mkdir(parents=True, exist_ok=True)
        self.caught: dict[str, list[str]] = {}
        if CAUGHT.exists():
            self.caught = json.loads(CAUGHT.read_text(encoding="utf-8"))

    def fails(self, name: str, bug: str, part: str = "") -> str | None:
        """The test of a suite, or of a part of it, that fails with the tree as it is now."""
        suite, log = self.suites[name].part(part), self.logs / f"{bug}.{name}.log"
        build(suite, PLACES, log)
        return run(suite, PLACES, log)

    def catch(self, name: str, bug: str, part: str) -> str | None:
        """As `fails`, of a test that fails again when it runs alone, or again with the others.

        One that failed by chance, as on a machine that is too busy, is no catch.
        """
        test = self.fails(name, bug, part)
        only = self.suites[name].only(test) if test else None
        if only is None or run(only, PLACES, self.logs / f"{bug}.{name}.alone.log"):
            return test
        return test if test == self.fails(name, bug, part) else None

    def without_a_bug(self, chosen: list[Bug]) -> bool:
        """Whether all suites that the bugs name pass without one."""
        named = {suite for bug in chosen for suite, _ in bug.suites}
        well = True
        for name in (name for name in self.suites if name in named):
            began = time.monotonic()
            test = self.fails(name, "none")
            said = f"fails without a bug: {test}" if test else "passes without a bug"
            print(f"{name}: {said} ({time.monotonic() - began:.0f} s)", flush=True)
            well = well and test is None
        return well

    def catches(self, bug: Bug) -> bool:
        """Plants a bug, runs its suites until one fails, and takes the bug out again."""
        began = time.monotonic()
        self.caught.pop(bug.name, None)
        said = f"NOT CAUGHT by {bug.fields['suites']}"
        texts = bug.changed(lambda name: (ROOT / name).read_text(encoding="utf-8"))
        try:
            for name, text in texts.items():
                write_if_new(PLACES.tree / name, text.encode())
            for suite, part in bug.suites:
                if test := self.catch(suite, bug.name, part):
                    self.caught[bug.name] = [suite, test]
                    said = f"caught by {suite}: {test}"
                    break
        except NotBuilt as error:
            said = f"NOT BUILT, which is no catch: {error}"
        finally:
            for name in texts:
                write_if_new(PLACES.tree / name, (ROOT / name).read_bytes())
        print(f"{bug.name}: {said} ({time.monotonic() - began:.0f} s)", flush=True)
        CAUGHT.write_text(json.dumps(self.caught, indent=1), encoding="utf-8")
        return bug.name in self.caught


def rows(caught: dict[str, list[str]], of: list[Bug]) -> list[str]:
    """The table, a line a bug."""
    found = []
    for bug in of:
        suite, test = caught.get(bug.name, ["**none**", ""])
        found.append(f"| {bug.name} | {bug.what} | {bug.promise} | {suite} | `{test}` |")
    return [*HEAD, *found]


def write_table(caught: dict[str, list[str]]) -> int:
    missing = [bug.name for bug in bugs() if bug.name not in caught]
    if missing:
        print(f"no suite caught these yet, run them first: {' '.join(missing)}")
        return 1
    before = TABLE.read_text(encoding="utf-8").partition(HEAD[0])[0]
    TABLE.write_text(before + "\n".join(rows(caught, bugs())) + "\n", encoding="utf-8")
    return 0


def prove(names: list[str]) -> int:
    known = bugs()
    unknown = set(names) - {bug.name for bug in known}
    if unknown:
        print(f"no such bugs: {' '.join(sorted(unknown))}; --list names all")
        return 2
    chosen = [bug for bug in known if not names or bug.name in names]
    prover = Prover()
    with (WORK / "lock").open("w") as alone:
        fcntl.flock(alone, fcntl.LOCK_EX)
        return prove_each(prover, chosen)


def prove_each(prover: Prover, chosen: list[Bug]) -> int:
    copy_tree()
    began = time.monotonic()
    if not prover.without_a_bug(chosen):
        return 1
    survivors = [bug.name for bug in chosen if not prover.catches(bug)]
    print("\n" + "\n".join(rows(prover.caught, chosen)))
    minutes = (time.monotonic() - began) / 60
    print(f"\n{len(chosen) - len(survivors)} of {len(chosen)} caught in {minutes:.0f} minutes")
    if survivors:
        print(f"not caught: {' '.join(survivors)}")
    return 1 if survivors else 0


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("bugs", nargs="*", metavar="NAME")
    parser.add_argument("--table", action="store_true")
    parser.add_argument("--list", action="store_true")
    options = parser.parse_args()
    if options.list:
        print("\n".join(f"{bug.name}: {bug.what} ({bug.promise})" for bug in bugs()))
        return 0
    # Ended from outside, it still ends what it started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    signal.signal(signal.SIGINT, lambda *_: sys.exit(130))
    try:
        return write_table(Prover().caught) if options.table else prove(options.bugs)
    except (BadList, NotBuilt) as error:
        print(error)
        return 2


if __name__ == "__main__":
    sys.exit(main())
