"""What is asked of the promises: by customer, by state, by whose worklist they are on, by the day they fall on."""

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from services.followup.state import Followups, Task, TaskState, escalated
from shared.processing.document import Document
from shared.processing.mongo import Index

INDEXES: tuple[Index, ...] = tuple(
    Index(((field, 1), ("_id", 1)), {field: {"$exists": True}}) for field in ("view.states", "view.work", "view.load")
)
READ_AT_ONCE = 1_000
"""Documents per read where a whole section is needed."""

Place = tuple[str, int, int, str]
"""Where a task stands on a worklist: section, the instant that orders it, minus its priority, its id."""


class Readable(Protocol):
    async def one(self, customer_id: str) -> Document | None: ...

    async def find(self, wanted: dict[str, Any], after: str | None, limit: int) -> list[Document]: ...

    async def count(self, wanted: dict[str, Any]) -> int: ...


@dataclass(frozen=True, slots=True)
class Found:
    """Whose task it is; `section` where it came from a worklist."""

    customer_id: str
    task: Task
    section: str | None = None


@dataclass(frozen=True, slots=True)
class Known:
    """A customer's state, and the partition whose freshness holds for it."""

    state: Followups
    partition: int


class FollowupQueries:
    def __init__(self, documents: Readable, section: Callable[[Task], str]) -> None:
        """`section` as the domain's view names it."""
        self._documents = documents
        self._section = section

    async def of_customer(self, customer_id: str) -> Known | None:
        document = await self._documents.one(customer_id)
        if document is None or document.state is None:
            return None
        return Known(Followups.model_validate_json(document.state), document.partition)

    async def page(self, state: TaskState | None, after: str | None, limit: int) -> tuple[list[Found], str | None]:
        """Whole customers in the order of their ids until `limit` tasks are there; and where the next page begins."""
        wanted: dict[str, Any] = {"view.states": state} if state else {"view.states": {"$exists": True}}
        found: list[Found] = []
        while True:
            documents = await self._documents.find(wanted, after, limit)
            for document in documents:
                after = document.id
                found += [one for one in _tasks(document) if state in (None, one.task.state)]
                if len(found) >= limit:
                    return found, after
            if len(documents) < limit:
                return found, None

    async def worklist(
        self, staff: str, sections: Sequence[str], after: Place | None, limit: int
    ) -> tuple[list[Found], Place | None]:
        """Section by section in the order given, each ordered by time and priority; and where the next page begins."""
        found: list[Found] = []
        start = sections.index(after[0]) if after and after[0] in sections else 0
        for section in sections[start:]:
            listed = sorted([one async for one in self._listed(section, staff)], key=place_of)
            found += [one for one in listed if after is None or section != after[0] or place_of(one) > after]
            if len(found) > limit:
                return found[:limit], place_of(found[limit - 1])
        return found, None

    async def _listed(self, section: str, staff: str) -> AsyncIterator[Found]:
        after: str | None = None
        while True:
            documents = await self._documents.find({"view.work": f"{section}/{staff}"}, after, READ_AT_ONCE)
            for document in documents:
                for task in self._on_list(document, section):
                    if task.assignee == staff:
                        yield Found(document.id, task, section)
            if len(documents) < READ_AT_ONCE:
                return
            after = documents[-1].id

    def _on_list(self, document: Document, section: str) -> tuple[Task, ...]:
        state = Followups.model_validate_json(document.state or "{}")
        if section == "escalated":
            return escalated(state)
        return tuple(task for task in state.open if self._section(task) == section)

    async def load(self, section: str, playbook: str) -> int:
        """Open tasks of a playbook in a section: a customer has at most one."""
        return await self._documents.count({"view.load": f"{section}/{playbook}"})

    async def customers_with(self, state: TaskState) -> int:
        """Customers with a task in that state among those kept."""
        return await self._documents.count({"view.states": state})


def _tasks(document: Document) -> list[Found]:
    state = Followups.model_validate_json(document.state or "{}")
    return [Found(document.id, task) for task in (*state.open, *state.closed)]


def place_of(found: Found) -> Place:
    """What must be done soonest first: by deadline where it is due, else by when it falls due."""
    task, section = found.task, found.section or ""
    return section, task.deadline_at if section == "due" else task.due_at, -task.priority, task.id
