"""What aiokafka opened is closed in bounded time, whatever its own ways to stop make of cancellations and failures."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka import TopicPartition as Place
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.client import AIOKafkaClient
from aiokafka.consumer.fetcher import Fetcher
from aiokafka.consumer.group_coordinator import GroupCoordinator, NoGroupCoordinator
from aiokafka.errors import KafkaError, NodeNotReadyError

from shared.processing import kafka, kafka_closing
from shared.processing.kafka import KafkaConnection, partitions_of, stop_quietly
from shared.processing.kafka_reader import KafkaReader
from shared.processing.kafka_scanner import KafkaScanner

NOWHERE = KafkaConnection("127.0.0.1:1")
ALL_TURNS = range(1, 16)
"""Of the loop, more than any of these takes to stop."""


@pytest.fixture(autouse=True)
async def nothing_is_left() -> AsyncIterator[None]:
    """No task outlives its client, and none ends in silence with a failure."""
    said: list[dict[str, Any]] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: said.append(context))
    before = asyncio.all_tasks()
    yield
    left = asyncio.all_tasks() - before - {asyncio.current_task()}
    loop.set_exception_handler(None)
    assert not left
    assert not said


async def refuses(*_: Any, **__: Any) -> None:
    raise NodeNotReadyError


def synchronized(client: AIOKafkaClient) -> None:
    client.send = refuses
    client._sync_task = asyncio.create_task(client._md_synchronizer())


def consumer(group: bool) -> AIOKafkaConsumer:
    """As one that started, with a heart that beats where it is in a group."""
    made = AIOKafkaConsumer(
        bootstrap_servers=NOWHERE.bootstrap, group_id="g" if group else None, enable_auto_commit=False
    )
    synchronized(made._client)
    made._fetcher = Fetcher(made._client, made._subscription)
    made._coordinator = beating(made) if group else NoGroupCoordinator(made._client, made._subscription)
    return made


def beating(made: AIOKafkaConsumer) -> GroupCoordinator:
    coordinator = GroupCoordinator(made._client, made._subscription, group_id="g", enable_auto_commit=False)
    coordinator.member_id = "m"
    coordinator._start_heartbeat_task()
    return coordinator


async def backing_off(group: bool) -> AIOKafkaConsumer:
    """Kafka refuses connections: every fetch sleeps before the next."""
    made, place = consumer(group), Place("t", 0)
    made._client.cluster.leader_for_partition = lambda _: 0
    made._subscription.assign_from_user([place])
    made._subscription.seek(place, 5)
    await asyncio.sleep(0.05)
    assert made._fetcher._pending_tasks
    return made


async def is_heard(work: Coroutine[Any, Any, None], turns: int) -> bool:
    """Whether a cancellation is that comes so many turns of the loop after the beginning."""
    task = asyncio.create_task(work)
    for _ in range(turns):
        await asyncio.sleep(0)
    heard = task.cancel()
    await asyncio.wait({task}, timeout=5)
    return task.cancelled() or not heard


@pytest.mark.parametrize("group", [False, True])
@pytest.mark.parametrize("turns", ALL_TURNS)
async def test_a_cancellation_while_a_consumer_stops_is_heard(group: bool, turns: int) -> None:
    stopping = consumer(group)
    await asyncio.sleep(0.01)
    assert await is_heard(stop_quietly(stopping), turns)
    assert stopping._client._sync_task is None


@pytest.mark.parametrize("turns", ALL_TURNS)
async def test_a_cancellation_while_a_member_leaves_is_heard(turns: int) -> None:
    reader = KafkaReader(NOWHERE, "g", ["t"], 10_000)
    reader._subscriber.consumer = leaving = consumer(group=True)
    await asyncio.sleep(0.01)
    assert await is_heard(reader.stop(), turns)
    assert leaving._client._sync_task is None


async def test_a_member_that_still_polls_when_it_is_cancelled_leaves_no_client_behind() -> None:
    reader = KafkaReader(NOWHERE, "g", ["t"], 10_000)
    reader._subscriber.consumer = leaving = consumer(group=True)
    reader._polling = asyncio.create_task(asyncio.sleep(1_000))
    await asyncio.sleep(0.01)
    assert await is_heard(reader.stop(), 1)
    assert leaving._client._sync_task is None


class Admins:
    """What a connection makes as its admin clients; one that describes topics at once."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.made: list[AIOKafkaAdminClient] = []
        monkeypatch.setattr("shared.processing.kafka.AIOKafkaAdminClient", self.make)

    def make(self, **_: Any) -> AIOKafkaAdminClient:
        admin = AIOKafkaAdminClient(bootstrap_servers=NOWHERE.bootstrap)
        admin.start, admin.describe_cluster, admin.describe_topics = self.start, self.cluster, self.topics
        self.made.append(admin)
        return admin

    async def start(self) -> None:
        synchronized(self.made[-1]._client)

    async def cluster(self) -> dict[str, Any]:
        await asyncio.sleep(0)
        return {"brokers": [1]}

    async def topics(self, _: list[str]) -> list[dict[str, Any]]:
        await asyncio.sleep(0)
        return [{"topic": "t", "error_code": 0, "partitions": [1]}]


@pytest.mark.parametrize("turns", ALL_TURNS)
async def test_a_cancellation_while_topics_are_described_is_heard(monkeypatch: pytest.MonkeyPatch, turns: int) -> None:
    async def describe() -> None:
        await partitions_of(NOWHERE, ["t"])
        await asyncio.sleep(1)

    admins = Admins(monkeypatch)
    assert await is_heard(describe(), turns)
    assert [admin._client._sync_task for admin in admins.made] == [None]


async def test_a_scanner_stops_while_kafka_refuses_connections() -> None:
    """aiokafka's fetcher raises the cancellation of its own fetch, and closes nothing behind it."""
    scanner = KafkaScanner(NOWHERE)
    scanner._consumer = stopping = await backing_off(group=False)
    await scanner.stop()
    assert stopping._client._sync_task is None


async def test_a_member_leaves_no_client_behind_while_kafka_refuses_connections() -> None:
    reader = KafkaReader(NOWHERE, "g", ["t"], 10_000)
    reader._subscriber.consumer = leaving = await backing_off(group=True)
    await reader.stop()
    assert leaving._client._sync_task is None


async def test_a_member_whose_coordination_failed_leaves_like_any_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """FastStream wraps it in a group."""

    async def fails() -> None:
        raise KafkaError

    reader = KafkaReader(NOWHERE, "g", ["t"], 10_000)
    reader._subscriber.consumer = leaving = consumer(group=True)
    monkeypatch.setattr(leaving._coordinator, "close", fails)
    await reader.stop()
    assert leaving._client._sync_task is None


async def took(work: Coroutine[Any, Any, None]) -> float:
    started = time.monotonic()
    await work
    return time.monotonic() - started


def deaf(until: asyncio.Event) -> Callable[[], Coroutine[Any, Any, None]]:
    """Swallows every cancellation."""

    async def stop() -> None:
        while not until.is_set():
            try:
                await until.wait()
            except asyncio.CancelledError:
                continue

    return stop


async def test_a_client_that_never_stops_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kafka, "FAREWELL", 0.1)
    monkeypatch.setattr(kafka_closing, "AT_ONCE", 0.1)
    over = asyncio.Event()
    stopping = consumer(group=False)
    monkeypatch.setattr(stopping, "stop", deaf(over))
    try:
        assert await took(stop_quietly(stopping)) < 2
        assert stopping._client._sync_task is None
    finally:
        stopping._closed = True
        over.set()
        await asyncio.sleep(0.01)
