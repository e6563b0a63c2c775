"""The records that wait for a parked customer, read from the log again when somebody asks to resume."""

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping

from shared.clock import Instant
from shared.events.customers import CustomerResumeRequested
from shared.processing.arrivals import Arrival, arrive
from shared.processing.batch import Loaded, Waiting
from shared.processing.customer import PARKED_LIMIT
from shared.processing.document import Document
from shared.processing.ports import FatalError
from shared.processing.records import Record, TopicPartition

ReadOne = Callable[[TopicPartition, int], Awaitable[list[Record]]]
"""The record at an offset, or nothing where the log no longer has it."""


def asks_to_resume(arrival: Arrival, service: str) -> bool:
    data = arrival.event.data if arrival.event else None
    return isinstance(data, CustomerResumeRequested) and data.service == service


async def waiting_records(
    arrivals: Collection[Arrival], loaded: Mapping[str, Loaded], service: str, read: ReadOne
) -> Waiting:
    """Of those for whom somebody asks, and of those for whom no more can wait: their request may stand behind what no longer
    fits. FatalError where the log has lost a record that waits: going on would lose it for good."""
    found: dict[str, list[tuple[Arrival, Instant]]] = {}
    coming = Counter(arrival.customer_id for arrival in arrivals)
    for arrival in arrivals:
        entry = loaded.get(arrival.customer_id or "")
        if entry is None or entry.document.id in found:
            continue
        if asks_to_resume(arrival, service) or _is_full(entry.document, coming[arrival.customer_id]):
            found[entry.document.id] = [pair async for pair in _reread(entry.document, read)]
    return found


def _is_full(document: Document, coming: int) -> bool:
    return document.parked is not None and len(document.parked.waiting) + coming > PARKED_LIMIT


async def _reread(document: Document, read: ReadOne) -> AsyncIterator[tuple[Arrival, Instant]]:
    for waiting in document.parked.waiting if document.parked else ():
        records = await read(TopicPartition(waiting.topic, document.partition), waiting.offset)
        if not records:
            raise FatalError(
                f"a record that waits for a parked customer is gone from {waiting.topic}: keep it for good"
            )
        yield arrive(records[0]), waiting.partition_time
