"""What only a real Kafka can show: outages, killed brokers, lost sequences, records that no client can read."""

import asyncio
import itertools
import time
from collections.abc import Collection

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka import TopicPartition as Place
from aiokafka.record.default_records import _DefaultRecordBatchBuilderPy

from shared.processing import kafka, kafka_writer
from shared.processing.kafka import (
    KafkaConnection,
    KafkaLag,
    check_partitions,
    group_members,
    group_positions,
    partitions_of,
)
from shared.processing.kafka_reader import KafkaReader
from shared.processing.kafka_writer import KafkaWriter
from shared.processing.ports import FatalError, LogReader, TransientError
from shared.processing.records import Committed, Message, TopicPartition
from tests.contract.log_worlds import KafkaWorld, Member
from tests.support.servers import Server

pytestmark = pytest.mark.real


async def values(world: KafkaWorld, topic: str) -> list[int]:
    place = TopicPartition(topic, 0)
    found: list[int] = []
    position, end = (await world.scanner.range(topic))[place]
    while position < end:
        records = await world.scanner.read(place, position, end, 5_000)
        found += [int(record.value or b"") for record in records]
        position = records[-1].offset + 1
    return found


def numbered(topic: str, numbers: range) -> list[Message]:
    return [Message(topic, b"k", b"%d" % number, partition=0) for number in numbers]


async def test_a_broker_that_freezes_costs_time_and_nothing_else(kafka_world: KafkaWorld, kafka_server: Server) -> None:
    topic = await kafka_world.topic(1)
    await kafka_world.writer.publish(numbered(topic, range(10)))
    kafka_server.pause()
    try:
        publishing = asyncio.create_task(kafka_world.writer.publish(numbered(topic, range(10, 500))))
        await asyncio.sleep(2)
        assert not publishing.done()
    finally:
        kafka_server.resume()
    assert await publishing == [(0, offset) for offset in range(10, 500)]
    assert await values(kafka_world, topic) == list(range(500))


async def test_order_holds_over_a_broker_that_is_killed(kafka_world: KafkaWorld, kafka_server: Server) -> None:
    topic = await kafka_world.topic(1)
    numbers = itertools.count()
    acknowledged: list[int] = []
    killed = asyncio.Event()

    async def publish() -> None:
        while not killed.is_set() or len(acknowledged) < 400:
            some = [next(numbers) for _ in range(20)]
            await kafka_world.writer.publish([Message(topic, b"k", b"%d" % n, partition=0) for n in some])
            acknowledged.extend(some)

    publishing = asyncio.create_task(publish())
    await asyncio.sleep(0.3)
    await asyncio.to_thread(kafka_server.kill)
    await asyncio.to_thread(kafka_server.restart)
    killed.set()
    await publishing
    found = await values(kafka_world, topic)
    first_seen = list(dict.fromkeys(found))
    assert first_seen == sorted(first_seen), "a later one came before an earlier one"
    assert set(acknowledged) <= set(found)


async def test_a_lost_sequence_costs_a_new_producer_not_a_restart(kafka_world: KafkaWorld) -> None:
    """aiokafka's producer is dead for good after OutOfOrderSequenceNumber."""
    topic = await kafka_world.topic(2)
    await kafka_world.writer.publish(numbered(topic, range(5)))
    lifetime = await kafka_world.writer.lifetime()
    lifetime.producer._txn_manager.increment_sequence_number(Place(topic, 0), 7)
    assert await kafka_world.writer.publish(numbered(topic, range(5, 9))) == [(0, offset) for offset in range(5, 9)]
    assert await kafka_world.writer.lifetime() is not lifetime
    assert await values(kafka_world, topic) == list(range(9))


