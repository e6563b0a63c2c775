"""Metrics over one customer's facts: their value at a moment, and when that value next matters if nothing happens.

Every metric answers the same questions. `at`: the value (None: there is none). `crossing`: the first instant after the
moment at which `compare(value, bound)` is no longer what it is, exactly; whatever is not before `before` may be left out.
`parts`: all metrics that it is made of. `events` and `expired`: the ids that count, and those that have left since.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from itertools import chain, pairwise
from math import ceil, floor
from operator import eq, ge, gt, le, lt
from typing import Any, Protocol

from services.segmentation.facts import FOREVER, Facts, Moment, ids_of
from services.segmentation.money import Rates, subtract
from services.segmentation.spans import write_span
from services.segmentation.state import Order, Refund
from shared.clock import DAY, Instant

Number = int | Decimal
Compare = Callable[[Any, Any], bool]


class Metric(Protocol):
    name: str
    moves: bool
    """False where time alone never changes the value, so that it may serve as another one's threshold."""
    parts: tuple["Metric", ...]

    def at(self, moment: Moment, /) -> Any: ...

    def falls(self, falling: bool, /) -> bool:
        """Time alone can only lower the value; `falling`: where no amount is negative."""

    def crossing(self, moment: Moment, compare: Compare, bound: Any, before: Instant, /) -> Instant: ...

    def shown(self, value: Any, /) -> Any: ...

    def events(self, moment: Moment, /) -> tuple[str, ...]: ...

    def expired(self, moment: Moment, since: Instant, /) -> tuple[str, ...]: ...


class Stepping(Metric, Protocol):
    def step(self, moment: Moment, /) -> Instant:
        """The first instant after the moment at which the value may be another."""


def crossing_by_steps(metric: Stepping, moment: Moment, compare: Compare, bound: Number, before: Instant) -> Instant:
    now = compare(moment.value(metric), bound)
    while (step := metric.step(moment)) < before:
        moment = moment.later(step)
        if compare(moment.value(metric), bound) != now:
            return step
    return FOREVER


class Count:
    """How many purchases, in the window (None: ever)."""

    parts: tuple[Metric, ...] = ()

    def __init__(self, name: str, within: int | None) -> None:
        self.name, self.within, self.moves = name, within, within is not None

    def at(self, moment: Moment) -> int:
        facts = moment.facts
        if self.within is None:
            return facts.ever
        return len(facts.instants) - bisect_right(facts.instants, moment.at - self.within)

    def falls(self, _falling: bool) -> bool:
        return True

    def step(self, moment: Moment) -> Instant:
        count: int = moment.value(self)
        return moment.facts.instants[-count] + self.within if count and self.within is not None else FOREVER

    def crossing(self, moment: Moment, compare: Compare, bound: Number, before: Instant) -> Instant:
        if compare is eq:
            return crossing_by_steps(self, moment, compare, bound, before)
        # A count only falls: it stops being at least n when the n-th newest leaves.
        least = ceil(bound) if compare is ge or compare is lt else floor(bound) + 1
        if self.within is None or not 0 < least <= moment.value(self):
            return FOREVER
        return moment.facts.instants[-least] + self.within

    def shown(self, value: int) -> int:
        return value

    def events(self, moment: Moment) -> tuple[str, ...]:
        facts = moment.facts
        return ids_of(facts.orders if self.within is None else facts.orders_in(moment.at - self.within, moment.at))

    def expired(self, moment: Moment, since: Instant) -> tuple[str, ...]:
        if self.within is None:
            return ()
        return ids_of(moment.facts.orders_in(since - self.within, moment.at - self.within))


