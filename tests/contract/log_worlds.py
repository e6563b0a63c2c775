"""The two logs of the contract, behind one face: topics, members, a writer and a scanner of one test's own."""

import asyncio
import uuid
from collections.abc import Collection
from typing import Protocol

from aiokafka import AIOKafkaConsumer
from aiokafka import TopicPartition as Place
from aiokafka.admin import NewTopic, RecordsToDelete

from shared.clock import wall_clock
from shared.processing.kafka import KafkaConnection
from shared.processing.kafka_reader import KafkaReader
from shared.processing.kafka_scanner import KafkaScanner
from shared.processing.kafka_writer import KafkaWriter
from shared.processing.memory import MemoryLog, MemoryReader, MemoryScanner, MemoryWriter
from shared.processing.ports import LogReader, LogScanner, LogWriter
from shared.processing.records import Committed, Fetched, TopicPartition

SESSION_TIMEOUT_MS = 6_000


class LogWorld(Protocol):
    group: str
    writer: LogWriter
    scanner: LogScanner

    async def topic(self, partitions: int, begun: bool = True) -> str:
        """A new topic; `begun`: the group has committed 0 in all its partitions, as provisioning does."""

    def reader(self, *topics: str) -> LogReader: ...

    async def begin(self, partition: TopicPartition, offset: int) -> None:
        """Commits for the group while it has no member."""

    async def truncate(self, partition: TopicPartition, before: int) -> None: ...

    async def silence(self, reader: LogReader) -> None:
        """Until it returns, the group hears nothing of the member, and drops it; the member does not know."""

    async def close(self) -> None: ...


class MemoryWorld:
    def __init__(self) -> None:
        self.group = "group"
        self.log = MemoryLog({}, wall_clock)
        self.writer = MemoryWriter(self.log)
        self.scanner = MemoryScanner(self.log)
        self._members = 0

    async def topic(self, partitions: int, begun: bool = True) -> str:
        name = f"topic-{uuid.uuid4()}"
        self.log.add_topic(name, partitions)
        for number in range(partitions if begun else 0):
            await self.begin(TopicPartition(name, number), 0)
        return name

    def reader(self, *topics: str) -> MemoryReader:
        self._members += 1
        return MemoryReader(self.log, self.group, topics, f"member-{self._members}", asyncio.sleep)

    async def begin(self, partition: TopicPartition, offset: int) -> None:
        self.log.group(self.group).offsets[partition] = Committed(offset)

    async def truncate(self, partition: TopicPartition, before: int) -> None:
        self.log.truncate(partition, before)

    async def silence(self, reader: MemoryReader) -> None:
        reader.deaf = True
        reader.expire()

    async def close(self) -> None: ...


class KafkaWorld:
    def __init__(self, bootstrap: str) -> None:
        self.connection = KafkaConnection(bootstrap)
        self.group = f"group-{uuid.uuid4()}"
        self.writer = KafkaWriter(self.connection)
        self.scanner = KafkaScanner(self.connection)

    async def topic(self, partitions: int, begun: bool = True) -> str:
        name = f"topic-{uuid.uuid4()}"
        settings = {"message.timestamp.type": "LogAppendTime"}
        async with self.connection.admin() as admin:
            await admin.create_topics([NewTopic(name, partitions, 1, topic_configs=settings)])
        if begun:
            await self._commit({Place(name, number): 0 for number in range(partitions)})
        return name

    def reader(self, *topics: str) -> KafkaReader:
        return KafkaReader(self.connection, self.group, topics, SESSION_TIMEOUT_MS)

    async def begin(self, partition: TopicPartition, offset: int) -> None:
        await self._commit({Place(partition.topic, partition.partition): offset})

    async def _commit(self, offsets: dict[Place, int]) -> None:
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self.connection.bootstrap, group_id=self.group, enable_auto_commit=False
        )
        await consumer.start()
        try:
            consumer.assign(list(offsets))
            await consumer.commit(offsets)
        finally:
            await consumer.stop()

    async def truncate(self, partition: TopicPartition, before: int) -> None:
        async with self.connection.admin() as admin:
            place = Place(partition.topic, partition.partition)
            await admin.delete_records({place: RecordsToDelete(before_offset=before)})

    async def silence(self, reader: KafkaReader) -> None:
        await reader._consumer._coordinator._stop_heartbeat_task()
        await asyncio.sleep(SESSION_TIMEOUT_MS / 1000 + 1)

    async def close(self) -> None:
        await self.writer.stop()
        await self.scanner.stop()


class Member:
    """A started reader, and what the group told it."""

    def __init__(self, reader: LogReader) -> None:
        self.reader = reader
        self.owned: set[TopicPartition] = set()
        self.told: list[str] = []

    async def start(self) -> "Member":
        await self.reader.start(self._assigned, self._revoked)
        return self

    async def _assigned(self, partitions: Collection[TopicPartition]) -> None:
        self.owned = set(partitions)
        self.told.append("assigned")

    async def _revoked(self, partitions: Collection[TopicPartition]) -> None:
        assert self.owned == set(partitions)
        self.owned = set()
        self.told.append("revoked")

    async def fetch(self, count: int, limit: int = 1_000, seconds: float = 60) -> list:
        """The next `count` records or more, from as many fetches as that takes."""
        records: list = []
        async with asyncio.timeout(seconds):
            while len(records) < count:
                records += (await self.reader.fetch(limit, 0.05)).records
        return records

    async def reads_to_end(self, *partitions: TopicPartition, seconds: float = 60) -> None:
        """Fetches until it says so of all; how many fetches that takes is the broker's affair."""
        async with asyncio.timeout(seconds):
            while not all(map(self.reader.read_to_end, partitions)):
                await self.reader.fetch(1_000, 0.05)


async def settle(*members: Member, partitions: int, seconds: float = 60) -> list[Fetched]:
    """Fetches for all until together they own so many partitions; returns what was fetched."""
    fetched: list[Fetched] = []
    async with asyncio.timeout(seconds):
        while sum(len(member.owned) for member in members) != partitions or not all(m.owned for m in members):
            fetched += [await member.reader.fetch(1_000, 0.05) for member in members]
    return fetched
