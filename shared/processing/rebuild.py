"""State made anew from the log, beside the live one, and switched in while the owners hold still for a moment."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

from shared.clock import SECOND, Clock
from shared.processing.control import PAUSE_LASTS, ControlStore, owners_paused
from shared.processing.document import Document
from shared.processing.domain import Domain
from shared.processing.ports import FatalError, LogScanner, Store
from shared.processing.replay import Replay

Stops = Callable[[int], Awaitable[Mapping[str, int]]]
"""Per topic of a partition number: the offset up to which the live service has committed."""
Live = Callable[[int], AsyncIterator[Document]]
Report = Callable[[str, int, int], None]
"""Called with the phase, the partition just done and how many records were applied in all."""

PAUSE_WITHIN = 30
"""Seconds that the owners may take to hold still; a batch in hand is finished first."""


class Rebuild:
    """`fresh` writes to the collection `name`, which nobody else knows yet. Publishes nothing."""

    def __init__(
        self,
        build: Callable[[], Domain[Any]],
        scanner: LogScanner,
        topics: tuple[str, ...],
        partitions: int,
        stops: Stops,
        live: Live,
        control: ControlStore,
        fresh: Store,
        name: str,
        clock: Clock,
    ) -> None:
        self._replays = [Replay(build(), scanner, topics, number) for number in range(partitions)]
        self._stops = stops
        self._live = live
        self._control = control
        self._fresh = fresh
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
        """Where other code or rules say more or less than was published, the published numbering still goes on."""
        for number in range(len(self._replays)):
            page: list[Document] = []
            async for document in self._live(number):
                page.append(document)
                if len(page) == 1_000:
                    await self._renumber(page)
                    page = []
            await self._renumber(page)

    async def _renumber(self, live: list[Document]) -> None:
        rebuilt = await self._fresh.load([document.id for document in live])
        behind = [
            rebuilt[document.id].replaced(sequence=document.sequence, rev=rebuilt[document.id].rev + 1)
            for document in live
            if document.id in rebuilt and rebuilt[document.id].sequence != document.sequence
        ]
        if behind:
            await self._fresh.save(behind)
