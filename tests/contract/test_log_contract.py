"""Every sentence of the log ports, held by the log in memory and by Kafka."""

import asyncio
import time
from collections import Counter
from collections.abc import Collection

import pytest
from aiokafka.partitioner import murmur2 as kafka_murmur2
from hypothesis import given
from hypothesis import strategies as st

from shared.clock import MINUTE, wall_clock
from shared.processing.partitioner import murmur2, partition_of
from shared.processing.ports import FatalError, LogReader
from shared.processing.records import LARGEST_MESSAGE, Committed, Message, Record, TopicPartition
from tests.contract.log_worlds import KafkaWorld, LogWorld, Member, settle


def messages(topic: str, count: int, partition: int | None = None) -> list[Message]:
    return [Message(topic, b"key-%d" % (n % 7), b"value-%d" % n, partition=partition) for n in range(count)]


@given(st.binary(max_size=60))
def test_our_murmur2_is_kafkas(key: bytes) -> None:
    assert murmur2(key) == kafka_murmur2(key) & 0xFFFFFFFF
    assert partition_of(key, 12) == (kafka_murmur2(key) & 0x7FFFFFFF) % 12


async def test_published_messages_are_where_it_was_said(log_world: LogWorld) -> None:
    topic = await log_world.topic(3)
    sent = messages(topic, 50)
    places = await log_world.writer.publish(sent)
    assert [partition for partition, _ in places] == [partition_of(message.key, 3) for message in sent]
    member = await Member(log_world.reader(topic)).start()
    found = {(record.partition, record.offset): record for record in await member.fetch(50)}
    assert [(found[place].key, found[place].value) for place in places] == [(m.key, m.value) for m in sent]
    await member.reader.stop()


async def test_order_is_kept_per_partition_over_many_publishes(log_world: LogWorld) -> None:
    topic = await log_world.topic(2)
    everything = messages(topic, 400)
    for start in range(0, 400, 40):
        await log_world.writer.publish(everything[start : start + 40])
    member = await Member(log_world.reader(topic)).start()
    records = await member.fetch(400, limit=33)
    for number in range(2):
        mine = [record for record in records if record.partition == number]
        assert [record.offset for record in mine] == list(range(len(mine)))
        assert [r.value for r in mine] == [m.value for m in everything if partition_of(m.key, 2) == number]
    await member.reader.stop()


async def test_what_is_full_is_left_where_it_is(log_world: LogWorld) -> None:
    topic = await log_world.topic(2)
    zero, one = TopicPartition(topic, 0), TopicPartition(topic, 1)
    await log_world.writer.publish([*messages(topic, 30, 0), *messages(topic, 20, 1)])
    member = await Member(log_world.reader(topic)).start()
    first: list[Record] = []
    while len(first) < 20:
        first += (await member.reader.fetch(7, 0.2, frozenset({zero}))).records
    assert {record.partition for record in first} == {1}
    started = time.monotonic()
    assert (await member.reader.fetch(7, 0.2, frozenset({zero, one}))).records == []
    if isinstance(log_world, KafkaWorld):
        assert time.monotonic() - started >= 0.15, "it waits instead of asking again and again"
    assert [record.offset for record in await member.fetch(30)] == list(range(30))
    await member.reader.stop()


async def test_a_message_too_large_harms_nobody_else(log_world: LogWorld) -> None:
    topic = await log_world.topic(1)
    small = log_world.writer.publish(messages(topic, 3))
    large = log_world.writer.publish([*messages(topic, 1), Message(topic, b"k", b"x" * LARGEST_MESSAGE)])
    placed, refused = await asyncio.gather(small, large, return_exceptions=True)
    assert placed == [(0, 0), (0, 1), (0, 2)]
    assert isinstance(refused, FatalError)
    largest = Message(topic, None, b"x" * (LARGEST_MESSAGE - 4), (("name", b""),))
    assert await log_world.writer.publish([largest]) == [(0, 3)]


async def test_nothing_to_publish(log_world: LogWorld) -> None:
    assert await log_world.writer.publish([]) == []


async def test_empty_missing_and_odd_bytes_survive(log_world: LogWorld) -> None:
    topic = await log_world.topic(1)
    odd = (("a", b"1"), ("a", b""), ("名", b"\xff\xfe\x00"), ("", b"x"))
    sent = [Message(topic, b"k", None, odd), Message(topic, None, b"\xff\x00"), Message(topic, b"", b"", ())]
    assert await log_world.writer.publish(sent) == [(0, 0), (0, 1), (0, 2)]
    member = await Member(log_world.reader(topic)).start()
    records = await member.fetch(3)
    assert [(r.key, r.value, r.headers) for r in records] == [(m.key, m.value, m.headers) for m in sent]
    await member.reader.stop()


