"""Keeps guanxi.segments.latest.v1 right: a zombie or a late send may leave a customer's old record as the last one there."""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

from pydantic import BaseModel, ValidationError

from services.segmentation.chronicle.changes import Changes, Recorded
from shared.clock import SECOND, Clock, Instant
from shared.events.catalog import SEGMENTS_LATEST
from shared.events.codec import HEADERS
from shared.processing.follower import Seat
from shared.processing.ports import LogWriter
from shared.processing.records import Message, Record, TopicPartition

PATIENCE = 2 * SECOND
"""How long an old record may be the last one: the newer one is mostly on its way."""

AT_ONCE = 200
"""Customers whose newest record is repeated in one turn."""

Numbers = Callable[[Collection[str]], Awaitable[Mapping[str, int]]]
"""The last number that each of these customers was given."""


class Numbered(BaseModel):
    """All that is read of a record; the rest is not even looked at."""

    sequence: int


@dataclass(frozen=True, slots=True)
class Doubt:
    """The last record seen of a customer is not its newest one. `since` by the wall clock."""

    place: TopicPartition
    offset: int
    sequence: int
    since: Instant


class Snapshot:
    """Follows the compacted topic itself: what was sent last lies last, whatever else was said.

    Doubts are held in memory, and nothing beyond the oldest of them is committed.
    """

    def __init__(self, changes: Changes, writer: LogWriter, numbers: Numbers, clock: Clock) -> None:
        self._changes = changes
        self._writer = writer
        self._numbers = numbers
        self._clock = clock
        self._doubts: dict[str, Doubt] = {}

    def begin(self) -> None:
        self._doubts.clear()

    async def take(self, records: Sequence[Record]) -> None:
        last = {record.key.decode("utf-8", "replace"): record for record in records if record.key is not None}
        newest = await self._numbers(last)
        for customer_id, record in last.items():
            sequence = _sequence(record)
            if sequence is None or sequence >= newest.get(customer_id, 0):
                self._doubts.pop(customer_id, None)
            else:
                self._doubts[customer_id] = Doubt(record.source, record.offset, sequence, self._clock())

    async def settle(self, seat: Seat) -> int:
        """Repeats the newest record of those who are in doubt for long although all was read; how many."""
        repeats: dict[str, Message] = {}
        for customer_id, doubt in self._asked(seat):
            newest = await self._changes.newest(customer_id)
            if newest is not None and newest.sequence > doubt.sequence:
                repeats[customer_id] = _message(newest)
        if repeats:
            await self._writer.publish(list(repeats.values()))
        for customer_id in repeats:
            self._doubts.pop(customer_id)
        return len(repeats)

    def _asked(self, seat: Seat) -> list[tuple[str, Doubt]]:
        late = self._clock() - PATIENCE
        read = {place for place in {doubt.place for doubt in self._doubts.values()} if seat.read_to_end(place)}
        asked = ((who, doubt) for who, doubt in self._doubts.items() if doubt.since <= late and doubt.place in read)
        return list(islice(asked, AT_ONCE))

    def held(self) -> Mapping[TopicPartition, int]:
        held: dict[TopicPartition, int] = {}
        for doubt in self._doubts.values():
            held[doubt.place] = min(held.get(doubt.place, doubt.offset), doubt.offset)
        return held


def _sequence(record: Record) -> int | None:
    """None: a tombstone, after which nothing comes, or nothing of ours."""
    try:
        return Numbered.model_validate_json(record.value).sequence if record.value else None
    except ValidationError:
        return None


def _message(newest: Recorded) -> Message:
    gone = newest.changed is None
    value, headers = (None, ()) if gone else (newest.text.encode(), HEADERS)
    return Message(SEGMENTS_LATEST.name, newest.customer_id.encode(), value, headers, newest.partition)
