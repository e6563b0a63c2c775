"""Whose timers fire with a batch: as many as a turn may take, and all that imported records bring."""

from collections.abc import Mapping, Sequence
from functools import partial

from shared.clock import Instant
from shared.processing.arrivals import Arrival
from shared.processing.owned import Owned
from shared.processing.partition_time import PartitionTime
from shared.processing.portion import Portion
from shared.processing.ports import Store
from shared.processing.retry import Retry

LONG_TURN = 150
"""Milliseconds that a turn of mostly timers may take, with its writing and the end of the turn before. When many are due
at once, whoever brings something new waits for the turn under way and for one more; each turn costs some milliseconds
whatever it does."""
FIRST_TIMERS = 200
IMPORTED_TIMERS = 5_000
"""Customers whose timers may fire with imported records. An import crowds weeks into one batch, and what is said of them
keeps the order of its instants only where the timers up to its last record fire with it."""


class TimerTurns(Portion):
    """`size`: how many customers' timers a turn takes on."""

    def __init__(self, store: Store, retry: Retry, most: int) -> None:
        super().__init__(FIRST_TIMERS, most, LONG_TURN)
        self._store = store
        self._retry = retry

    async def due(
        self, owned: Mapping[int, Owned], times: Mapping[int, PartitionTime], arrivals: Sequence[Arrival]
    ) -> list[str]:
        """No more is read of the store than is fired: a jump of time may bring more timers than anybody should wait for."""
        most = max(IMPORTED_TIMERS if _imported(arrivals) else 0, self.size, len(arrivals))
        found: list[str] = []
        for number, one in owned.items():
            time = times[number]
            if one.timers_doubted:
                await self._retry("reading timers", partial(one.look_again, self._store))
            if len(found) >= most:
                continue
            if time.now > one.timers.horizon:
                await self._retry("reading timers", partial(one.look_ahead, self._store, time.now))
            found += one.timers_due(time, most - len(found))
        return found

    def took(self, milliseconds: Instant, timers: int, arrivals: Sequence[Arrival]) -> None:
        """Of a turn of mostly timers the next one learns."""
        if timers > len(arrivals) and not _imported(arrivals):
            self.fit(milliseconds)


def _imported(arrivals: Sequence[Arrival]) -> bool:
    return any(arrival.mark is not None for arrival in arrivals)
