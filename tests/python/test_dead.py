"""What becomes of a group's dead."""

from __future__ import annotations

from pathlib import Path

import libqueue
import pytest
from test_command_line import run


def test_p12_dead_letters_that_would_come_back_to_where_they_came_from_are_refused(
    path: Path, store: libqueue.Store
) -> None:
    a, b = store.topic("a"), store.topic("b")
    a.create_group("g", dead_letter_topic="b")
    with pytest.raises(libqueue.InvalidArgument, match="b/h -> a/g -> b"):
        b.create_group("h", dead_letter_topic="a")
    group = b.create_group("h")
    with pytest.raises(libqueue.InvalidArgument, match="b/h -> a/g -> b"):
        group.configure(dead_letter_topic="a")
    done = run(path, "config", "b/h", "dead_letter_topic=a", status=2)
    assert b"leads back" in done.stderr or b"lead back" in done.stderr
