"""A member of a consumer group over Kafka: FastStream holds the subscription, we pull from its consumer."""

import asyncio
import time
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from typing import Any

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, OffsetAndMetadata
from aiokafka import TopicPartition as Place
from aiokafka.errors import CommitFailedError, IllegalStateError, NoOffsetForPartitionError

from shared.events.codec import HEADERS
from shared.processing.kafka import (
    PATIENCE,
    KafkaConnection,
    group_positions,
    start_or_stop,
    stop_quietly,
    subscribe,
    translated,
)
from shared.processing.ports import Assigned, FatalError, Revoked, TransientError
from shared.processing.records import Committed, Fetched, Record, TopicPartition

GRACE = 1.0
"""Seconds beyond its wait that a fetch may take before it comes back empty: during a rebalance aiokafka waits unbounded."""
NOWHERE = Place("", 0)
"""Asked of where nothing may be read: a consumer that asks for nothing at all is taken for dead after a while."""
FRESH_MS = 1_000
"""How old the broker's last answer for a partition may be to say that it was read to its end."""


class KafkaReader(ConsumerRebalanceListener):  # type: ignore[misc]
    """Implements LogReader. One instance is one member, for one life: after `stop` make another."""

    def __init__(
        self,
        connection: KafkaConnection,
        group: str,
        topics: Collection[str],
        session_timeout_ms: int,
        gather_ms: int = 0,
    ) -> None:
        self._connection = connection
        self._group = group
        self._broker = connection.broker()
        self._subscriber = subscribe(self._broker, group, topics, session_timeout_ms, self, gather_ms)
        self._epoch = 0
        self._owned: frozenset[TopicPartition] = frozenset()
        self._next: dict[TopicPartition, int] = {}
        self._polling: asyncio.Task[Any] | None = None
        self._polling_epoch = 0
        self._settled = asyncio.Event()
        self._settled.set()
        self._failure: Exception | None = None

    @property
    def _consumer(self) -> AIOKafkaConsumer:
        if self._subscriber.consumer is None:
            raise TransientError("the reader is not connected")
        return self._subscriber.consumer

    async def start(self, assigned: Assigned, revoked: Revoked) -> None:
        self._assigned, self._revoked = assigned, revoked
        with translated(f"joining group {self._group}"):
            await start_or_stop(self._broker)

    async def stop(self) -> None:
        """Gives the partitions up as a rebalance would, then leaves the group, so that others need not wait for our session."""
        self._epoch += 1
        owned, self._owned = self._owned, frozenset()
        try:
            await self._end_poll()
            if owned:
                with suppress(TransientError):
                    await self._revoked(owned)
        finally:
            await stop_quietly(self._broker)

    async def _end_poll(self) -> None:
        polling, self._polling = self._polling, None
        if polling is not None:
            polling.cancel()
            await asyncio.gather(polling, return_exceptions=True)

    async def on_partitions_revoked(self, revoked: Collection[Place]) -> None:
        """aiokafka's callback; it would only log what we raise, so the next fetch raises it."""
        self._epoch += 1
        self._owned = frozenset()
        try:
            if revoked:
                await self._revoked(_ours(revoked))
        except Exception as error:  # noqa: BLE001
            self._failure = error

    async def on_partitions_assigned(self, assigned: Collection[Place]) -> None:
        """See `on_partitions_revoked`."""
        self._settled.clear()
        self._epoch += 1
        self._owned = frozenset(_ours(assigned))
        self._next = {}
        try:
            await self._assigned(_ours(assigned))
        except Exception as error:  # noqa: BLE001
            self._failure = error
        finally:
            self._settled.set()

    async def fetch(self, limit: int, wait: float, full: frozenset[TopicPartition] = frozenset()) -> Fetched:
        try:
            with translated("fetching"):
                found, epoch = await self._poll(limit, wait, full)
        except (TransientError, FatalError):
            self._rewind()
            await self._raise_failure()
            raise
        except (UnicodeDecodeError, ValueError) as error:
            raise FatalError(
                f"fetching from {sorted(self._next)}: a record that no client can read ({type(error).__name__})"
            ) from None
        await self._raise_failure()
        return Fetched(self._handed_out(found, epoch), epoch)

    async def _raise_failure(self) -> None:
        """What failed while partitions were taken over explains what the poll then finds: nobody has said where to begin."""
        await self._settled.wait()
        if isinstance(self._failure, TransientError):
            raise self._failure
        if self._failure is not None:
            raise FatalError(f"taking or giving up partitions failed: {self._failure}") from self._failure

    async def _poll(
        self, limit: int, wait: float, full: frozenset[TopicPartition]
    ) -> tuple[dict[Place, list[Any]], int]:
        """The epoch is the one under which the poll began, so whatever crossed a rebalance is known by it."""
        wanted = [Place(p.topic, p.partition) for p in self._owned - full] or [NOWHERE] if full else []
        if self._polling is None:
            poll = self._consumer.getmany(*wanted, timeout_ms=int(wait * 1000), max_records=limit)
            self._polling, self._polling_epoch = asyncio.create_task(poll), self._epoch
        done, _ = await asyncio.wait({self._polling}, timeout=wait + GRACE)
        if not done:
            return {}, self._epoch
        task, self._polling = self._polling, None
        try:
            return task.result(), self._polling_epoch
        except NoOffsetForPartitionError as error:
            await self._refuse_unsaid(error)
        return {}, self._epoch

    async def _refuse_unsaid(self, missing: NoOffsetForPartitionError) -> None:
        """Raises it only where nobody has said where to begin: aiokafka takes a coordinator that still loads for one that
        knows no position, and may have asked before whoever takes the partition over has."""
        await self._settled.wait()
        (place,) = missing.args
        partition = _our(place)
        if partition in self._owned and partition not in self._next:
            raise missing
        self._rewind()

    def _handed_out(self, found: Mapping[Place, list[Any]], epoch: int) -> list[Record]:
        records: list[Record] = []
        for place, fetched in found.items():
            records += map(to_record, fetched)
            if epoch == self._epoch:
                self._next[TopicPartition(place.topic, place.partition)] = fetched[-1].offset + 1
        return records

    def _rewind(self) -> None:
        """After a failed poll aiokafka may have moved over records that it did not hand out."""
        for partition, offset in self._next.items():
            self.seek(partition, offset)

    async def committed(self, partitions: Collection[TopicPartition]) -> dict[TopicPartition, Committed]:
        places = [Place(p.topic, p.partition) for p in partitions]
        committed = await group_positions(self._connection, self._group, partitions)
        with translated("reading the ranges of partitions"):
            async with asyncio.timeout(PATIENCE):
                first = await self._consumer.beginning_offsets(places)
                end = await self._consumer.end_offsets(places)
        for place in places:
            _refuse_out_of_range(_our(place), committed, first[place], end[place])
        for partition in self._owned & committed.keys():
            self._next.setdefault(partition, committed[partition].offset)
        return committed

    async def commit(self, positions: Mapping[TopicPartition, Committed]) -> bool:
        if not positions:
            return True
        offsets = {
            Place(p.topic, p.partition): OffsetAndMetadata(at.offset, at.metadata) for p, at in positions.items()
        }
        with translated("committing"):
            try:
                async with asyncio.timeout(PATIENCE):
                    await self._consumer.commit(offsets)
            except (CommitFailedError, IllegalStateError):
                return False
        return True

    def seek(self, partition: TopicPartition, offset: int) -> None:
        """A partition that has gone meanwhile is left alone."""
        if partition in self._owned:
            try:
                self._consumer.seek(Place(partition.topic, partition.partition), offset)
            except IllegalStateError:
                return
            self._next[partition] = offset

    def epoch(self) -> int:
        return self._epoch

    def read_to_end(self, partition: TopicPartition) -> bool:
        """Says no while the broker is silent: then nobody knows where the end is."""
        place = Place(partition.topic, partition.partition)
        if partition not in self._owned or partition not in self._next:
            return False
        try:
            end, seen_at = self._consumer.highwater(place), self._consumer.last_poll_timestamp(place)
        except IllegalStateError:
            return False
        if end is None or seen_at is None:
            return False
        return bool(self._next[partition] >= end and time.time() * 1000 - seen_at < FRESH_MS)


def to_record(fetched: Any) -> Record:
    """A header without a value becomes an empty one; the headers that we write ourselves are shared by all records."""
    headers = HEADERS
    if fetched.headers != HEADERS:
        headers = tuple((name, value or b"") for name, value in fetched.headers)
    return Record(
        fetched.topic, fetched.partition, fetched.offset, fetched.timestamp, fetched.key, fetched.value, headers
    )


def _our(place: Place) -> TopicPartition:
    return TopicPartition(place.topic, place.partition)


def _ours(places: Iterable[Place]) -> tuple[TopicPartition, ...]:
    return tuple(sorted(map(_our, places)))


def _refuse_out_of_range(
    partition: TopicPartition, committed: Mapping[TopicPartition, Committed], first: int, end: int
) -> None:
    name = f"{partition.topic}:{partition.partition}"
    if partition not in committed:
        raise FatalError(f"No position is committed for {name}; `guanxi provision --repair` sets it")
    if not first <= committed[partition].offset <= end:
        raise FatalError(
            f"{name}:{committed[partition].offset} is outside the log, which has {first} to {end}; "
            "`guanxi provision --repair` says what is lost and sets it"
        )
