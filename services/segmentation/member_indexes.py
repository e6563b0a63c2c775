"""Indexes by which members are found, also for dimensions that came with a later version of the rules."""

from collections.abc import Awaitable, Callable

from services.segmentation.rules_in_force import RulesInForce
from services.segmentation.store import indexes_of
from shared.clock import SECOND, Clock
from shared.processing.follower import Seat
from shared.processing.mongo import Index

EVERY = 30 * SECOND

Ensure = Callable[[tuple[Index, ...]], Awaitable[None]]


class MemberIndexes:
    def __init__(self, in_force: RulesInForce, ensure: Ensure, clock: Clock) -> None:
        self._in_force = in_force
        self._ensure = ensure
        self._clock = clock
        self._looked_at = 0
        self._there: set[str] = set()

    async def look(self, _seat: Seat) -> None:
        """Whatever the newest activated version names has its index within half a minute."""
        now = self._clock()
        if now - self._looked_at < EVERY:
            return
        self._looked_at = now
        newest = await self._in_force.newest()
        missing = [d.name for d, _ in newest.program.dimensions if d.name not in self._there]
        if missing:
            await self._ensure(indexes_of(missing))
            self._there.update(missing)
