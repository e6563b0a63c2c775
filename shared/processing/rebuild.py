"""State made anew from the log, beside the live one, and switched in while the owners hold still for a moment."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

from shared.clock import SECOND, Clock
from shared.processing.control import PAUSE_LASTS, ControlStore, owners_paused
from shared.processing.document import Document
from shared.processing.domain import Domain, Successive
from shared.processing.emission import Cause
from shared.processing.ports import FatalError, LogScanner, Store
from shared.processing.replay import Replay
from shared.processing.succession import difference, numbered
from shared.processing.versions import VersionStore

Stops = Callable[[int], Awaitable[Mapping[str, int]]]
"""Per topic of a partition number: the offset up to which the live service has committed."""
Live = Callable[[int], AsyncIterator[Document]]
Report = Callable[[str, int, int], None]
"""Called with the phase, the partition just done and how many records were applied in all."""

PAGE = 1_000
PAUSE_WITHIN = 30
"""Seconds that the owners may take to hold still; a batch in hand is finished first."""


class Rebuild:
    """`fresh` writes to the collection `name`, which nobody else knows yet. Publishes nothing."""

    def __init__(
        self,
        first: Domain[Any],
        scanner: LogScanner,
        topics: tuple[str, ...],
        partitions: int,
        stops: Stops,
        live: Live,
        control: ControlStore,
        fresh: Store,
        versions: VersionStore,
        name: str,
        clock: Clock,
    ) -> None:
        self._replays = [Replay(first, scanner, topics, number) for number in range(partitions)]
        self._stops = stops
        self._live = live
        self._control = control
        self._fresh = fresh
        self._versions = versions
        self._name = name
        self._clock = clock

    async def run(self, report: Report) -> int:
        """Records applied. FatalError when the owners do not hold still; then nothing was changed."""
        await self._catch_up("history", report)
        await self._pause()
        renewing = asyncio.create_task(self._renew())
        try:
            await self._catch_up("tail", report)
            await self._keep_numbers()
            await self._keep_versions()
            await self._control.switch(self._name)
        finally:
            renewing.cancel()
        return sum(replay.applied for replay in self._replays)

    async def _catch_up(self, phase: str, report: Report) -> None:
        for number, replay in enumerate(self._replays):
            await replay.advance(await self._stops(number))
            await replay.flush(self._fresh)
            report(phase, number, sum(one.applied for one in self._replays))

    async def _pause(self) -> None:
        for _ in range(PAUSE_WITHIN * 10):
            await self._control.ask_pause(self._clock() + PAUSE_LASTS)
            await asyncio.sleep(0.1)
            if owners_paused(await self._control.progress(), self._clock()):
                return
        await self._control.ask_pause(0)
        raise FatalError(
            "the workers did not hold still within 30 s; nothing was changed. See `guanxi status`, then try again"
        )

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(PAUSE_LASTS / SECOND / 6)
            await self._control.ask_pause(self._clock() + PAUSE_LASTS)

    async def _keep_numbers(self) -> None:
        """The published numbering goes on; where other code says something else, the owners will tell the difference."""
        for number, replay in enumerate(self._replays):
            page: list[Document] = []
            async for document in self._live(number):
                page.append(document)
                if len(page) == PAGE:
                    await self._continue(replay, page)
                    page = []
            await self._continue(replay, page)

    async def _continue(self, replay: Replay, live: list[Document]) -> None:
        rebuilt = await self._fresh.load([document.id for document in live])
        continued = [
            document
            for before in live
            if (document := continue_from(before, rebuilt.get(before.id), replay)) is not None
        ]
        if continued:
            await self._fresh.save(continued)

    async def _keep_versions(self) -> None:
        """The log knows them all; so does a database that was lost and is made anew."""
        for number, replay in enumerate(self._replays):
            for written, offset in replay.successions:
                await self._versions.began(written, number, offset)
                await self._versions.finished(written.number, number)


def continue_from(live: Document, rebuilt: Document | None, replay: Replay) -> Document | None:
    """The rebuilt document with the live one's numbers, and the difference between them in its outbox; None: as it is.

    FatalError where the live one has seen other records: its owner died between a write and its commit.
    """
    if rebuilt is None or rebuilt.positions != live.positions:
        raise FatalError(
            f"partition {live.partition} was left in the middle of a batch; nothing was changed. "
            "Start the service, wait until `guanxi status` shows no lag, then try again"
        )
    if (live.state, live.sequence, live.unsent) == (rebuilt.state, rebuilt.sequence, False):
        return None
    outbox = live.outbox if live.unsent else ()
    document = rebuilt.replaced(rev=rebuilt.rev + 1, sequence=live.sequence, outbox=outbox, unsent=live.unsent)
    at = max(live.at, replay.until(rebuilt))
    domain = replay.domain
    event = difference(domain, live, rebuilt, at, "rebuild") if isinstance(domain, Successive) else None
    if event is None:
        return document
    mark = rebuilt.mark if rebuilt.history is not None else None
    cause = Cause("", f"rebuild:{domain.service}:{live.id}:{at}", None, mark)
    return numbered(domain.service, document, event, at, cause)[0]
