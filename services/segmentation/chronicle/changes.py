"""The recorded changes: every record of guanxi.segments.v1 once, found by customer, by number and by place."""

from collections.abc import Collection as Group
from collections.abc import Sequence
from typing import NamedTuple

from shared.clock import Instant
from shared.events.codec import decode
from shared.events.envelope import SEQUENCE_DIGITS, Event
from shared.events.segments import CustomerForgotten, SegmentsChanged
from shared.processing.mongo import Collection, Index
from shared.processing.mongo_collection import Row
from shared.processing.records import Record

CHANGES = "changes"
CHANGES_INDEXES = (Index((("customer", 1), ("sequence", 1))), Index((("partition", 1), ("offset", 1))))

STRIDE = 5_000
"""Offsets that are deleted at once."""


class Said(NamedTuple):
    """One record of the output that concerns a customer. `event` is decoded, `record` holds its bytes."""

    record: Record
    event: Event
    customer_id: str
    sequence: int

    @property
    def id(self) -> str:
        """An erased customer's last record goes by the customer alone: it is looked for without its number."""
        return self.customer_id if self.forgets else change_id(self.customer_id, self.sequence)

    @property
    def forgets(self) -> bool:
        return isinstance(self.event.data, CustomerForgotten)

    def row(self) -> Row:
        """The event stays text: nested fields would cost three times as much to write, and its bytes are needed again."""
        row = {
            "_id": self.id,
            "customer": self.customer_id,
            "sequence": self.sequence,
            "partition": self.record.partition,
            "offset": self.record.offset,
            "at": self.event.occurred_at,
            "event": (self.record.value or b"").decode(),
        }
        if isinstance(self.event.data, SegmentsChanged):
            return row | {"dimensions": [change.dimension for change in self.event.data.changes]}
        return row | {"forgotten": True}


class Recorded(NamedTuple):
    """One row read back."""

    customer_id: str
    sequence: int
    partition: int
    offset: int
    at: Instant
    text: str

    @property
    def event(self) -> Event:
        return decode(self.text.encode())

    @property
    def changed(self) -> SegmentsChanged | None:
        """None: the customer was erased here."""
        data = self.event.data
        return data if isinstance(data, SegmentsChanged) else None


class Changes:
    def __init__(self, collection: Collection) -> None:
        self._collection = collection

    async def known(self, ids: Group[str]) -> dict[str, int]:
        """Those that are recorded, with the offset of their first occurrence."""
        found = await self._collection.find({"_id": {"$in": sorted(ids)}}, ["offset"])
        return {row["_id"]: row["offset"] for row in found}

    async def insert(self, said: Sequence[Said]) -> None:
        await self._collection.insert([one.row() for one in said])

    async def newest(self, customer_id: str) -> Recorded | None:
        return await self._last({"customer": customer_id})

    async def newest_at(self, customer_id: str, at: Instant) -> Recorded | None:
        """The last one decided at or before an instant."""
        return await self._last({"customer": customer_id, "at": {"$lte": at}})

    async def page(self, customer_id: str, before: int | None, limit: int) -> list[Recorded]:
        """Newest first, below the number `before`."""
        wanted: Row = {"customer": customer_id, "forgotten": {"$exists": False}}
        if before is not None:
            wanted["sequence"] = {"$lt": before}
        return list(map(_read, await self._collection.find(wanted, order=[("sequence", -1)], limit=limit)))

    async def between(self, partition: int, after: int, until: int, dimension: str | None = None) -> list[Recorded]:
        """Those at offsets beyond `after` up to `until`, in order; of one dimension: with every erasure."""
        wanted: Row = {"partition": partition, "offset": {"$gt": after, "$lte": until}}
        if dimension is not None:
            wanted["$or"] = [{"dimensions": dimension}, {"forgotten": True}]
        return list(map(_read, await self._collection.find(wanted, order=[("offset", 1)])))

    async def forget(self, said: Said) -> None:
        """What stays is that the customer was forgotten, so that a late repeat of an old record does not come back."""
        await self._collection.insert([said.row()])
        await self._collection.delete({"customer": said.customer_id, "forgotten": {"$exists": False}})

    async def clear(self, partition: int, until: int) -> None:
        """All of a partition up to an offset, piece by piece."""
        for stop in range(STRIDE, until + STRIDE + 1, STRIDE):
            await self._collection.delete({"partition": partition, "offset": {"$lte": stop}})

    async def _last(self, wanted: Row) -> Recorded | None:
        found = await self._collection.find(wanted, order=[("sequence", -1)], limit=1)
        return _read(found[0]) if found else None


def change_id(customer_id: str, sequence: int) -> str:
    return f"{customer_id}:{sequence:0{SEQUENCE_DIGITS}d}"


def _read(row: Row) -> Recorded:
    return Recorded(row["customer"], row["sequence"], row["partition"], row["offset"], row["at"], row["event"])
