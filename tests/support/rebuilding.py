"""A rebuild of a small world's state, with or without an owner at work beside it."""

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping

from shared.clock import Clock
from shared.events.catalog import group_of
from shared.processing.control import Folded, Pause, Progress
from shared.processing.document import Document
from shared.processing.domain import Domain
from shared.processing.memory import MemoryScanner
from shared.processing.memory_store import MemoryStore
from shared.processing.rebuild import Rebuild
from shared.processing.records import TopicPartition
from tests.support.small_world import SmallWorld

PAGE = 10


class MemoryControl:
    """`meanwhile` is what others do whenever the rebuild asks how far they are."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.collection = "customers"
        self.until = 0
        self.told: Folded = {}
        self.said: dict[int, Progress] = {}
        self.meanwhile: Callable[[], Awaitable[None]] | None = None

    @property
    def holds(self) -> bool:
        return self._clock() < self.until

    async def pause(self) -> Pause:
        return Pause(self.until, self.collection)

    async def ask_pause(self, until: int) -> None:
        self.until = until

    async def switch(self, collection: str, folded: Folded) -> None:
        self.collection, self.told, self.until = collection, folded, 0

    async def folded(self) -> Folded:
        return self.told

    async def report(self, progress: list[Progress]) -> None:
        self.said |= {entry.partition: entry for entry in progress}

    async def progress(self) -> list[Progress]:
        if self.meanwhile is not None:
            await self.meanwhile()
        return list(self.said.values())


class LiveWorld:
    """Implements Live. `compared`: how many documents were asked for, each time; `meanwhile` happens after the first."""

    def __init__(self, world: SmallWorld, control: MemoryControl | None = None) -> None:
        self._world = world
        self._control = control
        self.compared_ahead: list[int] = []
        self.compared_still: list[int] = []
        self.meanwhile: Callable[[], Awaitable[None]] | None = None

    async def stops(self, partition: int) -> Mapping[str, int]:
        offsets = self._world.log.group(group_of(self._world.domain.service)).offsets
        return {topic: offsets[TopicPartition(topic, partition)].offset for topic in self._world.inputs}

    async def all(self, partition: int) -> AsyncIterator[list[Document]]:
        found = [document for document in self._world.documents().values() if document.partition == partition]
        for start in range(0, len(found), PAGE):
            yield await self._given(found[start : start + PAGE])

    async def members(self) -> int:
        return len(self._world.log.group(group_of(self._world.domain.service))._topics)

    async def some(self, customer_ids: Collection[str]) -> Mapping[str, Document]:
        found = await self._world.store.load(customer_ids)
        await self._given(list(found.values()))
        return found

    async def _given(self, documents: list[Document]) -> list[Document]:
        still = self._control is None or self._control.holds
        (self.compared_still if still else self.compared_ahead).append(len(documents))
        meanwhile, self.meanwhile = self.meanwhile, None
        if meanwhile is not None:
            await meanwhile()
        return documents


def rebuild_of(
    world: SmallWorld, domain: Domain, live: LiveWorld, control: MemoryControl, fresh: MemoryStore
) -> Rebuild:
    return Rebuild(
        domain,
        MemoryScanner(world.log),
        world.inputs,
        world.partitions,
        live,
        control,
        fresh,
        world.versions,
        "customers_2",
        lambda: world.clock,
    )
