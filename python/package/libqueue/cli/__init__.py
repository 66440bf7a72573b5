"""The command `libqueue`.

Text for people, `--json` after the subcommand for programs. Exit status 0, 1 on failure, 2 on bad
usage; of `verify` and `recover` 1 says that something is damaged or lost, 2 that they failed.
"""

from __future__ import annotations

from collections.abc import Callable

from libqueue.cli import copy, dlq, groups, inspect, messages, move, replay, top, topics
from libqueue.cli.common import app, open_closed_streams

__all__ = ["app", "main"]

# What cannot be a function's name.
NAMES: dict[Callable[..., None], str] = {
    topics.list_topics: "topics",
    copy.import_: "import",
}

for command in (
    messages.send,
    messages.receive,
    messages.tail,
    move.move,
    topics.list_topics,
    topics.create,
    topics.stats,
    top.top,
    groups.config,
    groups.delete,
    groups.pause,
    groups.resume,
    groups.consumers,
    groups.peek,
    groups.settle,
    groups.delay,
    groups.dead_letter,
    replay.seek,
    replay.snapshot,
    inspect.verify,
    inspect.recover,
    inspect.dump,
    copy.export,
    copy.import_,
    copy.backup,
):
    app.command(name=NAMES.get(command))(command)
app.add_typer(dlq.app, name="dlq")


def main() -> None:
    """Run the command line and exit."""
    open_closed_streams()
    app(prog_name="libqueue")
