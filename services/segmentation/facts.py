"""One customer's facts laid out so that any metric can be read at any instant from now on, as if nothing more happened."""

from bisect import bisect_right
from decimal import Decimal
from itertools import chain

from services.segmentation.money import ZERO, add
from services.segmentation.state import CustomerState, Order, Refund
from shared.clock import Instant


class Facts:
    """`orders`: those that count as purchases; `instants`: their times. `first`, `last`, `ever` know the folded ones too.

    `recorded`: with those refunded in full. `money`: orders and unmatched refunds by time; `sums[i]`: net amount of the first i of them.
    """

    __slots__ = ("_sums", "ever", "first", "instants", "last", "money", "money_instants", "orders", "recorded")

    def __init__(self, state: CustomerState) -> None:
        orders = [order for order in state.orders if order[4] is not None]
        instants = [order[0] for order in orders]
        self.recorded = state.orders
        self.orders = orders
        self.instants = instants
        self.ever = len(instants)
        self.first: Instant | None = instants[0] if instants else None
        self.last: Instant | None = instants[-1] if instants else None
        if state.folded is not None:
            self._unfold(*state.folded)
        self.money: list[Order | Refund] = list(orders)
        self.money_instants = instants
        if state.refunds:
            self.money = sorted(chain(orders, state.refunds), key=lambda entry: entry[:2])
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

    def money_in(self, after: Instant, until: Instant) -> list[Order | Refund]:
        return self.money[bisect_right(self.money_instants, after) : bisect_right(self.money_instants, until)]


def ids_of(entries: list[Order] | list[Order | Refund]) -> tuple[str, ...]:
    return tuple(chain.from_iterable(entry[1] for entry in entries))
