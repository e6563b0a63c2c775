"""What was true at an instant, with all that is known now: one customer's records replayed in the order in which they happened."""

from collections.abc import Iterable, Sequence

from services.segmentation.chronicle.trail import Trail
from services.segmentation.domain import SegmentationDomain
from services.segmentation.state import CustomerState
from shared.clock import Instant
from shared.events.catalog import CUSTOMERS
from shared.events.codec import UndecodableEvent, decode
from shared.events.envelope import Event
from shared.processing.arrivals import position_key
from shared.processing.document import Document
from shared.processing.ports import LogScanner
from shared.processing.records import TopicPartition

CLOSE = 200
"""Records closer together than this are read in one go with what lies between: a jump costs more than they do."""
AT_ONCE = 500


class NotFollowedYet(Exception):
    """The trail does not reach the newest record that the customer's document has applied."""


class AsOf:
    def __init__(self, trail: Trail, scanner: LogScanner) -> None:
        self._trail = trail
        self._scanner = scanner

    async def state(self, domain: SegmentationDomain, document: Document, at: Instant) -> CustomerState:
        """Raises NotFollowedYet. What cannot be decoded is left out, as it is for a customer who is parked by it."""
        offsets = await self._trail.offsets(document.id)
        applied = document.positions.get(position_key(CUSTOMERS.name, document.partition), -1)
        if not offsets or offsets[-1] < applied:
            raise NotFollowedYet(document.id)
        place = TopicPartition(CUSTOMERS.name, document.partition)
        events = [event for run in runs(offsets) for event in await self._read(place, run)]
        return replayed(domain, document.id, events, at)

    async def _read(self, place: TopicPartition, run: Sequence[int]) -> list[Event]:
        wanted, position, found = set(run), run[0], []
        while position <= run[-1]:
            records = await self._scanner.read(place, position, run[-1] + 1, AT_ONCE)
            if not records:
                break
            found += [record.value or b"" for record in records if record.offset in wanted]
            position = records[-1].offset + 1
        return [event for value in found if (event := _decoded(value)) is not None]


def runs(offsets: Sequence[int]) -> list[list[int]]:
    """Ascending offsets, cut where the next one is far away."""
    found: list[list[int]] = []
    for offset in offsets:
        if found and offset - found[-1][-1] < CLOSE:
            found[-1].append(offset)
        else:
            found.append([offset])
    return found


def replayed(domain: SegmentationDomain, customer_id: str, events: Iterable[Event], at: Instant) -> CustomerState:
    """As if everything had been heard of at once when it happened: what happened after `at` is left out, and what time
    alone did up to `at` is in. Of equal instants the earlier in the log comes first; an event that came twice counts once."""
    state = domain.initial(customer_id)
    for event in sorted(_once(events), key=lambda event: event.occurred_at):
        if event.occurred_at > at:
            break
        state = _on_time(domain, state, event.occurred_at)
        state = domain.on_event(state, event, event.occurred_at).state
    return _on_time(domain, state, at)


def _once(events: Iterable[Event]) -> list[Event]:
    first: dict[tuple[str, str], Event] = {}
    for event in events:
        first.setdefault((event.source, event.id), event)
    return list(first.values())


def _on_time(domain: SegmentationDomain, state: CustomerState, until: Instant) -> CustomerState:
    while (due := domain.wake_at(state)) is not None and due <= until:
        state = domain.on_time(state, due).state
    return state


def _decoded(value: bytes) -> Event | None:
    try:
        return decode(value)
    except UndecodableEvent:
        return None
