"""Documents in a list, asked as the store's are."""

from collections.abc import Callable, Iterable
from typing import Any

from shared.processing.document import Document


class ListedDocuments:
    """Equal fields by dotted path (a list holds what is in it), `_id` beyond or among. `listed` may be changed or given."""

    def __init__(self, listed: Iterable[Document] = (), of: Callable[[], Iterable[Document]] | None = None) -> None:
        self.listed = list(listed)
        self._of = of

    async def one(self, customer_id: str) -> Document | None:
        return next((document for document in self._all() if document.id == customer_id), None)

    async def find(self, wanted: dict[str, Any], after: str | None, limit: int) -> list[Document]:
        found = [d for d in self._all() if _matches(d, wanted) and (after is None or d.id > after)]
        return sorted(found, key=lambda document: document.id)[:limit]

    async def sequences(self, customer_ids: Iterable[str]) -> dict[str, int]:
        wanted = set(customer_ids)
        return {document.id: document.sequence for document in self._all() if document.id in wanted}

    def _all(self) -> Iterable[Document]:
        return self.listed if self._of is None else self._of()


def _matches(document: Document, wanted: dict[str, Any]) -> bool:
    return all(_fits(document, path, value) for path, value in wanted.items())


def _fits(document: Document, path: str, value: Any) -> bool:
    if path == "_id":
        return document.id in value["$in"]
    found: Any = document.to_fields()
    for part in path.split("."):
        found = found.get(part, {})
    return value in found if isinstance(found, list | tuple) else bool(found == value)
