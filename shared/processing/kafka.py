"""Connections to Kafka: the one module that builds brokers, consumers, producers and admin clients, and closes them."""

import asyncio
from collections.abc import AsyncIterator, Collection, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRebalanceListener
from aiokafka import TopicPartition as Place
from aiokafka import errors as kafka_errors
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.client import AIOKafkaClient
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from faststream import AckPolicy
from faststream.kafka import KafkaBroker
from faststream.kafka.security import parse_security
from faststream.security import BaseSecurity

from shared.processing.kafka_closing import AT_ONCE, FAREWELL, apart, cancel, gone
from shared.processing.ports import FatalError, TransientError
from shared.processing.records import Committed, TopicPartition

T = TypeVar("T")

PATIENCE = 30.0
"""Seconds after which a request's outcome counts as unknown."""
HEARTBEAT_MS = 1_000
"""A survivor hears of a rebalance with its next heartbeat: with three seconds a takeover took up to session timeout + 4.4 s."""
LONG_POLL_MS = 20
"""How long the broker may hold an empty fetch. A partition whose records were just taken waits at most this for its next."""
GATHERED = 1024 * 1024
"""Bytes at which a fetch that gathers is answered before its time."""
LONGEST_SILENCE_MS = 300_000
REBALANCE_MS = 30_000
LARGEST_BATCH = 512 * 1024
LARGEST_FETCH_PER_PARTITION = 4 * 1024 * 1024

_PASSED_OVER = (kafka_errors.NoOffsetForPartitionError, kafka_errors.OffsetOutOfRangeError)
_NO_TOPIC = (kafka_errors.UnknownTopicOrPartitionError, kafka_errors.InvalidTopicError)
_REFUSED = (
    kafka_errors.TopicAuthorizationFailedError,
    kafka_errors.GroupAuthorizationFailedError,
    kafka_errors.ClusterAuthorizationFailedError,
    kafka_errors.SaslAuthenticationFailed,
)
_HOPELESS = (
    kafka_errors.UnsupportedCodecError,
    kafka_errors.MessageSizeTooLargeError,
    kafka_errors.RecordTooLargeError,
    kafka_errors.RecordListTooLargeError,
    kafka_errors.OffsetMetadataTooLargeError,
    kafka_errors.UnsupportedVersionError,
)


@contextmanager
def translated(doing: str) -> Iterator[None]:
    """Turns what aiokafka raises into the two errors of our ports."""
    try:
        yield
    except _PASSED_OVER as error:
        raise FatalError(
            f"{doing}: a position is missing or outside the log ({error}); `guanxi provision --repair` says what is lost "
            "and sets it"
        ) from error
    except _NO_TOPIC as error:
        raise FatalError(f"{doing}: a topic or partition is missing ({error}); `guanxi provision` makes it") from error
    except _REFUSED as error:
        raise FatalError(
            f"{doing}: Kafka refuses us ({error!r}); `guanxi provision` grants what the catalogue says"
        ) from error
    except _HOPELESS as error:
        raise FatalError(f"{doing}: {error!r}") from error
    except (kafka_errors.KafkaError, kafka_errors.ConsumerStoppedError, TimeoutError, OSError) as error:
        raise TransientError(f"{doing}: {error!r}") from error


