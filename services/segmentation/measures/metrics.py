"""Metrics over one customer's facts: their value at a moment, and when that value next matters if nothing happens.

Every metric answers the same questions. `at`: the value (None: there is none). `crossing`: the first instant after the
moment at which `compare(value, bound)` is no longer what it is, exactly; whatever is not before `before` may be left out.
`parts`: all metrics that it is made of. `events` and `expired`: the ids that count, and those that have left since.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from itertools import chain
from math import ceil, floor
from operator import ge, gt, le, lt
from typing import Any, Protocol

from services.segmentation.measures.facts import FOREVER, Moment, Series, ids_of
from services.segmentation.measures.windows import Window, bounds, left, next_step
from shared.clock import DAY, Instant

Number = int | Decimal
Compare = Callable[[Any, Any], bool]
Turns = Callable[[Moment, Instant], Instant]
ORDERING = frozenset((ge, gt, le, lt))


class Metric(Protocol):
    name: str
    unit: str
    """What it can be compared with: `number`, `time`, `text` or `list`."""
    moves: bool
    """False where time alone never changes the value."""
    steps: bool
    """Whether looking ahead goes step by step instead of straight to the instant."""
    remarkable: bool
    """Whether its reasons say more than its value."""
    absent: bool
    """Whether there may be no value (None)."""
    reads: frozenset[str]
    """The streams that it is made of."""
    parts: tuple["Metric", ...]

    def at(self, moment: Moment, /) -> Any: ...

    def falls(self, moment: Moment, /) -> bool:
        """Time alone can only lower the value."""

    def opens(self, upwards: bool, /) -> bool:
        """Whether time alone can ever make a comparison hold that asks for more (`upwards`), or for less."""

    def step(self, moment: Moment, /) -> Instant:
        """The first instant after the moment at which the value may be another."""

    def crossing(self, moment: Moment, compare: Compare, bound: Any, before: Instant, /) -> Instant:
        """The first instant after the moment at which the comparison turns; where that is not before `before`, one that is not
        either and up to which it surely does not. FOREVER: never."""

    def turning(self, compare: Compare, bound: Any, /) -> Turns:
        """`crossing` for a threshold that never changes."""

    def shown(self, value: Any, /) -> Any: ...

    def events(self, moment: Moment, /) -> tuple[str, ...]: ...

    def expired(self, moment: Moment, since: Instant, /) -> tuple[str, ...]: ...


def crossing_by_steps(metric: Metric, moment: Moment, compare: Compare, bound: Any, before: Instant) -> Instant:
    now = fulfils(moment[metric], compare, bound)
    while (step := metric.step(moment)) < before:
        moment = moment.later(step)
        if fulfils(moment[metric], compare, bound) != now:
            break
    return step


def fulfils(value: Any, compare: Compare, bound: Any) -> bool:
    """What is absent fulfils nothing, neither `=` nor `!=`."""
    return value is not None and compare(value, bound)


class Crossing:
    def crossing(self, moment: Moment, compare: Compare, bound: Any, before: Instant) -> Instant:
        raise NotImplementedError

    def turning(self, compare: Compare, bound: Any) -> Turns:
        crossing = self.crossing
        return lambda moment, before: crossing(moment, compare, bound, before)


class OfWindow(Crossing):
    """What any metric of a stream's entries in a window has in common."""

    unit: str = "number"
    steps = False
    absent = remarkable = False
    parts: tuple[Metric, ...] = ()

    def __init__(self, name: str, stream: str, window: Window, reads: Iterable[str]) -> None:
        self.name, self.stream, self.window = name, stream, window
        self.reads = frozenset(reads)
        self.moves = window.within is not None

    def series(self, moment: Moment) -> Series:
        return moment.facts[self.stream]

    def counted(self, moment: Moment) -> Sequence[Any]:
        series = self.series(moment)
        low, high = bounds(self.window, series.instants, moment.at)
        return series.entries[low:high]

    def falls(self, _moment: Moment) -> bool:
        return not self.window.until

    def opens(self, _upwards: bool) -> bool:
        """What may be negative, or is no number, may turn either way."""
        return True

    def step(self, moment: Moment) -> Instant:
        return next_step(self.window, self.series(moment).instants, moment.at)

    def shown(self, value: Any) -> Any:
        return value

    def events(self, moment: Moment) -> tuple[str, ...]:
        return ids_of(self.counted(moment))

    def expired(self, moment: Moment, since: Instant) -> tuple[str, ...]:
        series = self.series(moment)
        low, high = left(self.window, series.instants, since, moment.at)
        return ids_of(series.entries[low:high])


