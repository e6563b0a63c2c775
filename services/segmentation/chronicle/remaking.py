"""Making the chronicle anew from the first record on, while the service runs: each owner does it for its own partitions."""

from services.segmentation.chronicle.changes import Changes
from services.segmentation.chronicle.ledgers import Ledgers, Tally
from services.segmentation.chronicle.members import Members
from services.segmentation.chronicle.trail import Trail
from shared.events.catalog import CHRONICLE
from shared.processing.follower import Seat
from shared.processing.mongo import Collection
from shared.processing.records import TopicPartition

WANTED = "chronicle"
_CURRENT = "wanted"


class Remaking:
    """A generation is asked for in one document; a partition whose sizes are of an older one is read again from 0.

    Order: positions back, then rows deleted, then the sizes begun anew. Whatever ends it half-way, it begins again.
    """

    def __init__(self, wanted: Collection, changes: Changes, members: Members, ledgers: Ledgers, trail: Trail) -> None:
        self._wanted = wanted
        self._changes = changes
        self._members = members
        self._ledgers = ledgers
        self._trail = trail

    async def generation(self) -> int:
        found = await self._wanted.find({"_id": _CURRENT})
        return int(found[0]["generation"]) if found else 0

    async def ask(self) -> int:
        """The generation that all partitions shall have."""
        before = await self.generation()
        row = {"_id": _CURRENT, "generation": before + 1}
        await self._wanted.swap([(row, before or None)], "generation")
        return before + 1

    async def look(self, seat: Seat) -> None:
        wanted = await self.generation()
        if not wanted:
            return
        numbers = {place.partition for place in seat.owned}
        for tally in await self._ledgers.tallies(numbers):
            if tally.generation < wanted:
                await self._remake(seat, tally, wanted)

    async def _remake(self, seat: Seat, tally: Tally, generation: int) -> None:
        places = [TopicPartition(topic, tally.partition) for topic in CHRONICLE.inputs]
        if not await seat.rewind(dict.fromkeys(places, 0)):
            return
        await self._changes.clear(tally.partition, tally.mark.offset)
        await self._members.clear(tally.partition)
        await self._trail.clear(tally.partition)
        await self._ledgers.reset(tally, generation)
