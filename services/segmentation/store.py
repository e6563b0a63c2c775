"""What is asked of segmentation's documents: one customer, how many are where, and who they are."""

from typing import Any, NamedTuple, Protocol

from services.segmentation.state import CustomerState
from shared.processing.document import Document
from shared.processing.mongo import Index

STANDARD = ("purchase_frequency", "spend_level", "value", "lifecycle", "status")
"""Dimensions with an index of their own; members of any other are found by reading more."""

INDEXES = tuple(Index(((f"view.memberships.{dimension}", 1), ("_id", 1))) for dimension in STANDARD)

WIDTH = 2**32
FIRST_STRIDE = WIDTH // 256


class Documents(Protocol):
    async def one(self, customer_id: str) -> Document | None: ...

    async def find(self, wanted: dict[str, Any], after: str | None, limit: int) -> list[Document]: ...

    async def count(self, wanted: dict[str, Any]) -> int: ...


class Customer(NamedTuple):
    """`at`: the customer's logical time, up to which `state` is true. `version`: that of the rules which made it."""

    state: CustomerState
    partition: int
    at: int
    version: int


class SegmentationQueries:
    def __init__(self, documents: Documents) -> None:
        self._documents = documents

    async def customer(self, customer_id: str) -> Customer | None:
        document = await self._documents.one(customer_id)
        return None if document is None else _customer(document)

    async def sizes(self, dimension: str, values: tuple[str, ...]) -> dict[str, int]:
        return {value: await self._documents.count(_in(dimension, value)) for value in values}

    async def members(self, dimension: str, value: str, after: str | None, limit: int) -> list[Customer]:
        """By id, beyond `after`. Ids are spread evenly, so strides of the id space keep each question narrow."""
        found: list[Document] = []
        stride, low = FIRST_STRIDE, after or ""
        while len(found) < limit:
            high = _beyond(low, stride)
            wanted: dict[str, Any] = _in(dimension, value)
            if high is not None:
                wanted["_id"] = {"$lte": high}
            found += await self._documents.find(wanted, low or None, limit - len(found))
            if high is None:
                break
            low, stride = high, stride * 4
        return [customer for document in found if (customer := _customer(document)) is not None]


def _in(dimension: str, value: str) -> dict[str, Any]:
    return {f"view.memberships.{dimension}": value}


def _beyond(low: str, stride: int) -> str | None:
    """The id that lies a stride further on in the space of UUIDs; None beyond its end."""
    start = int(low[:8], 16) if low else 0
    return f"{start + stride:08x}" if start + stride < WIDTH else None


def _customer(document: Document) -> Customer | None:
    """None: erased, or not yet evaluated."""
    if document.state is None:
        return None
    state = CustomerState.model_validate_json(document.state)
    return Customer(state, document.partition, document.at, document.version)
