"""From the rows of a file to events, as a mapping file says. Pure but for reading that file."""

import csv
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError

from shared.clock import from_rfc3339, to_instant, to_rfc3339

BUFFER = 1 << 20


class MappingError(Exception):
    """What is wrong with the mapping or the file as a whole, naming the file and the place."""


def _zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError):
        raise ValueError("is no time zone") from None
    return name


class TimeColumn(BaseModel):
    """A date gets the time of day `at`; what has no offset is read in `zone`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    column: str
    at: time = time(12)
    zone: Annotated[str, AfterValidator(_zone)] = "UTC"

    def read(self, text: str) -> str:
        """RFC 3339. Raises ValueError."""
        moment = datetime.fromisoformat(text)
        if len(text) == len("2026-11-23"):
            moment = datetime.combine(moment.date(), self.at)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=ZoneInfo(self.zone))
        return to_rfc3339(to_instant(moment))


class RowMapping(BaseModel):
    """`customer` and `data` are templates: an object with `column` stands for that column's text, empty cells are left out.

    `key`: the columns that make a row's id; without them it is the file's digest and the line number.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

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
        except ValueError:
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
        """The row's instant; -1 where it has none that can be read."""
        try:
            return from_rfc3339(str((self.document or {}).get("time")))
        except ValueError:
            return -1


def load_mapping(path: Path) -> RowMapping:
    """Raises MappingError."""
    try:
        return RowMapping.model_validate(yaml.safe_load(path.read_text("utf-8")))
    except FileNotFoundError:
        raise MappingError(f"{path}: no such file") from None
    except yaml.YAMLError as error:
        raise MappingError(f"{path}: not YAML: {error}") from None
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise MappingError(f"{path}: {wrong}") from None


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
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file)
        missing = _columns(mapping) - set(reader.fieldnames or ())
        if missing:
            raise MappingError(f"{path}: the mapping names columns that the file has not: {', '.join(sorted(missing))}")
        for cells in reader:
            yield _row(cells, mapping, digest, reader.line_num)


def _ndjson(path: Path, mapping: RowMapping | None, digest: str) -> Iterator[Row]:
    with path.open("rb") as file:
        for line, text in enumerate(file, 1):
            if not text.strip():
                continue
            try:
                document = json.loads(text, parse_float=Decimal)
            except ValueError:
                document = None
            if not isinstance(document, dict):
                yield Row(line, error=RowError("body", "is no JSON object"))
            elif mapping is not None:
                yield _row(document, mapping, digest, line)
            else:
                yield Row(line, {"id": f"{digest}:{line}", "source": "urn:guanxi:import", **document})


def _row(cells: Mapping[str, Any], mapping: RowMapping, digest: str, line: int) -> Row:
    try:
        return Row(line, mapping.document(cells, digest, line))
    except RowError as error:
        return Row(line, error=error)


def unsorted_lines(rows: Iterable[Row]) -> list[int]:
    """The lines whose time is earlier than that of a line before them."""
    found, latest = [], -1
    for row in rows:
        if row.document is None:
            continue
        if row.at < latest:
            found.append(row.line)
        latest = max(latest, row.at)
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
