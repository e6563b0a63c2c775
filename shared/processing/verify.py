"""Whether the live state is what the log says: a rebuild in memory, compared with the documents as they stand."""

import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

from shared.processing.document import Document
from shared.processing.domain import Domain
from shared.processing.ports import LogScanner
from shared.processing.replay import Replay

ROUNDS = 5
"""How often a customer that live has moved on meanwhile is compared again."""


@dataclass(slots=True)
class Verdict:
    """`differing`: customer ids. `disordered`: those that differ because a neighbour was too late (patience ran out)."""

    customers: int = 0
    differing: list[str] = field(default_factory=list)
    disordered: list[str] = field(default_factory=list)
    moving: list[str] = field(default_factory=list)

    @property
    def equal(self) -> bool:
        return not self.differing and not self.moving


Stops = Callable[[int], Any]


class Verification:
    """One service. `stops(partition)` tells what is committed per topic; `live(partition)` pages through the documents."""

    def __init__(
        self,
        first: Domain[Any],
        scanner: LogScanner,
        topics: tuple[str, ...],
        stops: Callable[[int], Any],
        live: Callable[[int], AsyncIterator[Document]],
    ) -> None:
        self._first = first
        self._scanner = scanner
        self._topics = topics
        self._stops = stops
        self._live = live
        self.verdict = Verdict()

    async def partition(self, number: int) -> None:
        """Compares until nothing moves, or ROUNDS times: a busy customer may be ahead of any rebuild."""
        replay = Replay(self._first, self._scanner, self._topics, number)
        for last in (False,) * (ROUNDS - 1) + (True,):
            await replay.advance(await self._stops(number))
            rebuilt = {document.id: document for document in replay.documents()}
            differing, moving = await self._compare(number, rebuilt)
            if last or not (moving or differing):
                break
        self.verdict.customers += len(rebuilt)
        self.verdict.moving += moving
        for document in differing:
            (self.verdict.disordered if document.disordered else self.verdict.differing).append(document.id)

    async def _compare(self, number: int, rebuilt: dict[str, Document]) -> tuple[list[Document], list[str]]:
        differing: list[Document] = []
        moving: list[str] = []
        missing = set(rebuilt)
        async for document in self._live(number):
            missing.discard(document.id)
            other = rebuilt.get(document.id)
            if other is None or document.positions != other.positions:
                moving.append(document.id)
            elif fingerprint(_as_numbered_by_the_log(document, other)) != fingerprint(other):
                differing.append(document)
        return differing + [rebuilt[key] for key in sorted(missing)], moving


def _as_numbered_by_the_log(live: Document, rebuilt: Document) -> Document:
    """Without what a rebuild by other code has told of the difference, which no log makes again."""
    if live.renumbered is None:
        return live
    return live.replaced(sequence=live.sequence - live.renumbered, at=rebuilt.at)


def fingerprint(document: Document) -> tuple[Any, ...]:
    """What must be equal: all that decisions depend on. Left out: `rev`, the outbox and its mark, which belong to delivery.
    The view is compared as a store gives it back, which knows lists only."""
    parked = [(w.topic, w.offset, w.partition_time) for w in document.parked.waiting] if document.parked else None
    state = json.loads(document.state) if document.state else None
    return (
        document.at,
        document.sequence,
        document.wake_at,
        document.erased,
        document.applied,
        parked,
        state,
        json.loads(json.dumps(document.view)),
        document.version,
    )
