"""Metrics over one customer's facts: their value at an instant, and when that value next changes if nothing happens.

Every metric answers the same questions. `at`: the value (None: there is none). `crossing`: the first instant after `at`
at which `compare(value, bound)` is no longer what it is, exactly. `parts`: the metrics that it is made of.
`events` and `expired`: the ids that count now, and those that counted at `since` and have left the window.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from itertools import chain, pairwise
from math import ceil, floor
from operator import ge, gt, le
from typing import Any, Protocol

from services.segmentation.facts import Facts, ids_of
from services.segmentation.money import Rates, add, subtract
from services.segmentation.spans import write_span
from services.segmentation.state import Order, Refund
from shared.clock import DAY, Instant

Number = int | Decimal
Compare = Callable[[Any, Any], bool]


class Metric(Protocol):
    name: str
    moves: bool
    """False where time alone never changes the value, so that it may serve as another one's threshold."""

    @property
    def parts(self) -> Sequence["Metric"]: ...

    def at(self, facts: Facts, at: Instant, /) -> Number | None: ...

    def crossing(self, facts: Facts, at: Instant, compare: Compare, bound: Number, /) -> Instant | None: ...

    def shown(self, value: Any, /) -> Any: ...

    def events(self, facts: Facts, at: Instant, /) -> tuple[str, ...]: ...

    def expired(self, facts: Facts, since: Instant, at: Instant, /) -> tuple[str, ...]: ...


class Stepping(Protocol):
    def at(self, facts: Facts, at: Instant, /) -> Number | None: ...

    def step(self, facts: Facts, at: Instant, /) -> Instant | None:
        """The first instant after `at` at which the value may be another."""


def crossing_by_steps(metric: Stepping, facts: Facts, at: Instant, compare: Compare, bound: Number) -> Instant | None:
    now = compare(metric.at(facts, at), bound)
    step = metric.step(facts, at)
    while step is not None:
        if compare(metric.at(facts, step), bound) != now:
            return step
        step = metric.step(facts, step)
    return None


class Count:
    """How many purchases, in the window (None: ever)."""

    parts: tuple[Metric, ...] = ()

    def __init__(self, name: str, within: int | None) -> None:
        self.name, self.within, self.moves = name, within, within is not None

    def at(self, facts: Facts, at: Instant) -> int:
        if self.within is None:
            return facts.ever
        return len(facts.instants) - bisect_right(facts.instants, at - self.within)

    def step(self, facts: Facts, at: Instant) -> Instant | None:
        if self.within is None:
            return None
        index = bisect_right(facts.instants, at - self.within)
        return facts.instants[index] + self.within if index < len(facts.instants) else None

    def crossing(self, facts: Facts, at: Instant, compare: Compare, bound: Number) -> Instant | None:
        if compare is not ge or not isinstance(bound, int) or bound < 1 or self.within is None:
            return crossing_by_steps(self, facts, at, compare, bound)
        # A count only falls: it stops being at least n when the n-th newest leaves.
        return facts.instants[-bound] + self.within if self.at(facts, at) >= bound else None

    def shown(self, value: int) -> int:
        return value

    def events(self, facts: Facts, at: Instant) -> tuple[str, ...]:
        return ids_of(facts.orders if self.within is None else facts.orders_in(at - self.within, at))

    def expired(self, facts: Facts, since: Instant, at: Instant) -> tuple[str, ...]:
        return ids_of(facts.orders_in(since - self.within, at - self.within)) if self.within is not None else ()


class NetSpend:
    """Net money in the base currency, in the window (None: ever, without what was folded)."""

    parts: tuple[Metric, ...] = ()

    def __init__(self, name: str, within: int | None, rates: Rates) -> None:
        self.name, self.within, self.moves, self._rates = name, within, within is not None, rates

    def at(self, facts: Facts, at: Instant) -> Decimal:
        sums = facts.sums
        if self.within is None:
            return sums[-1]
        gone = bisect_right(facts.money_instants, at - self.within)
        return subtract(sums[-1], sums[gone]) if gone else sums[-1]

    def step(self, facts: Facts, at: Instant) -> Instant | None:
        if self.within is None:
            return None
        index = bisect_right(facts.money_instants, at - self.within)
        return facts.money_instants[index] + self.within if index < len(facts.money_instants) else None

    def crossing(self, facts: Facts, at: Instant, compare: Compare, bound: Number) -> Instant | None:
        return crossing_by_steps(self, facts, at, compare, bound)

    def shown(self, value: Decimal) -> str:
        return f"{value:f}"

    def events(self, facts: Facts, at: Instant) -> tuple[str, ...]:
        return ids_of(self._counted(facts, at))

    def expired(self, facts: Facts, since: Instant, at: Instant) -> tuple[str, ...]:
        return ids_of(facts.money_in(since - self.within, at - self.within)) if self.within is not None else ()

    def remarks(self, facts: Facts, at: Instant) -> dict[str, dict[str, str]]:
        """Per currency: what has no rate and is left out of the money, and refunds beyond what was bought."""
        found: dict[str, dict[str, str]] = {}
        for time, _, _, parts, _ in facts.recorded:
            if self.within is None or time > at - self.within:
                for currency, bought, back in parts:
                    self._remark(found, currency, subtract(Decimal(bought), Decimal(back)), time)
        return found

    def _remark(self, found: dict[str, dict[str, str]], currency: str, net: Decimal, time: Instant) -> None:
        if net < 0:
            _tally(found, "refunded_beyond", currency, -net)
        elif net and self._rates.rate(currency, time) is None:
            _tally(found, "unconverted", currency, net)

    def _counted(self, facts: Facts, at: Instant) -> list[Order | Refund]:
        return facts.money if self.within is None else facts.money_in(at - self.within, at)


