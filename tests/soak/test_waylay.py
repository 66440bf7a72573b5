"""Whom the driver takes for one that is in the middle of something."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest
import waylay


@pytest.mark.parametrize(
    ("what", "last", "is_at_it"),
    [
        ("seeker.py", "Z 3 sought offset 7 0 1/2,3/4", True),
        ("seeker.py", "z 4 sought 1/2,3/4", False),
        ("copier.py", "M 3 copies -", True),
        ("copier.py", "M 4 copied -", False),
    ],
)
def test_the_last_line_tells(tmp_path: Path, what: str, last: str, is_at_it: bool) -> None:
    history = tmp_path / "s.1.log"
    assert not waylay.is_at_it(what, history, 1)
    history.write_text("")
    assert not waylay.is_at_it(what, history, 1)
    history.write_text(f"B 1 seeker again - - 7\n{last}\n")
    assert waylay.is_at_it(what, history, 1) is is_at_it


def test_a_thread_tells_of_a_compactor(tmp_path: Path) -> None:
    begun, over = threading.Event(), threading.Event()

    def compact() -> None:
        Path(f"/proc/self/task/{threading.get_native_id()}/comm").write_text(waylay.IDLE_THREAD)
        begun.set()
        over.wait(20)

    assert not waylay.is_at_it(waylay.COMPACTOR, tmp_path, os.getpid())
    thread = threading.Thread(target=compact)
    thread.start()
    begun.wait(20)
    try:
        assert waylay.is_at_it(waylay.COMPACTOR, tmp_path, os.getpid())
    finally:
        over.set()
        thread.join()
