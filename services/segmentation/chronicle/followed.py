"""How far the chronicle is: what its answers are true of."""

from collections.abc import Awaitable, Callable, Mapping

from services.segmentation.chronicle.ledgers import Ledgers, Tally
from shared.clock import SECOND, Clock, to_rfc3339
from shared.events.catalog import SEGMENTS
from shared.processing.records import TopicPartition
from shared.web.freshness import AsOf, Freshness

Ends = Callable[[list[TopicPartition]], Awaitable[Mapping[TopicPartition, int]]]
"""The offset after the last record of each partition."""


class Followed:
    """Behind is who has not followed the output to its end, and besides what the worker itself is behind."""

    def __init__(self, ledgers: Ledgers, ends: Ends, worker: Freshness, clock: Clock) -> None:
        self._ledgers = ledgers
        self._ends = ends
        self._worker = worker
        self._clock = clock

    async def offsets(self) -> dict[int, int]:
        """Per partition the last one that was followed."""
        return {tally.partition: tally.mark.offset for tally in await self._ledgers.tallies()}

    async def of(self, partition: int | None) -> AsOf:
        tallies = await self._ledgers.tallies(None if partition is None else [partition])
        return await self.freshness(tallies, partition)

    async def freshness(self, tallies: list[Tally], partition: int | None) -> AsOf:
        """Of what these sizes say, so that they are read once."""
        seen = [tally for tally in tallies if tally.mark.time]
        worker = await self._worker.of(partition)
        if not seen or worker["behind_seconds"] is None:
            return {"as_of": None, "behind_seconds": None}
        places = [TopicPartition(SEGMENTS.name, tally.partition) for tally in seen]
        ends, now = await self._ends(places), self._clock()
        late = [
            max(0, now - tally.mark.appended_at) / SECOND
            for tally, place in zip(seen, places, strict=True)
            if tally.mark.offset + 1 < ends[place]
        ]
        as_of = to_rfc3339(min(tally.mark.time for tally in seen))
        return {"as_of": as_of, "behind_seconds": max([worker["behind_seconds"], *late])}
