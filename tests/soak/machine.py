"""What the machine lets the soak do, and what it must let it do.

LIBQUEUE_TEST_REQUIRE names, with commas, what may not be left out without an error: `ptrace` and
`unshare` here, `small_disk` and `valgrind` in the tests of the core and of the C library.
"""

from __future__ import annotations

import os

VARIABLE = "LIBQUEUE_TEST_REQUIRE"


def required() -> set[str]:
    """What may not be left out."""
    return set(os.environ.get(VARIABLE, "").replace(",", " ").split())


def left_out(lacks: dict[str, str]) -> list[str]:
    """What is left out here, as lines to print; `lacks` says why."""
    return [f"soak: LEFT OUT here, {name}: {why}" for name, why in lacks.items()]


def errors(lacks: dict[str, str]) -> list[str]:
    """What is left out and may not be."""
    return [
        f"{name} is required ({VARIABLE}) and left out: {why}"
        for name, why in lacks.items()
        if name in required()
    ]
