"""Taking in a past: rows in their own time, inside a bracket, with a tick at each day's end and at the end of all."""

import asyncio
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from services.intake.batches import Accepted, Entry, Line
from services.intake.checking import Checker, Sender, Stamp
from services.intake.domain import Offer, mark_of_time
from services.intake.processor import Intake
from services.intake.refusal import Refusal, Unavailable
from services.intake.registers import Import, ImportRegister, RejectedRow
from services.intake.store import IntakeStore
from shared.clock import DAY, Clock, Instant
from shared.events.catalog import PARTITIONS
from shared.events.customers import ClockTicked, HistoryBegan, HistoryEnded

LONGEST_GAP = 400
"""Days at whose ends a tick is written in a gap of the data; of a longer gap the last ones. Timers fire at their own
instants all the same, in the order in which they are due."""


MOST_TOLD = 1_000
"""Refused rows that an import keeps with their reasons; further ones are counted."""


@dataclass(slots=True)
class Rows:
    """What became of one chunk. `refused`: index within the chunk and why; `last_at`: how far it brought the import."""

    accepted: int = 0
    repeated: int = 0
    refused: list[tuple[int, Refusal]] = field(default_factory=list)
    last_at: Instant | None = None


class Imports:
    """Chunks of all imports of this process are taken in one after the other, since their order is their meaning."""

    def __init__(
        self, register: ImportRegister, store: IntakeStore, intake: Intake, checker: Checker, clock: Clock
    ) -> None:
        self._register = register
        self._store = store
        self._intake = intake
        self._checker = checker
        self._clock = clock
        self._turn = asyncio.Lock()

    async def begin(self, import_id: str, mode: Any, name: str) -> Import:
        """The import under this id, new or begun before: what it already has is recognised row by row.

        Refusal (409) while another one writes history.
        """
        new = Import(id=import_id, mode=mode, name=name, started_at=self._clock())
        found = await self._register.add(new)
        if found.mode != mode:
            raise Refusal(409, "Another mode", "This import was begun in another mode.")
        if found is not new:
            found = await self._saved(found, _afresh(found))
        if mode == "live" or found.bracket is not None:
            return found
        held = await self._no_other(found)
        return found if held is None else await self._saved(found, {"bracket": held.bracket, "last_at": held.last_at})

    async def get(self, import_id: str) -> Import:
        found = await self._register.get(import_id)
        if found is None:
            raise Refusal(404, "Unknown import")
        return found

    async def rows(self, import_id: str, documents: Sequence[Any], sender: Sender, body: bytes) -> Rows:
        """Takes in what is new of these rows, which `body` holds. Unavailable: send the same chunk again, nothing comes twice."""
        async with self._turn:
            found = await self.get(import_id)
            if found.status != "running":
                raise Refusal(409, "Not running", f"This import is {found.status}; begin one under another id.")
            rows = Rows(last_at=found.last_at)
            size = len(body) // max(len(documents), 1)
            new = await self._new(found, documents, sender, size, rows)
            if new and found.mode != "live" and found.bracket is None:
                found = await self._open(found, new[0][1].time)
            if new:
                await self._send(found, new, rows)
            await self._note(found, documents, body, rows)
            return rows

    async def end(self, import_id: str, *, hold: bool) -> Import:
        """Closes the bracket; with `hold` leaves it open, so that the world stays at the history's last instant.

        Every partition hears first that this instant is over: else what is due by then would belong to history in those
        that have late rows and to the present in the others, and a held world's last words would wait to be merged.
        """
        async with self._turn:
            found = await self.get(import_id)
            if found.status == "ended":
                return found
            if found.bracket is not None and found.last_at is not None:
                await self._publish(self._ticks(found, found.last_at + 1))
            if found.bracket is not None and not hold:
                await self._publish(self._marks(HistoryEnded.event_type, found.bracket, self._clock(), "ended"))
                await self._register.close_bracket(found.bracket)
            else:
                status = "held" if found.bracket is not None else "ended"
                await self._register.save(found.model_copy(update={"status": status}))
            return await self.get(import_id)

    async def _no_other(self, found: Import) -> Import | None:
        """The import that left its bracket open for others to go on in, if there is one."""
        other = await self._register.open_bracket()
        if other is None or other.id == found.id:
            return None
        if other.status == "running":
            raise Refusal(
                409,
                "Another import is running",
                f"Import {other.id} has history open; finish it, or end it with POST /v1/imports/{other.id}/end.",
            )
        return other

    async def _new(
        self, found: Import, documents: Sequence[Any], sender: Sender, size: int, rows: Rows
    ) -> list[tuple[int, Offer]]:
        offers = list(self._offers(found, documents, sender, size, rows))
        claims = await self._store.claims([offer.claim for _, offer in offers if offer.claim is not None])
        open_ = await self._store.pending_among({claim.batch for claim in claims.values()})
        new: list[tuple[int, Offer]] = []
        for index, offer in offers:
            claim = claims.get(offer.claim or "")
            if claim is not None and claim.batch in open_:
                new.append((index, offer))  # whether it stands is not known yet: it may be given back
                rows.last_at = _later(rows.last_at, offer.time)
            elif claim is not None and claim.fingerprint == offer.fingerprint:
                rows.repeated += 1
                rows.last_at = _later(rows.last_at, offer.time)
            elif claim is not None:
                rows.refused.append((index, Refusal.of_field("id", "was already used for other content")))
            elif found.mode != "live" and offer.time < (rows.last_at or 0):
                rows.refused.append((index, Refusal.of_field("time", "is earlier than that of a row before it")))
            else:
                new.append((index, offer))
                rows.last_at = _later(rows.last_at, offer.time)
        return new

    def _offers(
        self, found: Import, documents: Sequence[Any], sender: Sender, size: int, rows: Rows
    ) -> Iterator[tuple[int, Offer]]:
        mark = None if found.mode == "live" else found.mode
        stamp = Stamp(self._clock(), mark, count=len(documents), size=size)
        for index, document in enumerate(documents):
            try:
                yield index, imported(self._checker, document, sender, stamp)
            except Refusal as refusal:
                rows.refused.append((index, refusal))

    async def _open(self, found: Import, first: Instant) -> Import:
        """The bracket stands in the log, acknowledged, before any of its rows is sent: sent again, it still comes first."""
        if await self._no_other(found) is not None:
            raise Refusal(409, "Another import was held open meanwhile", "Begin this import again.")
        await self._publish(self._marks(HistoryBegan.event_type, found.id, first, "began"))
        return await self._saved(found, {"bracket": found.id, "last_at": None})

    async def _send(self, found: Import, new: list[tuple[int, Offer]], rows: Rows) -> None:
        items: list[Offer | Entry] = []
        places: list[int | None] = []
        last = found.last_at
        for index, offer in new:
            for day in _day_ends(last, offer.time) if found.mode != "live" else ():
                items.append(self._ticks(found, day))
                places.append(None)
            last = offer.time
            items.append(offer)
            places.append(index)
        for place, answer in zip(places, await self._intake.submit(items), strict=True):
            if isinstance(answer, Unavailable):
                raise answer
            if place is None:
                continue
            if isinstance(answer, Accepted):
                rows.accepted += 1
            else:
                rows.refused.append((place, answer))

    async def _note(self, found: Import, documents: Sequence[Any], body: bytes, rows: Rows) -> None:
        """Rows that come again count for the last instant too: what was noted of them the first time may be lost."""
        update: dict[str, Any] = {"last_at": rows.last_at, "accepted": found.accepted + rows.accepted}
        chunk = self._checker.fingerprint(hashlib.sha256(body).hexdigest())
        if chunk != found.chunk:
            update |= {
                "chunk": chunk,
                "rows": found.rows + len(documents),
                "repeated": found.repeated + rows.repeated,
                "refused": found.refused + len(rows.refused),
                "rejected": (*found.rejected, *_rejected(found, documents, rows))[:MOST_TOLD],
            }
        await self._saved(found, update)

    async def _saved(self, found: Import, update: dict[str, Any]) -> Import:
        changed = found.model_copy(update=update)
        if not await self._register.save(changed):
            raise Refusal(409, "Somebody else imports", "Another client sends rows of this import at the same time.")
        return changed.model_copy(update={"rev": changed.rev + 1})

    async def _publish(self, marks: Entry) -> None:
        (answer,) = await self._intake.submit([marks])
        if isinstance(answer, Refusal):
            raise answer

    def _ticks(self, found: Import, at: Instant) -> Entry:
        lines = tuple(
            Line(mark_of_time(ClockTicked.event_type, at, f"{found.id}\0{p}\0{at}", True, {}).decode(), p)
            for p in range(PARTITIONS)
        )
        return Entry("", "", lines)

    def _marks(self, full: str, bracket: str, at: Instant, what: str) -> Entry:
        history = full == HistoryBegan.event_type
        lines = tuple(
            Line(mark_of_time(full, at, f"{bracket}\0{p}\0{what}", history, {"import_id": bracket}).decode(), p)
            for p in range(PARTITIONS)
        )
        return Entry("", "", lines)