class NetSpend:
    """Net money in the base currency, in the window (None: ever, without what was folded)."""

    parts: tuple[Metric, ...] = ()

    def __init__(self, name: str, within: int | None, rates: Rates) -> None:
        self.name, self.within, self.moves, self.rates = name, within, within is not None, rates

    def at(self, moment: Moment) -> Decimal:
        sums = moment.facts.sums
        if self.within is None:
            return sums[-1]
        gone = bisect_right(moment.facts.money_instants, moment.at - self.within)
        return subtract(sums[-1], sums[gone]) if gone else sums[-1]

    def falls(self, falling: bool) -> bool:
        return falling

    def step(self, moment: Moment) -> Instant:
        if self.within is None:
            return FOREVER
        instants = moment.facts.money_instants
        index = bisect_right(instants, moment.at - self.within)
        return instants[index] + self.within if index < len(instants) else FOREVER

    def crossing(self, moment: Moment, compare: Compare, bound: Number, before: Instant) -> Instant:
        if self.within is None:
            return FOREVER
        if compare is eq or not moment.facts.falling:
            return crossing_by_steps(self, moment, compare, bound, before)
        reached = ge if compare is ge or compare is lt else gt
        if not reached(moment.value(self), bound):
            return FOREVER
        # What is left after the first i have gone is total - sums[i]: the first i at which that is too little.
        sums, enough = moment.facts.sums, subtract(moment.facts.sums[-1], Decimal(bound))
        index = bisect_right(sums, enough) if reached is ge else bisect_left(sums, enough)
        return moment.facts.money_instants[index - 1] + self.within if index < len(sums) else FOREVER

    def shown(self, value: Decimal) -> str:
        return f"{value:f}"

    def events(self, moment: Moment) -> tuple[str, ...]:
        return ids_of(self._counted(moment))

    def expired(self, moment: Moment, since: Instant) -> tuple[str, ...]:
        if self.within is None:
            return ()
        return ids_of(moment.facts.money_in(since - self.within, moment.at - self.within))

    def _counted(self, moment: Moment) -> Sequence[Order | Refund]:
        facts = moment.facts
        return facts.money if self.within is None else facts.money_in(moment.at - self.within, moment.at)


class Since:
    """Time since the first or the last purchase, in milliseconds; None before any."""

    moves = True
    parts: tuple[Metric, ...] = ()

    def __init__(self, name: str, first: bool) -> None:
        self.name, self._first = name, first

    def at(self, moment: Moment) -> int | None:
        anchor = self._anchor(moment.facts)
        return None if anchor is None else moment.at - anchor

    def falls(self, _falling: bool) -> bool:
        return False

    def crossing(self, moment: Moment, compare: Compare, bound: Number, _before: Instant) -> Instant:
        anchor = self._anchor(moment.facts)
        if anchor is None:
            return FOREVER
        instant = anchor + (floor(bound) + 1 if compare is gt or compare is le else ceil(bound))
        return instant if instant > moment.at else FOREVER

    def shown(self, value: int) -> str:
        return write_span(value)

    def events(self, moment: Moment) -> tuple[str, ...]:
        anchor = self._anchor(moment.facts)
        return () if anchor is None else ids_of(moment.facts.orders_in(anchor - 1, anchor))

    def expired(self, _moment: Moment, _since: Instant) -> tuple[str, ...]:
        return ()

    def _anchor(self, facts: Facts) -> Instant | None:
        return facts.first if self._first else facts.last


class MedianGap:
    """Median time between consecutive purchase days (UTC) among the purchases of the window that ends at the last one.

    Clamped to `low` and `high`; `otherwise` where there are fewer than two gaps; the mean of the middle two when even.
    """

    moves = False
    parts: tuple[Metric, ...] = ()

    def __init__(self, name: str, within: int, low: int, high: int, otherwise: int) -> None:
        self.name, self._within, self._low, self._high, self._otherwise = name, within, low, high, otherwise

    def at(self, moment: Moment) -> int:
        instants = moment.facts.instants
        if len(instants) < 3:
            return self._otherwise
        newest = instants[bisect_right(instants, instants[-1] - self._within) :]
        days = sorted({instant // DAY for instant in newest})
        if len(days) < 3:
            return self._otherwise
        gaps = sorted([later - earlier for earlier, later in pairwise(days)])
        middle = (gaps[(len(gaps) - 1) // 2] + gaps[len(gaps) // 2]) * DAY // 2
        return min(max(middle, self._low), self._high)

    def falls(self, _falling: bool) -> bool:
        return True

    def crossing(self, _moment: Moment, _compare: Compare, _bound: Number, _before: Instant) -> Instant:
        return FOREVER

    def shown(self, value: int) -> str:
        return write_span(value)

    def events(self, moment: Moment) -> tuple[str, ...]:
        last = moment.facts.last
        return () if last is None else ids_of(moment.facts.orders_in(last - self._within, last))

    def expired(self, _moment: Moment, _since: Instant) -> tuple[str, ...]:
        return ()


def once(groups: Iterable[tuple[str, ...]]) -> tuple[str, ...]:
    """Every id once, in the order of its first mention."""
    groups = tuple(groups)
    if len(groups) == 1:
        return groups[0]
    return tuple(dict.fromkeys(chain.from_iterable(groups)))
