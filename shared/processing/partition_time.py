"""The time of one partition: moved by records alone, kept in the commits, so that every owner sees the same."""

import json
from dataclasses import dataclass, field

from shared.clock import Instant
from shared.events.customers import HistoryBegan, HistoryEnded
from shared.processing.arrivals import Arrival


@dataclass(slots=True)
class PartitionTime:
    """`now` is the largest logical time applied. While a history bracket is open (`bracket`: the offset of its beginning),
    customers first seen in it follow `history_now`. `latest`: the last bracket that began, whether or not it has ended."""

    now: Instant = 0
    bracket: int | None = None
    history_now: Instant = 0
    latest: int = -1
    inputs: dict[str, Instant] = field(default_factory=dict)
    _remembered: list[tuple[int | None, Instant]] = field(default_factory=list)

    def copy(self) -> "PartitionTime":
        return PartitionTime(self.now, self.bracket, self.history_now, self.latest, dict(self.inputs))

    def see(self, arrival: Arrival) -> None:
        """Called once per record, in the order in which they are applied, before the record itself is."""
        self.now = max(self.now, arrival.time)
        self.inputs[arrival.record.topic] = arrival.time
        event = arrival.event
        if event is None:
            return
        if isinstance(event.data, HistoryBegan) and _is_customers(arrival.record.topic):
            self.bracket = self.latest = arrival.record.offset
            self.history_now = 0
        elif isinstance(event.data, HistoryEnded) and _is_customers(arrival.record.topic):
            self.bracket = None
        elif self.bracket is not None and arrival.mark is not None:
            self.history_now = max(self.history_now, arrival.logical_time)

    def until(self, history: int | None) -> Instant:
        """How far the timers of a customer with this history mark may fire. Not at all while its bracket has yet to
        begin here: after a redelivery a document may be ahead of the partition."""
        if history is None or self.has_ended(history):
            return self.now
        return self.history_now if history == self.bracket else 0

    def has_ended(self, history: int) -> bool:
        return history != self.bracket and history <= self.latest

    def to_metadata(self, topic: str) -> str:
        parts: dict[str, object] = {"t": self.inputs.get(topic, 0), "n": self.now}
        if self.latest >= 0:
            parts["l"] = self.latest
        if self.bracket is not None:
            parts |= {"b": self.bracket, "h": self.history_now}
        return json.dumps(parts, separators=(",", ":"))

    def restore(self, topic: str, metadata: str) -> None:
        """Takes up what a predecessor committed for one input; inputs may have been committed at different moments.
        The bracket is as the customers' own records left it, whatever another input's older commit remembers of it."""
        parts = json.loads(metadata) if metadata else {}
        self.inputs[topic] = parts.get("t", 0)
        self.now = max(self.now, parts.get("n", 0))
        if _is_customers(topic):
            self.bracket, self.latest = parts.get("b"), parts.get("l", -1)
        self._remembered.append((parts.get("b"), parts.get("h", 0)))
        inside = [moment for bracket, moment in self._remembered if bracket == self.bracket and bracket is not None]
        self.history_now = max(inside, default=0)


def _is_customers(topic: str) -> bool:
    return topic.startswith("guanxi.customers.")
