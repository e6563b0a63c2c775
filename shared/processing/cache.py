"""Documents of owned partitions, bounded, least recently used out first. Safe because every write checks `rev`."""

from collections.abc import Iterable
from typing import Any

from shared.processing.batch import Loaded
from shared.processing.document import Document

MOST_BYTES = 80_000_000
"""By weight. Bounded by its text alone, the cache took three times the memory once outboxes had emptied and states had grown."""
DECODED = 6
"""Bytes in memory for each character of a state: the text and the models made of it (measured on segmentation's: 4.6 and 1)."""
FRAME = 4_000
"""Bytes of a document without its texts: names, positions, recent ids, view."""


class DocumentCache:
    """Takes only what the store has acknowledged. `limit`: documents; large ones are bounded by their weight sooner."""

    def __init__(self, limit: int, most_bytes: int = MOST_BYTES) -> None:
        self._limit = limit
        self._most_bytes = most_bytes
        self._weight = 0
        self._entries: dict[str, Loaded] = {}

    def get(self, customer_id: str) -> Loaded | None:
        entry = self._entries.pop(customer_id, None)
        if entry is not None:
            self._entries[customer_id] = entry
        return entry

    def put(self, document: Document, state: Any) -> None:
        self.discard([document.id])
        self._entries[document.id] = Loaded(document, state)
        self._weight += _weight(document)
        while self._entries and (len(self._entries) > self._limit or self._weight > self._most_bytes):
            self.discard([next(iter(self._entries))])

    def sent(self, customer_id: str, rev: int) -> None:
        """The store has dropped this revision's `unsent` mark."""
        entry = self._entries.get(customer_id)
        if entry is not None and entry.document.rev == rev:
            entry.document = entry.document.replaced(unsent=False)

    def discard(self, customer_ids: Iterable[str]) -> None:
        for customer_id in customer_ids:
            if (entry := self._entries.pop(customer_id, None)) is not None:
                self._weight -= _weight(entry.document)

    def empty(self, partition: int) -> None:
        """On assignment and revocation: another owner may have written meanwhile."""
        self.discard([key for key, entry in self._entries.items() if entry.document.partition == partition])

    def __len__(self) -> int:
        return len(self._entries)


def _weight(document: Document) -> int:
    """About how many bytes of memory it takes, with its decoded state."""
    return FRAME + DECODED * len(document.state or "") + sum(len(entry.event) for entry in document.outbox)
