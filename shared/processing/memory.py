"""A log in memory, with the semantics of Kafka and without chance: tests and the simulation drive it."""

from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from itertools import islice

from shared.clock import Clock, Instant
from shared.processing.memory_group import Group
from shared.processing.partitioner import partition_of
from shared.processing.ports import Assigned, FatalError, Revoked, Sleeper, TransientError, refuse_too_large
from shared.processing.records import Committed, Fetched, Message, Record, TopicPartition


class MemoryLog:
    """Topics and groups. `clock` gives the append time; it may run backwards, as a broker's may."""

    def __init__(self, topics: Mapping[str, int], clock: Clock) -> None:
        self._topics: dict[str, int] = {}
        self._records: dict[TopicPartition, list[Record]] = {}
        self._first: dict[TopicPartition, int] = {}
        self._groups: dict[str, Group] = {}
        self._clock = clock
        for topic, partitions in topics.items():
            self.add_topic(topic, partitions)

    def add_topic(self, topic: str, partitions: int) -> None:
        self._topics[topic] = partitions
        for number in range(partitions):
            self._records[TopicPartition(topic, number)] = []
            self._first[TopicPartition(topic, number)] = 0

    def partitions_of(self, topic: str) -> int:
        """FatalError for a topic that is not there."""
        if topic not in self._topics:
            raise FatalError(f"Topic {topic} is missing; `guanxi provision` makes it")
        return self._topics[topic]

    def group(self, name: str) -> Group:
        return self._groups.setdefault(name, Group(self.partitions_of))

    def append(self, message: Message) -> tuple[int, int]:
        count = self.partitions_of(message.topic)
        number = partition_of(message.key, count) if message.partition is None else message.partition
        place = TopicPartition(message.topic, number)
        offset = self.end(place)
        record = Record(*self._place(place, offset), message.key, message.value, message.headers)
        self._records[place].append(record)
        return number, offset

    def _place(self, place: TopicPartition, offset: int) -> tuple[str, int, int, Instant]:
        return place.topic, place.partition, offset, self._clock()

    def first(self, partition: TopicPartition) -> int:
        return self._first[partition]

    def end(self, partition: TopicPartition) -> int:
        return self._first[partition] + len(self._records[partition])

    def read(self, partition: TopicPartition, start: int, limit: int) -> list[Record]:
        skipped = max(start - self._first[partition], 0)
        return list(islice(self._records[partition], skipped, skipped + limit))

    def truncate(self, partition: TopicPartition, before: int) -> None:
        """What retention does: records below `before` are gone for good."""
        del self._records[partition][: before - self._first[partition]]
        self._first[partition] = before


