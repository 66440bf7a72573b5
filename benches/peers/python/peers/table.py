"""The peers of this program, each with the file that speaks to it."""

from importlib import import_module

from .peer import Peer

MODULES = {
    "persist-queue": "persist_queue",
    "litequeue": "lite_queue",
    "huey": "huey_storage",
    "diskcache": "disk_deque",
    "multiprocessing.Queue": "pipe_queue",
}


class NotHereError(Exception):
    """This peer, or this work on it, cannot be had; the text says why in one sentence."""


def load(name: str) -> Peer:
    """The peer of that name, if its package is installed."""
    if name not in MODULES:
        raise NotHereError(f"{name} is none of {', '.join(MODULES)}.")
    try:
        peer: Peer = import_module(f".{MODULES[name]}", __package__).PEER
    except ModuleNotFoundError as error:
        raise NotHereError(
            f"{name} is not installed ({error}): run benches/peers/install.sh."
        ) from error
    return peer
