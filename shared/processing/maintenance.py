"""What rebuild and verify need of a running system, opened without joining the service's group."""

import asyncio
import random
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from shared.clock import wall_clock
from shared.events.catalog import PARTITIONS, group_of
from shared.events.customers import RulesActivated
from shared.processing import mongo
from shared.processing.connections import Kafka
from shared.processing.document import Document
from shared.processing.domain import Domain, Successive
from shared.processing.ports import FatalError, LogScanner
from shared.processing.preparation import Preparation
from shared.processing.rebuild import Rebuild
from shared.processing.records import TopicPartition
from shared.processing.retry import Retry
from shared.processing.service import Service
from shared.processing.verify import Verification
from shared.processing.versions import Lineage, VersionStore
from shared.settings import Settings

PAGE = 1_000


class LiveState:
    """Implements Live over the service's group and its live collection."""

    def __init__(self, service: Service, database: mongo.Database, kafka: Kafka) -> None:
        self._service = service
        self._database = database
        self._kafka = kafka

    async def stops(self, number: int) -> Mapping[str, int]:
        wanted = [TopicPartition(topic, number) for topic in self._service.inputs]
        found = await self._kafka.group_positions(group_of(self._service.name), wanted)
        return {partition.topic: at.offset for partition, at in found.items()}

    async def members(self) -> int:
        return await self._kafka.group_members(group_of(self._service.name))

    async def all(self, number: int) -> AsyncIterator[list[Document]]:
        after: str | None = None
        while page := await self._database.documents.find({"partition": number}, after, PAGE):
            yield page
            after = page[-1].id

    async def each(self, number: int) -> AsyncIterator[Document]:
        async for page in self.all(number):
            for document in page:
                yield document

    async def some(self, customer_ids: Collection[str]) -> Mapping[str, Document]:
        return await self._database.store.load(customer_ids)


class Maintenance:
    def __init__(
        self, service: Service, settings: Settings, database: mongo.Database, kafka: Kafka, scanner: LogScanner
    ) -> None:
        self._service = service
        self._settings = settings
        self._database = database
        self._scanner = scanner
        self._live = LiveState(service, database, kafka)
        self.fresh_name = f"customers_{wall_clock()}"

    async def verification(self) -> Verification:
        return Verification(await self.first(), self._scanner, self._service.inputs, self._live.stops, self._live.each)

    async def rebuild(self) -> Rebuild:
        """Makes the fresh collection; it is nobody's until the switch."""
        fresh = await self._database.fresh(self.fresh_name)
        return Rebuild(
            await self.first(),
            self._scanner,
            self._service.inputs,
            PARTITIONS,
            self._live,
            self._database.control,
            fresh,
            self._database.versions,
            self.fresh_name,
            wall_clock,
        )

    async def preparation(self, written: RulesActivated) -> Preparation:
        """FatalError where the text cannot be used, or the service's rules do not change."""
        first = await self.first()
        if not isinstance(first, Successive):
            raise FatalError(f"{self._service.name} has no versions")
        domain, versions = first.succeeded_by(written), self._database.versions
        retry = Retry(asyncio.sleep, wall_clock, random.Random())  # noqa: S311 - jitter, not a secret
        return Preparation(domain, self._scanner, self._service.inputs, PARTITIONS, self._live.stops, versions, retry)

    async def first(self) -> Domain[Any]:
        """The domain with which the log begins."""
        domain = self._service.build_domain(self._settings.config_dir)
        return await Lineage(domain, self._database.versions).recall()

    @property
    def versions(self) -> VersionStore:
        return self._database.versions


@asynccontextmanager
async def open_maintenance(service: Service, settings: Settings) -> AsyncIterator[Maintenance]:
    async with AsyncExitStack() as stack:
        database = await mongo.open_database(settings, service.name, service.indexes(settings.config_dir), stack)
        kafka = Kafka(settings, f"{service.name}-maintenance", stack)
        yield Maintenance(service, settings, database, kafka, kafka.scanner())
