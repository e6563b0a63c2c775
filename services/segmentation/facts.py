"""One customer's facts laid out so that any metric can be read at any instant from now on, as if nothing more happened."""

from bisect import bisect_right
from collections.abc import Sequence
from decimal import Decimal
from itertools import chain
from typing import Any, Protocol

from services.segmentation.money import ZERO, add
from services.segmentation.orders import Book
from services.segmentation.state import Order, Refund
from shared.clock import Instant

FOREVER: Instant = 2**62
"""Later than any instant: what never happens if nothing else does."""


class Facts:
    """`orders`: those that count as purchases; `instants`: their times. `first`, `last`, `ever` know the folded ones too.

    `recorded`: with those refunded in full. `money`: orders and unmatched refunds by time; `sums[i]`: net amount of the
    first i of them. `falling`: no amount is negative, so that as time passes the money of a window only falls.
    """

    __slots__ = (
        "_sums",
        "ever",
        "falling",
        "first",
        "instants",
        "last",
        "money",
        "money_instants",
        "orders",
        "recorded",
    )

    def __init__(self, book: Book) -> None:
        orders = [order for order in book.orders if order[4] is not None]
        instants = [order[0] for order in orders]
        self.recorded = book.orders
        self.orders = orders
        self.instants = instants
        self.ever = len(instants)
        self.first: Instant | None = instants[0] if instants else None
        self.last: Instant | None = instants[-1] if instants else None
        if book.folded is not None:
            self._unfold(*book.folded)
        self.falling = not book.refunds and not any(order[4][0] == "-" for order in orders if order[4])
        self.money: Sequence[Order | Refund] = orders
        self.money_instants = instants
        if book.refunds:
            self.money = sorted(chain(orders, book.refunds), key=lambda entry: entry[:2])
            self.money_instants = [entry[0] for entry in self.money]
        self._sums: list[Decimal] | None = None

    def _unfold(self, first: Instant, last: Instant, count: int) -> None:
        self.first = first if self.first is None else min(first, self.first)
        self.last = last if self.last is None else max(last, self.last)
        self.ever += count

    @property
    def sums(self) -> list[Decimal]:
        if self._sums is None:
            total, sums = ZERO, [ZERO]
            for entry in self.money:
                total = add(total, Decimal(entry[4] or ZERO))
                sums.append(total)
            self._sums = sums
        return self._sums

    def orders_in(self, after: Instant, until: Instant) -> list[Order]:
        """Those with after < time <= until."""
        return self.orders[bisect_right(self.instants, after) : bisect_right(self.instants, until)]

    def money_in(self, after: Instant, until: Instant) -> Sequence[Order | Refund]:
        return self.money[bisect_right(self.money_instants, after) : bisect_right(self.money_instants, until)]


def ids_of(entries: Sequence[Order | Refund]) -> tuple[str, ...]:
    return tuple([event_id for entry in entries for event_id in entry[1]])


class Moment:
    """The facts at one instant; every metric and dimension is worked out at most once.

    `ahead`: when a dimension changes next, and how far ahead it was looked (equal: no sooner than that).
    """

    __slots__ = ("ahead", "at", "facts", "known")

    def __init__(self, facts: Facts, at: Instant) -> None:
        self.facts, self.at = facts, at
        self.known: dict[Any, Any] = {}
        self.ahead: dict[Any, tuple[Instant, Instant]] = {}

    def value(self, of: "Measured") -> Any:
        known = self.known
        if of in known:
            return known[of]
        value = known[of] = of.at(self)
        return value

    def later(self, at: Instant) -> "Moment":
        return Moment(self.facts, at)


class Measured(Protocol):
    def at(self, moment: Moment, /) -> Any: ...
