"""How commands speak: progress to the error stream, data to the output, failures with the way out and exit code 1."""

import json
import sys
from collections.abc import Iterable, Sequence
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.table import Table

from deploy.settings import Machine
from deploy.system import System

INTERRUPTED = 130
"""The exit code of what Ctrl-C broke off, as shells have it."""

Json = Annotated[bool, typer.Option("--json", help="Print data as JSON.")]


class Failure(Exception):
    """Something could not be done; the message says what to do next. `passing`: it may go better soon, as it is."""

    def __init__(self, message: str, *, passing: bool = False) -> None:
        super().__init__(message)
        self.passing = passing


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def system() -> System:
    """This copy, from the environment. Raises SettingsError."""
    return System(Machine.from_environment(), say)


def wrong_use(text: str) -> NoReturn:
    raise typer.BadParameter(text)


def show(data: Any) -> None:
    print(json.dumps(data, ensure_ascii=False, indent=2), flush=True)


def table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Plain where the output is no terminal, so that it can be piped."""
    made = Table(*columns, box=None, pad_edge=False, header_style="bold")
    for row in rows:
        made.add_row(*("" if value is None else str(value) for value in row))
    Console(width=None if sys.stdout.isatty() else 200).print(made)