async def test_the_brokers_time_is_the_records(log_world: LogWorld) -> None:
    topic = await log_world.topic(1)
    await log_world.writer.publish(messages(topic, 1))
    record = (await log_world.scanner.read(TopicPartition(topic, 0), 0, 1, 1))[0]
    assert abs(record.timestamp - wall_clock()) < MINUTE
    assert record.source == TopicPartition(topic, 0)


async def test_a_fetch_keeps_its_limits(log_world: LogWorld) -> None:
    topic = await log_world.topic(2)
    await log_world.writer.publish(messages(topic, 100))
    member = await Member(log_world.reader(topic)).start()
    sizes = []
    while sum(sizes) < 100:
        sizes.append(len((await member.reader.fetch(9, 0.05)).records))
    assert max(sizes) == 9
    started = time.monotonic()
    assert (await member.reader.fetch(9, 0.2)).records == []
    assert time.monotonic() - started < 8, "it does not wait for a record, nor as long as a request may take"
    await member.reader.stop()


async def test_what_comes_while_a_fetch_waits_ends_the_wait(log_world: LogWorld) -> None:
    topic = await log_world.topic(1)
    member = await Member(log_world.reader(topic)).start()
    waiting = asyncio.create_task(member.fetch(1))
    await asyncio.sleep(0.1)
    await log_world.writer.publish(messages(topic, 1))
    assert len(await waiting) == 1
    await member.reader.stop()


async def test_positions_are_committed_with_their_texts_and_only_these(log_world: LogWorld) -> None:
    topic = await log_world.topic(2)
    zero, one = TopicPartition(topic, 0), TopicPartition(topic, 1)
    await log_world.writer.publish(messages(topic, 10, 0) + messages(topic, 10, 1))
    member = await Member(log_world.reader(topic)).start()
    await member.fetch(20)
    assert await member.reader.commit({zero: Committed(4, '{"time":17,"名":"x"}')})
    assert await member.reader.commit({})
    assert await member.reader.committed([zero, one]) == {zero: Committed(4, '{"time":17,"名":"x"}'), one: Committed(0)}
    await member.reader.stop()


async def test_what_was_not_committed_comes_again(log_world: LogWorld) -> None:
    topic = await log_world.topic(1)
    await log_world.writer.publish(messages(topic, 10))
    first = await Member(log_world.reader(topic)).start()
    await first.fetch(10)
    assert await first.reader.commit({TopicPartition(topic, 0): Committed(6)})
    await first.reader.stop()
    assert first.told == ["assigned", "revoked"]
    second = await Member(log_world.reader(topic)).start()
    assert [record.offset for record in await second.fetch(4)] == [6, 7, 8, 9]
    await second.reader.stop()


async def test_without_a_committed_position_nobody_begins_anywhere(log_world: LogWorld) -> None:
    topic = await log_world.topic(1, begun=False)
    with pytest.raises(FatalError, match="guanxi provision --repair"):
        await _start_and_fetch(log_world.reader(topic), TopicPartition(topic, 0))


@pytest.mark.parametrize("offset", [2, 11])
async def test_a_position_outside_the_log_stops_the_worker(log_world: LogWorld, offset: int) -> None:
    topic = await log_world.topic(1)
    place = TopicPartition(topic, 0)
    await log_world.writer.publish(messages(topic, 10))
    await log_world.truncate(place, 3)
    await log_world.begin(place, offset)
    with pytest.raises(FatalError, match="guanxi provision --repair"):
        await _start_and_fetch(log_world.reader(topic), place)


async def _start_and_fetch(reader: LogReader, place: TopicPartition) -> None:
    """Both ways to notice: what was committed is asked for, and records are."""

    async def nothing(_: Collection[TopicPartition]) -> None: ...

    try:
        await reader.start(nothing, nothing)
        with pytest.raises(FatalError, match="guanxi provision --repair"):
            await reader.committed([place])
        async with asyncio.timeout(60):
            while True:
                await reader.fetch(10, 0.05)
    finally:
        await reader.stop()


async def test_records_that_vanish_under_a_reader_stop_it(log_world: LogWorld) -> None:
    topic = await log_world.topic(1)
    place = TopicPartition(topic, 0)
    await log_world.writer.publish(messages(topic, 10))
    member = await Member(log_world.reader(topic)).start()
    await member.fetch(10)
    await log_world.truncate(place, 8)
    member.reader.seek(place, 2)
    with pytest.raises(FatalError, match="guanxi provision --repair"):
        await member.fetch(1)
    await member.reader.stop()


