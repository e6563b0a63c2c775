"""What the standard rules measure of a customer at an instant, worked out from everything that counts."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from typing import Any

from tests.support.segmentation_facts import Known
from tests.support.segmentation_orders import DAY, NOTHING, Order

MONTH, HALF, YEAR = 30 * DAY, 180 * DAY, 365 * DAY
SEASON = 120 * DAY

Counted = Sequence[Any]
"""Entries or orders: what has a time and the ids of its events."""


@dataclass(frozen=True, slots=True)
class Measure:
    """`counted`: what it is made of. `windows`: what can leave it, and how long after it was."""

    value: object
    counted: Counted = ()
    windows: tuple[tuple[Counted, int], ...] = ()

    @property
    def ids(self) -> set[str]:
        return ids_of(self.counted)

    def left(self, since: int, at: int) -> set[str]:
        """What has left since then, at most one window's length back."""
        return {
            i
            for entries, within in self.windows
            for i in ids_of(between(entries, max(since - within, at - 2 * within), at - within))
        }


def ids_of(entries: Iterable[Any]) -> set[str]:
    return {i for entry in entries for i in entry.ids}


def between(entries: Counted, after: int, until: int) -> list[Any]:
    return [entry for entry in entries if after < entry.at <= until]


def standard_measures(known: Known, at: int) -> dict[str, Measure]:
    return {**_purchases(known, at), **_points(known, at), **_said(known, at)}


def _purchases(known: Known, at: int) -> dict[str, Measure]:
    orders = known.orders
    year = between(orders, at - YEAR, at)
    money = [*year, *between(known.loose, at - YEAR, at)]
    spend = sum((entry.net for entry in money), NOTHING)
    first = [order for order in orders if order.at == orders[0].at]
    last = [order for order in orders if order.at == orders[-1].at]
    silence = at - orders[-1].at if orders else None
    bought, spent = ((orders, YEAR),), ((orders, YEAR), (known.loose, YEAR))
    recency = max((5 - i for i, days in enumerate((30, 60, 120, 240)) if orders and silence < days * DAY), default=1)
    frequency = _level(len(year), ((12, 5), (6, 4), (3, 3), (2, 2), (1, 1)))
    monetary = _level(spend, ((5000, 5), (2000, 4), (1000, 3), (300, 2))) or int(spend > 0)
    return {
        "purchases_ever": Measure(len(orders), orders),
        "purchases_in_year": Measure(len(year), year, bought),
        "spend_in_year": Measure(spend, money, spent),
        "since_first_purchase": Measure(at - orders[0].at if orders else None, first),
        "since_last_purchase": Measure(silence, last),
        "usual_gap": Measure(usual_gap(orders), in_gap_window(orders)),
        "recency": Measure(recency, last),
        "frequency": Measure(frequency, year, bought),
        "monetary": Measure(monetary, money, spent),
        "rfm": Measure(recency + frequency + monetary, [*last, *money], spent),
        "spend_by_category": Measure(_by_category(year), money, spent),
        "spend_by_category.whole": Measure(spend, money, spent),
    }


def _points(known: Known, at: int) -> dict[str, Measure]:
    month = between(known.touches, at - MONTH, at)
    before = between(known.touches, at - SEASON, at - MONTH)
    return {
        "points_in_month": Measure(sum(e.worth for e in month), month, ((known.touches, MONTH),)),
        "points_before": Measure(sum(e.worth for e in before), before, ((known.touches, SEASON),)),
    }


def _said(known: Known, at: int) -> dict[str, Measure]:
    opinion = between(known.opinions, at - HALF, at)[-1:]
    needs = tuple(sorted({need for wish in known.wishes for need in wish.worth}))
    budget = known.budgets[-1:]
    return {
        "opinion": Measure(opinion[0].worth if opinion else None, opinion, ((known.opinions, HALF),)),
        "needs_named": Measure(needs, known.wishes),
        "budget": Measure(budget[0].worth[0] if budget else None, budget),
    }


def _by_category(year: Sequence[Order]) -> dict[str, Fraction]:
    spent: dict[str, Fraction] = {}
    for order in year:
        for category, net in order.spent.items():
            spent[category] = spent.get(category, NOTHING) + net
    return {category: net for category, net in spent.items() if net}


def in_gap_window(orders: Sequence[Order]) -> list[Order]:
    """Those of the 365 days that end at the last purchase."""
    return [order for order in orders if orders[-1].at - YEAR < order.at]


def usual_gap(orders: Sequence[Order]) -> Fraction:
    days = sorted({order.at // DAY for order in in_gap_window(orders)})
    gaps = sorted(b - a for a, b in pairwise(days))
    if len(gaps) < 2:
        return Fraction(60 * DAY)
    half = len(gaps) // 2
    median = Fraction(gaps[half]) if len(gaps) % 2 else Fraction(gaps[half - 1] + gaps[half], 2)
    return min(max(median, Fraction(15)), Fraction(90)) * DAY


def _level(value: int | Fraction, steps: Sequence[tuple[int, int]]) -> int:
    return next((points for bound, points in steps if value >= bound), 0)
