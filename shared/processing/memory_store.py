"""A store in memory, with the semantics of MongoDB's compare-and-set writes: tests and the simulation drive it."""

import json
from collections.abc import Collection, Iterator, Mapping, Sequence

from shared.clock import Instant
from shared.processing.document import Document, from_fields
from shared.processing.ports import Timer


class MemoryStore:
    """Documents as JSON text of their fields, so that nothing a caller keeps can change what is stored."""

    def __init__(self) -> None:
        self._texts: dict[str, str] = {}
        self._documents: dict[str, Document] = {}
        self._partitions: dict[int, dict[str, Document]] = {}

    async def load(self, customer_ids: Collection[str]) -> dict[str, Document]:
        return {key: from_fields(json.loads(self._texts[key])) for key in customer_ids if key in self._texts}

    async def save(self, documents: Sequence[Document]) -> bool:
        written = [self._save(document) for document in documents]
        return all(written)

    def _save(self, document: Document) -> bool:
        stored = self._documents.get(document.id)
        if (stored.rev if stored else 0) != document.rev - 1:
            return False
        self._put(document)
        return True

    def _put(self, document: Document) -> None:
        self._texts[document.id] = json.dumps(document.to_fields())
        self._documents[document.id] = kept = document.copied()
        self._partitions.setdefault(document.partition, {})[document.id] = kept

    async def due(self, partition: int, after: Instant, until: Instant) -> list[Timer]:
        timers = [
            Timer(document.wake_at, document.id, document.history)
            for document in self._of(partition)
            if document.parked is None and document.wake_at is not None and after < document.wake_at <= until
        ]
        return sorted(timers, key=lambda timer: (timer.wake_at, timer.customer_id))

    async def unsent(self, partition: int) -> list[str]:
        return sorted(document.id for document in self._of(partition) if document.unsent)

    async def clear_unsent(self, revisions: Mapping[str, int]) -> None:
        for document in (await self.load(revisions)).values():
            if document.rev == revisions[document.id]:
                self._put(document.replaced(unsent=False))

    async def parked(self, partition: int) -> list[str]:
        return sorted(document.id for document in self._of(partition) if document.parked is not None)

    async def ids(self, partition: int) -> list[str]:
        return sorted(document.id for document in self._of(partition))

    def _of(self, partition: int) -> Iterator[Document]:
        return iter(self._partitions.get(partition, {}).values())