async def test_seek_goes_back_and_forth(log_world: LogWorld) -> None:
    topic = await log_world.topic(1)
    place = TopicPartition(topic, 0)
    await log_world.writer.publish(messages(topic, 10))
    member = await Member(log_world.reader(topic)).start()
    await member.fetch(5, limit=5)
    member.reader.seek(place, 1)
    assert [record.offset for record in await member.fetch(3, limit=3)] == [1, 2, 3]
    member.reader.seek(place, 8)
    assert [record.offset for record in await member.fetch(2)] == [8, 9]
    member.reader.seek(TopicPartition(topic, 5), 0)
    await member.reader.stop()


async def test_read_to_end_is_known_not_guessed(log_world: LogWorld) -> None:
    topic = await log_world.topic(2)
    full, empty = TopicPartition(topic, 0), TopicPartition(topic, 1)
    await log_world.writer.publish(messages(topic, 10, 0))
    member = await Member(log_world.reader(topic)).start()
    await member.reader.committed([full, empty])
    await member.fetch(4, limit=4)
    assert not member.reader.read_to_end(full)
    await member.fetch(6)
    await member.reads_to_end(full, empty)
    member.reader.seek(full, 9)
    assert not member.reader.read_to_end(full)
    assert not member.reader.read_to_end(TopicPartition(topic, 7))
    await member.reader.stop()
    assert not member.reader.read_to_end(full)


async def test_partitions_are_shared_by_number_and_told_in_turn(log_world: LogWorld) -> None:
    topics = [await log_world.topic(4), await log_world.topic(4)]
    first = await Member(log_world.reader(*topics)).start()
    await settle(first, partitions=8)
    before = first.reader.epoch()
    second = await asyncio.create_task(_joined_by(log_world.reader(*topics), first))
    await settle(first, second, partitions=8)
    for member in (first, second):
        numbers = [{place.partition for place in member.owned if place.topic == topic} for topic in topics]
        assert numbers[0] == numbers[1]
        assert len(numbers[0]) == 2
    assert not first.owned & second.owned
    assert first.told == ["assigned", "revoked", "assigned"]
    assert first.reader.epoch() >= before + 2
    await second.reader.stop()
    await settle(first, partitions=8)
    assert first.told == ["assigned", "revoked", "assigned", "revoked", "assigned"]
    await first.reader.stop()


async def _joined_by(reader: LogReader, *others: Member) -> Member:
    """Joining may need the others to give up first, so they go on fetching meanwhile."""
    joining = asyncio.create_task(Member(reader).start())
    async with asyncio.timeout(60):
        while not joining.done():
            for other in others:
                await other.reader.fetch(100, 0.05)
    return joining.result()


async def test_a_commit_for_a_partition_that_went_is_refused_and_changes_nothing(log_world: LogWorld) -> None:
    topic = await log_world.topic(2)
    first = await Member(log_world.reader(topic)).start()
    await settle(first, partitions=2)
    second = await _joined_by(log_world.reader(topic), first)
    await settle(first, second, partitions=2)
    (gone,), (kept,) = second.owned, first.owned
    assert not await first.reader.commit({gone: Committed(0, "mine"), kept: Committed(0, "mine")})
    assert await second.reader.committed([gone]) == {gone: Committed(0)}
    assert await first.reader.committed([kept]) == {kept: Committed(0)}
    assert await second.reader.commit({gone: Committed(0, "yours")})
    await first.reader.stop()
    await second.reader.stop()


async def test_a_member_whose_session_ended_commits_nothing_more(log_world: LogWorld) -> None:
    topic = await log_world.topic(1)
    place = TopicPartition(topic, 0)
    await log_world.writer.publish(messages(topic, 5))
    zombie = await Member(log_world.reader(topic)).start()
    await zombie.fetch(5)
    await log_world.silence(zombie.reader)
    heir = await Member(log_world.reader(topic)).start()
    assert [record.offset for record in await heir.fetch(5)] == [0, 1, 2, 3, 4]
    assert not await zombie.reader.commit({place: Committed(5, "zombie")})
    assert await heir.reader.committed([place]) == {place: Committed(0)}
    assert await heir.reader.commit({place: Committed(5, "heir")})
    await heir.reader.stop()
    await zombie.reader.stop()


class Applier:
    """The smallest engine: applies what is next of what it owns, commits it, and goes back where a rebalance crossed."""

    def __init__(self, reader: LogReader, applied: list[tuple[TopicPartition, int]]) -> None:
        self.reader = reader
        self._applied = applied
        self._next: dict[TopicPartition, int] = {}
        self._lock = asyncio.Lock()
        self._stopping = False

    async def run(self) -> None:
        await self.reader.start(self._assigned, self._revoked)
        while not self._stopping:
            fetched = await self.reader.fetch(50, 0.02)
            async with self._lock:
                await self._apply(fetched.records, fetched.epoch)
        await self.reader.stop()

    def stop(self) -> None:
        self._stopping = True

    async def _assigned(self, partitions: Collection[TopicPartition]) -> None:
        async with self._lock:
            committed = await self.reader.committed(partitions)
            self._next = {partition: at.offset for partition, at in committed.items()}

    async def _revoked(self, _: Collection[TopicPartition]) -> None:
        async with self._lock:
            self._next = {}

    async def _apply(self, records: list[Record], epoch: int) -> None:
        if epoch != self.reader.epoch():
            for place in {record.source for record in records} & self._next.keys():
                self.reader.seek(place, self._next[place])
            return
        for record in records:
            assert record.offset == self._next[record.source], "records were passed over"
            self._next[record.source] += 1
            self._applied.append((record.source, record.offset))
            await asyncio.sleep(0)
        await self.reader.commit({place: Committed(self._next[place]) for place in {r.source for r in records}})


