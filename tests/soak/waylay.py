"""Whom the driver waits for, to kill him in the middle of something that is short or rare."""

from __future__ import annotations

import contextlib
from pathlib import Path

COMPACTOR = "compactor"
"""Whoever compacts a topic: any process may."""
SECONDS = {"seeker.py": 0.004, "copier.py": 0.4, COMPACTOR: 0.05}
"""How long each is at it, about."""
IDLE_THREAD = "libqueue-idle"


def is_at_it(what: str, history: Path, pid: int) -> bool:
    """Whether a worker is in the middle of what is waited for."""
    if what == COMPACTOR:
        return is_compacting(pid)
    with contextlib.suppress(FileNotFoundError):
        last = history.read_text().splitlines()[-1:]
        # A seek that is not over, or a backup.
        return any(line.startswith("Z ") or line.endswith(" copies -") for line in last)
    return False


def is_compacting(pid: int) -> bool:
    """Whether it has the thread that does nothing else."""
    for name in Path(f"/proc/{pid}/task").glob("*/comm"):
        with contextlib.suppress(OSError):
            if name.read_text().strip() == IDLE_THREAD:
                return True
    return False
