"""What is published after a batch is saved: events in their order, then marks of time for whoever merges us."""

from collections.abc import Iterable, Iterator

from shared.events.codec import HEADERS
from shared.events.customers import ClockTicked, HistoryBegan, HistoryEnded
from shared.events.envelope import Data
from shared.events.segments import CustomerForgotten
from shared.processing.arrivals import Arrival
from shared.processing.batch import Outcome
from shared.processing.document import Document, Entry
from shared.processing.emission import decided_at, write_mark
from shared.processing.owned import Owned
from shared.processing.records import Message

_FORGOTTEN = f'"type":"{CustomerForgotten.event_type}"'


def _decided_at(said: tuple[Document, Entry]) -> str:
    return decided_at(said[1].event)


class Announcer:
    """`latest` is a compacted topic that repeats every event of `output`; an erased customer's key ends with a tombstone."""

    def __init__(self, service: str, output: str | None, latest: str | None) -> None:
        self._service = service
        self._output = output
        self._latest = latest

    def events(self, outcome: Outcome) -> Iterator[Message]:
        """Dead letters, then what earlier owners may not have published and what is new, by the instant of its decision.

        A customer's own instants never run backwards, so its order stays. Whoever merges us takes an input's time from
        what it has shown: sorted, that does not depend on how batches were cut or on who had to take over.
        """
        yield from outcome.dead
        for document, entry in sorted((*outcome.republished, *outcome.emitted), key=_decided_at):
            yield from self.entry(document, entry)

    def entry(self, document: Document, entry: Entry) -> Iterator[Message]:
        key, value = document.id.encode(), entry.event.encode()
        if self._output is not None:
            yield Message(self._output, key, value, HEADERS, document.partition)
        if self._latest is not None:
            gone = _FORGOTTEN in entry.event
            yield Message(self._latest, key, None if gone else value, () if gone else HEADERS, document.partition)

    def has_more_to_say(self, owned: Iterable[Owned]) -> bool:
        """Whether a partition's time has passed what was said, as when a timer that held it back proved to be gone."""
        return self._output is not None and any(partition.may_say() > partition.said for partition in owned)

    def marks(self, arrivals: Iterable[Arrival], owned: Iterable[Owned]) -> Iterator[Message]:
        """History brackets passed on, and one tick per partition whose time has moved past what was said last."""
        if self._output is None:
            return
        for arrival in arrivals:
            data = arrival.event.data if arrival.event else None
            if isinstance(data, HistoryBegan | HistoryEnded) and arrival.record.topic.startswith("guanxi.customers."):
                yield self._mark(self._output, arrival.record.partition, data, arrival.time)
        for partition in owned:
            if (until := partition.may_say()) > partition.said:
                partition.said = until
                yield self._mark(self._output, partition.partition, ClockTicked(), until)

    def repeated_marks(self, owned: Iterable[Owned]) -> Iterator[Message]:
        """What was said last is said again where a succession holds a partition: neighbours wait for who is slow, not for
        who is silent."""
        for partition in owned:
            if self._output is not None and partition.held is not None and partition.said:
                yield self._mark(self._output, partition.partition, ClockTicked(), partition.said)

    def _mark(self, topic: str, partition: int, data: Data, at: int) -> Message:
        name = f"{partition}:{data.event_type}:{at}"
        return Message(topic, None, write_mark(self._service, data, at, name), HEADERS, partition)
