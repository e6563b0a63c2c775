"""The rulings of INTERFACES.md section 5 once more, slow and plain: everything is recomputed from the full list of events.

It shares no code with services/segmentation and reads no rules file: the numbers of the standard rules stand here again.
Money is `Fraction`, an instant is UTC milliseconds.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import lru_cache
from itertools import pairwise

DAY = 86_400_000
YEAR = 365 * DAY
USD = (  # first day from which (as days since 1970-01-01), yuan for a dollar
    (9131, "8.28"), (12985, "8.09"), (13149, "7.97"), (13514, "7.60"), (13879, "6.95"), (14245, "6.83"), (14610, "6.77"),
    (14975, "6.46"), (15340, "6.31"), (15706, "6.19"), (16071, "6.14"), (16436, "6.23"), (16801, "6.64"), (17167, "6.75"),
    (17532, "6.62"), (17897, "6.90"), (18262, "6.90"), (18628, "6.45"), (18993, "6.73"), (19358, "7.10"),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Fact:
    """One event in the order of the log. `kind`: other, purchase, refund, objected, withdrawn. `at`: the customer's clock."""

    kind: str
    id: str
    time: int
    at: int
    order_id: str | None = None
    currency: str = "CNY"
    amount: str = "0"

    @property
    def counts_at(self) -> int:
        return min(self.time, self.at)


@dataclass
class Order:
    at: int
    ids: list[str]
    bought: dict[str, Fraction]
    refunded: dict[str, Fraction]
    is_order: bool = True


@dataclass(frozen=True)
class Change:
    """All that changed at one instant, and what was measured then."""

    at: int
    moves: dict[str, tuple[str | None, str | None]]
    memberships: dict[str, str]
    measures: "Measures | None"


@dataclass(frozen=True)
class Measures:
    """`counted`: per measure the ids of the events that it was made of, in order of time, and so `window` for any window."""

    numbers: dict[str, object]
    counted: dict[str, tuple[str, ...]]
    orders: tuple[Order, ...] = field(repr=False)
    unmatched: tuple[Order, ...] = field(repr=False)

    def between(self, after: int, until: int, with_refunds: bool) -> set[str]:
        entries = self.orders + self.unmatched if with_refunds else self.orders
        return {i for entry in entries if after < entry.at <= until for i in entry.ids}


def history(facts: Sequence[Fact], end: int) -> list[Change]:
    """Every change of one customer up to `end`: timers due first, then each event is one evaluation, in log order."""
    changes: list[Change] = []
    now: dict[str, str] = {}
    known: list[Fact] = []
    for fact in facts:
        now = _pass_time(known, now, known[-1].at if known else fact.at, fact.at, changes)
        known.append(fact)
        now = _look(known, now, fact.at, changes)
    _pass_time(known, now, known[-1].at, end, changes)
    return changes


def _pass_time(known: list[Fact], now: dict[str, str], after: int, until: int, changes: list[Change]) -> dict[str, str]:
    for instant in sorted(i for i in _candidates(known) if after < i <= until):
        now = _look(known, now, instant, changes)
    return now


def _look(known: list[Fact], now: dict[str, str], at: int, changes: list[Change]) -> dict[str, str]:
    measures = None if _objects(known) else measure(known, at)
    after = memberships(measures) if measures else {}
    moves = {d: (now.get(d), after.get(d)) for d in {**now, **after} if now.get(d) != after.get(d)}
    if moves:
        changes.append(Change(at, moves, after, measures))
    return after


def _objects(known: Iterable[Fact]) -> bool:
    said = [fact.kind for fact in known if fact.kind in ("objected", "withdrawn")]
    return bool(said) and said[-1] == "objected"


def _candidates(known: list[Fact]) -> set[int]:
    orders, unmatched = _orders(known)
    spans = {YEAR} | {days * DAY for days in (30, 60, 90, 120, 180, 240)}
    if orders:
        gap = _gap(orders)
        spans |= {int(2 * gap), int(4 * gap)}
    return {entry.at + span for entry in orders + unmatched for span in spans}


def _orders(known: list[Fact]) -> tuple[list[Order], list[Order]]:
    """Orders that count as purchases, and refunds without an order, both by time."""
    return _ordered(tuple(known))


@lru_cache(maxsize=4)
def _ordered(known: tuple[Fact, ...]) -> tuple[list[Order], list[Order]]:
    orders: dict[str, Order] = {}
    loose: list[Order] = []
    purchases = [fact for fact in known if fact.kind == "purchase"]
    for fact in purchases:
        key = f"order {fact.order_id}" if fact.order_id is not None else f"event {fact.id}"
        order = orders.setdefault(key, Order(fact.counts_at, [], {}, {}))
        order.at = min(order.at, fact.counts_at)
        order.ids.append(fact.id)
        order.bought[fact.currency] = order.bought.get(fact.currency, Fraction(0)) + Fraction(fact.amount)
    for fact in known:
        if fact.kind == "refund":
            order = orders.get(f"order {fact.order_id}") if fact.order_id is not None else None
            if order is None:
                order = Order(fact.counts_at, [], {}, {}, is_order=False)
                loose.append(order)
            order.ids.append(fact.id)
            order.refunded[fact.currency] = order.refunded.get(fact.currency, Fraction(0)) + Fraction(fact.amount)
    live = [order for order in orders.values() if not _returned(order)]
    by_time = lambda order: order.at  # noqa: E731
    return sorted(live, key=by_time), sorted(loose, key=by_time)


