"""Everything a process opens, opened from its settings and closed in reverse when the process's stack unwinds."""

import os
import socket
from contextlib import AsyncExitStack

from shared.events.catalog import topic as catalogue_topic
from shared.processing.kafka import KafkaConnection, KafkaLag, check_partitions, group_members, group_positions
from shared.processing.kafka_reader import KafkaReader
from shared.processing.kafka_scanner import KafkaScanner
from shared.processing.kafka_writer import KafkaWriter
from shared.processing.records import Committed, TopicPartition
from shared.settings import Settings


class Kafka:
    """One process's ways to Kafka. `check` first: a wrong partition count must stop everything."""

    def __init__(self, settings: Settings, service: str, stack: AsyncExitStack) -> None:
        name = f"guanxi-{service}-{socket.gethostname()}-{os.getpid()}"
        self.connection = KafkaConnection(settings.kafka_bootstrap, name)
        self._settings = settings
        self._stack = stack

    async def check(self, topics: tuple[str, ...]) -> None:
        await check_partitions(self.connection, {name: catalogue_topic(name).partitions for name in topics})

    def reader(self, group: str, topics: tuple[str, ...], gather_ms: int = 0) -> KafkaReader:
        """Whoever runs it starts and stops it. `gather_ms` as in `kafka.subscribe`."""
        return KafkaReader(self.connection, group, topics, self._settings.session_timeout_ms, gather_ms)

    async def writer(self) -> KafkaWriter:
        writer = KafkaWriter(self.connection)
        self._stack.push_async_callback(writer.stop)
        await writer.start()
        return writer

    def scanner(self) -> KafkaScanner:
        scanner = KafkaScanner(self.connection)
        self._stack.push_async_callback(scanner.stop)
        return scanner

    def lag(self) -> KafkaLag:
        lag = KafkaLag(self.connection)
        self._stack.push_async_callback(lag.stop)
        return lag

    async def group_positions(self, group: str, partitions: list[TopicPartition]) -> dict[TopicPartition, Committed]:
        return await group_positions(self.connection, group, partitions)

    async def group_members(self, group: str) -> int:
        return await group_members(self.connection, group)
