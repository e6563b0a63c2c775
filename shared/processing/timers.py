"""Which customers of one partition have something due soon: a heap over a horizon, filled from the store in ranges."""

import heapq

from shared.clock import Instant
from shared.processing.ports import Timer

MOST = 10_000
"""Of one partition. A timer that is armed anew leaves the old one in the heap until that is due, so heaps grow with the log."""


class Timers:
    """Holds every timer with wake_at <= horizon, maybe more than once: the document is the truth when one is taken out.

    Timers of customers inside a history bracket stand in a heap of their own, because another time governs them.
    """

    def __init__(self) -> None:
        self.horizon: Instant = -1
        self._present: list[tuple[Instant, str]] = []
        self._history: list[tuple[Instant, str]] = []
        self._room = MOST

    def fill(self, timers: list[Timer], horizon: Instant, bracket: int | None) -> None:
        for timer in timers:
            self._push(timer, bracket)
        self.horizon = max(self.horizon, horizon)

    def arm(self, timer: Timer, bracket: int | None) -> None:
        if timer.wake_at <= self.horizon:
            self._push(timer, bracket)

    def come_nearer(self, now: Instant) -> None:
        """Where there are too many, gives up those far ahead of the partition's time `now`, which can be read of the store
        again. Where all are near, the next attempt comes when there are twice as many."""
        if len(self) <= self._room:
            return
        instants = sorted(at for at, _ in (*self._present, *self._history))
        self.horizon = min(self.horizon, max(now, instants[MOST // 2] - 1))
        for heap in (self._present, self._history):
            heap[:] = [timer for timer in heap if timer[0] <= self.horizon]
            heapq.heapify(heap)
        self._room = max(MOST, 2 * len(self))

    def close_bracket(self) -> None:
        """The bracket has ended: its customers follow the partition's time from now on."""
        self._present += self._history
        self._history = []
        heapq.heapify(self._present)

    def clear(self) -> None:
        """Others take their place; the horizon stays."""
        self._present, self._history = [], []

    def due(self, now: Instant, history_now: Instant, limit: int) -> list[str]:
        """Customer ids whose time has come, each once, at most about `limit`; they leave the heaps."""
        found: dict[str, None] = {}
        for heap, until in ((self._present, now), (self._history, history_now)):
            while heap and heap[0][0] <= until and len(found) < limit:
                found[heapq.heappop(heap)[1]] = None
        return list(found)

    def next_at(self) -> Instant | None:
        """The earliest timer that the partition's own time governs."""
        return self._present[0][0] if self._present else None

    def overdue(self, now: Instant, history_now: Instant) -> Instant | None:
        """The earliest timer that has come and was not yet taken; None when all were."""
        heads = [
            heap[0][0]
            for heap, until in ((self._present, now), (self._history, history_now))
            if heap and heap[0][0] <= until
        ]
        return min(heads, default=None)

    def reached(self, now: Instant, history_now: Instant) -> tuple[Instant, Instant]:
        """Both times, but none beyond the earliest timer that was left in its heap, or may not have been read yet."""
        heaps = ((self._present, now), (self._history, history_now))
        present, history = (min([until, self.horizon, *(heap[0][0] for _ in heap[:1])]) for heap, until in heaps)
        return present, history

    def __len__(self) -> int:
        return len(self._present) + len(self._history)

    def _push(self, timer: Timer, bracket: int | None) -> None:
        inside = timer.history is not None and timer.history == bracket
        heapq.heappush(self._history if inside else self._present, (timer.wake_at, timer.customer_id))
