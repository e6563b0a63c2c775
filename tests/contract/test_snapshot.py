"""guanxi.segments.latest.v1 on a real Kafka: an old record that came last does not stay the last one."""

import asyncio
import random
import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest

from deploy.offsets import Report
from deploy.provision import KafkaTopics
from services.segmentation.bootstrap import COLLECTIONS, build_chronicle
from shared.clock import from_rfc3339, wall_clock
from shared.events.catalog import CHRONICLE, SEGMENTS, SEGMENTS_LATEST
from shared.events.codec import HEADERS
from shared.events.segments import CustomerForgotten, SegmentsChanged
from shared.processing.document import Document
from shared.processing.emission import Cause, write
from shared.processing.follower import Follower
from shared.processing.mongo import Database, database_of, open_database
from shared.processing.partitioner import partition_of
from shared.processing.records import Message, Record, TopicPartition
from shared.processing.retry import Retry
from shared.settings import Settings
from tests.contract.log_worlds import KafkaWorld

pytestmark = pytest.mark.real

AT = from_rfc3339("2026-03-01T20:00:00Z")
PARTITIONS = SEGMENTS.partitions


class Customer:
    """One who was said things of, on both topics."""

    def __init__(self) -> None:
        self.id = str(uuid.uuid4())
        self.partition = partition_of(self.id.encode(), PARTITIONS)
        self.values: list[bytes] = []

    def says(self, forgotten: bool = False) -> list[Message]:
        data: Any = CustomerForgotten(customer_id=self.id, receipt_id="r")
        if not forgotten:
            changes = [{"dimension": "level", "from": None, "to": str(len(self.values))}]
            fields = {"changes": changes, "memberships": {}, "rules_version": "1", "customer_id": self.id}
            data = SegmentsChanged.model_validate(fields)
        text = write("segmentation", self.id, len(self.values) + 1, data, AT, Cause("", "c"), "customers:0:1")
        self.values.append(text.encode())
        return [self.message(SEGMENTS.name, -1), self.message(SEGMENTS_LATEST.name, -1, gone=forgotten)]

    def message(self, topic: str, number: int, gone: bool = False) -> Message:
        value = None if gone else self.values[number]
        return Message(topic, self.id.encode(), value, () if gone else HEADERS, self.partition)


class Followed:
    """The running follower, the documents behind it, and what lies in the compacted topic."""

    def __init__(self, world: KafkaWorld, database: Database, follower: Follower) -> None:
        self._world = world
        self._database = database
        self._follower = follower
        self._begun: dict[TopicPartition, int] = {}

    async def begin(self) -> None:
        for topic in CHRONICLE.inputs:
            for place, (_, end) in (await self._world.scanner.range(topic)).items():
                self._begun[place] = end
                await self._world.begin(place, end)
        await self._follower.start()

    async def publish(self, messages: list[Message]) -> None:
        await self._world.writer.publish(messages)

    async def given(self, *customers: Customer) -> None:
        """Documents as the engine leaves them: the number given last."""
        await self._database.store.save(
            [Document(one.id, rev=1, partition=one.partition, sequence=len(one.values)) for one in customers]
        )

    async def last_of(self, customer: Customer, wanted: bytes | None, seconds: float = 120) -> list[Record]:
        """All that lies there of a customer, once `wanted` is the last of it."""
        async with asyncio.timeout(seconds):
            while True:
                await self._follower.step()
                found = await self._records(customer)
                if found and found[-1].value == wanted:
                    return found

    async def _records(self, customer: Customer) -> list[Record]:
        place = TopicPartition(SEGMENTS_LATEST.name, customer.partition)
        position, end = self._begun[place], (await self._world.scanner.range(place.topic))[place][1]
        found: list[Record] = []
        while position < end and (records := await self._world.scanner.read(place, position, end, 500)):
            found += [record for record in records if record.key == customer.id.encode()]
            position = records[-1].offset + 1
        return found

    async def stop(self) -> None:
        await self._follower._reader.stop()


@pytest.fixture
async def followed(kafka: str, mongo: str) -> AsyncIterator[Followed]:
    await asyncio.to_thread(KafkaTopics(kafka, Report()).ensure)
    service = f"test_{uuid.uuid4().hex[:12]}"
    world = KafkaWorld(kafka)
    async with AsyncExitStack() as stack:
        database = await open_database(Settings(mongo_url=mongo), service, (), stack, COLLECTIONS)
        chronicle = build_chronicle(database.collection, world.writer, database.documents.sequences)
        retry = Retry(asyncio.sleep, wall_clock, random.Random(1))
        reader = world.reader(*CHRONICLE.inputs)
        running = Followed(world, database, Follower(lambda: reader, chronicle, retry, lambda: False, asyncio.sleep))
        await running.begin()
        yield running
        await running.stop()
        await world.close()
        await database._client.drop_database(database_of(service))


async def test_an_old_record_that_came_last_is_followed_by_the_newest(followed: Followed) -> None:
    stale, sound, gone = Customer(), Customer(), Customer()
    for _ in range(3):
        await followed.publish([*stale.says(), *sound.says(), *gone.says()])
    await followed.publish(gone.says(forgotten=True))
    await followed.given(stale, sound, gone)
    await followed.last_of(sound, sound.values[2])

    late = [stale.message(SEGMENTS_LATEST.name, 0), gone.message(SEGMENTS_LATEST.name, 1)]
    await followed.publish(late)

    repeated = await followed.last_of(stale, stale.values[2])
    assert [record.value for record in repeated[-2:]] == [stale.values[0], stale.values[2]], "the same bytes"
    erased = await followed.last_of(gone, None)
    assert [record.value for record in erased[-2:]] == [gone.values[1], None], "a tombstone"
    assert [record.value for record in await followed.last_of(sound, sound.values[2])] == sound.values


async def test_a_number_that_was_given_but_not_said_yet_is_waited_for(followed: Followed) -> None:
    customer = Customer()
    await followed.publish(customer.says())
    later = customer.says()
    await followed.given(customer)
    for _ in range(12):
        await followed._follower.step()
    assert len(await followed._records(customer)) == 1, "nothing newer is recorded, so nothing can be repeated"
    assert followed._follower._listener.held(), "it is still in doubt, over a crash as well"
    await followed.publish(later)
    assert [r.value for r in await followed.last_of(customer, customer.values[1])] == customer.values
    assert followed._follower._listener.held() == {}