@dataclass(frozen=True, slots=True)
class KafkaConnection:
    """Where Kafka is and who we are. `security`: FastStream's, such as `SASLScram512(username, password)`; None: open."""

    bootstrap: str
    client_id: str = "guanxi"
    security: BaseSecurity | None = field(default=None, repr=False)

    def broker(self) -> KafkaBroker:
        """Holds a subscription only: publishing needs `send_batch`, which FastStream does not offer."""
        return KafkaBroker(
            self.bootstrap.split(","),
            client_id=self.client_id,
            security=self.security,
            consumer_only=True,
            allow_auto_create_topics=False,
            apply_types=False,
            logger=None,
        )

    def producer(self) -> AIOKafkaProducer:
        """Idempotent, acknowledged by all in-sync replicas, not waiting for company."""
        return AIOKafkaProducer(
            bootstrap_servers=self.bootstrap,
            client_id=self.client_id,
            enable_idempotence=True,
            acks="all",
            linger_ms=0,
            compression_type="zstd",
            max_batch_size=LARGEST_BATCH,
            request_timeout_ms=10_000,
            **parse_security(self.security),
        )

    def consumer(self) -> AIOKafkaConsumer:
        """Outside any group; partitions are assigned by hand."""
        return AIOKafkaConsumer(
            bootstrap_servers=self.bootstrap,
            client_id=self.client_id,
            auto_offset_reset="none",
            enable_auto_commit=False,
            fetch_max_wait_ms=LONG_POLL_MS,
            max_partition_fetch_bytes=LARGEST_FETCH_PER_PARTITION,
            **parse_security(self.security),
        )

    @asynccontextmanager
    async def admin(self) -> AsyncIterator[AIOKafkaAdminClient]:
        """A client that knows a broker. One that has just started knows nobody for a moment, not even itself."""
        async with asyncio.timeout(PATIENCE):
            while (client := await self._admin()) is None:  # noqa: ASYNC110  # nobody tells us, we ask
                await asyncio.sleep(0.2)
        try:
            yield client
        finally:
            await cut_off(client)

    async def _admin(self) -> AIOKafkaAdminClient | None:
        client = AIOKafkaAdminClient(
            bootstrap_servers=self.bootstrap, client_id=self.client_id, **parse_security(self.security)
        )
        knows_a_broker = False
        try:
            await client.start()
            knows_a_broker = bool((await client.describe_cluster())["brokers"])
        except _REFUSED:
            raise
        except (kafka_errors.KafkaError, OSError):
            pass
        finally:
            if not knows_a_broker:
                await cut_off(client)
        return client if knows_a_broker else None


