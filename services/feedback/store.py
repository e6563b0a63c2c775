"""What is asked of the cases: by id, by customer, by state and assignee, by when they were opened."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Protocol

from services.feedback.case import Case, State
from services.feedback.domain import FeedbackState
from shared.clock import Instant
from shared.processing.document import Document
from shared.processing.mongo import Index

INDEXES: tuple[Index, ...] = tuple(
    Index(((field, 1), ("_id", 1)), {field: {"$exists": True}})
    for field in ("view.case_ids", "view.states", "view.assignees", "view.opened_last")
)
PAGE = 1_000
"""Customers per page where many are read."""


class Readable(Protocol):
    async def one(self, customer_id: str) -> Document | None: ...

    async def find(self, wanted: dict[str, Any], after: str | None, limit: int) -> list[Document]: ...


@dataclass(frozen=True, slots=True)
class Found:
    """Whose case it is, and the partition whose freshness holds for it."""

    customer_id: str
    partition: int
    case: Case


@dataclass(frozen=True, slots=True)
class CasesOf:
    """One customer's cases, oldest first."""

    partition: int
    cases: list[Found]


class FeedbackQueries:
    def __init__(self, documents: Readable) -> None:
        self._documents = documents

    async def case(self, case_id: str) -> Found | None:
        for document in await self._documents.find({"view.case_ids": case_id}, None, 1):
            return next((found for found in _cases(document) if found.case.case_id == case_id), None)
        return None

    async def of_customer(self, customer_id: str) -> CasesOf | None:
        """None where nothing is known of the customer, or nothing any more."""
        document = await self._documents.one(customer_id)
        if document is None or document.state is None:
            return None
        return CasesOf(document.partition, _cases(document))

    async def page(
        self, state: State | None, assignee: str | None, after: str | None, limit: int
    ) -> tuple[list[Found], str | None]:
        """Whole customers, in the order of their ids, until `limit` cases are there; and where the next page begins."""
        found: list[Found] = []
        while True:
            documents = await self._documents.find(_wanted(state, assignee), after, limit)
            for document in documents:
                after = document.id
                found += [one for one in _cases(document) if _matches(one.case, state, assignee)]
                if len(found) >= limit:
                    return found, after
            if len(documents) < limit:
                return found, None

    async def opened(self, start: Instant, end: Instant) -> AsyncIterator[Case]:
        """Every case kept that was opened at or after `start` and before `end`."""
        wanted = {"view.opened_last": {"$gte": start}, "view.opened_first": {"$lt": end}}
        after: str | None = None
        while True:
            documents = await self._documents.find(wanted, after, PAGE)
            for document in documents:
                for found in _cases(document):
                    if start <= found.case.opened_at < end:
                        yield found.case
            if len(documents) < PAGE:
                return
            after = documents[-1].id


def _wanted(state: State | None, assignee: str | None) -> dict[str, Any]:
    wanted: dict[str, Any] = {"view.case_ids": {"$exists": True}}
    if state is not None:
        wanted = {"view.states": state}
    if assignee is not None:
        wanted = wanted | {"view.assignees": assignee}
    return wanted


def _matches(case: Case, state: State | None, assignee: str | None) -> bool:
    return state in (None, case.state) and assignee in (None, case.assignee)


def _cases(document: Document) -> list[Found]:
    if document.state is None:
        return []
    state = FeedbackState.model_validate_json(document.state)
    return [Found(document.id, document.partition, case) for case in state.cases]
