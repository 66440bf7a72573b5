"""The suites that have to catch the bugs, and running one until its first failure."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

from bugs import ROOT

SIMULATED_SECONDS = 20
SOAKED_SECONDS = 40

QUICK_BUILDS = {
    f"CARGO_PROFILE_{profile}_{setting}": value
    for profile in ("CHECKED", "RELEASE")
    for setting, value in (
        ("OPT_LEVEL", "1"), ("DEBUG", "0"), ("CODEGEN_UNITS", "64"), ("INCREMENTAL", "true"),
    )
}  # fmt: skip
"""A bug is built in seconds so, and found by tests that are hardly slower."""

Command = list[str]


@dataclass
class Places:
    """Where a run does its work."""

    tree: Path
    work: Path

    @property
    def target(self) -> Path:
        return self.work / "target"

    @property
    def libraries(self) -> Path:
        return self.target / "checked"

    @property
    def site(self) -> Path:
        """The Python package with the native module of the tree."""
        return self.work / "site"


@dataclass
class Suite:
    """How to build it, how to run it, and how long that may take at most."""

    build: list[Command]
    run: Command
    bound: float
    environment: dict[str, str] = field(default_factory=dict)
    alone: Command | None = None
    """Runs the one test whose name follows."""

    def part(self, tests: str) -> Suite:
        """Of a suite of Rust: those tests whose names have this in them."""
        return replace(self, run=[*self.run, tests]) if tests else self

    def only(self, test: str) -> Suite | None:
        """As a suite: the one test of a suite of Rust, if that is one."""
        if self.alone is None or not re.fullmatch(r"[\w:]+", test):
            return None
        return replace(self, run=[*self.alone, test, "--exact"])


class NotBuilt(Exception):
    """The tree with a bug does not compile, so that no suite has caught it."""


FAILED = [
    re.compile(r"^test (\S+) \.\.\. FAILED"),
    re.compile(r"^(tests/c, \S+ \(\w+\)) failed"),
    re.compile(r"^FAILED (\S+)"),
    re.compile(r"^.*\((signal: \d+, \w+)"),
]
"""What names the test that failed, in the output of Rust's, C's and Python's."""
LONG = re.compile(r"^test (\S+) has been running for over 60 seconds")


