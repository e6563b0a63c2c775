"""Documents of owned partitions, bounded, least recently used out first. Safe because every write checks `rev`."""

from collections.abc import Iterable
from typing import Any

from shared.processing.batch import Loaded
from shared.processing.document import Document


class DocumentCache:
    """Takes only what the store has acknowledged."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._entries: dict[str, Loaded] = {}

    def get(self, customer_id: str) -> Loaded | None:
        entry = self._entries.pop(customer_id, None)
        if entry is not None:
            self._entries[customer_id] = entry
        return entry

    def put(self, document: Document, state: Any) -> None:
        self._entries.pop(document.id, None)
        self._entries[document.id] = Loaded(document, state)
        if len(self._entries) > self._limit:
            del self._entries[next(iter(self._entries))]

    def sent(self, customer_id: str, rev: int) -> None:
        """The store has dropped this revision's `unsent` mark."""
        entry = self._entries.get(customer_id)
        if entry is not None and entry.document.rev == rev:
            entry.document = entry.document.replaced(unsent=False)

    def discard(self, customer_ids: Iterable[str]) -> None:
        for customer_id in customer_ids:
            self._entries.pop(customer_id, None)

    def empty(self, partition: int) -> None:
        """On assignment and revocation: another owner may have written meanwhile."""
        self.discard([key for key, entry in self._entries.items() if entry.document.partition == partition])

    def __len__(self) -> int:
        return len(self._entries)
