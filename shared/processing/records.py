"""Records of the log as the engine sees them, before they are decoded."""

from dataclasses import dataclass, field

from shared.clock import Instant

Headers = tuple[tuple[str, bytes], ...]


@dataclass(frozen=True, slots=True, order=True)
class TopicPartition:
    topic: str
    partition: int


@dataclass(frozen=True, slots=True)
class Record:
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


@dataclass(frozen=True, slots=True)
class Message:
    """What is to be appended. `partition` None: murmur2 of the key, as every Kafka client would choose."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: Headers = ()
    partition: int | None = None


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
