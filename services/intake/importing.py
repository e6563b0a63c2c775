"""`import FILE`: checks the file, sends it with a progress bar, writes down what was rejected."""

import asyncio
import csv
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import httpx
from pydantic import ValidationError
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from services.intake.contracts import accepted_types, submission_model
from services.intake.importer import ImportFailed, Mode, Outcome, Refused, import_events
from services.intake.mapping import MappingError, Row, RowMapping, digest_of, load_mapping, rows_of, unsorted_lines
from shared.web.problems import invalid

SHOWN = 20
FORMULA = ("=", "+", "-", "@", "\t", "\r")


@dataclass(frozen=True, slots=True)
class Task:
    """What the command line asks. `rejected`: where refused rows are written."""

    file: Path
    mapping: Path | None
    mode: Mode
    sort: bool
    hold: bool
    dry_run: bool
    rejected: Path


class WrongFile(Exception):
    """Nothing was sent. The message says what to do."""


class Reading:
    """The rows of one file, with the lines that cannot be read set aside."""

    def __init__(self, task: Task) -> None:
        self._task = task
        self._mapping: RowMapping | None = load_mapping(task.mapping) if task.mapping else None
        self.digest = digest_of(task.file)
        self.rejected: list[tuple[int, str, str]] = []
        self.lines: list[int] = []

    def check(self) -> int:
        """The number of rows. Raises WrongFile where the order is wrong, MappingError where columns are missing."""
        count = 0

        def counted() -> Iterator[Row]:
            nonlocal count
            for row in self._rows():
                count += 1
                yield row

        wrong = unsorted_lines(counted())
        if wrong and self._task.mode != "live" and not self._task.sort:
            more = f" and {len(wrong) - SHOWN} more" if len(wrong) > SHOWN else ""
            shown = ", ".join(map(str, wrong[:SHOWN]))
            raise WrongFile(
                f"{self._task.file} is not sorted by time: lines {shown}{more}; add --sort to sort it first"
            )
        return count

    def events(self) -> Iterator[Mapping[str, Any]]:
        rows: Iterable[Row] = self._rows()
        if self._task.sort:
            rows = sorted(rows, key=lambda row: row.at)
        for row in rows:
            if row.document is not None:
                self.lines.append(row.line)
                yield row.document
            elif row.error is not None:
                self.rejected.append((row.line, row.error.field, row.error.reason))

    def refused(self, refused: Iterable[Refused]) -> None:
        self.rejected += [(self.lines[r.row], r.field, r.reason) for r in refused]

    def _rows(self) -> Iterator[Row]:
        return rows_of(self._task.file, self._mapping, self.digest)


def dry_run(reading: Reading) -> int:
    """Validates every row here and sends nothing; the number of good rows."""
    good = 0
    for index, event in enumerate(reading.events()):
        problems = list(_faults(event))
        good += not problems
        reading.refused(Refused(index, field, reason) for field, reason in problems)
    return good


def _faults(event: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    kind = accepted_types().get(str(event.get("type")))
    if kind is None:
        yield "type", "is no event type that may be sent"
        return
    try:
        submission_model(kind).model_validate(event)
    except ValidationError as error:
        for fault in invalid(error.errors()).errors:
            yield fault["field"], fault["reason"]


async def send(task: Task, reading: Reading, count: int, client: httpx.AsyncClient, out: TextIO) -> Outcome:
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

        import_id = f"{reading.digest}-{task.mode}"
        return await import_events(
            client, reading.events(), task.mode, import_id, name=task.file.name, hold=task.hold, progress=progress
        )


def write_rejected(path: Path, rejected: list[tuple[int, str, str]]) -> None:
    """CSV with line, field, reason; no cell that a spreadsheet would take for a formula."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("line", "field", "reason"))
        writer.writerows((line, _inert(field), _inert(reason)) for line, field, reason in sorted(rejected))


def _inert(text: str) -> str:
    return f"'{text}" if text.startswith(FORMULA) else text


def run(task: Task, url: str, key: str, out: TextIO) -> tuple[Outcome | None, list[tuple[int, str, str]], int]:
    """The outcome (None for a dry run), the rejected lines, the number of rows. Raises WrongFile, MappingError, ImportFailed."""
    reading = Reading(task)
    count = reading.check()
    outcome = None
    if task.dry_run:
        dry_run(reading)
    else:
        outcome = asyncio.run(_sent(task, reading, count, url, key, out))
        reading.refused(outcome.refused)
    if reading.rejected:
        write_rejected(task.rejected, reading.rejected)
    return outcome, reading.rejected, count


async def _sent(task: Task, reading: Reading, count: int, url: str, key: str, out: TextIO) -> Outcome:
    async with httpx.AsyncClient(base_url=url, headers={"authorization": f"Bearer {key}"}) as client:
        return await send(task, reading, count, client, out)


__all__ = ["ImportFailed", "MappingError", "Task", "WrongFile", "run"]
