"""Publishing to Kafka: one batch in flight per partition, in order, sent again from the first unacknowledged message."""

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from shared.processing.kafka import PATIENCE, KafkaConnection, cut_off, start_or_stop, translated
from shared.processing.kafka_closing import FAREWELL, apart, take_notice
from shared.processing.partitioner import partition_of
from shared.processing.ports import FatalError, TransientError, refuse_too_large
from shared.processing.records import Message, TopicPartition

PAUSE = 0.1
"""Seconds before a rebuilt producer sends again."""


@dataclass(slots=True, eq=False)
class Parcel:
    """The messages of one `publish` for one partition; `offsets` grows as they are acknowledged."""

    messages: list[Message]
    deadline: float
    done: asyncio.Future[None]
    offsets: list[int] = field(default_factory=list)


class Lifetime:
    """One producer and the knowledge that it is of no more use: after an unknown outcome its sequence cannot be trusted."""

    def __init__(self, producer: AIOKafkaProducer) -> None:
        self.producer = producer
        self._over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def send(self, lane: TopicPartition, batch: Any, seconds: float) -> int:
        """The first offset; -1 where Kafka only says that it has them already. KafkaError or TimeoutError: unknown."""
        acknowledged = asyncio.ensure_future(self._send(lane, batch))
        either: set[asyncio.Future[Any]] = {acknowledged, self._over}
        await asyncio.wait(either, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        if acknowledged.done():
            return acknowledged.result()
        acknowledged.cancel()
        acknowledged.add_done_callback(take_notice)
        await asyncio.wait({acknowledged})
        raise TimeoutError("not acknowledged")

    async def _send(self, lane: TopicPartition, batch: Any) -> int:
        future = await self.producer.send_batch(batch, lane.topic, partition=lane.partition)
        future.add_done_callback(take_notice)
        return int((await future).offset)

    async def end(self) -> None:
        """Stops sending at once: what is still queued in this producer must not be written behind what follows it."""
        if self._over.done():
            return
        self._over.set_result(None)
        self.producer._closed = True  # noqa: SLF001  # the public way to stop waits for what cannot be sent
        await cut_off(self.producer)

    async def flush(self) -> None:
        try:
            await apart(self.producer.stop(), FAREWELL)
        finally:
            await self.end()


class KafkaWriter:
    """Implements LogWriter. Concurrent `publish` calls share batches; one alone is sent at once."""

    def __init__(self, connection: KafkaConnection) -> None:
        self._connection = connection
        self._lifetime: Lifetime | None = None
        self._building = asyncio.Lock()
        self._lanes: dict[TopicPartition, Lane] = {}
        self._counts: dict[str, int] = {}

    async def start(self) -> None:
        with translated("connecting the producer"):
            await self.lifetime()

    async def stop(self) -> None:
        """What was handed to `publish` is sent before the connection closes, unless its time ends first."""
        sending = {lane.task for lane in self._lanes.values() if lane.task}
        if sending:
            await asyncio.wait(sending, timeout=PATIENCE)
        lifetime, self._lifetime = self._lifetime, None
        if lifetime is not None:
            await lifetime.flush()

    async def publish(self, messages: Sequence[Message]) -> list[tuple[int, int]]:
        """As LogWriter. An offset is -1 where a repeated send was acknowledged as already there."""
        refuse_too_large(messages)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + PATIENCE
        for topic in {message.topic for message in messages} - self._counts.keys():
            await self._count(topic, deadline)
        parcels: dict[TopicPartition, Parcel] = {}
        places = [self._place(message) for message in messages]
        for message, place in zip(messages, places, strict=True):
            if place not in parcels:
                parcels[place] = Parcel([], deadline, loop.create_future())
            parcels[place].messages.append(message)
        for place, parcel in parcels.items():
            self._lanes.setdefault(place, Lane(place, self)).put(parcel)
        await self._all(parcels)
        offsets = {place: iter(parcel.offsets) for place, parcel in parcels.items()}
        return [(place.partition, next(offsets[place])) for place in places]

    async def _all(self, parcels: dict[TopicPartition, Parcel]) -> None:
        """Waits for every partition before it raises, so that nothing of this call is under way when the caller goes on."""
        results = await asyncio.gather(*(parcel.done for parcel in parcels.values()), return_exceptions=True)
        for result in sorted((r for r in results if r is not None), key=lambda r: not isinstance(r, FatalError)):
            raise result

    async def _count(self, topic: str, deadline: float) -> None:
        with translated(f"publishing to {topic}"):
            async with asyncio.timeout_at(deadline):
                lifetime = await self.lifetime()
                self._counts[topic] = len(await lifetime.producer.partitions_for(topic))

    def _place(self, message: Message) -> TopicPartition:
        if message.partition is not None:
            return TopicPartition(message.topic, message.partition)
        return TopicPartition(message.topic, partition_of(message.key, self._counts[message.topic]))

    async def lifetime(self) -> Lifetime:
        """The producer in use; builds one where there is none."""
        async with self._building:
            if self._lifetime is None:
                producer = self._connection.producer()
                await start_or_stop(producer)
                self._lifetime = Lifetime(producer)
            return self._lifetime

    async def give_up(self, lifetime: Lifetime) -> None:
        """Everything unacknowledged of that producer is sent again by another."""
        if self._lifetime is lifetime:
            self._lifetime = None
        await lifetime.end()


class Lane:
    """One partition's queue. A batch is sent when the one before it is acknowledged: order needs no more than that."""

    def __init__(self, place: TopicPartition, writer: KafkaWriter) -> None:
        self.task: asyncio.Task[None] | None = None
        self._place = place
        self._writer = writer
        self._queue: deque[Parcel] = deque()

    def put(self, parcel: Parcel) -> None:
        self._queue.append(parcel)
        if self.task is None or self.task.done():
            self.task = asyncio.create_task(self._drain())

    async def _drain(self) -> None:
        while self._queue:
            try:
                with translated(f"publishing to {self._place.topic}:{self._place.partition}"):
                    await self._send_one_batch()
            except TransientError as error:
                self._give_up_overdue(error)
                await asyncio.sleep(PAUSE if self._queue else 0)
            except Exception as error:  # noqa: BLE001  # whoever waits must hear of it, whatever it is
                self._fail_all(error if isinstance(error, FatalError) else FatalError(f"publishing failed: {error!r}"))

    async def _send_one_batch(self) -> None:
        async with asyncio.timeout_at(self._queue[0].deadline):
            lifetime = await self._writer.lifetime()
        batch = lifetime.producer.create_batch()
        count = self._fill(batch)
        left = self._queue[0].deadline - asyncio.get_running_loop().time()
        try:
            first = await lifetime.send(self._place, batch, max(left, 0))
        except (KafkaError, TimeoutError):
            await self._writer.give_up(lifetime)
            raise
        self._acknowledge(first, count)

    def _fill(self, batch: Any) -> int:
        count = 0
        for parcel in self._queue:
            for message in parcel.messages[len(parcel.offsets) :]:
                headers = list(message.headers)
                if batch.append(timestamp=None, key=message.key, value=message.value, headers=headers) is None:
                    return count
                count += 1
        return count

    def _acknowledge(self, first: int, count: int) -> None:
        for place in range(count):
            parcel = self._queue[0]
            parcel.offsets.append(first + place if first >= 0 else -1)
            if len(parcel.offsets) == len(parcel.messages):
                self._queue.popleft()
                _finish(parcel, None)

    def _give_up_overdue(self, error: TransientError) -> None:
        now = asyncio.get_running_loop().time()
        while self._queue and self._queue[0].deadline <= now:
            _finish(self._queue.popleft(), error)

    def _fail_all(self, error: FatalError) -> None:
        while self._queue:
            _finish(self._queue.popleft(), error)


def _finish(parcel: Parcel, error: Exception | None) -> None:
    if parcel.done.done():
        return
    if error is None:
        parcel.done.set_result(None)
    else:
        parcel.done.set_exception(error)