def _returned(order: Order) -> bool:
    currencies = set(order.bought) | set(order.refunded)
    if not any(order.refunded.values()):
        return False
    if all(order.refunded.get(c, 0) > 0 or not order.bought.get(c, 0) for c in currencies) and all(
        order.refunded.get(c, Fraction(0)) >= order.bought.get(c, Fraction(0)) for c in currencies
    ):
        return True
    if len(currencies) == 1 or any(_rate(c, order.at) is None for c in currencies):
        return False
    return 0 < _worth(order.refunded, order.at) >= _worth(order.bought, order.at)


def _rate(currency: str, at: int) -> Fraction | None:
    if currency == "CNY":
        return Fraction(1)
    rates = [rate for day, rate in USD if day * DAY <= at] if currency == "USD" else []
    return Fraction(rates[-1]) if rates else None


def _worth(amounts: dict[str, Fraction], at: int) -> Fraction:
    return sum(((_rate(c, at) or Fraction(0)) * amount for c, amount in amounts.items()), Fraction(0))


def _net(entry: Order) -> Fraction:
    net = _worth(entry.bought, entry.at) - _worth(entry.refunded, entry.at)
    return max(net, Fraction(0)) if entry.is_order else net


def _in_gap_window(orders: list[Order]) -> list[Order]:
    last = max(order.at for order in orders)
    return [order for order in orders if last - YEAR < order.at <= last]


def _gap(orders: list[Order]) -> Fraction:
    days = sorted({order.at // DAY for order in _in_gap_window(orders)})
    gaps = sorted(b - a for a, b in pairwise(days))
    if len(gaps) < 2:
        return Fraction(60 * DAY)
    half = len(gaps) // 2
    median = Fraction(gaps[half]) if len(gaps) % 2 else Fraction(gaps[half - 1] + gaps[half], 2)
    return min(max(median, Fraction(15)), Fraction(90)) * DAY


def _points(value: object, steps: Sequence[tuple[int, int]], strictly: bool = False) -> int:
    for bound, points in steps:
        if value > bound or (value == bound and not strictly):  # type: ignore[operator]
            return points
    return 0


def measure(known: list[Fact], at: int) -> Measures:
    orders, unmatched = _orders(known)
    year = [order for order in orders if at - YEAR < order.at <= at]
    money = year + [refund for refund in unmatched if at - YEAR < refund.at <= at]
    spend = sum((_net(entry) for entry in money), Fraction(0))
    numbers: dict[str, object] = {
        "purchases_ever": len(orders),
        "purchases_in_year": len(year),
        "spend_in_year": spend,
        "usual_gap": _gap(orders) if orders else Fraction(60 * DAY),
        "since_first_purchase": at - orders[0].at if orders else None,
        "since_last_purchase": at - orders[-1].at if orders else None,
        "frequency": _points(len(year), ((12, 5), (6, 4), (3, 3), (2, 2), (1, 1))),
        "monetary": _points(spend, ((5000, 5), (2000, 4), (1000, 3), (300, 2))) or int(spend > 0),
    }
    silence = numbers["since_last_purchase"]
    fresh = [5 - i for i, days in enumerate((30, 60, 120, 240)) if silence is not None and silence < days * DAY]  # type: ignore[operator]
    numbers["recency"] = max(fresh, default=1)
    numbers["rfm"] = numbers["recency"] + numbers["frequency"] + numbers["monetary"]  # type: ignore[operator]
    return Measures(numbers, _counted(orders, year, money), tuple(orders), tuple(unmatched))


def _counted(orders: list[Order], year: list[Order], money: list[Order]) -> dict[str, tuple[str, ...]]:
    first = [order for order in orders if order.at == orders[0].at]
    last = [order for order in orders if order.at == orders[-1].at]
    counted = {
        "purchases_ever": orders,
        "purchases_in_year": year,
        "frequency": year,
        "spend_in_year": money,
        "monetary": money,
        "since_first_purchase": first,
        "since_last_purchase": last,
        "recency": last,
        "usual_gap": _in_gap_window(orders) if orders else [],
        "rfm": last + money,
    }
    return {name: tuple(i for entry in entries for i in entry.ids) for name, entries in counted.items()}


def memberships(measures: Measures) -> dict[str, str]:
    n = measures.numbers
    bought, spend, rfm = n["purchases_in_year"], n["spend_in_year"], n["rfm"]
    lifecycle = _lifecycle(n)
    return {
        "purchase_frequency": _level(bought, 12, 3, 1),
        "spend_level": "none" if spend <= 0 else _level(spend, 5000, 1000, 0),  # type: ignore[operator]
        "value": "none" if bought == 0 else _level(rfm, 12, 8, 0),
        "lifecycle": lifecycle,
        "status": _status(n, lifecycle),
    }


def _level(number: object, high: int, medium: int, low: int) -> str:
    names = ((high, "high"), (medium, "medium"), (low, "low"))
    return next((name for bound, name in names if number >= bound), "none")  # type: ignore[operator]


def _lifecycle(n: dict[str, object]) -> str:
    if n["purchases_ever"] == 0:
        return "prospect"
    s, first, gap, bought = n["since_last_purchase"], n["since_first_purchase"], n["usual_gap"], n["purchases_in_year"]
    if s >= max(4 * gap, 180 * DAY):  # type: ignore[operator, call-overload]
        return "churned"
    if s >= 2 * gap:  # type: ignore[operator]
        return "declining"
    if first < 30 * DAY:  # type: ignore[operator]
        return "acquired"
    return "mature" if first >= 180 * DAY and bought >= 4 else "growing"  # type: ignore[operator]


def _status(n: dict[str, object], lifecycle: str) -> str:
    if n["purchases_ever"] == 0:
        return "potential"
    if lifecycle == "churned":
        return "lost"
    if n["since_first_purchase"] < 30 * DAY:  # type: ignore[operator]
        return "new"
    return "active" if n["since_last_purchase"] < 90 * DAY else "dormant"  # type: ignore[operator]