class Added(OfWindow):
    """What is the sum of what its entries add. `total[i]` is that of the first i of them."""

    def at(self, moment: Moment) -> Any:
        series, total = self.series(moment), self.total(moment)
        low, high = bounds(self.window, series.instants, moment.at)
        if self.window.within is None:
            return self.folded(series, total[high])
        return self.difference(total[high], total[low]) if low else total[high]

    def total(self, moment: Moment) -> Sequence[Any]:
        raise NotImplementedError

    def folded(self, _series: Series, total: Any) -> Any:
        """With what was given up."""
        return total

    def difference(self, one: Any, other: Any) -> Any:
        return one - other

    def crossing(self, moment: Moment, compare: Compare, bound: Number, before: Instant) -> Instant:
        within = self.window.within
        if within is None:
            return FOREVER
        if compare not in ORDERING or not self.falls(moment):
            return crossing_by_steps(self, moment, compare, bound, before)
        reached = ge if compare is ge or compare is lt else gt
        if not reached(moment[self], bound):
            return FOREVER
        # What is left after the first i have gone is total[-1] - total[i]: the first i at which that is too little.
        total = self.total(moment)
        enough = self.difference(total[-1], bound)
        index = bisect_right(total, enough) if reached is ge else bisect_left(total, enough)
        return self.series(moment).instants[index - 1] + within if index < len(total) else FOREVER


class Count(OfWindow):
    """How many, in the window."""

    def opens(self, upwards: bool) -> bool:
        return not upwards or bool(self.window.until)

    def at(self, moment: Moment) -> int:
        series = moment.facts[self.stream]
        if self.window.within is None:
            return series.ever
        low, high = bounds(self.window, series.instants, moment.at)
        return high - low

    def crossing(self, moment: Moment, compare: Compare, bound: Number, before: Instant) -> Instant:
        """A count only falls: it stops being at least n when the n-th newest leaves."""
        within, until = self.window
        if within is None:
            return FOREVER
        if until or compare not in ORDERING:
            return crossing_by_steps(self, moment, compare, bound, before)
        return self.turning(compare, bound)(moment, before)

    def turning(self, compare: Compare, bound: Number) -> Turns:
        within, until = self.window
        if within is None or until or compare not in ORDERING:
            return super().turning(compare, bound)
        least = ceil(bound) if compare is ge or compare is lt else floor(bound) + 1
        stream = self.stream

        def turns(moment: Moment, _before: Instant) -> Instant:
            return moment.facts[stream].instants[-least] + within if 0 < least <= moment[self] else FOREVER

        return turns


class Points(Added):
    """Points are never negative."""

    def opens(self, upwards: bool) -> bool:
        return not upwards or bool(self.window.until)

    def crossing(self, moment: Moment, compare: Compare, bound: Number, before: Instant) -> Instant:
        if self.window.until and (compare is ge or compare is gt) and not compare(self._most(moment), bound):
            return FOREVER
        return super().crossing(moment, compare, bound, before)

    def _most(self, moment: Moment) -> int:
        """As if all that is in the window stayed, and all that has yet to come in were there."""
        total = self.total(moment)
        gone, _ = bounds(self.window, self.series(moment).instants, moment.at)
        return total[-1] - total[gone]

    def total(self, moment: Moment) -> Sequence[int]:
        return moment.facts[self.stream].points

    def folded(self, series: Series, total: int) -> int:
        return total + series.fold_points


class DistinctDays(OfWindow):
    """On how many days of UTC."""

    steps = True

    def at(self, moment: Moment) -> int:
        return len({entry[0] // DAY for entry in self.counted(moment)})

    def crossing(self, moment: Moment, compare: Compare, bound: Number, before: Instant) -> Instant:
        return crossing_by_steps(self, moment, compare, bound, before)


class Newest(OfWindow):
    """The value of the newest entry: of equal times, of the one that came later."""

    unit: str = "text"
    absent = True

    def at(self, moment: Moment) -> Any:
        counted = self.counted(moment)
        return counted[-1][3] if counted else None

    def falls(self, _moment: Moment) -> bool:
        return False

    def crossing(self, moment: Moment, compare: Compare, bound: Any, before: Instant) -> Instant:
        return crossing_by_steps(self, moment, compare, bound, before)

    def step(self, moment: Moment) -> Instant:
        series, (within, until) = self.series(moment), self.window
        if until or within is None:
            return super().step(moment)
        low, high = bounds(self.window, series.instants, moment.at)
        return series.instants[-1] + within if low < high else FOREVER

    def events(self, moment: Moment) -> tuple[str, ...]:
        return ids_of(self.counted(moment)[-1:])


class Collected(OfWindow):
    """All values in the window, sorted, each once."""

    unit: str = "list"
    steps = True

    def at(self, moment: Moment) -> tuple[str, ...]:
        found: set[str] = set()
        for entry in self.counted(moment):
            value = entry[3]
            found.update((value,) if isinstance(value, str) else value or ())
        return tuple(sorted(found))

    def falls(self, _moment: Moment) -> bool:
        return False

    def crossing(self, moment: Moment, compare: Compare, bound: Any, before: Instant) -> Instant:
        return crossing_by_steps(self, moment, compare, bound, before)


def once(groups: Iterable[tuple[str, ...]]) -> tuple[str, ...]:
    """Every id once, in the order of its first mention."""
    groups = tuple(groups)
    if len(groups) == 1:
        return groups[0]
    return tuple(dict.fromkeys(chain.from_iterable(groups)))
