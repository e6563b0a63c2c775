"""What is asked of segmentation's documents: one customer, and who is in a segment."""

from typing import Any, NamedTuple, Protocol

from services.segmentation.chronicle.members import Members, segment_of
from services.segmentation.chronicle.moves import COMPOSITES
from services.segmentation.state import CustomerState
from shared.clock import Instant
from shared.processing.document import Document


class Documents(Protocol):
    async def one(self, customer_id: str) -> Document | None: ...

    async def find(self, wanted: dict[str, Any], after: str | None, limit: int) -> list[Document]: ...


class Customer(NamedTuple):
    """A document that holds a state, which is true up to the customer's logical time."""

    state: CustomerState
    document: Document

    @property
    def partition(self) -> int:
        return self.document.partition

    @property
    def at(self) -> Instant:
        return self.document.at


class SegmentationQueries:
    def __init__(self, documents: Documents, members: Members) -> None:
        self._documents = documents
        self._members = members

    async def customer(self, customer_id: str) -> Customer | None:
        document = await self._documents.one(customer_id)
        return None if document is None else _customer(document)

    async def members(
        self, dimension: str, value: str, after: str | None, limit: int
    ) -> tuple[list[Customer], str | None]:
        """By id, beyond `after`; and where the next page begins (None: there is none). Rows whose customer has left
        meanwhile are passed over."""
        found: list[Customer] = []
        while len(found) < limit:
            wanted = limit - len(found)
            ids = await self._members.page(segment_of(dimension, value), after, wanted)
            found += [one for one in await self.customers(ids) if is_in(one.state, dimension, value)]
            if len(ids) < wanted:
                return found, None
            after = ids[-1]
        return found, after

    async def customers(self, ids: list[str]) -> list[Customer]:
        """Those of whom there is a state, by id."""
        documents = await self._documents.find({"_id": {"$in": ids}}, None, len(ids)) if ids else []
        return [customer for document in documents if (customer := _customer(document)) is not None]


def is_in(state: CustomerState, dimension: str, value: str) -> bool:
    if dimension == COMPOSITES:
        return state.composites is not None and value in state.composites[0]
    held = state.segments.get(dimension, (None,))[0]
    return value in held if isinstance(held, tuple) else value == held


def _customer(document: Document) -> Customer | None:
    """None: erased, or not yet evaluated."""
    if document.state is None:
        return None
    return Customer(CustomerState.model_validate_json(document.state), document)
