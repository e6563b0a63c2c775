"""`import FILE`: checks the file, sends it with a progress bar, writes down what was rejected."""

import asyncio
import csv
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from secrets import token_bytes
from typing import Any, Self, TextIO

import httpx
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from services.intake.checking import Checker, Sender, Stamp
from services.intake.importer import TOO_LARGE, ImportFailed, Mode, Outcome, Refused, import_events, written
from services.intake.imports import imported
from services.intake.mapping import MappingError, Row, RowMapping, digest_of, load_mapping, rows_of, unsorted_lines
from services.intake.refusal import Refusal
from services.intake.rules import load_rules
from services.intake.shapes import parse
from shared.clock import wall_clock
from shared.privacy import KEY_BYTES, BlindIndex

SHOWN = 20
FORMULA = ("=", "+", "-", "@", "\t", "\r")


@dataclass(frozen=True, slots=True)
class Task:
    """What the command line asks. `rejected`: where refused rows are written; `rules`: intake's, for a dry run."""

    file: Path
    mapping: Path | None
    mode: Mode
    sort: bool
    hold: bool
    dry_run: bool
    rejected: Path
    rules: Path


class WrongFile(Exception):
    """Nothing was sent. The message says what to do."""


class Rejected:
    """The file of rejected rows (line, field, reason), written as they become known; none is left where there are none."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lines: set[int] = set()

    def __len__(self) -> int:
        return len(self._lines)

    def __enter__(self) -> Self:
        """Raises WrongFile where nothing can be written."""
        try:
            self._file = self._path.open("w", encoding="utf-8", newline="")
        except OSError as error:
            raise WrongFile(f"{self._path}: {error.strerror}; say with --rejected where rejected rows go") from None
        self._rows = csv.writer(self._file)
        self._rows.writerow(("line", "field", "reason"))
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        if not self._lines and self._path.is_file():
            self._path.unlink()

    def add(self, line: int, field: str, reason: str) -> None:
        """No cell is one that a spreadsheet would take for a formula."""
        self._lines.add(line)
        self._rows.writerow((line, _inert(field), _inert(reason)))

    def flush(self) -> None:
        self._file.flush()


def _inert(text: str) -> str:
    return f"'{text}" if text.startswith(FORMULA) else text


class Reading:
    """The rows of one file; a line that cannot be read is rejected."""

    def __init__(self, task: Task) -> None:
        self._task = task
        self._mapping: RowMapping | None = load_mapping(task.mapping) if task.mapping else None
        self.digest = digest_of(task.file)
        self.lines: list[int] = []

    def check(self) -> int:
        """The number of rows. Raises WrongFile where the order is wrong, MappingError where columns are missing."""
        count = readable = 0

        def counted() -> Iterator[Row]:
            nonlocal count, readable
            for row in self._rows():
                count += 1
                readable += row.document is not None
                yield row

        wrong = unsorted_lines(counted())
        if wrong and self._task.mode != "live" and not self._task.sort:
            raise WrongFile(_unsorted(self._task.file, wrong))
        if count and not readable and self._mapping is None:
            raise WrongFile(f"{self._task.file}: no line is an event in JSON; what columns mean is said with --mapping")
        return count

    def events(self, rejected: Rejected) -> Iterator[Mapping[str, Any]]:
        rows: Iterable[Row] = self._rows()
        if self._task.sort:
            rows = sorted(rows, key=lambda row: row.at)
        for row in rows:
            if row.document is not None:
                self.lines.append(row.line)
                yield {**row.document, "line": row.line}
            elif row.error is not None:
                rejected.add(row.line, row.error.field, row.error.reason)

    def _rows(self) -> Iterator[Row]:
        return rows_of(self._task.file, self._mapping, self.digest)


def _unsorted(file: Path, wrong: list[int]) -> str:
    more = f" and {len(wrong) - SHOWN} more" if len(wrong) > SHOWN else ""
    shown = ", ".join(map(str, wrong[:SHOWN]))
    return f"{file} is not sorted by time: lines {shown}{more}; add --sort to sort it first"


def dry_run(task: Task, reading: Reading, rejected: Rejected) -> None:
    """Checks every row as intake would, but for what only its store knows, and sends nothing. Raises ConfigError."""
    checker = Checker(load_rules(task.rules), BlindIndex(token_bytes(KEY_BYTES)))
    for event in reading.events(rejected):
        for field, reason in _faults(checker, task, event):
            rejected.add(reading.lines[-1], field, reason)


def _faults(checker: Checker, task: Task, event: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    text = written(event)
    if text is None:
        return [("body", TOO_LARGE)]
    stamp = Stamp(wall_clock(), None if task.mode == "live" else task.mode, size=len(text))
    try:
        imported(checker, parse(text), Sender("dry-run"), stamp)
    except Refusal as refusal:
        return refusal.reasons
    return ()


async def send(
    task: Task, reading: Reading, rejected: Rejected, count: int, client: httpx.AsyncClient, out: TextIO
) -> Outcome:
    """Raises ImportFailed."""
    began = time.monotonic()
    columns = (
        TextColumn("{task.fields[reached]}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[speed]} rows/s"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(file=out), transient=False) as bar:
        shown = bar.add_task("import", total=count, reached="", speed="0")
        done = 0

        def progress(rows: int, last: Mapping[str, Any]) -> None:
            nonlocal done
            done += rows
            speed = f"{done / max(time.monotonic() - began, 0.001):,.0f}"
            bar.update(shown, advance=rows, reached=str(last.get("time", ""))[:10], speed=speed)

        def refused(found: Iterable[Refused]) -> None:
            for one in found:
                rejected.add(reading.lines[one.row], one.field, one.reason)
            rejected.flush()

        return await import_events(
            client,
            reading.events(rejected),
            task.mode,
            f"{reading.digest}-{task.mode}",
            name=task.file.name,
            hold=task.hold,
            progress=progress,
            on_refused=refused,
        )


def run(task: Task, url: str, key: str, out: TextIO) -> tuple[Outcome | None, int, int]:
    """The outcome (None for a dry run), the numbers of rejected rows and of all.

    Raises WrongFile, ConfigError (MappingError), ImportFailed.
    """
    reading = Reading(task)
    count = reading.check()
    if task.rejected.exists() and task.rejected.samefile(task.file):
        raise WrongFile(f"{task.rejected} is the file itself; say with --rejected where rejected rows go")
    outcome = None
    with Rejected(task.rejected) as rejected:
        if task.dry_run:
            dry_run(task, reading, rejected)
        else:
            outcome = asyncio.run(_sent(task, reading, rejected, count, url, key, out))
    return outcome, len(rejected), count


async def _sent(
    task: Task, reading: Reading, rejected: Rejected, count: int, url: str, key: str, out: TextIO
) -> Outcome:
    async with httpx.AsyncClient(base_url=url, headers={"authorization": f"Bearer {key}"}) as client:
        return await send(task, reading, rejected, count, client, out)


__all__ = ["ImportFailed", "MappingError", "Task", "WrongFile", "run"]
