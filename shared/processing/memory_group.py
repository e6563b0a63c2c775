"""A consumer group in memory: Kafka's eager protocol without a clock; a simulation decides when who learns what."""

from collections.abc import Callable, Iterable, Mapping

from shared.processing.records import Committed, TopicPartition

Count = Callable[[str], int]


class Group:
    """Members, the generation they agreed on, and what they committed.

    A join or a leave begins a rebalance; it ends, with a new generation, once every member has joined again. Until then
    commits of the old generation are taken, as Kafka takes them.
    """

    def __init__(self, partitions_of: Count) -> None:
        self.generation = 0
        self.offsets: dict[TopicPartition, Committed] = {}
        self._partitions_of = partitions_of
        self._topics: dict[str, tuple[str, ...]] = {}
        self._assignment: dict[str, tuple[TopicPartition, ...]] = {}
        self._joined: set[str] = set()
        self._rebalancing = False

    def join(self, member: str, topics: tuple[str, ...]) -> None:
        self._begin()
        self._topics[member] = topics
        self._joined.add(member)
        self._finish()

    def leave(self, member: str) -> None:
        """Also what happens to a member whose session expired; unknown members change nothing."""
        if member not in self._topics:
            return
        self._begin()
        del self._topics[member]
        self._joined.discard(member)
        self._finish()

    def must_rejoin(self, member: str, generation: int) -> bool:
        if self._rebalancing:
            return member not in self._joined
        return member not in self._topics or generation > self.generation

    def assignment(self, member: str) -> tuple[TopicPartition, ...] | None:
        """None while a rebalance is going on, and for strangers."""
        return None if self._rebalancing else self._assignment.get(member)

    def commit(self, member: str, generation: int, positions: Mapping[TopicPartition, Committed]) -> bool:
        if member not in self._topics or generation != self.generation:
            return False
        self.offsets.update(positions)
        return True

    def _begin(self) -> None:
        if not self._rebalancing:
            self._rebalancing = True
            self._joined = set()

    def _finish(self) -> None:
        if self._joined == set(self._topics):
            self._rebalancing = False
            self.generation += 1
            self._assignment = ranges(self._topics, self._partitions_of)


def ranges(topics: Mapping[str, Iterable[str]], partitions_of: Count) -> dict[str, tuple[TopicPartition, ...]]:
    """Kafka's range assignor: neighbours stay together, so equal counts give equal numbers of every topic."""
    given: dict[str, list[TopicPartition]] = {member: [] for member in topics}
    for topic in sorted({topic for wanted in topics.values() for topic in wanted}):
        readers = sorted(member for member, wanted in topics.items() if topic in wanted)
        share, extra = divmod(partitions_of(topic), len(readers))
        start = 0
        for index, member in enumerate(readers):
            stop = start + share + (1 if index < extra else 0)
            given[member].extend(TopicPartition(topic, number) for number in range(start, stop))
            start = stop
    return {member: tuple(partitions) for member, partitions in given.items()}
