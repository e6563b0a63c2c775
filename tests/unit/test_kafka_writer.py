"""Publishing keeps its promise of time, and ends, while the broker says nothing at all."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.client import AIOKafkaClient
from aiokafka.conn import READER_LIMIT, AIOKafkaConnection, AIOKafkaProtocol, CloseReason

from shared.processing import kafka_writer
from shared.processing.kafka_writer import KafkaWriter, Lifetime
from shared.processing.ports import TransientError
from shared.processing.records import Message

MORE_THAN_KERNELS_HOLD = 8_000_000
LANES = 6


@pytest.fixture
def silent() -> Iterator[tuple[str, int]]:
    """Where connections are accepted and nothing is ever read."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        yield listening.getsockname()


@pytest.fixture
async def stuck(silent: tuple[str, int]) -> AsyncIterator[AIOKafkaClient]:
    """Has written a request of which only a part has gone."""
    client = AIOKafkaClient(bootstrap_servers="127.0.0.1:1")
    client._conns[1, 0] = connection = await connected(*silent)
    connection._writer.write(b"x" * MORE_THAN_KERNELS_HOLD)
    transport = connection._writer.transport
    await asyncio.sleep(0.1)
    assert transport.get_write_buffer_size()
    yield client
    transport.abort()


async def connected(host: str, port: int) -> AIOKafkaConnection:
    """As aiokafka connects, without its first question."""
    connection, loop = AIOKafkaConnection(host, port), asyncio.get_running_loop()
    connection._closed_fut = loop.create_future()
    reader = asyncio.StreamReader(limit=READER_LIMIT, loop=loop)
    protocol = AIOKafkaProtocol(connection._closed_fut, reader, loop=loop)
    transport, _ = await loop.create_connection(lambda: protocol, host, port)
    writer = asyncio.StreamWriter(transport, protocol, reader, loop)
    connection._reader, connection._writer, connection._protocol = reader, writer, protocol
    connection._read_task = connection._create_reader_task()
    return connection


class Producer:
    """With a sender that waits for an answer, over connections that are given."""

    def __init__(self, client: AIOKafkaClient) -> None:
        self.client = client
        self._closed = False
        self._sender = SimpleNamespace(sender_task=asyncio.create_task(asyncio.sleep(1_000)))

    async def stop(self) -> None:
        await asyncio.sleep(1_000)


async def ends_within(seconds: float, work: Any) -> bool:
    task = asyncio.create_task(work)
    done, _ = await asyncio.wait({task}, timeout=seconds)
    task.cancel()
    return bool(done)


async def test_a_producer_ends_while_a_request_is_half_sent(stuck: AIOKafkaClient) -> None:
    producer: Any = Producer(stuck)
    assert await ends_within(3, Lifetime(producer).end())
    assert producer._sender.sender_task.cancelled()


async def test_a_producer_ends_whose_connection_already_closes(stuck: AIOKafkaClient) -> None:
    """aiokafka closes one whose request took too long; closing still waits until everything is sent."""
    (connection,) = stuck._conns.values()
    connection.close(CloseReason.CONNECTION_TIMEOUT)
    producer: Any = Producer(stuck)
    assert await ends_within(0.9, Lifetime(producer).end())
    assert connection._closed_fut.done()


async def test_a_writer_stops_while_a_request_is_half_sent(
    stuck: AIOKafkaClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kafka_writer, "FAREWELL", 0.1)
    writer = KafkaWriter(None)  # type: ignore[arg-type]
    producer: Any = Producer(stuck)
    writer._lifetime = Lifetime(producer)
    assert await ends_within(3, writer.stop())
    assert producer._sender.sender_task.cancelled()


async def test_a_writer_stops_though_a_lane_never_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kafka_writer, "PATIENCE", 0.1)
    writer = KafkaWriter(None)  # type: ignore[arg-type]
    lane: Any = SimpleNamespace(task=asyncio.create_task(asyncio.sleep(1_000)))
    writer._lanes["t"] = lane  # type: ignore[index]
    assert await ends_within(2, writer.stop())
    lane.task.cancel()


class Nobody:
    """A connection whose producers wait for an answer when they start."""

    def producer(self) -> Any:
        return SimpleNamespace(start=self.start, stop=self.stop)

    async def start(self) -> None:
        await asyncio.sleep(1_000)

    async def stop(self) -> None: ...


async def test_patience_is_one_for_all_partitions(monkeypatch: pytest.MonkeyPatch) -> None:
    """They build their producer one after the other."""
    monkeypatch.setattr(kafka_writer, "PATIENCE", 0.3)
    monkeypatch.setattr("shared.processing.kafka.PATIENCE", 0.3)
    writer = KafkaWriter(Nobody())  # type: ignore[arg-type]
    writer._counts["t"] = LANES
    started = time.monotonic()
    with pytest.raises(TransientError):
        await writer.publish([Message("t", b"k", b"v", partition=number) for number in range(LANES)])
    assert time.monotonic() - started < 0.3 * 3


async def test_patience_is_one_for_all_topics(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kafka_writer, "PATIENCE", 0.3)
    monkeypatch.setattr("shared.processing.kafka.PATIENCE", 0.3)
    writer = KafkaWriter(Nobody())  # type: ignore[arg-type]
    calls = [writer.publish([Message(f"t{number}", b"k", b"v")]) for number in range(LANES)]
    started = time.monotonic()
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert {type(outcome) for outcome in outcomes} == {TransientError}
    assert time.monotonic() - started < 0.3 * 3
