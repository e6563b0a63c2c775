"""What waits to be delivered to one receiver: each customer's changes in order, nobody behind another customer. Pure."""

import heapq
from bisect import bisect_left
from dataclasses import dataclass

from shared.clock import Instant


@dataclass(slots=True, eq=False)
class Delivery:
    """One event for one subscription. `attempts`: made so far. `body`: None while only the store has it."""

    id: str
    subscription: str
    partition: int
    customer: str
    sequence: int
    event_id: str
    appended_at: Instant
    attempts: int = 0
    due_at: Instant = 0
    body: bytes | None = None


def delivery_id(subscription: str, customer: str, sequence: int) -> str:
    """The same however often the event is read."""
    return f"{subscription}:{customer}:{sequence:020d}"


class Lanes:
    """One subscription's deliveries out of one partition: a lane per customer, of which only the head may go.

    `heap`: when a lane's head is due; entries that have become untrue are passed over.
    """

    def __init__(self) -> None:
        self._lanes: dict[str, list[Delivery]] = {}
        self._busy: set[str] = set()
        self._heap: list[tuple[Instant, int, str]] = []
        self._count = 0
        self._order = 0

    def __len__(self) -> int:
        return self._count

    def add(self, delivery: Delivery) -> bool:
        """False where it waits already."""
        lane = self._lanes.setdefault(delivery.customer, [])
        place = bisect_left(lane, delivery.sequence, key=lambda waiting: waiting.sequence)
        if place < len(lane) and lane[place].sequence == delivery.sequence:
            return False
        busy = delivery.customer in self._busy
        if place == 0 and busy:
            place = 1
        lane.insert(place, delivery)
        self._count += 1
        if place == 0:
            self._announce(lane)
        return True

    def take(self, now: Instant) -> Delivery | None:
        """The head that is due longest; its lane waits until `done` or `again`."""
        while self._heap and self._heap[0][0] <= now:
            _, _, customer = heapq.heappop(self._heap)
            lane = self._lanes.get(customer)
            if lane and customer not in self._busy and lane[0].due_at <= now:
                self._busy.add(customer)
                return lane[0]
        return None

    def done(self, delivery: Delivery) -> None:
        """It is over, in whatever way; the next of its customer may go."""
        self._busy.discard(delivery.customer)
        lane = self._lanes.get(delivery.customer, [])
        if delivery in lane:
            lane.remove(delivery)
            self._count -= 1
        if lane:
            self._announce(lane)
        else:
            self._lanes.pop(delivery.customer, None)

    def again(self, delivery: Delivery, at: Instant) -> None:
        """It stays the head of its lane, due at `at`."""
        self._busy.discard(delivery.customer)
        delivery.due_at = at
        lane = self._lanes.get(delivery.customer)
        if lane:
            self._announce(lane)

    def forget(self, customer: str) -> None:
        """Nothing of this customer waits any more; what is under way ends as it will."""
        lane = self._lanes.pop(customer, [])
        self._count -= len(lane)

    def next_at(self) -> Instant | None:
        """When a head is due, as far as is known; never too late."""
        return self._heap[0][0] if self._heap else None

    def _announce(self, lane: list[Delivery]) -> None:
        self._order += 1
        heapq.heappush(self._heap, (lane[0].due_at, self._order, lane[0].customer))