ENOUGH = 500
"""Records without which a load was none."""


async def test_joins_and_leaves_under_load_pass_nothing_over(log_world: LogWorld) -> None:
    topics = [await log_world.topic(4), await log_world.topic(4)]
    applied: list[tuple[TopicPartition, int]] = []
    sent: list[tuple[TopicPartition, int]] = []
    publishing = asyncio.create_task(_publish_on(log_world, topics, sent))
    steady = Applier(log_world.reader(*topics), applied)
    running = [asyncio.create_task(steady.run())]
    for _ in range(3):
        guest = Applier(log_world.reader(*topics), applied)
        running.append(asyncio.create_task(guest.run()))
        await asyncio.sleep(2.5)
        guest.stop()
        await running[-1]
    async with asyncio.timeout(60):
        while len(sent) <= ENOUGH:  # noqa: ASYNC110  # nobody says when a test's list has grown
            await asyncio.sleep(0.1)
    publishing.cancel()
    await asyncio.gather(publishing, return_exceptions=True)
    async with asyncio.timeout(60):
        while set(sent) - set(applied):  # noqa: ASYNC110
            await asyncio.sleep(0.1)
    steady.stop()
    await asyncio.gather(*running)
    assert max(Counter(applied).values()) == 1, "a member that gave up in order leaves nothing to do again"
    for place in {place for place, _ in applied}:
        offsets = [offset for at, offset in applied if at == place]
        assert offsets == sorted(offsets)


async def _publish_on(log_world: LogWorld, topics: list[str], sent: list[tuple[TopicPartition, int]]) -> None:
    while True:
        for topic in topics:
            places = await log_world.writer.publish(messages(topic, 7))
            sent += [(TopicPartition(topic, partition), offset) for partition, offset in places]
        await asyncio.sleep(0.01)


async def test_the_range_of_a_topic(log_world: LogWorld) -> None:
    topic = await log_world.topic(2)
    zero, one = TopicPartition(topic, 0), TopicPartition(topic, 1)
    await log_world.writer.publish(messages(topic, 10, 0))
    assert await log_world.scanner.range(topic) == {zero: (0, 10), one: (0, 0)}
    await log_world.truncate(zero, 4)
    assert await log_world.scanner.range(topic) == {zero: (4, 10), one: (0, 0)}


async def test_scanning_reads_half_open_ranges_in_pieces(log_world: LogWorld) -> None:
    topic = await log_world.topic(2)
    zero, one = TopicPartition(topic, 0), TopicPartition(topic, 1)
    await log_world.writer.publish(messages(topic, 300, 0) + messages(topic, 20, 1))
    read = log_world.scanner.read
    assert [record.offset for record in await read(zero, 3, 5, 100)] == [3, 4]
    assert [record.offset for record in await read(one, 19, 100, 100)] == [19]
    assert len(await read(zero, 0, 300, 7)) <= 7
    assert await read(zero, 5, 5, 10) == []
    assert await read(zero, 300, 400, 10) == []
    found: list[Record] = []
    while piece := await read(zero, len(found), 250, 100):
        found += piece
    assert [record.value for record in found] == [b"value-%d" % n for n in range(250)]


async def test_scanning_sees_what_came_meanwhile_and_not_what_went(log_world: LogWorld) -> None:
    topic = await log_world.topic(1)
    zero = TopicPartition(topic, 0)
    await log_world.writer.publish(messages(topic, 3))
    assert len(await log_world.scanner.read(zero, 0, 99, 99)) == 3
    await log_world.writer.publish(messages(topic, 5))
    assert [record.offset for record in await log_world.scanner.read(zero, 3, 99, 99)] == [3, 4, 5, 6, 7]
    await log_world.truncate(zero, 6)
    assert [record.offset for record in await log_world.scanner.read(zero, 2, 99, 99)] == [6, 7]


async def test_scanning_a_topic_that_is_not_there(log_world: LogWorld) -> None:
    async with asyncio.timeout(25):
        with pytest.raises(FatalError, match="guanxi provision"):
            await log_world.scanner.range("no-such-topic")
