"""The chronicle: what segmentation has said, recorded and counted by a follower of its own output.

Everything is idempotent by the place of a record's first occurrence: redelivered after a crash it is at the same offset;
a true repeat (the same number at a later one) counts nothing.
"""

import logging
from collections.abc import Iterable, Mapping, Sequence

from services.segmentation.chronicle.changes import Changes, Said
from services.segmentation.chronicle.ledgers import Ledgers, Mark, Step
from services.segmentation.chronicle.members import Members
from services.segmentation.chronicle.moves import Moves, departure, moves_of
from services.segmentation.chronicle.remaking import Remaking
from services.segmentation.chronicle.snapshot import Snapshot
from services.segmentation.chronicle.trail import Trail
from shared.clock import SECOND, Clock
from shared.events.catalog import CUSTOMERS, SEGMENTS, SEGMENTS_LATEST
from shared.events.codec import UndecodableEvent, decode
from shared.events.envelope import Event
from shared.events.segments import CustomerForgotten, SegmentsChanged
from shared.processing.follower import Seat
from shared.processing.records import Record, TopicPartition

_log = logging.getLogger(__name__)

LOOK_EVERY = 1 * SECOND
"""How often, in milliseconds, it looks whether the compacted topic needs a repeat or the whole a remaking."""


class Chronicle:
    """Implements Listener for the topics of `catalog.CHRONICLE`."""

    def __init__(
        self,
        changes: Changes,
        members: Members,
        ledgers: Ledgers,
        trail: Trail,
        snapshot: Snapshot,
        remaking: Remaking,
        clock: Clock,
    ) -> None:
        self._changes = changes
        self._members = members
        self._ledgers = ledgers
        self._trail = trail
        self._snapshot = snapshot
        self._remaking = remaking
        self._clock = clock
        self._looked_at = 0

    def begin(self) -> None:
        self._snapshot.begin()

    async def take(self, records: Sequence[Record]) -> None:
        topics: dict[str, list[Record]] = {}
        for record in records:
            topics.setdefault(record.topic, []).append(record)
        if said := topics.get(SEGMENTS.name):
            await self._record(said)
        if stated := topics.get(CUSTOMERS.name):
            await self._trail.take(stated)
        if latest := topics.get(SEGMENTS_LATEST.name):
            await self._snapshot.take(latest)

    async def turn(self, seat: Seat) -> None:
        now = self._clock()
        if now - self._looked_at < LOOK_EVERY:
            return
        self._looked_at = now
        await self._remaking.look(seat)
        if repeated := await self._snapshot.settle(seat):
            _log.warning("the compacted topic ended with old records", extra={"repeated": repeated})

    def held(self) -> Mapping[TopicPartition, int]:
        return self._snapshot.held()

    async def _record(self, records: Sequence[Record]) -> None:
        """Recorded, listed and counted, then what was erased deleted: so each step can be told from what is there."""
        heard = [(record, event) for record in records if (event := _decoded(record)) is not None]
        said = [one for record, event in heard if (one := said_by(record, event)) is not None]
        known = await self._changes.known({name for one in said for name in (one.id, one.customer_id)})
        first = first_occurrences(said, known)
        await self._changes.insert([one for one in first if not one.forgets and one.id not in known])
        steps = await self._steps(first)
        await self._members.take(zip(first, steps, strict=True))
        await self._ledgers.count(marks(heard), steps)
        for one in first:
            if one.forgets:
                await self._changes.forget(one)
                await self._trail.forget(one.customer_id)

    async def _steps(self, first: Iterable[Said]) -> list[Step]:
        steps: list[Step] = []
        last: dict[str, SegmentsChanged] = {}
        for one in first:
            data = one.event.data
            if isinstance(data, SegmentsChanged):
                last[one.customer_id] = data
                moves = moves_of(data.changes)
            else:
                moves = await self._departure(one.customer_id, last.get(one.customer_id))
            steps.append(Step(one.record.partition, one.record.offset, one.event.occurred_at, moves))
        return steps

    async def _departure(self, customer_id: str, last: SegmentsChanged | None) -> Moves:
        """Where nothing of the customer is recorded any more, the departure was counted before that was deleted."""
        if last is None:
            recorded = await self._changes.newest(customer_id)
            last = None if recorded is None else recorded.changed
        return Moves() if last is None else departure(last.memberships, last.composites)


def said_by(record: Record, event: Event) -> Said | None:
    """None: a mark of time, which concerns no customer."""
    if not isinstance(event.data, SegmentsChanged | CustomerForgotten) or event.number is None:
        return None
    return Said(record, event, event.data.customer_id, event.number)


def first_occurrences(said: Iterable[Said], known: Mapping[str, int]) -> list[Said]:
    """Those that are no repeats, in order. `known`: what is recorded, with the offset of its first occurrence.

    Of a customer who is recorded as forgotten nothing else counts: what came before was counted before that was recorded.
    """
    seen = dict(known)
    first: list[Said] = []
    for one in said:
        gone = not one.forgets and one.customer_id in seen
        if not gone and seen.setdefault(one.id, one.record.offset) == one.record.offset:
            first.append(one)
    return first


def marks(heard: Iterable[tuple[Record, Event]]) -> dict[int, Mark]:
    """Per partition, how far it was followed. Logical time: min(recordedtime, append time), and it never runs backwards."""
    found: dict[int, Mark] = {}
    for record, event in heard:
        before = found.get(record.partition)
        time = min(event.recorded_at, record.timestamp)
        found[record.partition] = Mark(record.offset, max(time, before.time if before else 0), record.timestamp)
    return found


def _decoded(record: Record) -> Event | None:
    try:
        return decode(record.value or b"")
    except UndecodableEvent:
        _log.warning("a record of our own cannot be read", extra={"topic": record.topic, "offset": record.offset})
        return None
