"""From the rows of a file to events, as a mapping file says. Pure but for reading that file."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time
from pathlib import Path
from typing import Annotated, Any, Literal, TextIO
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, TypeAdapter

from services.intake import limits
from services.intake.contracts import Moment
from services.intake.csv_rows import csv_rows
from services.intake.refusal import Refusal
from services.intake.shapes import parse
from shared.clock import to_instant, to_rfc3339
from shared.config_files import NOT_UTF_8, ConfigError, Part, load

BUFFER = 1 << 20

_MOMENT: TypeAdapter[datetime] = TypeAdapter(Moment)


class MappingError(ConfigError):
    """What is wrong with the mapping or the file as a whole, naming the file and the place."""


def _zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError):
        raise ValueError("is no time zone") from None
    return name


class TimeColumn(Part):
    """A date gets the time of day `at`; what has no offset is read in `zone`."""

    column: str
    at: time = time(12)
    zone: Annotated[str, AfterValidator(_zone)] = "UTC"

    def read(self, text: str) -> str:
        """RFC 3339. Raises ValueError, OverflowError where UTC has no such date."""
        moment = self._moment(text)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=ZoneInfo(self.zone))
        return to_rfc3339(to_instant(moment))

    def _moment(self, text: str) -> datetime:
        try:
            return datetime.combine(date.fromisoformat(text), self.at)
        except ValueError:
            return datetime.fromisoformat(text)


class RowMapping(Part):
    """`customer` and `data` are templates: an object with `column` stands for that column's text, empty cells are left out.

    `key`: the columns that make a row's id; without them it is the file's digest and the line number.
    """

    format: Literal["csv", "ndjson"]
    type: str
    source: str
    time: TimeColumn
    customer: dict[str, Any]
    data: dict[str, Any] = {}
    key: tuple[str, ...] = ()

    def document(self, row: Mapping[str, Any], digest: str, line: int) -> dict[str, Any]:
        """The event of a row. Raises RowError."""
        return {
            "id": self._id(row, digest, line),
            "source": self.source,
            "type": self.type,
            "time": self._time(row),
            "customer": _filled(self.customer, row, "customer") or {},
            "data": _filled(self.data, row, "data") or {},
        }

    def _id(self, row: Mapping[str, Any], digest: str, line: int) -> str:
        if not self.key:
            return f"{digest}:{line}"
        parts = "\0".join(str(_cell(row, column, "id")) for column in self.key)
        return hashlib.sha256(parts.encode()).hexdigest()[:32]

    def _time(self, row: Mapping[str, Any]) -> str:
        try:
            return self.time.read(str(_cell(row, self.time.column, "time")))
        except (ValueError, OverflowError):
            raise RowError("time", f"column {self.time.column} is no date or date-time") from None


class RowError(Exception):
    def __init__(self, field: str, reason: str) -> None:
        super().__init__(reason)
        self.field = field
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Row:
    """`line` counts from 1, the header included. Either `document` or `error`."""

    line: int
    document: dict[str, Any] | None = None
    error: RowError | None = None

    @property
    def at(self) -> int:
        """The row's instant as intake will read it; -1 where it has none that can be read."""
        try:
            return to_instant(_MOMENT.validate_python((self.document or {}).get("time")))
        except ValueError:
            return -1


def load_mapping(path: Path) -> RowMapping:
    """Raises ConfigError."""
    return load(path, RowMapping)


def digest_of(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(BUFFER):
            digest.update(block)
    return digest.hexdigest()[:32]


def rows_of(path: Path, mapping: RowMapping | None, digest: str) -> Iterator[Row]:
    """In the file's order. `mapping` None: NDJSON whose lines are events already. Raises MappingError."""
    if mapping is None or mapping.format == "ndjson":
        yield from _ndjson(path, mapping, digest)
        return
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            yield from _csv(path, file, mapping, digest)
    except UnicodeDecodeError:
        raise MappingError(f"{path}: {NOT_UTF_8}") from None


def _csv(path: Path, file: TextIO, mapping: RowMapping, digest: str) -> Iterator[Row]:
    rows = csv_rows(file)
    _, columns = next(rows, (1, None))
    missing = _columns(mapping) - set(columns or ())
    if columns is None or missing:
        raise MappingError(f"{path}: the mapping names columns that the file has not: {', '.join(sorted(missing))}")
    for line, cells in rows:
        if cells is None:
            yield Row(line, error=RowError("body", "is no row of CSV: a quote in it is open, or in the wrong place"))
        elif len(cells) > len(columns):
            yield Row(
                line, error=RowError("body", "has more cells than there are columns: one with a comma needs quotes")
            )
        else:
            yield _row(dict(zip(columns, cells, strict=False)), mapping, digest, line)


def _ndjson(path: Path, mapping: RowMapping | None, digest: str) -> Iterator[Row]:
    with path.open("rb") as file:
        for line, text in enumerate(file, 1):
            if text.strip():
                yield _json_row(text, mapping, digest, line)


def _json_row(text: bytes, mapping: RowMapping | None, digest: str, line: int) -> Row:
    try:
        document = parse(text)
        if not isinstance(document, dict):
            raise Refusal.of_field("body", "is no JSON object")
        if mapping is not None:
            return _row(document, mapping, digest, line)
        limits.check(document)
    except Refusal as refusal:
        ((field, reason),) = refusal.errors or (("body", "is no JSON in UTF-8"),)
        return Row(line, error=RowError(field, reason))
    return Row(line, {"id": f"{digest}:{line}", "source": "urn:guanxi:import", **document})


def _row(cells: Mapping[str, Any], mapping: RowMapping, digest: str, line: int) -> Row:
    try:
        return Row(line, mapping.document(cells, digest, line))
    except RowError as error:
        return Row(line, error=error)


def unsorted_lines(rows: Iterable[Row]) -> list[int]:
    """The lines whose time is earlier than that of a line before them."""
    found, latest = [], -1
    for row in rows:
        at = row.at
        if 0 <= at < latest:
            found.append(row.line)
        latest = max(latest, at)
    return found


def _cell(row: Mapping[str, Any], column: str, field: str) -> Any:
    value = row.get(column)
    if value is None or value == "":
        raise RowError(field, f"column {column} is empty")
    return value


def _filled(template: Any, row: Mapping[str, Any], path: str) -> Any:
    if isinstance(template, dict) and set(template) == {"column"}:
        value = row.get(template["column"])
        return value.strip() or None if isinstance(value, str) else value
    if isinstance(template, dict):
        members = {name: _filled(member, row, f"{path}.{name}") for name, member in template.items()}
        return {name: member for name, member in members.items() if member is not None} or None
    if isinstance(template, list):
        return [member for item in template if (member := _filled(item, row, path)) is not None] or None
    return template


def _columns(mapping: RowMapping) -> set[str]:
    return {mapping.time.column, *mapping.key, *_named(mapping.customer), *_named(mapping.data)}


def _named(template: Any) -> Iterator[str]:
    if isinstance(template, dict) and set(template) == {"column"}:
        yield template["column"]
        return
    members = template.values() if isinstance(template, dict) else template if isinstance(template, list) else ()
    for member in members:
        yield from _named(member)
