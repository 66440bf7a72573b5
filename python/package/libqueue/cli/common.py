"""What the commands share: the store, and output for people and for programs."""

from __future__ import annotations

import base64
import json
import os
import sys
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text
from typer.core import TyperGroup

import libqueue


class Commands(TyperGroup):
    """The commands, with the exit status of what goes wrong in them."""

    def invoke(self, ctx: Any) -> Any:
        """Run a command."""
        try:
            done = super().invoke(ctx)
            # Here, where an error still has a status.
            sys.stdout.flush()
        except BrokenPipeError:
            # Whoever read the output has seen enough.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit from None
        except (libqueue.InvalidArgument, libqueue.InvalidName) as error:
            fail(error, status=2)
        except (libqueue.Error, OSError) as error:
            fail(error)
        return done


def open_closed_streams() -> None:
    """Give a program that was started with closed streams empty ones."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            stream = Path(os.devnull).open(mode)  # noqa: SIM115 - it stays open to the end
            setattr(sys, name, stream)


app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="A durable message queue without a server.",
)
console = Console(highlight=False)
errors = Console(stderr=True, highlight=False)

# For `Annotated[Path | None, STORE]` and so on: an alias of the whole would hide the type from
# stubtest.
STORE = typer.Option("-s", "--store", metavar="DIR", help="The store. Default: LIBQUEUE_STORE.")
JSON = typer.Option("--json", help="One JSON object a line.")
FROM_HELP = "earliest, latest, an offset, or a time such as 2026-01-31T12:00"


def show_version(wanted: bool) -> None:
    """Show the version and end."""
    if wanted:
        print(libqueue.__version__)
        raise typer.Exit


VERSION = typer.Option("--version", help="Show the version.", callback=show_version, is_eager=True)


@app.callback()
def everything(
    context: typer.Context,
    store: Annotated[Path | None, STORE] = None,
    version: Annotated[bool, VERSION] = False,
) -> None:
    """A durable message queue without a server."""
    context.obj = store


def fail(error: BaseException | str, status: int = 1) -> NoReturn:
    """Say what went wrong and exit."""
    errors.print(Text.assemble(("error: ", "bold red"), printable(str(error))), soft_wrap=True)
    sys.exit(status)


def printable(text: str) -> str:
    """Text without what a terminal takes for a command."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c == "\n" else ascii(c)[1:-1] for c in text)


def show_text(text: str) -> None:
    """Text for people as it is: no markup, no folding."""
    console.print(Text(printable(text)), soft_wrap=True)


def folder(context: typer.Context, store: Path | None) -> Path:
    """The store's folder: named after the subcommand, before it, or by the environment."""
    found = store or context.find_root().obj
    if found is None and not os.environ.get("LIBQUEUE_STORE"):
        raise typer.BadParameter("name the store with -s DIR or in LIBQUEUE_STORE")
    return Path(found or os.environ["LIBQUEUE_STORE"])


def place_of(text: str) -> Literal["earliest", "latest"] | int | datetime:
    """A place in a topic from its text."""
    if text == "earliest":
        return "earliest"
    if text == "latest":
        return "latest"
    if text.isdecimal():
        return int(text)
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r}; expected {FROM_HELP}") from None


def text_or_base64(name: str, value: bytes | None) -> dict[str, str | None]:
    """Bytes as JSON: text where they are UTF-8, else in base64 under another name."""
    if value is None:
        return {name: None}
    try:
        return {name: value.decode()}
    except UnicodeDecodeError:
        return {f"{name}_base64": base64.b64encode(value).decode()}


def header_value(value: bytes) -> str | dict[str, str | None]:
    """A header's value as JSON: text, or an object with `base64`."""
    found = text_or_base64("text", value)
    return found["text"] or "" if "text" in found else {"base64": found["text_base64"]}


def message_object(
    message: libqueue.ReadMessage | libqueue.Delivery,
) -> dict[str, object]:
    """A message as JSON; of a delivery also its attempt."""
    attempt = {"attempt": message.attempt} if isinstance(message, libqueue.Delivery) else {}
    return {
        "topic": message.topic,
        "partition": message.partition,
        "offset": message.offset,
        "timestamp": message.timestamp,
        **attempt,
        **text_or_base64("key", message.key),
        "headers": {name: header_value(value) for name, value in message.headers.items()},
        **text_or_base64("payload", message.payload),
    }


def print_json(value: object) -> None:
    """One object on a line."""
    print(json.dumps(value, ensure_ascii=False, default=str))


def print_table(columns: Iterable[str], rows: Iterable[Iterable[object]]) -> None:
    """A table for people; numbers to the right."""
    listed = [list(row) for row in rows]
    table = Table()
    for place, column in enumerate(columns):
        numbers = all(isinstance(row[place], int | float) for row in listed)
        table.add_column(column, justify="right" if numbers and listed else "left")
    for row in listed:
        table.add_row(*(Text(shown(value)) for value in row))
    console.print(table)


def shown(value: object) -> str:
    """A value in a table."""
    if isinstance(value, float):
        return f"{value:,.1f}"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    if isinstance(value, bytes):
        return printable(value.decode(errors="backslashreplace"))
    return "" if value is None else printable(str(value))


def print_fields(fields: Mapping[str, object]) -> None:
    """Names and values for people, one on a line."""
    wide = max(len(name) for name in fields)
    for name, value in fields.items():
        show_text(f"{name:<{wide}}  {shown(value)}")


def retention_of(value: str) -> Any:
    """A topic's retention: a word, or a number of seconds."""
    return value if value in ("settled", "forever") else float(value)
