"""Reading Kafka outside any group, from anywhere to anywhere: rebuilds, what-ifs, resumed customers, redriving."""

import asyncio
from typing import Any

from aiokafka import AIOKafkaConsumer
from aiokafka import TopicPartition as Place
from aiokafka.errors import OffsetOutOfRangeError

from shared.processing.kafka import PATIENCE, KafkaConnection, partitions_of, start_or_stop, stop_quietly, translated
from shared.processing.kafka_reader import to_record
from shared.processing.ports import FatalError
from shared.processing.records import Record, TopicPartition

GLANCE = 100
"""Who asks for fewer records than this is taken to look at single ones, here and there."""


class KafkaScanner:
    """Implements LogScanner with one consumer; calls wait for each other.

    A partition that was read from keeps its place, paused, so that whoever reads on in pieces pays for no repositioning.
    """

    def __init__(self, connection: KafkaConnection) -> None:
        self._connection = connection
        self._consumer: AIOKafkaConsumer | None = None
        self._turn = asyncio.Lock()
        self._counts: dict[str, int] = {}
        self._next: dict[Place, int] = {}
        self._ends: dict[Place, int] = {}

    async def stop(self) -> None:
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            await stop_quietly(consumer)

    async def range(self, topic: str) -> dict[TopicPartition, tuple[int, int]]:
        """See LogScanner. FatalError for a topic that is not there."""
        places = [Place(topic, number) for number in range(await self._count(topic))]
        async with self._turn:
            with translated(f"reading the range of {topic}"):
                consumer = await self._open()
                async with asyncio.timeout(PATIENCE):
                    first = await consumer.beginning_offsets(places)
                    end = await consumer.end_offsets(places)
        return {TopicPartition(topic, place.partition): (first[place], end[place]) for place in places}

    async def read(self, partition: TopicPartition, start: int, stop: int, limit: int) -> list[Record]:
        """See LogScanner. Below the first offset that is kept, it begins there."""
        if partition.partition >= await self._count(partition.topic):
            raise FatalError(f"{partition.topic} has no partition {partition.partition}")
        place = Place(partition.topic, partition.partition)
        async with self._turn:
            with translated(f"scanning {partition.topic}:{partition.partition}"):
                async with asyncio.timeout(PATIENCE):
                    return await self._read(place, start, stop, limit)

    async def _read(self, place: Place, start: int, stop: int, limit: int) -> list[Record]:
        consumer = await self._open()
        if stop > self._ends.get(place, 0):
            self._ends |= await consumer.end_offsets([place])
        stop = min(stop, self._ends[place])
        self._turn_to(consumer, place, start)
        while self._next[place] < stop:
            try:
                found = await consumer.getmany(place, timeout_ms=1_000, max_records=limit)
            except OffsetOutOfRangeError:
                self._move(consumer, place, max(start, (await consumer.beginning_offsets([place]))[place]))
                continue
            self._next[place] = await consumer.position(place)
            records = [to_record(record) for record in found.get(place, ()) if record.offset < stop]
            if records:
                self._move(consumer, place, records[-1].offset + 1)
                if limit < GLANCE:
                    await self._drop_rest(consumer, place)
                return records
        return []

    async def _drop_rest(self, consumer: AIOKafkaConsumer, place: Place) -> None:
        """aiokafka sends no fetch for 0.1 s while it holds records that nobody takes."""
        consumer.pause(place)
        await consumer.getmany(place, timeout_ms=0)

    def _turn_to(self, consumer: AIOKafkaConsumer, place: Place, start: int) -> None:
        if place not in self._next:
            self._assign_also(consumer, place, start)
        elif self._next[place] != start:
            self._move(consumer, place, start)
        consumer.pause(*(self._next.keys() - {place}))
        consumer.resume(place)

    def _assign_also(self, consumer: AIOKafkaConsumer, place: Place, start: int) -> None:
        """A new assignment forgets all positions."""
        self._next[place] = start
        consumer.assign(list(self._next))
        for other, offset in self._next.items():
            consumer.seek(other, offset)

    def _move(self, consumer: AIOKafkaConsumer, place: Place, offset: int) -> None:
        if self._next[place] != offset:
            consumer.seek(place, offset)
            self._next[place] = offset

    async def _count(self, topic: str) -> int:
        """Asked of the broker by name first: assigning a partition of a topic that is missing would hang."""
        if topic not in self._counts:
            found: dict[str, Any] = await partitions_of(self._connection, [topic])
            if not found.get(topic):
                raise FatalError(f"Topic {topic} is missing; `guanxi provision` makes it")
            self._counts[topic] = found[topic]
        return self._counts[topic]

    async def _open(self) -> AIOKafkaConsumer:
        if self._consumer is None:
            consumer = self._connection.consumer()
            await start_or_stop(consumer)
            self._consumer, self._next, self._ends = consumer, {}, {}
        return self._consumer
