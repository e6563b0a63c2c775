"""Following a log beside the engine: what took effect is committed, everything else comes again."""

import asyncio
import random
from collections.abc import Collection, Mapping, Sequence

from shared.clock import wall_clock
from shared.processing.follower import Follower, Seat
from shared.processing.memory import MemoryLog, MemoryReader
from shared.processing.ports import TransientError
from shared.processing.records import Committed, Message, Record, TopicPartition
from shared.processing.retry import Retry

PLACES = [TopicPartition("t", number) for number in range(2)]


async def no_sleep(_seconds: float) -> None:
    return


class Listening:
    """Notes what it is given. `failing`: how often taking fails before it succeeds."""

    def __init__(self) -> None:
        self.taken: list[tuple[int, int]] = []
        self.begun = 0
        self.failing = 0
        self.holding: dict[TopicPartition, int] = {}
        self.rewind_to: dict[TopicPartition, int] = {}

    def begin(self) -> None:
        self.begun += 1

    async def take(self, records: Sequence[Record]) -> None:
        if self.failing:
            self.failing -= 1
            raise TransientError("the store does not answer")
        self.taken += [(record.partition, record.offset) for record in records]

    async def turn(self, seat: Seat) -> None:
        if self.rewind_to:
            assert await seat.rewind(self.rewind_to)
            self.rewind_to = {}

    def held(self) -> Mapping[TopicPartition, int]:
        return self.holding


class Member:
    def __init__(self, log: MemoryLog, name: str) -> None:
        self.listening = Listening()
        self.reader = MemoryReader(log, "g", ["t"], name)
        retry = Retry(no_sleep, wall_clock, random.Random(1))
        self.follower = Follower(lambda: self.reader, self.listening, retry, lambda: False, no_sleep)

    async def steps(self, count: int = 6) -> None:
        for _ in range(count):
            await self.follower.step()


def a_log(records: int) -> MemoryLog:
    log = MemoryLog({"t": 2}, wall_clock)
    log.group("g").offsets.update(dict.fromkeys(PLACES, Committed(0)))
    for number in range(records):
        log.append(Message("t", b"k", b"%d" % number, partition=number % 2))
    return log


def committed(log: MemoryLog) -> list[int]:
    return [log.group("g").offsets[place].offset for place in PLACES]


async def test_what_was_taken_is_committed_and_nothing_comes_twice() -> None:
    log = a_log(10)
    first = Member(log, "a")
    await first.follower.start()
    await first.steps()
    await first.reader.stop()
    assert committed(log) == [5, 5], "giving partitions up commits"
    second = Member(log, "b")
    await second.follower.start()
    log.append(Message("t", b"k", b"", partition=1))
    await second.steps()
    assert sorted(first.listening.taken) == [(p, o) for p in range(2) for o in range(5)]
    assert second.listening.taken == [(1, 5)]


async def test_a_store_that_does_not_answer_is_asked_again_and_nothing_is_lost() -> None:
    member = Member(a_log(4), "a")
    await member.follower.start()
    member.listening.failing = 3
    await member.steps()
    assert sorted(member.listening.taken) == [(0, 0), (0, 1), (1, 0), (1, 1)]


async def test_what_is_held_is_not_committed_until_it_is_let_go() -> None:
    log = a_log(10)
    member = Member(log, "a")
    await member.follower.start()
    member.listening.holding = {PLACES[1]: 2}
    await member.steps()
    await member.follower.commit()
    assert committed(log) == [5, 2]
    member.listening.holding = {}
    await member.follower.commit()
    assert committed(log) == [5, 5]


async def test_a_rewind_is_committed_first_and_reads_again() -> None:
    log = a_log(6)
    member = Member(log, "a")
    await member.follower.start()
    await member.steps()
    await member.follower.commit()
    member.listening.taken.clear()
    member.listening.rewind_to = {PLACES[0]: 1}
    await member.follower.step()
    assert committed(log) == [1, 3]
    await member.steps()
    assert member.listening.taken == [(0, 1), (0, 2)]


async def test_a_newcomer_takes_partitions_over_where_the_first_stands() -> None:
    log = a_log(8)
    first, second = Member(log, "a"), Member(log, "b")
    await first.follower.start()
    await first.steps()
    await second.follower.start()
    for _ in range(4):
        await first.steps(1)
        await second.steps(1)
    assert first.listening.begun >= 2, "what it held in memory was void"
    for number in range(2):
        log.append(Message("t", b"k", b"", partition=number))
    await first.steps()
    await second.steps()
    assert sorted(first.listening.taken + second.listening.taken) == [(p, o) for p in range(2) for o in range(5)]
    assert {len(first.follower.owned), len(second.follower.owned)} == {1}


async def test_what_was_fetched_across_a_rebalance_is_fetched_again() -> None:
    """A poll that began before it may hand out records from behind it: by then the client's position has moved on."""
    log = a_log(0)
    member = Member(log, "a")

    async def a_rebalance_meanwhile(_seconds: float) -> None:
        if not log.end(PLACES[0]):
            other = MemoryReader(log, "g", ["t"], "b")
            await other.start(nothing_done, nothing_done)
            await member.reader.heartbeat()
            await other.stop()
            await member.reader.heartbeat()
            log.append(Message("t", b"k", b"", partition=0))
            log.append(Message("t", b"k", b"", partition=0))

    member.reader = MemoryReader(log, "g", ["t"], "a", a_rebalance_meanwhile)
    await member.follower.start()
    await member.steps()
    assert member.listening.taken == [(0, 0), (0, 1)]


async def nothing_done(_partitions: Collection[TopicPartition]) -> None:
    return


class Waits(MemoryReader):
    """Kafka answers no commit any more."""

    async def commit(self, positions: Mapping[TopicPartition, Committed]) -> bool:
        raise TransientError("kafka does not answer")


async def test_who_is_told_to_go_while_kafka_is_away_goes() -> None:
    """Its last commit fails: that is no reason to follow again."""
    log, listening = a_log(10), Listening()
    retry = Retry(asyncio.sleep, wall_clock, random.Random(1))
    follower = Follower(lambda: Waits(log, "g", ["t"], "a"), listening, retry, lambda: False, asyncio.sleep)
    following = asyncio.create_task(follower.run())
    while not listening.taken:  # noqa: ASYNC110 - a list tells nobody
        await asyncio.sleep(0.01)
    following.cancel()
    await asyncio.wait({following}, timeout=5)
    assert following.cancelled()
