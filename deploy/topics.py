"""Looking into Kafka from outside: how far a service is, how much lies in a topic, the records themselves."""

import asyncio
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from shared.clock import Instant
from shared.events.catalog import Topic, topic
from shared.processing.kafka import KafkaConnection, group_positions
from shared.processing.records import TopicPartition as Place

_QUIET = logging.getLogger("guanxi.topics-client")
_SECONDS = 15
_POLL_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Stored:
    """One record as it lies in the log. `time`: the broker's."""

    topic: str
    partition: int
    offset: int
    time: Instant
    key: bytes | None
    value: bytes
    headers: Mapping[str, str]

    @property
    def place(self) -> str:
        return f"{self.partition}:{self.offset}"


class Topics:
    """Every method raises KafkaException where Kafka does not answer."""

    def __init__(self, bootstrap: str) -> None:
        self._bootstrap = bootstrap
        self._admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0}, logger=_QUIET)

    def lag(self, group: str, topics: Sequence[Topic]) -> int:
        """Records that the group has not committed yet."""
        places = [Place(t.name, n) for t in topics for n in range(t.partitions)]
        committed = asyncio.run(group_positions(KafkaConnection(self._bootstrap), group, places))
        ends = self._offsets([TopicPartition(p.topic, p.partition) for p in committed], OffsetSpec.latest())
        return sum(max(0, ends[p.topic, p.partition] - at.offset) for p, at in committed.items())

    def count(self, name: str) -> int:
        """Records that lie in a topic now (for a compacted one: at most)."""
        places = [TopicPartition(name, n) for n in range(topic(name).partitions)]
        first, end = self._offsets(places, OffsetSpec.earliest()), self._offsets(places, OffsetSpec.latest())
        return sum(end[place] - first[place] for place in end)

    def read(self, of: Topic, *, last: int | None, follow: bool) -> Iterator[Stored]:
        """The newest `last` records of each partition (None: all there are), then, following, what comes."""
        places = [TopicPartition(of.name, n) for n in range(of.partitions)]
        first, end = self._offsets(places, OffsetSpec.earliest()), self._offsets(places, OffsetSpec.latest())
        start = {p: first[p] if last is None else max(first[p], end[p] - last) for p in end}
        consumer = self._consumer()
        try:
            consumer.assign([TopicPartition(t, n, offset) for (t, n), offset in start.items()])
            unread = {place for place in end if start[place] < end[place]}
            while follow or unread:
                record = self._poll(consumer)
                if record is None:
                    continue
                if record.offset + 1 >= end[record.topic, record.partition]:
                    unread.discard((record.topic, record.partition))
                yield record
        finally:
            consumer.close()

    def one(self, of: Topic, partition: int, offset: int) -> Stored | None:
        """The record at that place, where the log still has it."""
        place = TopicPartition(of.name, partition)
        key = (of.name, partition)
        first, end = (
            self._offsets([place], OffsetSpec.earliest())[key],
            self._offsets([place], OffsetSpec.latest())[key],
        )
        if not first <= offset < end:
            return None
        consumer = self._consumer()
        try:
            consumer.assign([TopicPartition(of.name, partition, offset)])
            while (record := self._poll(consumer)) is None:
                continue
        finally:
            consumer.close()
        return record if record.offset == offset else None

    def _consumer(self) -> Consumer:
        """Assigned by hand; its group is never joined nor committed to."""
        settings = {"bootstrap.servers": self._bootstrap, "group.id": "guanxi.looking", "enable.auto.commit": False}
        return Consumer({**settings, "log_level": 0}, logger=_QUIET)

    def _poll(self, consumer: Consumer) -> Stored | None:
        message: Message | None = consumer.poll(_POLL_SECONDS)
        if message is None:
            return None
        if message.error() is not None:
            raise KafkaException(message.error())
        return _stored(message)

    def _offsets(self, places: list[TopicPartition], spec: OffsetSpec) -> dict[tuple[str, int], int]:
        asked: dict[TopicPartition, Any] = self._admin.list_offsets(dict.fromkeys(places, spec))
        try:
            return {(p.topic, p.partition): found.result(_SECONDS).offset for p, found in asked.items()}
        except TimeoutError:
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT)) from None  # noqa: SLF001 - the client's own name


def _stored(message: Message) -> Stored:
    headers = {name: (value or b"").decode("utf-8", "replace") for name, value in message.headers() or ()}
    _, time = message.timestamp()
    value = message.value() or b""
    return Stored(message.topic(), message.partition(), message.offset(), time, message.key(), value, headers)
