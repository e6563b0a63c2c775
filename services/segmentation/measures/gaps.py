"""Metrics of time itself: how long since the first or the last, and the usual gap between two."""

from collections.abc import Iterable
from itertools import pairwise
from math import ceil, floor
from operator import gt, le

from services.segmentation.language.spans import write_span
from services.segmentation.measures.facts import FOREVER, Moment, Series, ids_of
from services.segmentation.measures.metrics import Compare, Crossing, Metric, Number, Turns
from services.segmentation.measures.windows import reached
from shared.clock import DAY, Instant


class Since(Crossing):
    """Time since the first or the last entry, in milliseconds; None before any."""

    unit: str = "time"
    moves = True
    steps = False
    absent = True
    remarkable = False
    parts: tuple[Metric, ...] = ()

    def __init__(self, name: str, stream: str, reads: Iterable[str], first: bool) -> None:
        self.name, self.stream, self._first = name, stream, first
        self.reads = frozenset(reads)

    def at(self, moment: Moment) -> int | None:
        anchor = self._anchor(moment)
        return None if anchor is None else moment.at - anchor

    def falls(self, _moment: Moment) -> bool:
        return False

    def opens(self, upwards: bool) -> bool:
        return upwards

    def step(self, _moment: Moment) -> Instant:
        return FOREVER

    def crossing(self, moment: Moment, compare: Compare, bound: Number, _before: Instant) -> Instant:
        return self._reaches(moment, _span(compare, bound))

    def turning(self, compare: Compare, bound: Number) -> Turns:
        span, reaches = _span(compare, bound), self._reaches
        return lambda moment, _before: reaches(moment, span)

    def _reaches(self, moment: Moment, span: int) -> Instant:
        anchor = self._anchor(moment)
        return anchor + span if anchor is not None and anchor + span > moment.at else FOREVER

    def shown(self, value: int) -> str:
        return write_span(value)

    def events(self, moment: Moment) -> tuple[str, ...]:
        anchor, series = self._anchor(moment), moment.facts[self.stream]
        if anchor is None:
            return ()
        return ids_of(series.entries[reached(series.instants, anchor - 1) : reached(series.instants, anchor)])

    def expired(self, _moment: Moment, _since: Instant) -> tuple[str, ...]:
        return ()

    def _anchor(self, moment: Moment) -> Instant | None:
        series = moment.facts[self.stream]
        return series.first if self._first else series.last


def _span(compare: Compare, bound: Number) -> int:
    """At how many whole milliseconds the comparison turns."""
    return floor(bound) + 1 if compare is gt or compare is le else ceil(bound)


class MedianGap(Crossing):
    """Median time between consecutive days (UTC) of entries in the window that ends at the last one.

    Clamped to `low` and `high`; `otherwise` where there are fewer than two gaps; the mean of the middle two when even.
    """

    unit: str = "time"
    moves = False
    steps = False
    absent = remarkable = False
    parts: tuple[Metric, ...] = ()

    def __init__(
        self, name: str, stream: str, reads: Iterable[str], within: int, clamp: tuple[int, int], otherwise: int
    ) -> None:
        self.name, self.stream, self._within, self._otherwise = name, stream, within, otherwise
        self._low, self._high = clamp
        self.reads = frozenset(reads)

    def at(self, moment: Moment) -> int:
        series = moment.facts[self.stream]
        if len(series.instants) < 3:
            return self._otherwise
        days = sorted({instant // DAY for instant in series.instants[self._beginning(series) :]})
        if len(days) < 3:
            return self._otherwise
        gaps = sorted([later - earlier for earlier, later in pairwise(days)])
        middle = (gaps[(len(gaps) - 1) // 2] + gaps[len(gaps) // 2]) * DAY // 2
        return min(max(middle, self._low), self._high)

    def _beginning(self, series: Series) -> int:
        return reached(series.instants, series.instants[-1] - self._within)

    def falls(self, _moment: Moment) -> bool:
        return True

    def opens(self, _upwards: bool) -> bool:
        return False

    def step(self, _moment: Moment) -> Instant:
        return FOREVER

    def crossing(self, _moment: Moment, _compare: Compare, _bound: Number, _before: Instant) -> Instant:
        return FOREVER

    def shown(self, value: int) -> str:
        return write_span(value)

    def events(self, moment: Moment) -> tuple[str, ...]:
        series = moment.facts[self.stream]
        return ids_of(series.entries[self._beginning(series) :]) if series.instants else ()

    def expired(self, _moment: Moment, _since: Instant) -> tuple[str, ...]:
        return ()