def subscribe(
    broker: KafkaBroker,
    group: str,
    topics: Collection[str],
    session_timeout_ms: int,
    listener: ConsumerRebalanceListener,
    gather_ms: int = 0,
) -> Any:
    """A batch subscriber without a handler: FastStream holds the subscription, the engine pulls from its consumer.

    `gather_ms`: how long the broker gathers records before it answers a fetch; 0: it answers with the first. Each answer names
    every partition, so a follower of many that is answered record by record costs itself and the broker more than its work.
    """
    return broker.subscriber(
        *topics,
        batch=True,
        group_id=group,
        ack_policy=AckPolicy.MANUAL,
        no_reply=True,
        listener=listener,
        partition_assignment_strategy=(RangePartitionAssignor,),
        auto_offset_reset="none",
        fetch_max_wait_ms=gather_ms or LONG_POLL_MS,
        fetch_min_bytes=GATHERED if gather_ms else 1,
        max_partition_fetch_bytes=LARGEST_FETCH_PER_PARTITION,
        session_timeout_ms=session_timeout_ms,
        heartbeat_interval_ms=min(session_timeout_ms // 3, HEARTBEAT_MS),
        rebalance_timeout_ms=REBALANCE_MS,
        max_poll_interval_ms=LONGEST_SILENCE_MS,
    )


async def partitions_of(connection: KafkaConnection, topics: Collection[str]) -> dict[str, int]:
    """How many partitions the broker knows of each topic; 0 for a topic that is missing."""
    with translated("describing topics"):
        async with connection.admin() as admin:
            async with asyncio.timeout(PATIENCE):
                found = await admin.describe_topics(list(topics))
    return {topic["topic"]: 0 if topic["error_code"] == 3 else len(topic["partitions"]) for topic in found}


async def group_positions(
    connection: KafkaConnection, group: str, partitions: Collection[TopicPartition]
) -> dict[TopicPartition, Committed]:
    """What a group has committed, asked from outside; partitions without a commit are left out."""
    places = [Place(p.topic, p.partition) for p in partitions]
    with translated(f"reading what group {group} committed"):
        async with asyncio.timeout(PATIENCE), connection.admin() as admin:
            found = await admin.list_consumer_group_offsets(group, partitions=places)
    if any(place not in found for place in places):
        # aiokafka overlooks the answer's own error: a coordinator that still loads knows no partition, which is not "none"
        raise TransientError(f"reading what group {group} committed: its coordinator is not ready")
    return {
        TopicPartition(place.topic, place.partition): Committed(at.offset, at.metadata)
        for place, at in found.items()
        if at.offset >= 0
    }


async def group_members(connection: KafkaConnection, group: str) -> int:
    """How many the coordinator counts: whoever is not among them can commit nothing."""
    with translated(f"asking who is in group {group}"):
        async with asyncio.timeout(PATIENCE), connection.admin() as admin:
            (answer,) = await admin.describe_consumer_groups([group])
    (found,) = answer.to_object()["groups"]
    if found["error_code"]:
        raise TransientError(f"asking who is in group {group}: the broker answered with code {found['error_code']}")
    return len(found["members"])


async def check_partitions(connection: KafkaConnection, expected: Mapping[str, int]) -> None:
    """FatalError where a topic is missing or has another partition count: customers would change their partitions."""
    found = await partitions_of(connection, expected)
    wrong = [
        f"{topic} has {found.get(topic, 0)}, not {count}"
        for topic, count in expected.items()
        if found.get(topic) != count
    ]
    if wrong:
        raise FatalError(
            f"partition counts differ from the catalogue: {'; '.join(wrong)}; `guanxi provision` makes missing topics, "
            "a count that differs must not be changed under running services"
        )


class KafkaLag:
    """Ends of partitions, for metrics of lag."""

    def __init__(self, connection: KafkaConnection) -> None:
        self._connection = connection
        self._consumer: AIOKafkaConsumer | None = None

    async def ends(self, partitions: Collection[TopicPartition]) -> dict[TopicPartition, int]:
        """The offset after the last record."""
        with translated("reading the ends of partitions"):
            consumer = await self._open()
            places = [Place(p.topic, p.partition) for p in partitions]
            async with asyncio.timeout(PATIENCE):
                found = await consumer.end_offsets(places)
        return {TopicPartition(place.topic, place.partition): offset for place, offset in found.items()}

    async def stop(self) -> None:
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            await stop_quietly(consumer)

    async def _open(self) -> AIOKafkaConsumer:
        if self._consumer is None:
            consumer = self._connection.consumer()
            await start_or_stop(consumer)
            self._consumer = consumer
        return self._consumer


async def start_or_stop(client: Any) -> None:
    """Starts within PATIENCE; what could not start is stopped, so that no connection is left behind."""
    try:
        async with asyncio.timeout(PATIENCE):
            await client.start()
    except BaseException:
        await stop_quietly(client)
        raise


async def stop_quietly(client: Any) -> None:
    """A client that cannot even say goodbye is left to the broker's session timeout."""
    try:
        await apart(client.stop(), FAREWELL)
    finally:
        await cut_off(client)


async def cut_off(client: Any) -> None:
    """Ends what a broker, consumer, producer or admin client still has, without a goodbye; nothing where it has stopped."""
    for one in _consumers(client) if isinstance(client, KafkaBroker) else [client]:
        tasks, connections = _held(one, asyncio.Task), _held(one, AIOKafkaClient)
        cancel(tasks)
        for connected in connections:
            _throw_away_unsent(connected)
            await apart(connected.close(), AT_ONCE)
        await gone(tasks)


def _consumers(broker: KafkaBroker) -> list[Any]:
    found: list[Any] = [getattr(subscriber, "consumer", None) for subscriber in broker.subscribers]
    return [consumer for consumer in found if consumer is not None]


def _held(client: Any, kind: type[T]) -> set[T]:
    """By the client itself and by its parts that have tasks."""
    parts = [client, *(getattr(client, name, None) for name in ("_coordinator", "_fetcher", "_sender"))]
    values = [value for part in parts if part is not None for value in vars(part).values()]
    values += [member for value in values if isinstance(value, set) for member in value]
    return {value for value in values if isinstance(value, kind)}


def _throw_away_unsent(client: AIOKafkaClient) -> None:
    """Closing waits until everything is sent, and a broker that fell silent takes nothing for a quarter of an hour."""
    for connection in client._conns.values():  # noqa: SLF001  # nothing public leads to them
        transport = getattr(connection._protocol, "_transport", None)  # noqa: SLF001  # its writer is gone once it closes
        if transport is not None:
            transport.abort()
