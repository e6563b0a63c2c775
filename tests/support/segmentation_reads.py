"""Segmentation's reads over a worker in memory and a chronicle in a real store."""

import random
from collections import Counter
from contextlib import AsyncExitStack
from typing import Any

from fastapi import FastAPI
from prometheus_client import CollectorRegistry

from services.segmentation.api import build_router
from services.segmentation.bootstrap import COLLECTIONS, build_chronicle
from services.segmentation.chronicle.as_of import AsOf
from services.segmentation.chronicle.changes import CHANGES, Changes
from services.segmentation.chronicle.feed import Feed
from services.segmentation.chronicle.followed import Followed
from services.segmentation.chronicle.ledgers import FLOWS, SIZES, Ledgers
from services.segmentation.chronicle.members import MEMBERS, Members
from services.segmentation.chronicle.trail import TRAIL, Trail
from services.segmentation.reads import Reads
from services.segmentation.rules_in_force import RulesInForce
from services.segmentation.store import SegmentationQueries
from shared.clock import Instant
from shared.events.catalog import CHRONICLE
from shared.processing.follower import Follower
from shared.processing.memory import MemoryReader, MemoryScanner, MemoryWriter
from shared.processing.mongo import Collection, connect, ensure_collection
from shared.processing.records import Committed, TopicPartition
from shared.processing.retry import Retry
from shared.web.app import Readiness, build_app
from shared.web.freshness import Freshness, PartitionProgress
from shared.web.keys import KeyRing
from tests.support.listed_documents import ListedDocuments
from tests.support.segmentation_drive import standard_domain
from tests.support.small_world import SmallWorld, settle


class ReadWorld:
    """The worker's latest topic is followed as well. `now` is the partition's time that the worker tells."""

    def __init__(self, client: Any, name: str, stack: AsyncExitStack) -> None:
        self._stack = stack
        self.database = client[name]
        self.domain = standard_domain()
        self.world = SmallWorld(self.domain)
        self.documents = ListedDocuments(of=lambda: self.world.documents().values())
        for topic in CHRONICLE.inputs:
            offsets = self.world.log.group(CHRONICLE.group).offsets
            offsets.update({TopicPartition(topic, number): Committed(0) for number in range(self.world.partitions)})
        self.now: Instant = 0
        self.reads = self._reads()

    def _collection(self, name: str) -> Collection:
        return Collection(self.database, name)

    def _reads(self) -> Reads:
        changes, trail = Changes(self._collection(CHANGES)), Trail(self._collection(TRAIL))
        ledgers = Ledgers(self._collection(SIZES), self._collection(FLOWS))
        freshness = Freshness(self._progress)
        followed = Followed(ledgers, self._ends, freshness, lambda: self.world.clock)
        as_of = AsOf(trail, MemoryScanner(self.world.log))
        queries = SegmentationQueries(self.documents, Members(self._collection(MEMBERS)))
        feed = Feed(changes, followed.offsets)
        in_force = RulesInForce(self.domain, self.world.versions)
        return Reads(in_force, queries, freshness, followed, changes, ledgers, as_of, feed)

    async def _progress(self) -> dict[int, PartitionProgress]:
        return {number: PartitionProgress(self.now, 0.0) for number in range(self.world.partitions)}

    async def _ends(self, places: list[TopicPartition]) -> dict[TopicPartition, int]:
        return {place: self.world.log.end(place) for place in places}

    async def work(self) -> None:
        """The worker applies all there is, the follower records it."""
        worker = await self.world.worker(latest=self.domain.latest_topic)
        await settle(worker)
        self.now = max(owned.time.now for owned in worker.owned.values())
        await self.world.retire(worker)
        await self.follow()

    async def follow(self) -> None:
        log = self.world.log
        chronicle = build_chronicle(self._collection, MemoryWriter(log), self.documents.sequences)
        reader = MemoryReader(log, CHRONICLE.group, CHRONICLE.inputs, "chronicle")
        retry = Retry(self.world._sleep, lambda: self.world.clock, random.Random(1))
        follower = Follower(lambda: reader, chronicle, retry, lambda: False, self.world._sleep)
        await follower.start()
        while await follower.step():
            pass
        await reader.stop()

    def counted(self) -> dict[str, Counter[str]]:
        """A plain count over all documents: what the sizes must be."""
        found: dict[str, Counter[str]] = {}
        for document in self.world.documents().values():
            held = {**document.view.get("memberships", {}), "composites": document.view.get("composites", [])}
            for dimension, value in held.items():
                for one in value if isinstance(value, list | tuple) else (value,):
                    found.setdefault(dimension, Counter())[one] += 1
        return found

    def app(self, ring: KeyRing) -> FastAPI:
        router = build_router(self.reads)
        return build_app("test", "segmentation", ring, lambda: Readiness(True, ""), [router], CollectorRegistry())


async def open_read_world(mongo: str, name: str, stack: AsyncExitStack) -> ReadWorld:
    client = connect(mongo)
    stack.callback(client.close)
    stack.push_async_callback(client.drop_database, name)
    for collection, indexes in COLLECTIONS.items():
        await ensure_collection(client[name], collection, indexes)
    return ReadWorld(client, name, stack)
