"""Orders out of purchases and refunds, and their money, as the oracle of segmentation understands them.

Money is `Fraction`, an instant is UTC milliseconds.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.support.segmentation_facts import Fact

DAY = 86_400_000
NOTHING = Fraction(0)
_USD = (  # first day from which (as days since 1970-01-01), yuan for a dollar
    (9131, "8.28"), (12985, "8.09"), (13149, "7.97"), (13514, "7.60"), (13879, "6.95"), (14245, "6.83"), (14610, "6.77"),
    (14975, "6.46"), (15340, "6.31"), (15706, "6.19"), (16071, "6.14"), (16436, "6.23"), (16801, "6.64"), (17167, "6.75"),
    (17532, "6.62"), (17897, "6.90"), (18262, "6.90"), (18628, "6.45"), (18993, "6.73"), (19358, "7.10"),
)  # fmt: skip
USD = tuple((day * DAY, Fraction(rate)) for day, rate in _USD)

Amounts = dict[str, Fraction]
"""Per currency."""


@dataclass
class Order:
    """`made`: its purchases. `net`, and `spent` by category: in the base currency."""

    at: int
    ids: list[str] = field(default_factory=list)
    made: list["Fact"] = field(default_factory=list)
    bought: Amounts = field(default_factory=dict)
    refunded: Amounts = field(default_factory=dict)
    is_order: bool = True
    net: Fraction = NOTHING
    spent: dict[str, Fraction] = field(default_factory=dict)

    def by_category(self) -> dict[str, Fraction]:
        """The net amount, in proportion to what was bought under each category; what has none is left out."""
        parts: dict[str | None, Fraction] = {}
        for fact in self.made:
            for category, amount in _lines(fact, self.at):
                parts[category] = parts.get(category, NOTHING) + amount
        whole = sum(parts.values(), NOTHING)
        return {c: amount * self.net / whole for c, amount in parts.items() if c is not None and amount}


def booked(facts: Sequence["Fact"]) -> tuple[list[Order], list[Order]]:
    """Orders that count as purchases, and refunds without an order, both by time."""
    orders: dict[str, Order] = {}
    loose: list[Order] = []
    for fact in facts:
        if fact.kind == "purchase":
            order = orders.setdefault(_key(fact), Order(fact.counts_at))
            order.at = min(order.at, fact.counts_at)
            order.ids.append(fact.id)
            _add(order.bought, fact.currency, Fraction(fact.amount))
            order.made.append(fact)
    for fact in facts:
        if fact.kind == "refund":
            own = orders.get(_key(fact)) if fact.order_id is not None else None
            if own is None:
                own = Order(fact.counts_at, is_order=False)
                loose.append(own)
            own.ids.append(fact.id)
            _add(own.refunded, fact.currency, Fraction(fact.amount))
    for order in (*orders.values(), *loose):
        order.net = _net(order)
        order.spent = order.by_category()
    return _sorted(order for order in orders.values() if not _returned(order)), _sorted(loose)


def _lines(fact: "Fact", at: int) -> list[tuple[str | None, Fraction]]:
    """What was bought, in the base currency: each item with an amount, and what these leave of the order's amount.

    An item's category wins over the order's; that of items without an amount, too, where they agree. Where nothing has
    a category, only the amount counts.
    """
    items, own = fact.said.get("items", ()), fact.said.get("category")
    whole = _priced(fact.currency, fact.amount, at)
    if own is None and not any(item.get("category") for item in items):
        return [(None, whole)]
    lines = [(item.get("category") or own, _priced(**item["amount"], at=at)) for item in items if item.get("amount")]
    rest = max(whole - sum((amount for _, amount in lines), NOTHING), NOTHING)
    others = {item.get("category") or own for item in items if not item.get("amount")}
    return [*lines, (others.pop() if len(others) == 1 else own, rest)]


def _priced(currency: str, amount: str, at: int) -> Fraction:
    return converted(currency, Fraction(amount), at) or NOTHING


def converted(currency: str, amount: Fraction, at: int) -> Fraction | None:
    """In yuan at the latest rate not after that instant; None where there is none."""
    if currency == "CNY":
        return amount
    rates = [rate for first, rate in USD if first <= at] if currency == "USD" else []
    return amount * rates[-1] if rates else None


def worth(amounts: Amounts, at: int) -> Fraction:
    return sum((converted(currency, amount, at) or NOTHING for currency, amount in amounts.items()), NOTHING)


def _key(fact: "Fact") -> str:
    return f"order {fact.order_id}" if fact.order_id is not None else f"event {fact.id}"


def _add(amounts: Amounts, currency: str, amount: Fraction) -> None:
    amounts[currency] = amounts.get(currency, NOTHING) + amount


def _sorted(orders: Iterable[Order]) -> list[Order]:
    return sorted(orders, key=lambda order: order.at)


def _net(entry: Order) -> Fraction:
    net = worth(entry.bought, entry.at) - worth(entry.refunded, entry.at)
    return max(net, NOTHING) if entry.is_order else net


def _returned(order: Order) -> bool:
    """Refunded in full, judged in the original currency; of several currencies, in the base currency too."""
    currencies = set(order.bought) | set(order.refunded)
    if not any(order.refunded.values()):
        return False
    if all(order.refunded.get(c, 0) > 0 or not order.bought.get(c, 0) for c in currencies) and all(
        order.refunded.get(c, NOTHING) >= order.bought.get(c, NOTHING) for c in currencies
    ):
        return True
    if len(currencies) == 1 or any(converted(c, NOTHING, order.at) is None for c in currencies):
        return False
    return 0 < worth(order.refunded, order.at) >= worth(order.bought, order.at)
