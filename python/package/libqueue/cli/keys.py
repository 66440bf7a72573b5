"""Single keys from a terminal, without waiting for the end of a line."""

from __future__ import annotations

import contextlib
import os
import select
import sys
import termios
import time
import tty
from collections.abc import Iterator


@contextlib.contextmanager
def single_keys() -> Iterator[int | None]:
    """Have the terminal hand on each key at once; its descriptor, or `None` where there is none.

    The terminal is as before afterwards, however this ends. Ctrl-C stays what it is.
    """
    try:
        # There is none where it was closed before the program began.
        descriptor = sys.stdin.fileno() if sys.stdin else -1
        before = termios.tcgetattr(descriptor)
    except (ValueError, OSError, termios.error):
        yield None
        return
    try:
        tty.setcbreak(descriptor)
        yield descriptor
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


def pressed(descriptor: int | None, keys: bytes, within: float) -> bool:
    """Wait for so many seconds; whether one of these keys was pressed meanwhile."""
    deadline = time.monotonic() + within
    while (left := deadline - time.monotonic()) > 0:
        if descriptor is None:
            time.sleep(left)
            continue
        if not select.select([descriptor], [], [], left)[0]:
            continue
        found = os.read(descriptor, 64)
        if not found:
            # The terminal is gone: nobody presses anything any more.
            descriptor = None
        elif any(key in keys for key in found):
            return True
    return False
