"""What an order was spent on: weights of categories, and the net amount divided by them."""

from decimal import Decimal
from fractions import Fraction

from services.segmentation.measures.money import ZERO, Rates, add, multiply, subtract
from services.segmentation.state import Order, Weight, Weights
from shared.clock import Instant
from shared.events.customers import PurchaseMade


def weighed(purchase: PurchaseMade) -> Weights:
    """Empty where no category is named. First the whole, under the category of what its items leave of it; then the items."""
    if purchase.category is None and all(item.category is None for item in purchase.items):
        return ()
    items = [
        (item.category or purchase.category or "", item.amount.currency, f"{item.amount.amount:f}")
        for item in purchase.items
        if item.amount is not None and item.amount.amount > 0
    ]
    return (_of_the_rest(purchase), purchase.amount.currency, f"{purchase.amount.amount:f}"), *items


def _of_the_rest(purchase: PurchaseMade) -> str:
    """The one category of all items without an amount, else the order's."""
    open_items = {item.category or purchase.category for item in purchase.items if item.amount is None}
    return (open_items.pop() if len(open_items) == 1 else purchase.category) or ""


def parts_of(rates: Rates, order: Order, purchases: tuple[Weights, ...]) -> dict[str, Fraction]:
    """The order's net amount divided in proportion to its weights; what has no category is left out."""
    parts: dict[str, Decimal] = {}
    for whole, *items in purchases:
        rest = _in_base(rates, whole, order[0])
        for item in items:
            weight = _in_base(rates, item, order[0])
            rest = subtract(rest, weight)
            parts[item[0]] = add(parts.get(item[0], ZERO), weight)
        parts[whole[0]] = add(parts.get(whole[0], ZERO), max(rest, ZERO))
    total = sum(map(Fraction, parts.values()), Fraction(0))
    if order[4] is None or total <= 0:
        return {}
    net = Fraction(Decimal(order[4])) / total
    return {category: net * Fraction(part) for category, part in parts.items() if category and part}


def _in_base(rates: Rates, weight: Weight, at: Instant) -> Decimal:
    return multiply(Decimal(weight[2]), rates.rate(weight[1], at) or ZERO)
