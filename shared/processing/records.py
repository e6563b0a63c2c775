"""Records of the log as the engine sees them, before they are decoded. Tuples where one is made per record or message."""

from dataclasses import dataclass, field
from typing import NamedTuple

from shared.clock import Instant

Headers = tuple[tuple[str, bytes], ...]

LARGEST_MESSAGE = 1_000_000
"""Bytes. A little less than what a broker takes by default, which refuses the whole batch with everybody else's messages."""


class TopicPartition(NamedTuple):
    topic: str
    partition: int


class Record(NamedTuple):
    """`timestamp` is the broker's append time in milliseconds."""

    topic: str
    partition: int
    offset: int
    timestamp: Instant
    key: bytes | None
    value: bytes | None
    headers: Headers = ()

    @property
    def source(self) -> TopicPartition:
        return TopicPartition(self.topic, self.partition)


class Message(NamedTuple):
    """What is to be appended. `partition` None: murmur2 of the key, as every Kafka client would choose."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: Headers = ()
    partition: int | None = None

    @property
    def size(self) -> int:
        """Bytes, without what the log adds."""
        named = sum(len(name) + len(value) for name, value in self.headers)
        return len(self.key or b"") + len(self.value or b"") + named


@dataclass(frozen=True, slots=True)
class Committed:
    """`offset` is the next record to apply. `metadata` is the engine's own text (the partition's time and bracket)."""

    offset: int
    metadata: str = ""


@dataclass(slots=True)
class Fetched:
    """Records in order per partition. `epoch` is the assignment under which they were fetched."""

    records: list[Record] = field(default_factory=list)
    epoch: int = 0
