"""A version folded over the whole log ahead of its activation, in a process of its own, so that the owners have little left to do."""

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any

from shared.processing.domain import Successive
from shared.processing.ports import FatalError, LogScanner
from shared.processing.retry import Retry
from shared.processing.shadow import Shadow
from shared.processing.versions import Version, VersionStore, newest_active

AT_ONCE = 2_000
NEAR = 1_000
"""Records that came in during one round: fewer than these are left to the owners."""

Stops = Callable[[int], Awaitable[Mapping[str, int]]]
Report = Callable[[int, int], None]
"""The partition at work, and how many records are folded in all."""


class Preparation:
    """Publishes nothing, and touches nothing but the version's shadow. It may be killed at any moment and run again."""

    def __init__(
        self,
        domain: Successive[Any],
        scanner: LogScanner,
        topics: tuple[str, ...],
        partitions: int,
        stops: Stops,
        versions: VersionStore,
        retry: Retry,
    ) -> None:
        """`stops`: per topic of a partition what the live service has committed, which the shadow never passes."""
        self._domain = domain
        self._versions = versions
        self._stops = stops
        self._retry = retry
        self._shadows = {number: Shadow(domain, scanner, topics, number, versions) for number in range(partitions)}

    async def run(self, report: Report) -> int:
        """Records folded, by this run or earlier ones. FatalError where the version cannot be activated any more."""
        await self._retry("keeping the version", self._begin)
        while await self._round(report) >= NEAR:
            pass
        return sum(shadow.records for shadow in self._shadows.values())

    async def _begin(self) -> None:
        written = self._domain.written
        kept = await self._versions.keep(written)
        if kept.digest != written.digest:
            raise FatalError(f"version {written.number} is another text; `guanxi rules list` names the versions")
        newest = newest_active(await self._versions.all())
        if newest is not None and newest.number > written.number:
            raise FatalError(f"version {newest.number} is in force; activate the file again, as a newer version")

    async def _round(self, report: Report) -> int:
        """Records folded in this round: what came in meanwhile is the next one's."""
        before = sum(shadow.records for shadow in self._shadows.values())
        for number, shadow in self._shadows.items():
            await self._retry("folding the log", partial(self._fold, number, shadow, report))
        return sum(shadow.records for shadow in self._shadows.values()) - before

    async def _fold(self, number: int, shadow: Shadow, report: Report) -> None:
        """Begun anew after a TransientError, from what was kept."""
        stops = await self._stops(number)
        if number in (await self._version()).positions:
            return  # its owner has come to the activation and folds the rest itself
        while await shadow.step(stops, AT_ONCE):
            report(number, sum(one.records for one in self._shadows.values()))
        await shadow.rest()
        report(number, sum(one.records for one in self._shadows.values()))

    async def _version(self) -> Version:
        return next(v for v in await self._versions.all() if v.number == self._domain.written.number)
