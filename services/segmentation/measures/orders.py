"""Orders out of purchases and refunds: merged by order id, refunded in proportion, bounded in number."""

from bisect import insort
from collections.abc import Mapping
from decimal import Decimal
from types import MappingProxyType
from typing import NamedTuple, TypeVar

from services.segmentation.language.grammar import Limits
from services.segmentation.measures.money import ZERO, Rates, add, multiply, subtract
from services.segmentation.state import Folded, Order, Part, Refund, Weights
from shared.clock import Instant
from shared.events.fields import Money

Entry = TypeVar("Entry", Order, Refund)


Goods = Mapping[str, tuple[Weights, ...]]
"""By an order's first event id, what it was spent on; only of orders that name a category."""


class Book(NamedTuple):
    orders: tuple[Order, ...]
    refunds: tuple[Refund, ...]
    folded: Folded | None
    goods: Goods = MappingProxyType({})
    dropped: int = 0


def with_purchase(
    book: Book,
    rates: Rates,
    limits: Limits,
    at: Instant,
    event_id: str,
    order_id: str | None,
    money: Money,
    weights: Weights = (),
) -> Book:
    """The same order id again adds to its amount and counts once, at its earliest time; refunds that waited are matched."""
    bought: tuple[Part, ...] = ((money.currency, f"{money.amount:f}", "0"),)
    known = _find(book.orders, order_id)
    waiting = tuple(refund for refund in book.refunds if order_id is not None and refund[2] == order_id)
    ids: tuple[str, ...] = (event_id,)
    time, parts = at, bought
    if known is not None:
        time, ids, parts = min(at, known[0]), (*known[1], event_id), _merged(known[3], bought)
    for refund in waiting:
        ids, parts = ids + refund[1], _merged(parts, refund[3])
    named = _named(ids, limits)
    order = (time, named, order_id, parts, net_of(rates, time, parts))
    refunds = tuple(refund for refund in book.refunds if refund not in waiting) if waiting else book.refunds
    goods = _with_goods(book.goods, known, ids[0], weights, money, limits)
    dropped = book.dropped + len(ids) - len(named)
    return _bounded(Book(_placed(book.orders, known, order), refunds, book.folded, goods, dropped), limits.orders)


def _named(ids: tuple[str, ...], limits: Limits) -> tuple[str, ...]:
    """The first, by which the order is known, and the newest."""
    surplus = len(ids) - limits.payments
    return ids if surplus <= 0 else (ids[0], *ids[surplus + 1 :])


def _with_goods(goods: Goods, known: Order | None, key: str, weights: Weights, money: Money, limits: Limits) -> Goods:
    """What names no category still weighs, where another part of the order names one."""
    if not weights and key not in goods:
        return goods
    before: tuple[Weights, ...] = ()
    if known is not None:
        before = goods.get(key) or tuple((("", currency, bought),) for currency, bought, _ in known[3])
    added = weights or (("", money.currency, f"{money.amount:f}"),)
    return {**goods, key: _fewer((*before, added), limits.payments)}


def _fewer(purchases: tuple[Weights, ...], limit: int) -> tuple[Weights, ...]:
    """Of the oldest beyond the limit only the amounts, without categories."""
    if len(purchases) <= limit:
        return purchases
    surplus = len(purchases) - limit + 1
    amounts: dict[str, str] = {}
    for (_, currency, amount), *_ in purchases[:surplus]:
        amounts[currency] = _sum(amounts.get(currency, "0"), amount)
    return (*((("", currency, amount),) for currency, amount in amounts.items()), *purchases[surplus:])