def _tally(found: dict[str, dict[str, str]], remark: str, currency: str, amount: Decimal) -> None:
    had = found.setdefault(remark, {}).get(currency, "0")
    found[remark][currency] = f"{add(Decimal(had), amount):f}"


class Since:
    """Time since the first or the last purchase, in milliseconds; None before any."""

    moves = True
    parts: tuple[Metric, ...] = ()

    def __init__(self, name: str, first: bool) -> None:
        self.name, self._first = name, first

    def at(self, facts: Facts, at: Instant) -> int | None:
        anchor = facts.first if self._first else facts.last
        return None if anchor is None else at - anchor

    def crossing(self, facts: Facts, at: Instant, compare: Compare, bound: Number) -> Instant | None:
        anchor = facts.first if self._first else facts.last
        if anchor is None:
            return None
        beyond = floor(bound) + 1 if compare in (gt, le) else ceil(bound)
        return anchor + beyond if anchor + beyond > at else None

    def shown(self, value: int) -> str:
        return write_span(value)

    def events(self, facts: Facts, _at: Instant) -> tuple[str, ...]:
        anchor = facts.first if self._first else facts.last
        return () if anchor is None else ids_of(facts.orders_in(anchor - 1, anchor))

    def expired(self, _facts: Facts, _since: Instant, _at: Instant) -> tuple[str, ...]:
        return ()


class MedianGap:
    """Median time between consecutive purchase days (UTC) among the purchases of the window that ends at the last one.

    Clamped to `low` and `high`; `otherwise` where there are fewer than two gaps; the mean of the middle two when even.
    """

    moves = False
    parts: tuple[Metric, ...] = ()

    def __init__(self, name: str, within: int, low: int, high: int, otherwise: int) -> None:
        self.name, self._within, self._low, self._high, self._otherwise = name, within, low, high, otherwise

    def at(self, facts: Facts, _at: Instant) -> int:
        instants = facts.instants
        if len(instants) < 3:
            return self._otherwise
        newest = instants[bisect_right(instants, instants[-1] - self._within) :]
        days = sorted({instant // DAY for instant in newest})
        if len(days) < 3:
            return self._otherwise
        gaps = sorted(later - earlier for earlier, later in pairwise(days))
        middle = (gaps[(len(gaps) - 1) // 2] + gaps[len(gaps) // 2]) * DAY // 2
        return min(max(middle, self._low), self._high)

    def crossing(self, _facts: Facts, _at: Instant, _compare: Compare, _bound: Number) -> Instant | None:
        return None

    def shown(self, value: int) -> str:
        return write_span(value)

    def events(self, facts: Facts, _at: Instant) -> tuple[str, ...]:
        return ids_of(facts.orders_in(facts.last - self._within, facts.last)) if facts.last is not None else ()

    def expired(self, _facts: Facts, _since: Instant, _at: Instant) -> tuple[str, ...]:
        return ()


class Score:
    """Points by the first step whose comparison holds for another metric."""

    moves = True

    def __init__(self, name: str, of: Metric, steps: Sequence[tuple[Compare, Number, int]], otherwise: int) -> None:
        self.name, self._of, self._steps, self._otherwise = name, of, tuple(steps), otherwise
        self.parts: tuple[Metric, ...] = (of,)

    def at(self, facts: Facts, at: Instant) -> int:
        value = self._of.at(facts, at)
        if value is not None:
            for compare, bound, points in self._steps:
                if compare(value, bound):
                    return points
        return self._otherwise

    def step(self, facts: Facts, at: Instant) -> Instant | None:
        value, of, soonest = self._of.at(facts, at), self._of, None
        if value is None:
            return None
        for compare, bound, _ in self._steps:
            crossing = of.crossing(facts, at, compare, bound)
            if crossing is not None and (soonest is None or crossing < soonest):
                soonest = crossing
            if compare(value, bound):
                break
        return soonest

    def crossing(self, facts: Facts, at: Instant, compare: Compare, bound: Number) -> Instant | None:
        return crossing_by_steps(self, facts, at, compare, bound)

    def shown(self, value: int) -> int:
        return value

    def events(self, facts: Facts, at: Instant) -> tuple[str, ...]:
        return self._of.events(facts, at)

    def expired(self, facts: Facts, since: Instant, at: Instant) -> tuple[str, ...]:
        return self._of.expired(facts, since, at)


class Total:
    """The sum of scores."""

    moves = True

    def __init__(self, name: str, scores: Sequence[Score]) -> None:
        self.name, self._scores = name, tuple(scores)
        self.parts: tuple[Metric, ...] = self._scores

    def at(self, facts: Facts, at: Instant) -> int:
        return sum([score.at(facts, at) for score in self._scores])

    def step(self, facts: Facts, at: Instant) -> Instant | None:
        steps = [step for score in self._scores if (step := score.step(facts, at)) is not None]
        return min(steps) if steps else None

    def crossing(self, facts: Facts, at: Instant, compare: Compare, bound: Number) -> Instant | None:
        return crossing_by_steps(self, facts, at, compare, bound)

    def shown(self, value: int) -> int:
        return value

    def events(self, facts: Facts, at: Instant) -> tuple[str, ...]:
        return once(score.events(facts, at) for score in self._scores)

    def expired(self, facts: Facts, since: Instant, at: Instant) -> tuple[str, ...]:
        return once(score.expired(facts, since, at) for score in self._scores)


def once(groups: Iterable[tuple[str, ...]]) -> tuple[str, ...]:
    """Every id once, in the order of its first mention."""
    return tuple(dict.fromkeys(chain.from_iterable(groups)))
