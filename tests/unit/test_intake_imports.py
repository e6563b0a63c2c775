"""An import's own memory: what it has, how far it came, and what every partition hears when it ends."""

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from services.intake.batches import Accepted, Claim, Entry
from services.intake.checking import Checker, Sender
from services.intake.domain import Offer
from services.intake.imports import MOST_TOLD, Imports, Rows
from services.intake.registers import Import
from services.intake.rules import Rules
from shared.clock import from_rfc3339
from shared.events.catalog import PARTITIONS
from shared.privacy import BlindIndex
from shared.processing.ports import TransientError

NOW = from_rfc3339("2026-11-23T20:00:00Z")


@dataclass
class Register:
    """In memory. `away`: the store fails at the next write."""

    imports: dict[str, Import] = field(default_factory=dict)
    away: bool = False

    async def get(self, import_id: str) -> Import | None:
        return self.imports.get(import_id)

    async def add(self, new: Import) -> Import:
        return self.imports.setdefault(new.id, new)

    async def save(self, changed: Import) -> bool:
        if self.away:
            self.away = False
            raise TransientError("away")
        kept = self.imports[changed.id].rev == changed.rev
        if kept:
            self.imports[changed.id] = changed.model_copy(update={"rev": changed.rev + 1})
        return kept

    async def open_bracket(self) -> Import | None:
        return next((i for i in self.imports.values() if i.bracket is not None and i.status != "ended"), None)

    async def close_bracket(self, bracket: str) -> None:
        for found in self.imports.values():
            if found.bracket == bracket:
                update = {"status": "ended", "bracket": None}
                self.imports[found.id] = found.model_copy(update=update)


@dataclass
class Log:
    """Takes in everything, as intake and its store would. `marks` are ticks and brackets, `events` the ids of rows.

    `unacknowledged`: batches whose claims may yet be given back.
    """

    unacknowledged: set[str] = field(default_factory=set)
    marks: list[dict[str, Any]] = field(default_factory=list)
    events: list[str] = field(default_factory=list)
    taken: dict[str, Claim] = field(default_factory=dict)

    async def claims(self, ids: Sequence[str]) -> dict[str, Claim]:
        return {claim: self.taken[claim] for claim in ids if claim in self.taken}

    async def pending_among(self, batches: Collection[str]) -> set[str]:
        return self.unacknowledged.intersection(batches)

    async def submit(self, items: Sequence[Offer | Entry]) -> list[Any]:
        return [self._taken(item) for item in items]

    def _taken(self, item: Offer | Entry) -> Accepted:
        if isinstance(item, Entry):
            self.marks += [json.loads(line.value) for line in item.lines]
            return Accepted("", "", False, None)
        self.events.append(item.event_id)
        claim = item.claim or ""
        self.taken[claim] = Claim(claim, item.fingerprint, "b", 0, item.event_id, "c", False)
        return Accepted(item.event_id, "c", False, None)

    def ticks(self) -> list[str]:
        ticked = [mark["time"] for mark in self.marks if mark["type"] == "guanxi.clock.ticked.v1"]
        assert len(ticked) == PARTITIONS * len(set(ticked))
        return list(dict.fromkeys(ticked))


@dataclass
class Desk:
    register: Register = field(default_factory=Register)
    log: Log = field(default_factory=Log)

    def __post_init__(self) -> None:
        register: Any = self.register
        log: Any = self.log
        self.imports = Imports(register, log, log, Checker(Rules(), BlindIndex(b"p" * 32)), lambda: NOW)

    async def send(self, *rows: dict[str, Any], import_id: str = "i") -> Rows:
        return await self.imports.rows(import_id, rows, Sender("k"), json.dumps(rows).encode())


def row(day: int, **change: Any) -> dict[str, Any]:
    return {
        "type": "purchase.made",
        "id": f"r{day}",
        "source": "s",
        "time": f"2020-01-{day:02}T12:00:00Z",
        "customer": {"external_id": {"system": "x", "id": "1"}},
        "data": {"amount": {"amount": "1", "currency": "CNY"}},
        **change,
    }


async def test_a_chunk_whose_progress_was_not_kept_counts_when_it_comes_again() -> None:
    """Else the tick at the end of all would be missing, and what was due by then would belong to the present."""
    desk = Desk()
    await desk.imports.begin("i", "history", "n")
    await desk.send(row(1))
    desk.register.away = True
    with pytest.raises(TransientError):
        await desk.send(row(2), row(3))
    again = await desk.send(row(2), row(3))
    assert (again.accepted, again.repeated) == (0, 2)
    ended = await desk.imports.end("i", hold=True)
    assert ended.last_at == from_rfc3339("2020-01-03T12:00:00Z")
    assert desk.log.ticks()[-1] == "2020-01-03T12:00:00.001Z"


async def test_a_row_whose_claim_may_yet_be_given_back_is_offered_again() -> None:
    """Its batch was written down and never acknowledged: told that it is in, nobody would send it any more."""
    desk = Desk()
    await desk.imports.begin("i", "history", "n")
    await desk.send(row(1), row(2))
    desk.log.unacknowledged = {"b"}
    again = await desk.send(row(1), row(2))
    assert (again.accepted, again.repeated, again.refused) == (2, 0, [])
    assert desk.log.events == ["r1", "r2", "r1", "r2"]


async def test_a_new_row_is_not_earlier_than_one_that_came_again_before_it() -> None:
    desk = Desk()
    await desk.imports.begin("i", "history", "n")
    await desk.send(row(1), row(5))
    desk.register.imports["i"] = desk.register.imports["i"].model_copy(update={"last_at": None})
    assert [index for index, _ in (await desk.send(row(5), row(2))).refused] == [1]


async def test_a_bracket_that_opens_late_ticks_only_from_its_first_row_on() -> None:
    desk = Desk()
    await desk.imports.begin("i", "history", "n")
    await desk.send(row(1))
    await desk.imports.end("i", hold=False)
    await desk.imports.begin("i", "history", "n")
    desk.log.marks.clear()
    await desk.send(row(1))
    await desk.send(row(5), row(6))
    assert desk.log.ticks() == ["2020-01-06T00:00:00.000Z"]


async def test_what_was_refused_is_told_with_line_field_and_reason_and_counted_once() -> None:
    desk = Desk()
    await desk.imports.begin("i", "history", "n")
    await desk.send(row(1), row(2))
    for _ in range(2):
        await desk.send(row(3), row(4, surprise=1), {**row(5, time=None), "line": 17})
    found = await desk.imports.get("i")
    assert (found.rows, found.accepted, found.repeated, found.refused) == (5, 3, 0, 2)
    assert [(wrong.line, wrong.field) for wrong in found.rejected] == [(4, "surprise"), (17, "time")]
    assert found.rejected[1].reason == "is required in an import of the past"


async def test_an_import_that_begins_again_counts_again() -> None:
    desk = Desk()
    for repeated in (0, 2, 2):
        await desk.imports.begin("i", "live", "n")
        await desk.send(row(1), row(2), row(3, surprise=1))
        found = await desk.imports.get("i")
        assert (found.rows, found.accepted, found.repeated, found.refused) == (3, 2, repeated, 1)
        assert len(found.rejected) == 1


async def test_of_very_many_refused_rows_the_first_are_told_and_all_are_counted() -> None:
    desk = Desk()
    await desk.imports.begin("i", "live", "n")
    for chunk in range(3):
        await desk.send(*({"line": chunk * 500 + n} for n in range(500)))
    found = await desk.imports.get("i")
    assert (found.refused, len(found.rejected)) == (1_500, MOST_TOLD)