def _afresh(found: Import) -> dict[str, Any]:
    """What a beginning changes of an import that was begun before."""
    last_at = found.last_at if found.status == "running" or found.bracket is not None else None
    counts = {"rows": 0, "repeated": 0, "refused": 0, "rejected": (), "chunk": ""}
    return {"status": "running", "last_at": last_at, **counts}


def _unplaced(document: Any) -> Any:
    if not isinstance(document, dict) or "line" not in document:
        return document
    return {name: member for name, member in document.items() if name != "line"}


def _rejected(found: Import, documents: Sequence[Any], rows: Rows) -> Iterator[RejectedRow]:
    for index, refusal in sorted(rows.refused, key=lambda row: row[0]):
        given = documents[index].get("line") if isinstance(documents[index], dict) else None
        line = given if type(given) is int and 0 < given < 1 << 53 else found.rows + index + 1
        for field_, reason in refusal.reasons:
            yield RejectedRow(line=line, field=field_, reason=reason)


def imported(checker: Checker, document: Any, sender: Sender, stamp: Stamp) -> Offer:
    """The offer of one row, whose line is no part of it. Raises Refusal."""
    offer = checker.offer(_unplaced(document), sender, stamp)
    if offer.claim is None:
        raise Refusal.of_field("id", "is required in an import")
    if offer.person.id is None and not offer.person.keys:
        raise Refusal.of_field("customer", "needs id, external_id, phone or email")
    if stamp.mark is not None and document.get("time") is None:
        raise Refusal.of_field("time", "is required in an import of the past")
    return offer


def _later(last: Instant | None, time: Instant) -> Instant:
    return time if last is None else max(last, time)


def _day_ends(last: Instant | None, until: Instant) -> list[Instant]:
    """The midnights (UTC) after `last` and not after `until`."""
    if last is None:
        return []
    first = (last // DAY + 1) * DAY
    return list(range(first, until + 1, DAY))[-LONGEST_GAP:]