class MemoryReader:
    """One member. It learns of a rebalance in `start`, `fetch` and `heartbeat`; a simulation calls the last at any time.

    `deaf` makes a zombie: it hears nothing of the group, goes on fetching what it believes it owns, and its commits are
    refused once `expire` has dropped it.
    """

    def __init__(
        self, log: MemoryLog, group: str, topics: Sequence[str], member: str, sleeper: Sleeper | None = None
    ) -> None:
        self.deaf = False
        self.member = member
        self._log = log
        self._group = log.group(group)
        self._topics = tuple(topics)
        self._sleeper = sleeper
        self._positions: dict[TopicPartition, int] = {}
        self._ends: dict[TopicPartition, int] = {}
        self._generation = 0
        self._epoch = 0
        self._turn = 0
        self._coordinating = True

    async def start(self, assigned: Assigned, revoked: Revoked) -> None:
        self._assigned, self._revoked = assigned, revoked
        self._coordinating = False
        self._group.join(self.member, self._topics)
        await self.heartbeat()

    async def stop(self) -> None:
        self._coordinating = True
        with suppress(TransientError):
            await self._give_up()
        self._group.leave(self.member)

    def expire(self) -> None:
        """The group drops the member, as it does when nothing was heard of it for a session's time."""
        self._group.leave(self.member)

    async def heartbeat(self) -> None:
        """What Kafka's client does in the background: gives partitions up, joins again, takes what it is given."""
        if self.deaf or self._coordinating:
            return
        self._coordinating = True
        try:
            if self._group.must_rejoin(self.member, self._generation):
                await self._give_up()
                self._group.join(self.member, self._topics)
            await self._take()
        finally:
            self._coordinating = False

    async def _give_up(self) -> None:
        gone = tuple(self._positions)
        self._epoch += 1
        if gone:
            await self._revoked(gone)
        self._positions, self._ends = {}, {}

    async def _take(self) -> None:
        assignment = self._group.assignment(self.member)
        if assignment is None or self._generation == self._group.generation:
            return
        self._generation = self._group.generation
        self._epoch += 1
        committed = await self.committed(assignment)
        self._positions = {partition: position.offset for partition, position in committed.items()}
        self._ends = {}
        await self._assigned(assignment)

    async def fetch(self, limit: int, wait: float, full: frozenset[TopicPartition] = frozenset()) -> Fetched:
        await self.heartbeat()
        fetched = Fetched(self._take_records(limit, full), self._epoch)
        if not fetched.records and self._sleeper is not None:
            await self._sleeper(wait)
            fetched.records = self._take_records(limit, full)
        return fetched

    def _take_records(self, limit: int, full: frozenset[TopicPartition]) -> list[Record]:
        """Partition after partition, another one first each time: Kafka's fetches are mostly of one partition, too."""
        records: list[Record] = []
        for partition in self._in_turn():
            if partition in full:
                continue
            self._refuse_out_of_range(partition, self._positions[partition])
            found = self._log.read(partition, self._positions[partition], limit - len(records))
            self._positions[partition] += len(found)
            self._ends[partition] = self._log.end(partition)
            records += found
        return records

    def _in_turn(self) -> list[TopicPartition]:
        owned = list(self._positions)
        self._turn += 1
        start = self._turn % len(owned) if owned else 0
        return owned[start:] + owned[:start]

    async def committed(self, partitions: Collection[TopicPartition]) -> dict[TopicPartition, Committed]:
        missing = [p for p in partitions if p not in self._group.offsets]
        if missing:
            raise FatalError(f"No position is committed for {missing}; `guanxi provision --repair` sets it")
        for partition in partitions:
            self._refuse_out_of_range(partition, self._group.offsets[partition].offset)
        return {partition: self._group.offsets[partition] for partition in partitions}

    def _refuse_out_of_range(self, partition: TopicPartition, offset: int) -> None:
        first, end = self._log.first(partition), self._log.end(partition)
        if not first <= offset <= end:
            raise FatalError(
                f"{partition.topic}:{partition.partition}:{offset} is outside the log, which has {first} to {end}; "
                "`guanxi provision --repair` says what is lost and sets it"
            )

    async def commit(self, positions: Mapping[TopicPartition, Committed]) -> bool:
        if not positions:
            return True
        if any(partition not in self._positions for partition in positions):
            return False
        return self._group.commit(self.member, self._generation, positions)

    def seek(self, partition: TopicPartition, offset: int) -> None:
        """A partition that has gone meanwhile is left alone."""
        if partition in self._positions:
            self._positions[partition] = offset

    def epoch(self) -> int:
        return self._epoch

    def read_to_end(self, partition: TopicPartition) -> bool:
        return partition in self._ends and self._positions[partition] >= self._ends[partition]


class MemoryWriter:
    def __init__(self, log: MemoryLog) -> None:
        self._log = log

    async def publish(self, messages: Sequence[Message]) -> list[tuple[int, int]]:
        refuse_too_large(messages)
        return [self._log.append(message) for message in messages]


class MemoryScanner:
    def __init__(self, log: MemoryLog) -> None:
        self._log = log

    async def range(self, topic: str) -> dict[TopicPartition, tuple[int, int]]:
        places = [TopicPartition(topic, number) for number in range(self._log.partitions_of(topic))]
        return {place: (self._log.first(place), self._log.end(place)) for place in places}

    async def read(self, partition: TopicPartition, start: int, stop: int, limit: int) -> list[Record]:
        return [record for record in self._log.read(partition, start, min(limit, stop - start)) if record.offset < stop]
