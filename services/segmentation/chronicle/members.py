"""Who is in which value: rows of the chronicle, so that finding members costs the documents and the live path no index.

A row may be there although its customer has left (another process wrote late): whoever reads compares it with the
document. It is never missing for long: it goes only for a change that is newer than the one that brought it.
"""

from collections.abc import Iterable, Mapping

from services.segmentation.chronicle.changes import Said
from services.segmentation.chronicle.ledgers import Step
from shared.processing.mongo import Collection, Index
from shared.processing.mongo_collection import Row

MEMBERS = "members"
MEMBERS_INDEXES = (Index((("segment", 1), ("customer", 1))),)

WIDTH = 2**32
FIRST_STRIDE = WIDTH // 256

MOST_NAMES = 1_000
"""Rows that one question names."""


class Members:
    def __init__(self, collection: Collection) -> None:
        self._collection = collection

    async def take(self, said: Iterable[tuple[Said, Step]]) -> None:
        """What joined is written, what left deleted; of several changes in one batch only the last one counts."""
        joined: dict[str, Row] = {}
        left: dict[str, int] = {}
        for one, step in said:
            for dimension, before, after in step.moves:
                if before is not None:
                    name = _name(one.customer_id, segment_of(dimension, before))
                    joined.pop(name, None)
                    left[name] = one.sequence
                if after is not None:
                    row = _row(one, segment_of(dimension, after))
                    left.pop(row["_id"], None)
                    joined[row["_id"]] = row
        for names in _pieces(list(joined)):
            await self._join({name: joined[name] for name in names})
        await self._collection.delete_each(_older(left))

    async def _join(self, rows: Mapping[str, Row]) -> None:
        """A row that is there already is raised to the newer number, so that no former owner's late deletion takes it."""
        while await self._collection.insert(list(rows.values())) < len(rows):
            found = await self._collection.find({"_id": {"$in": list(rows)}}, ["sequence"])
            there = [(rows[old["_id"]], old["sequence"]) for old in found]
            older = [(row, sequence) for row, sequence in there if sequence < row["sequence"]]
            if len(there) == len(rows) and await self._collection.swap(older, "sequence"):
                return

    async def page(self, segment: str, after: str | None, limit: int) -> list[str]:
        """Customers by id, beyond `after`. Ids are spread evenly, so strides of the id space keep each question narrow."""
        found: list[str] = []
        stride, low = FIRST_STRIDE, after or ""
        while len(found) < limit:
            high = _beyond(low, stride)
            within = {"$gt": low} if high is None else {"$gt": low, "$lte": high}
            wanted = {"segment": segment, "customer": within}
            rows = await self._collection.find(wanted, ["customer"], [("customer", 1)], limit - len(found))
            found += [row["customer"] for row in rows]
            if high is None:
                break
            low, stride = high, stride * 4
        return found

    async def clear(self, partition: int) -> None:
        await self._collection.delete({"partition": partition})


def segment_of(dimension: str, value: str) -> str:
    return f"{dimension}={value}"


def _name(customer_id: str, segment: str) -> str:
    return f"{customer_id}:{segment}"


def _row(one: Said, segment: str) -> Row:
    return {
        "_id": _name(one.customer_id, segment),
        "segment": segment,
        "customer": one.customer_id,
        "partition": one.record.partition,
        "sequence": one.sequence,
    }


def _older(left: Mapping[str, int]) -> list[Row]:
    """Those that a same number ended go by one question: one for each name would cost the local store fifteen times as much."""
    together: dict[int, list[str]] = {}
    for name, sequence in left.items():
        together.setdefault(sequence, []).append(name)
    return [
        {"_id": {"$in": some}, "sequence": {"$lt": sequence}}
        for sequence, names in together.items()
        for some in _pieces(names)
    ]


def _pieces(names: list[str]) -> list[list[str]]:
    return [names[start : start + MOST_NAMES] for start in range(0, len(names), MOST_NAMES)]


def _beyond(low: str, stride: int) -> str | None:
    """The id that lies a stride further on in the space of UUIDs; None beyond its end."""
    start = int(low[:8], 16) if low else 0
    return f"{start + stride:08x}" if start + stride < WIDTH else None
