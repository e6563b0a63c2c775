"""Erasures are told to every intake before they happen, since each remembers for a while whom a key names."""

import asyncio

from services.intake.identities import KnownKeys
from services.intake.store import IntakeStore
from shared.clock import MINUTE, Clock
from shared.processing.ports import TransientError

EVERY = 0.2
PATIENCE = 1.0
HEARD_WITHIN = EVERY + 2 * PATIENCE + 0.1
"""Seconds after which every intake has heard of an erasure, or remembers nothing because it cannot hear: a question under
way may just have missed it."""
REMEMBERED = 2 * MINUTE
"""Longer than what an intake remembers, and than clocks differ."""


class Erasures:
    def __init__(self, store: IntakeStore, known: KnownKeys, clock: Clock) -> None:
        self._store = store
        self._known = known
        self._clock = clock

    async def announce(self, customer_id: str) -> None:
        """Returns when no intake knows this customer by heart any more. Raises TransientError."""
        await self._store.announce_erasure(customer_id, self._clock())
        await asyncio.sleep(HEARD_WITHIN)

    async def run(self) -> None:
        while True:
            await self.listen()
            await asyncio.sleep(EVERY)

    async def listen(self) -> None:
        try:
            async with asyncio.timeout(PATIENCE):
                self._known.avoid(await self._store.erasures(self._clock() - REMEMBERED))
        except (TransientError, TimeoutError):
            self._known.avoid(None)
