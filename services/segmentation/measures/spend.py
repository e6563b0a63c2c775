"""Metrics of money: net spend, what entries of a stream amount to, and what share of the spend each category has."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from fractions import Fraction
from typing import Any, NamedTuple

from services.segmentation.measures.facts import FOREVER, Moment, Series
from services.segmentation.measures.goods import parts_of
from services.segmentation.measures.metrics import Added, Compare, Number, OfWindow, crossing_by_steps
from services.segmentation.measures.money import ZERO, Rates, add, subtract
from services.segmentation.measures.windows import Window, bounds
from shared.clock import Instant


class StreamSum(Added):
    """The values of a stream's entries added up; what is no number adds nothing."""

    def total(self, moment: Moment) -> Sequence[Decimal]:
        return self.series(moment).sums

    def folded(self, series: Series, total: Decimal) -> Decimal:
        return add(total, series.fold_sum)

    def difference(self, one: Number, other: Number) -> Decimal:
        return subtract(Decimal(one), Decimal(other))

    def falls(self, _moment: Moment) -> bool:
        """Values may be negative."""
        return False

    def shown(self, value: Number) -> str:
        """A whole number as it was written, too: Python would give it six decimals."""
        return f"{Decimal(value):f}"


class NetSpend(StreamSum):
    """Net money in the base currency, in the window (None: ever, without what was folded)."""

    remarkable = True

    def __init__(self, name: str, stream: str, window: Window, reads: frozenset[str], rates: Rates) -> None:
        super().__init__(name, stream, window, reads)
        self.rates = rates

    def series(self, moment: Moment) -> Series:
        return moment.facts.money

    def total(self, moment: Moment) -> Sequence[Decimal]:
        return moment.facts.sums

    def folded(self, _series: Series, total: Decimal) -> Decimal:
        return total

    def falls(self, moment: Moment) -> bool:
        return not self.window.until and moment.facts.falling


class Spread(NamedTuple):
    """Net spend by category, and all of it (0 where no category has any)."""

    parts: Mapping[str, Fraction]
    whole: Decimal

    def at_least(self, thousandths: int) -> tuple[str, ...]:
        """Categories that have this share of the whole, in thousandths of a percent."""
        if self.whole <= 0:
            return ()
        enough = Fraction(self.whole) * thousandths / 100_000
        return tuple(sorted(category for category, part in self.parts.items() if part >= enough))


class Shares(OfWindow):
    """What every category has of the net spend; what has no category counts in the whole only."""

    unit: str = "shares"
    remarkable = True
    steps = True

    def __init__(self, name: str, stream: str, window: Window, reads: frozenset[str], rates: Rates) -> None:
        super().__init__(name, stream, window, reads)
        self.rates = rates

    def series(self, moment: Moment) -> Series:
        return moment.facts.money

    def at(self, moment: Moment) -> Spread:
        goods = moment.facts.record.book.goods
        parts: dict[str, Fraction] = {}
        if goods:
            for order in self.counted(moment):
                weights = goods.get(order[1][0])
                if weights is not None:
                    for category, part in parts_of(self.rates, order, weights).items():
                        parts[category] = parts.get(category, Fraction(0)) + part
        return Spread(parts, self.whole(moment) if parts else ZERO)

    def whole(self, moment: Moment) -> Decimal:
        low, high = bounds(self.window, moment.facts.money.instants, moment.at)
        sums = moment.facts.sums
        return subtract(sums[high], sums[low])

    def falls(self, _moment: Moment) -> bool:
        return False

    def step(self, moment: Moment) -> Instant:
        return super().step(moment) if moment.facts.record.book.goods else FOREVER

    def crossing(self, moment: Moment, compare: Compare, bound: Any, before: Instant) -> Instant:
        return crossing_by_steps(self, moment, compare, bound, before)

    def shown(self, value: Spread) -> dict[str, str]:
        return {category: written(part) for category, part in sorted(value.parts.items())}


def written(number: Fraction) -> str:
    """As a decimal where a finite one is equal, else as a fraction."""
    rest, twos, fives = number.denominator, 0, 0
    while rest % 2 == 0:
        rest, twos = rest // 2, twos + 1
    while rest % 5 == 0:
        rest, fives = rest // 5, fives + 1
    if rest != 1:
        return f"{number.numerator}/{number.denominator}"
    digits = max(twos, fives)
    return f"{ZERO + Decimal(number.numerator * 10**digits // number.denominator).scaleb(-digits):f}"