def suites(places: Places) -> dict[str, Suite]:
    """All suites by name, the cheapest first."""
    cargo = os.environ.get("CARGO", "cargo")
    target = ["--target-dir", str(places.target)]
    test = [cargo, "test", "--locked", "--profile", "checked", *target, "-p", "libqueue"]
    build = [cargo, "build", "--locked", "--profile", "checked", *target]
    models = [
        cargo, "test", "--locked", "--release", "--target-dir", str(places.work / "models"),
        "--manifest-path", str(places.tree / "core/models/Cargo.toml"),
    ]  # fmt: skip
    shuttle = [*models, "--features", "shuttle"]
    lib = [*test, "--lib"]
    # The house tests look at sources, and would catch a bug by its looks.
    processes = [
        argument
        for path in sorted((ROOT / "core" / "tests").iterdir())
        for name in [path.stem]
        if name != "house" and (path.suffix == ".rs" or (path / "main.rs").exists())
        for argument in ("--test", name)
    ]
    cdylib = [*build, "-p", "libqueue-ffi"]
    native = [
        [*build, "-p", "libqueue-python"],
        ["rm", "-rf", str(places.site)],
        ["cp", "-r", str(places.tree / "python/package"), str(places.site)],
        ["cp", str(places.libraries / "lib_native.so"), str(places.site / "libqueue/_native.so")],
    ]
    site = {"PYTHONPATH": str(places.site)}
    soaked = places.work / "soak"
    flags = ["-std=c99", "-O2", "-I", "include"]
    linked = ["-L", str(places.libraries), "-lqueue", f"-Wl,-rpath,{places.libraries}"]
    sources = "tests/soak"
    programs = [
        ["cc", *flags, f"{sources}/{name}.c", f"{sources}/work.c", "-o", str(soaked / name),
         *linked]
        for name in ("producer", "consumer", "clerk")
    ]  # fmt: skip
    stepper = ["cc", *flags, f"{sources}/stepper.c", f"{sources}/locks.c"]
    return {
        "unit": Suite(
            [[*lib, "--no-run"]],
            [*lib, "--", "--skip", "simulation::", "--skip", "fuzzing::"],
            240, alone=[*lib, "--"],
        ),
        "fuzz": Suite(
            [[*lib, "--no-run"]], [*lib, "--", "fuzzing::"], 240, alone=[*lib, "--"]
        ),
        "simulation": Suite(
            [[*lib, "--no-run"]],
            [*lib, "--", "simulation::", "--skip", "simulation::soak"],
            240, {"LIBQUEUE_SIM_SHORT": str(SIMULATED_SECONDS)}, [*lib, "--"],
        ),
        "processes": Suite(
            [[*test, *processes, "--no-run"]], [*test, *processes],
            300, alone=[*test, *processes, "--"],
        ),
        "models": Suite([[*models, "--no-run"]], models, 600, alone=[*models, "--"]),
        "shuttle": Suite(
            [[*shuttle, "--no-run"]], shuttle, 600, alone=[*shuttle, "--"]
        ),
        "c": Suite(
            [cdylib], ["bash", "tests/c/run.sh"], 300, {"RELEASE": str(places.libraries)}
        ),
        "python": Suite(
            native,
            [sys.executable, "-m", "pytest", "-q", "-x", "-rf", "-p", "no:cacheprovider",
             "-c", "python/pyproject.toml", "--rootdir", ".", "tests/python"],
            300, site,
        ),
        "soak": Suite(
            [cdylib, *native, ["mkdir", "-p", str(soaked)], *programs,
             [*stepper, "-o", str(soaked / "stepper")]],
            [sys.executable, f"{sources}/soak.py", "--bin", str(soaked),
             "--for", f"{SOAKED_SECONDS}s", "--seed", "7"],
            400, site,
        ),
    }  # fmt: skip


def build(suite: Suite, places: Places, log: Path) -> None:
    for command in suite.build:
        with log.open("wb") as output:
            done = subprocess.run(
                command,
                cwd=places.tree,
                env={**os.environ, **QUICK_BUILDS},
                stdout=output,
                stderr=output,
            )
        if done.returncode != 0:
            raise NotBuilt(f"{' '.join(command)} failed; see {log}")


def run(suite: Suite, places: Places, log: Path) -> str | None:
    """Runs a built suite until a test fails, or to its end. What failed first, if anything did."""
    over = threading.Event()
    began = time.monotonic()
    # A session of its own, so that it ends with all the processes that it started.
    process = subprocess.Popen(
        suite.run,
        cwd=places.tree,
        env={**os.environ, **QUICK_BUILDS, **suite.environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    )

    def end() -> None:
        over.set()
        stop(process)

    timer = threading.Timer(suite.bound, end)
    timer.start()
    try:
        failed, waits = first_failure(process, log)
        if failed is None and process.wait() != 0:
            failed = f"the suite itself (exit status {process.returncode})"
    finally:
        timer.cancel()
        stop(process)
        process.wait()
    if over.is_set():
        failed = f"{waits or 'the suite itself'}: no end within the runner's {suite.bound:.0f} s"
    if failed is None:
        return None
    seconds = time.monotonic() - began
    with log.open("a", encoding="utf-8") as output:
        output.write(f"\nfailed after {seconds:.0f} s: {failed}\n")
    return failed


def first_failure(process: subprocess.Popen[str], log: Path) -> tuple[str | None, str]:
    """What failed first, as soon as it has; and what was waited for when the output ended."""
    waits = ""
    assert process.stdout is not None
    with log.open("w", encoding="utf-8") as output:
        for line in process.stdout:
            output.write(line)
            if slow := LONG.match(line):
                waits = slow[1]
            for pattern in FAILED:
                if named := pattern.match(line):
                    return named[1], waits
    return None, waits


def stop(process: subprocess.Popen[str]) -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
