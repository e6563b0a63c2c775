"""What was true at an instant, with all that is known now: one customer's records replayed in the order in which they happened."""

from collections.abc import Iterable, Sequence
from operator import attrgetter

from services.segmentation.chronicle.statements import Heard, objects_now, unreplaced
from services.segmentation.chronicle.trail import Trail
from services.segmentation.domain import SegmentationDomain
from services.segmentation.state import CustomerState
from shared.clock import Instant
from shared.events.catalog import CUSTOMERS
from shared.processing.arrivals import Arrival, arrive, position_key
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
        arrivals = [arrival for run in runs(offsets) for arrival in await self._read(place, run)]
        return replayed(domain, document.id, arrivals, at)

    async def _read(self, place: TopicPartition, run: Sequence[int]) -> list[Arrival]:
        wanted, position, found = set(run), run[0], list[Arrival]()
        while position <= run[-1]:
            records = await self._scanner.read(place, position, run[-1] + 1, AT_ONCE)
            if not records:
                break
            found += [arrive(record) for record in records if record.offset in wanted]
            position = records[-1].offset + 1
        return found


def runs(offsets: Sequence[int]) -> list[list[int]]:
    """Ascending offsets, cut where the next one is far away."""
    found: list[list[int]] = []
    for offset in offsets:
        if found and offset - found[-1][-1] < CLOSE:
            found[-1].append(offset)
        else:
            found.append([offset])
    return found


def replayed(domain: SegmentationDomain, customer_id: str, arrivals: Iterable[Arrival], at: Instant) -> CustomerState:
    """As if everything had been heard of at once when it happened: what happened after `at` is left out, and what time
    alone did up to `at` is in. Of equal instants the earlier in the log comes first; an event that came twice counts once.

    Who objects to profiling now is not profiled for the past either.
    """
    state, heard = domain.initial(customer_id), _heard(arrivals)
    if objects_now(heard):
        return state.model_copy(update={"objected": True})
    for event, since in sorted(unreplaced(heard), key=attrgetter("at")):
        if since > at:
            break
        state = _on_time(domain, state, since)
        state = domain.on_event(state, event, since).state
    return _on_time(domain, state, at)


def _heard(arrivals: Iterable[Arrival]) -> list[Heard]:
    """In the order of the log. What comes from the future counts from when it was taken in."""
    found: list[Heard] = []
    seen: set[tuple[str, str]] = set()
    clock = 0
    for arrival in arrivals:
        event = arrival.event
        if event is None or (event.source, event.id) in seen:
            continue
        seen.add((event.source, event.id))
        clock = max(clock, arrival.logical_time)
        found.append(Heard(event, min(event.occurred_at, clock)))
    return found


def _on_time(domain: SegmentationDomain, state: CustomerState, until: Instant) -> CustomerState:
    while (due := domain.wake_at(state)) is not None and due <= until:
        state = domain.on_time(state, due).state
    return state