async def test_patience_ends_and_what_was_given_up_can_be_sent_again(
    kafka_world: KafkaWorld, kafka_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    topic = await kafka_world.topic(1)
    await kafka_world.writer.publish(numbered(topic, range(5)))
    monkeypatch.setattr(kafka_writer, "PATIENCE", 1.5)
    kafka_server.pause()
    try:
        started = time.monotonic()
        with pytest.raises(TransientError):
            await kafka_world.writer.publish(numbered(topic, range(5, 10)))
        assert 1 < time.monotonic() - started < kafka.PATIENCE - 5, "its own patience, not that of all other calls"
    finally:
        kafka_server.resume()
    monkeypatch.undo()
    await kafka_world.writer.publish(numbered(topic, range(5, 10)))
    found = await values(kafka_world, topic)
    assert list(dict.fromkeys(found)) == list(range(10))


async def test_concurrent_publishers_share_batches_and_keep_their_own_order(kafka_world: KafkaWorld) -> None:
    topic = await kafka_world.topic(1)
    calls = [kafka_world.writer.publish(numbered(topic, range(n, n + 3))) for n in range(0, 300, 3)]
    places = await asyncio.gather(*calls)
    assert sorted(offset for call in places for _, offset in call) == list(range(300))
    found = await values(kafka_world, topic)
    for n, call in zip(range(0, 300, 3), places, strict=True):
        assert [found[offset] for _, offset in call] == [n, n + 1, n + 2]


async def test_large_publishes_go_in_several_batches(kafka_world: KafkaWorld) -> None:
    topic = await kafka_world.topic(1)
    sent = [Message(topic, b"k", b"%06d" % n + b"x" * 20_000, partition=0) for n in range(100)]
    assert await kafka_world.writer.publish(sent) == [(0, n) for n in range(100)]
    place = TopicPartition(topic, 0)
    found: list[bytes | None] = []
    while len(found) < 100:
        found += [record.value for record in await kafka_world.scanner.read(place, len(found), 100, 100)]
    assert found == [message.value for message in sent]


async def fetch_on(reader: LogReader) -> None:
    for _ in range(5):
        await reader.fetch(100, 2.0)


async def test_a_takeover_that_failed_for_a_moment_is_no_lost_position(kafka_world: KafkaWorld) -> None:
    """Nobody has said where to begin, so the poll finds no position: intake ended when Kafka had been held still."""
    topic = await kafka_world.topic(3, begun=False)
    await kafka_world.writer.publish(numbered(topic, range(30)))
    reader = kafka_world.reader(topic)

    async def assigned(_partitions: Collection[TopicPartition]) -> None:
        raise TransientError("its coordinator is not ready")

    async def revoked(_partitions: Collection[TopicPartition]) -> None:
        pass

    await reader.start(assigned, revoked)
    try:
        with pytest.raises(TransientError, match="not ready"):
            await fetch_on(reader)
    finally:
        await reader.stop()


async def test_a_position_that_was_missing_only_for_a_moment_is_none_lost(kafka_world: KafkaWorld) -> None:
    """aiokafka takes a coordinator that is not ready for one that knows nothing; our own question is answered a little
    later. Intake ended when Kafka had been held still for longer than its session."""
    topic = await kafka_world.topic(1, begun=False)
    await kafka_world.writer.publish(numbered(topic, range(30)))
    reader = kafka_world.reader(topic)

    async def assigned(partitions: Collection[TopicPartition]) -> None:
        await asyncio.sleep(1)
        for partition in partitions:
            reader.seek(partition, 5)

    await reader.start(assigned, _nothing)
    found: list[int] = []
    try:
        async with asyncio.timeout(20):
            while len(found) < 25:
                found += [int(record.value or b"") for record in (await reader.fetch(10, 0.1)).records]
    finally:
        await reader.stop()
    assert found == list(range(5, 30))


async def test_a_single_message_is_sent_at_once(kafka_world: KafkaWorld) -> None:
    topic = await kafka_world.topic(1)
    member = await Member(kafka_world.reader(topic)).start()
    took = []
    for number in range(30):
        started = time.monotonic()
        await kafka_world.writer.publish(numbered(topic, range(number, number + 1)))
        await member.fetch(1)
        took.append(time.monotonic() - started)
    assert sorted(took)[15] < 0.05
    await member.reader.stop()


async def test_a_partition_count_other_than_the_catalogues_is_refused(kafka_world: KafkaWorld) -> None:
    topic = await kafka_world.topic(3)
    await check_partitions(kafka_world.connection, {topic: 3})
    assert await partitions_of(kafka_world.connection, [topic, "missing"]) == {topic: 3, "missing": 0}
    with pytest.raises(FatalError, match="has 3, not 4"):
        await check_partitions(kafka_world.connection, {topic: 4})
    with pytest.raises(FatalError, match="guanxi provision"):
        await check_partitions(kafka_world.connection, {topic: 3, "missing": 1})


async def test_lag_and_positions_are_seen_from_outside(kafka_world: KafkaWorld) -> None:
    topic = await kafka_world.topic(2)
    zero, one = TopicPartition(topic, 0), TopicPartition(topic, 1)
    await kafka_world.writer.publish(numbered(topic, range(4)))
    lag = KafkaLag(kafka_world.connection)
    assert await lag.ends([zero, one]) == {zero: 4, one: 0}
    await kafka_world.writer.publish(numbered(topic, range(4, 6)))
    assert await lag.ends([zero]) == {zero: 6}
    await lag.stop()
    other = TopicPartition(await kafka_world.topic(1, begun=False), 0)
    found = await group_positions(kafka_world.connection, kafka_world.group, [zero, other])
    assert found == {zero: Committed(0)}


async def test_the_group_itself_says_how_many_are_in_it(kafka_world: KafkaWorld) -> None:
    topic = await kafka_world.topic(1)
    assert await group_members(kafka_world.connection, kafka_world.group) == 0
    member = await Member(kafka_world.reader(topic)).start()
    await member.reader.fetch(1, 0.1)
    assert await group_members(kafka_world.connection, kafka_world.group) == 1
    await member.reader.stop()
    assert await group_members(kafka_world.connection, kafka_world.group) == 0


async def test_trouble_that_passes_in_a_rebalance_is_none_that_stays(kafka_world: KafkaWorld) -> None:
    reader = kafka_world.reader(await kafka_world.topic(1))

    async def fails(_: object) -> None:
        raise TransientError("its coordinator is not ready")

    await reader.start(fails, _nothing)
    with pytest.raises(TransientError, match="not ready"):
        await reader.fetch(1, 0.1)
    await reader.stop()


class NoText(str):
    """A header name as only a hand-made client can write it."""

    __slots__ = ()

    def encode(self, *_: object) -> bytes:
        return b"\xff"


async def test_a_record_that_no_client_can_read_stops_loudly(kafka_world: KafkaWorld) -> None:
    topic = await kafka_world.topic(1)
    await kafka_world.writer.publish(numbered(topic, range(3)))
    producer = AIOKafkaProducer(bootstrap_servers=kafka_world.connection.bootstrap)
    await producer.start()
    batch = producer.create_batch()
    batch._builder = _DefaultRecordBatchBuilderPy(2, 0, False, -1, -1, 0, 10_000)
    batch.append(timestamp=None, key=b"k", value=b"3", headers=[(NoText("x"), b"x")])
    await (await producer.send_batch(batch, topic, partition=0))
    await producer.stop()
    member = await Member(kafka_world.reader(topic)).start()
    with pytest.raises(FatalError, match=r"no client can read \(UnicodeDecodeError\)$"):
        await member.fetch(4)
    await member.reader.stop()


async def test_a_listener_that_fails_stops_the_worker(kafka_world: KafkaWorld) -> None:
    """aiokafka itself would log it and go on."""
    topic = await kafka_world.topic(1)
    reader = kafka_world.reader(topic)

    async def fails(_: object) -> None:
        raise RuntimeError("split")

    await reader.start(fails, _nothing)
    with pytest.raises(FatalError, match="split"):
        await reader.fetch(1, 0.1)
    await reader.stop()


async def _nothing(_: object) -> None: ...


async def test_nobody_at_that_address(monkeypatch: pytest.MonkeyPatch) -> None:
    nowhere = KafkaConnection("127.0.0.1:1")
    with pytest.raises(TransientError):
        await KafkaWriter(nowhere).start()
    reader = KafkaReader(nowhere, "group", ["topic"], 6_000)
    with pytest.raises(TransientError):
        await reader.start(_nothing, _nothing)
    await reader.stop()
    monkeypatch.setattr(kafka, "PATIENCE", 0.5)
    with pytest.raises(TransientError):
        await check_partitions(nowhere, {"topic": 1})


async def test_a_silent_broker_is_no_end_of_the_log(kafka_world: KafkaWorld, kafka_server: Server) -> None:
    topic = await kafka_world.topic(1)
    place = TopicPartition(topic, 0)
    member = await Member(kafka_world.reader(topic)).start()
    await member.reader.committed([place])
    await member.reads_to_end(place)
    kafka_server.pause()
    try:
        started = time.monotonic()
        await member.reader.fetch(10, 1.2)
        assert time.monotonic() - started < 8, "not as long as a request may take"
        assert not member.reader.read_to_end(place)
    finally:
        kafka_server.resume()
    await kafka_world.writer.publish(numbered(topic, range(3)))
    assert len(await member.fetch(3)) == 3
    await member.reader.stop()


async def test_a_member_goes_on_after_its_broker_was_killed(kafka_world: KafkaWorld, kafka_server: Server) -> None:
    topic = await kafka_world.topic(1)
    place = TopicPartition(topic, 0)
    await kafka_world.writer.publish(numbered(topic, range(5)))
    member = await Member(kafka_world.reader(topic)).start()
    await member.fetch(5)
    assert await member.reader.commit({place: Committed(5)})
    await asyncio.to_thread(kafka_server.kill)
    await asyncio.to_thread(kafka_server.restart)
    await kafka_world.writer.publish(numbered(topic, range(5, 9)))
    seen: list[int] = []
    async with asyncio.timeout(120):
        while 8 not in seen:
            try:
                seen += [record.offset for record in (await member.reader.fetch(10, 0.2)).records]
            except TransientError:
                await asyncio.sleep(0.2)
    assert list(dict.fromkeys(seen)) == [5, 6, 7, 8], "from what was committed, whatever the rebalance made of it"
    async with asyncio.timeout(120):
        while not await _commits(member, place, 9):
            await member.reader.fetch(10, 0.2)
    assert (await member.reader.committed([place]))[place].offset == 9
    await member.reader.stop()


async def _commits(member: Member, place: TopicPartition, offset: int) -> bool:
    try:
        return await member.reader.commit({place: Committed(offset)})
    except TransientError:
        return False
