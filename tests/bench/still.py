"""A log and a store that cost nothing but what the worker itself has to do for them: for figures that no server disturbs.

Records are turned into the engine's as those of Kafka's client are; write commands are encoded as the driver encodes them; messages
go through the real writer into the real client's batches. Nothing is kept and nothing is sent.
"""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import bson
from aiokafka.producer.message_accumulator import BatchBuilder
from aiokafka.structs import ConsumerRecord
from bson import ObjectId

from shared.clock import Instant
from shared.events.catalog import CUSTOMERS, PARTITIONS
from shared.processing.document import Document
from shared.processing.kafka_reader import to_record
from shared.processing.mongo_store import _commands
from shared.processing.ports import Assigned, Revoked, Timer
from shared.processing.records import Committed, Fetched, Message, TopicPartition

BATCH_BYTES = 1_000_000


class StillReader:
    """Hands out one batch per fetch, each of one partition."""

    def __init__(self, messages: Sequence[Message], batch: int) -> None:
        self._batches = in_batches(messages, batch)

    @property
    def left(self) -> int:
        return len(self._batches)

    async def start(self, assigned: Assigned, _revoked: Revoked) -> None:
        await assigned([TopicPartition(CUSTOMERS.name, number) for number in range(PARTITIONS)])

    async def stop(self) -> None:
        """Nobody is to be told."""

    async def fetch(self, _limit: int, _wait: float, _full: frozenset[TopicPartition] = frozenset()) -> Fetched:
        return Fetched(list(map(to_record, self._batches.pop(0))) if self._batches else [])

    async def committed(self, partitions: Collection[TopicPartition]) -> dict[TopicPartition, Committed]:
        return {place: Committed(0) for place in partitions}

    async def commit(self, _positions: Mapping[TopicPartition, Committed]) -> bool:
        return True

    def seek(self, partition: TopicPartition, offset: int) -> None:
        raise AssertionError(f"{partition} was handed out in order and from the beginning, yet {offset} is asked for")

    def epoch(self) -> int:
        return 0

    def read_to_end(self, _partition: TopicPartition) -> bool:
        return True


def in_batches(messages: Sequence[Message], size: int) -> list[list[Any]]:
    """As a client that is behind gets them: many of one partition, then of the next. Appended when they were recorded."""
    logs: dict[int, list[Any]] = {}
    for message in messages:
        log = logs.setdefault(message.partition or 0, [])
        log.append(_fetched(message, len(log)))
    longest = max(map(len, logs.values()))
    return [some for at in range(0, longest, size) for log in logs.values() if (some := log[at : at + size])]


def _fetched(message: Message, offset: int) -> Any:
    key, value, append_time = message.key, message.value, 1
    return ConsumerRecord(
        message.topic, message.partition, offset, 1 << 52, append_time, key, value, None, -1, -1, message.headers
    )


class StillStore:
    """Knows nobody, takes everything."""

    def __init__(self) -> None:
        self.encoded = 0

    async def load(self, _customer_ids: Collection[str]) -> dict[str, Document]:
        return {}

    async def save(self, documents: Sequence[Document]) -> bool:
        self.encoded += sum(len(bson.encode(command)) for command in _commands("bench", documents, ObjectId()))
        return True

    async def due(self, _partition: int, _after: Instant, _until: Instant) -> list[Timer]:
        return []

    async def unsent(self, _partition: int) -> list[str]:
        return []

    async def clear_unsent(self, revisions: Mapping[str, int]) -> None:
        """As cheap here as it is to name them."""

    async def parked(self, _partition: int) -> list[str]:
        return []


class StillProducer:
    """What `KafkaWriter` needs of a producer; batches are closed, as they are before they are sent."""

    def __init__(self) -> None:
        self.messages = 0

    async def start(self) -> None:
        """There is nowhere to connect to."""

    async def partitions_for(self, _topic: str) -> set[int]:
        return set(range(PARTITIONS))

    def create_batch(self) -> BatchBuilder:
        return BatchBuilder(BATCH_BYTES, 0)

    async def send_batch(self, batch: BatchBuilder, _topic: str, partition: int) -> "asyncio.Future[Any]":
        batch.close()
        self.messages += batch.record_count()
        acknowledged: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        acknowledged.set_result(_Acknowledged(partition))
        return acknowledged


class _Acknowledged:
    offset = 0

    def __init__(self, partition: int) -> None:
        self.partition = partition


class StillConnection:
    def __init__(self) -> None:
        self.made = StillProducer()

    def producer(self) -> StillProducer:
        return self.made
