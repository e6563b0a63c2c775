"""Several inputs made one: by (input's time, topic, offset), so that live, rebuild and replay take the same order."""

from collections import deque
from collections.abc import Sequence

from shared.clock import Instant
from shared.processing.arrivals import Arrival


class Merge:
    """The inputs of one partition number. A record waits until every other input's time has passed it."""

    def __init__(self, topics: Sequence[str], times: dict[str, Instant]) -> None:
        self._rank = {topic: rank for rank, topic in enumerate(sorted(topics))}
        self._queues: dict[str, deque[Arrival]] = {topic: deque() for topic in self._rank}
        self._seen = {topic: times.get(topic, 0) for topic in self._rank}
        self.events = 0
        """Records that wait and are more than a mark of time."""

    def offer(self, arrival: Arrival) -> None:
        topic = arrival.record.topic
        self._seen[topic] = max(self._seen[topic], arrival.logical_time)
        arrival.time = self._seen[topic]
        self.events += not arrival.is_mark
        self._queues[topic].append(arrival)

    def head(self) -> Arrival | None:
        """The next record in order, whether or not it may go."""
        waiting = [queue[0] for queue in self._queues.values() if queue]
        return min(waiting, key=self.key, default=None)

    def blocked_by(self, head: Arrival) -> list[str]:
        """Inputs that could still bring something earlier. What only says that time went on changes places
        with whatever is of the same instant: it waits for nothing of its own time, and the last ticks of a quiet hour go."""
        rank = -1 if head.tells_time_only else self._rank[head.record.topic]
        return [
            topic
            for topic, queue in self._queues.items()
            if not queue and topic != head.record.topic and (self._seen[topic], self._rank[topic]) < (head.time, rank)
        ]

    def take(self, head: Arrival) -> Arrival:
        self._queues[head.record.topic].popleft()
        self.events -= not head.is_mark
        return head

    def held(self, topic: str) -> int:
        return len(self._queues[topic])

    def full(self, most: int) -> list[str]:
        """Inputs of which that many wait."""
        return [topic for topic, queue in self._queues.items() if len(queue) >= most]

    def key(self, arrival: Arrival) -> tuple[Instant, int, int]:
        return arrival.time, self._rank[arrival.record.topic], arrival.record.offset
