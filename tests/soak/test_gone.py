"""That the soak knows when a process was gone."""

from __future__ import annotations

import subprocess
import time

from gone import Gone
from work import boot_ns


def test_the_end_of_a_process_is_seen_when_it_comes_and_by_its_name() -> None:
    gone = Gone()
    processes = {name: subprocess.Popen(["sleep", "60"]) for name in ("one", "two")}
    for name, process in processes.items():
        gone.watch(process.pid, name)
    began = boot_ns()
    processes["one"].kill()
    until = time.monotonic() + 20
    while "one" not in gone.times:
        assert time.monotonic() < until
        time.sleep(0.001)
    assert began <= gone.times["one"] <= boot_ns()
    processes["one"].wait()
    gone.end()
    processes["two"].kill()
    processes["two"].wait()
    assert list(gone.times) == ["one"]
