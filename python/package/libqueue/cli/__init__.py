"""The command `libqueue`.

Text for people, `--json` after the subcommand for programs. Exit status 0, 1 on failure, 2 on bad
usage; of `verify` and `recover` 1 says that something is damaged or lost, 2 that they failed.
"""

from __future__ import annotations

from libqueue.cli import dlq, groups, inspect, messages, replay, top, topics
from libqueue.cli.common import app, open_closed_streams

__all__ = ["app", "main"]

for command in (
    messages.send,
    messages.receive,
    messages.tail,
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
):
    app.command(name="topics" if command is topics.list_topics else None)(command)
app.add_typer(dlq.app, name="dlq")


def main() -> None:
    """Run the command line and exit."""
    open_closed_streams()
    app(prog_name="libqueue")
