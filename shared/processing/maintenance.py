"""What rebuild and verify need of a running system, opened without joining the service's group."""

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any

from shared.clock import wall_clock
from shared.events.catalog import PARTITIONS, group_of
from shared.processing import mongo
from shared.processing.connections import Kafka
from shared.processing.document import Document
from shared.processing.domain import Domain
from shared.processing.ports import LogScanner
from shared.processing.rebuild import Rebuild
from shared.processing.records import TopicPartition
from shared.processing.service import Service
from shared.processing.verify import Verification
from shared.settings import Settings

PAGE = 1_000


class Maintenance:
    def __init__(
        self, service: Service, settings: Settings, database: mongo.Database, kafka: Kafka, scanner: LogScanner
    ) -> None:
        self._service = service
        self._settings = settings
        self._database = database
        self._scanner = scanner
        self._kafka = kafka
        self.fresh_name = f"customers_{wall_clock()}"

    def verification(self) -> Verification:
        return Verification(self._build(), self._scanner, self._service.inputs, self._stops, self._live)

    async def rebuild(self) -> Rebuild:
        """Makes the fresh collection; it is nobody's until the switch."""
        fresh = await self._database.fresh(self.fresh_name)
        return Rebuild(
            self._build(),
            self._scanner,
            self._service.inputs,
            PARTITIONS,
            self._stops,
            self._live,
            self._database.control,
            fresh,
            self.fresh_name,
            wall_clock,
        )

    def _build(self) -> "partial[Domain[Any]]":
        return partial(self._service.build_domain, self._settings.config_dir)

    async def _stops(self, number: int) -> Mapping[str, int]:
        wanted = [TopicPartition(topic, number) for topic in self._service.inputs]
        found = await self._kafka.group_positions(group_of(self._service.name), wanted)
        return {partition.topic: at.offset for partition, at in found.items()}

    async def _live(self, number: int) -> AsyncIterator[Document]:
        after: str | None = None
        while page := await self._database.documents.find({"partition": number}, after, PAGE):
            for document in page:
                yield document
            after = page[-1].id


@asynccontextmanager
async def open_maintenance(service: Service, settings: Settings) -> AsyncIterator[Maintenance]:
    async with AsyncExitStack() as stack:
        database = await mongo.open_database(settings, service.name, service.indexes(settings.config_dir), stack)
        kafka = Kafka(settings, f"{service.name}-maintenance", stack)
        yield Maintenance(service, settings, database, kafka, kafka.scanner())