def with_refund(
    book: Book, rates: Rates, limits: Limits, at: Instant, event_id: str, order_id: str | None, money: Money
) -> Book:
    """Lowers its own order, at the order's rate; without one it is negative spend at its own time until it is matched."""
    back = ((money.currency, "0", f"{max(money.amount, ZERO):f}"),)
    known = _find(book.orders, order_id)
    if known is None:
        refund = (at, (event_id,), order_id, back, _negative(rates, at, back[0]))
        refunds = _placed(book.refunds, None, refund)
        surplus = max(len(refunds) - limits.orders, 0)
        return book._replace(refunds=refunds[surplus:], dropped=book.dropped + surplus)
    parts, ids = _merged(known[3], back), (*known[1], event_id)
    named = _named(ids, limits)
    order = (known[0], named, order_id, parts, net_of(rates, known[0], parts))
    return book._replace(orders=_placed(book.orders, known, order), dropped=book.dropped + len(ids) - len(named))


def net_of(rates: Rates, at: Instant, parts: tuple[Part, ...]) -> str | None:
    """Net amount in the base currency, never below zero by refunds; None where the order was refunded in full.

    Whether it was is judged in the original currency; only an order of several currencies is judged in the base currency.
    Parts without a rate are left out of the money.
    """
    bought, refunded, unrated = ZERO, ZERO, False
    for currency, amount, back in parts:
        rate = rates.rate(currency, at)
        unrated = unrated or rate is None
        bought = add(bought, multiply(Decimal(amount), rate or ZERO))
        refunded = add(refunded, multiply(Decimal(back), rate or ZERO))
    if _refunded_in_full(parts) or (len(parts) > 1 and not unrated and ZERO < refunded >= bought):
        return None
    return f"{subtract(bought, refunded) if refunded <= bought else ZERO:f}" if refunded else f"{bought:f}"


def _refunded_in_full(parts: tuple[Part, ...]) -> bool:
    if all(back == "0" for _, _, back in parts):
        return False
    amounts = [(Decimal(bought), Decimal(back)) for _, bought, back in parts]
    return all(back >= bought for bought, back in amounts) and any(back > 0 for _, back in amounts)


def _negative(rates: Rates, at: Instant, part: Part) -> str:
    rate = rates.rate(part[0], at)
    return f"{subtract(ZERO, multiply(Decimal(part[2]), rate or ZERO)):f}"


def _merged(parts: tuple[Part, ...], more: tuple[Part, ...]) -> tuple[Part, ...]:
    merged = {currency: (bought, back) for currency, bought, back in parts}
    for currency, bought, back in more:
        had, had_back = merged.get(currency, ("0", "0"))
        merged[currency] = (_sum(had, bought), _sum(had_back, back))
    return tuple((currency, bought, back) for currency, (bought, back) in merged.items())


def _sum(one: str, other: str) -> str:
    if other == "0":
        return one
    return f"{add(Decimal(one), Decimal(other)):f}"


def _find(orders: tuple[Order, ...], order_id: str | None) -> Order | None:
    if order_id is None:
        return None
    return next((order for order in reversed(orders) if order[2] == order_id), None)


def _key(order: Order | Refund) -> tuple[Instant, tuple[str, ...]]:
    return order[0], order[1]


def _placed(entries: tuple[Entry, ...], old: Entry | None, new: Entry) -> tuple[Entry, ...]:
    kept = [entry for entry in entries if entry is not old]
    insort(kept, new, key=_key)
    return tuple(kept)


def _bounded(book: Book, limit: int) -> Book:
    """Beyond the limit the oldest orders count for first, last and ever only, and can no longer be refunded."""
    surplus = book.orders[:-limit]
    bought = [order[0] for order in surplus if order[4] is not None]
    if not surplus:
        return book
    folded = book.folded
    if bought:
        first, last, count = folded or (bought[0], bought[-1], 0)
        folded = (min(first, bought[0]), max(last, bought[-1]), count + len(bought))
    kept = book.orders[-limit:]
    goods = {order[1][0]: book.goods[order[1][0]] for order in kept if order[1][0] in book.goods}
    return Book(kept, book.refunds, folded, goods, book.dropped)
