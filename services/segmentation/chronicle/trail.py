"""Where a customer's records lie in guanxi.customers.v1, so that one customer is replayed without reading a partition.

Rows are only ever inserted, one per customer and batch; after a crash some overlap, which is harmless.
"""

from collections.abc import Sequence

from shared.events.codec import UndecodableEvent, decode
from shared.events.customers import CustomerErased
from shared.processing.mongo import Collection, Index
from shared.processing.mongo_collection import Row
from shared.processing.records import Record

TRAIL = "trail"
TRAIL_INDEXES = (Index((("customer", 1),)),)

_ERASED = CustomerErased.event_type.encode()


class Trail:
    def __init__(self, collection: Collection) -> None:
        self._collection = collection

    async def take(self, records: Sequence[Record]) -> None:
        """Keys and offsets only; what cannot be an erasure is not decoded."""
        offsets: dict[tuple[int, bytes], list[int]] = {}
        for record in records:
            if record.key is not None:
                offsets.setdefault((record.partition, record.key), []).append(record.offset)
        await self._collection.insert([_row(partition, key, at) for (partition, key), at in offsets.items()])
        for record in records:
            if record.key is not None and _erases(record):
                await self.forget(record.key.decode())

    async def offsets(self, customer_id: str) -> list[int]:
        """Ascending, each once."""
        found = await self._collection.find({"customer": customer_id}, ["offsets"])
        return sorted({offset for row in found for offset in row["offsets"]})

    async def forget(self, customer_id: str) -> None:
        await self._collection.delete({"customer": customer_id})

    async def clear(self, partition: int) -> None:
        await self._collection.delete({"partition": partition})


def _row(partition: int, key: bytes, offsets: list[int]) -> Row:
    """First and last offset name all between them, so that another cut of the same batches is another row."""
    customer_id = key.decode("utf-8", "replace")
    name = f"{customer_id}:{offsets[0]}:{offsets[-1]}"
    return {"_id": name, "customer": customer_id, "partition": partition, "offsets": offsets}


def _erases(record: Record) -> bool:
    value = record.value or b""
    if _ERASED not in value:
        return False
    try:
        return isinstance(decode(value).data, CustomerErased)
    except UndecodableEvent:
        return False
