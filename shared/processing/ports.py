"""What the engine needs of a log and of a store. Implemented over Kafka and MongoDB, and in memory with the same semantics."""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from shared.clock import Instant
from shared.processing.document import Document
from shared.processing.records import LARGEST_MESSAGE, Committed, Fetched, Message, Record, TopicPartition

Assigned = Callable[[Collection[TopicPartition]], Awaitable[None]]
Revoked = Callable[[Collection[TopicPartition]], Awaitable[None]]


@dataclass(frozen=True, slots=True, order=True)
class Timer:
    """`history`: the bracket whose time this customer follows (Document.history)."""

    wake_at: Instant
    customer_id: str
    history: int | None = None


class TransientError(Exception):
    """Network, store or broker: worth a retry. What was asked may or may not have happened (unknown outcome)."""


class FatalError(Exception):
    """Retrying cannot help; the worker stops. The message says which command or person can."""


def refuse_too_large(messages: Sequence[Message]) -> None:
    """Before any of them is sent: every LogWriter begins with it. Raises FatalError."""
    for message in messages:
        if message.size > LARGEST_MESSAGE:
            raise FatalError(f"a message for {message.topic} has {message.size} bytes; {LARGEST_MESSAGE} is the most")


class LogReader(Protocol):
    """One member of a consumer group. Every method raises TransientError or FatalError, nothing of a driver's own."""

    async def start(self, assigned: Assigned, revoked: Revoked) -> None:
        """Joins. `revoked` is awaited before partitions go, `assigned` after they came, before any of their records."""

    async def stop(self) -> None:
        """Gives up what is owned and leaves the group. No TransientError: what cannot be committed any more is read again by
        whoever comes next, and what ended its owner is not to be covered by that."""

    async def fetch(self, limit: int, wait: float, full: frozenset[TopicPartition] = frozenset()) -> Fetched:
        """At most `limit` records of the partitions owned, but for those that are `full`, after at most `wait` seconds; empty
        when there is nothing new."""

    async def committed(self, partitions: Collection[TopicPartition]) -> dict[TopicPartition, Committed]:
        """Missing or out of the log's range: FatalError that names the repair command."""

    async def commit(self, positions: Mapping[TopicPartition, Committed]) -> bool:
        """Just these positions. False when the group has moved on without us (rebalance), which changes nothing."""

    def seek(self, partition: TopicPartition, offset: int) -> None: ...

    def epoch(self) -> int:
        """Rises with every revocation and assignment."""

    def read_to_end(self, partition: TopicPartition) -> bool:
        """True when the last fetch found nothing more behind what was handed out."""


class LogWriter(Protocol):
    async def publish(self, messages: Sequence[Message]) -> list[tuple[int, int]]:
        """Appends, idempotent and acknowledged by all; returns (partition, offset) of each message, in order.

        Order is kept per partition: after a failure it sends again from the first unacknowledged message. Raises
        TransientError only when its own patience (30 s) is over: then a prefix per partition is in the log, the rest unknown.
        """


class LogScanner(Protocol):
    """Reads a log outside any group: rebuilds, what-ifs, resumed customers, redriving."""

    async def range(self, topic: str) -> dict[TopicPartition, tuple[int, int]]:
        """First offset and the one after the last, per partition."""

    async def read(self, partition: TopicPartition, start: int, stop: int, limit: int) -> list[Record]:
        """Records with start <= offset < stop, at most `limit`, at least one unless there is none."""


class Store(Protocol):
    """The documents of one service. All reads and writes are majority-concerned and journaled."""

    async def load(self, customer_ids: Collection[str]) -> dict[str, Document]:
        """Those that exist."""

    async def save(self, documents: Sequence[Document]) -> bool:
        """One bulk write; each document is written where the stored `rev` equals `document.rev - 1` (1: an insert).

        True: all were written. False: at least one was not (conflict, duplicate key), any of the others may have been.
        TransientError: unknown which were.
        """

    async def due(self, partition: int, after: Instant, until: Instant) -> list[Timer]:
        """Documents with after < wake_at <= until, in the history or in the present, parked ones left out."""

    async def unsent(self, partition: int) -> list[str]:
        """Ids of documents that hold what a timer emitted and that nobody has confirmed."""

    async def clear_unsent(self, revisions: Mapping[str, int]) -> None:
        """Drops the mark where the stored `rev` still equals the given one; `rev` itself stays."""

    async def parked(self, partition: int) -> list[str]: ...

    async def ids(self, partition: int) -> list[str]:
        """Of all customers of the partition, sorted."""


Sleeper = Callable[[float], Awaitable[None]]
"""Seconds to wait; a simulation gives its own."""
