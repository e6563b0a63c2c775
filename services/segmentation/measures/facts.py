"""One customer's facts laid out so that any metric can be read at any instant from now on, as if nothing more happened."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from itertools import accumulate, chain
from typing import Any, NamedTuple, Protocol

from services.segmentation.measures.money import ZERO, add, number_of
from services.segmentation.measures.orders import Book
from services.segmentation.state import CustomerState, Entry, Fold, Order, Segment, Stated
from shared.clock import Instant

FOREVER: Instant = 2**62
"""Later than any instant: what never happens if nothing else does."""

PURCHASES = "purchases"
"""The stream of orders, which is always there."""


class Record(NamedTuple):
    """All that is known of a customer, without what follows from it."""

    book: Book
    streams: Mapping[str, tuple[Entry, ...]]
    folds: Mapping[str, Fold]
    facets: Mapping[str, Stated]

    def fields(self) -> dict[str, Any]:
        """As `CustomerState` keeps them."""
        orders, refunds, folded, goods, dropped = self.book
        return {
            "orders": orders,
            "refunds": refunds,
            "folded": folded,
            "goods": goods,
            "dropped": dropped,
            "streams": self.streams,
            "folds": self.folds,
            "facets": self.facets,
        }


def record_of(state: CustomerState) -> Record:
    book = Book(state.orders, state.refunds, state.folded, state.goods, state.dropped)
    return Record(book, state.streams, state.folds, state.facets)


class Series:
    """Entries by time: (time, ids, …). `first`, `last` and `ever` know those that were folded, too."""

    __slots__ = ("_points", "_sums", "entries", "ever", "first", "fold_points", "fold_sum", "instants", "last")

    def __init__(self, entries: Sequence[Any], fold: Fold | None = None) -> None:
        self.entries = entries
        self.instants: list[Instant] = [entry[0] for entry in entries]
        self.ever = len(entries)
        self.first: Instant | None = self.instants[0] if entries else None
        self.last: Instant | None = self.instants[-1] if entries else None
        self.fold_points, self.fold_sum = 0, ZERO
        self._points: list[int] | None = None
        self._sums: list[Decimal] | None = None
        if fold is not None:
            self._unfold(fold)

    def _unfold(self, fold: Fold) -> None:
        first, last, count, self.fold_points, total = fold
        self.first = first if self.first is None else min(first, self.first)
        self.last = last if self.last is None else max(last, self.last)
        self.ever += count
        self.fold_sum = Decimal(total)

    @property
    def points(self) -> list[int]:
        """`points[i]`: of the first i entries."""
        if self._points is None:
            self._points = list(accumulate((entry[2] for entry in self.entries), initial=0))
        return self._points

    @property
    def sums(self) -> list[Decimal]:
        """`sums[i]`: of the values of the first i entries; a value that is no number adds nothing."""
        if self._sums is None:
            total, sums = ZERO, [ZERO]
            for entry in self.entries:
                total = add(total, _number(entry[3]))
                sums.append(total)
            self._sums = sums
        return self._sums


def _number(value: Any) -> Decimal:
    return (number_of(value) or ZERO) if isinstance(value, str) else ZERO


class Facts(dict[str, Series]):
    """Series by stream, made when they are first asked for. `mixed`: streams that orders are part of, and the points of an
    order in them. `money`: counting orders and unmatched refunds by time; `sums[i]`: net amount of the first i of them."""

    __slots__ = ("_falling", "_money", "_sums", "mixed", "record")

    def __init__(self, record: Record, mixed: Mapping[str, int]) -> None:
        super().__init__()
        self.record, self.mixed = record, mixed
        self._money: Series | None = None
        self._sums: list[Decimal] | None = None
        self._falling: bool | None = None

    def __missing__(self, name: str) -> Series:
        series = self[name] = self._orders() if name == PURCHASES else self._stream(name)
        return series

    def _orders(self) -> Series:
        folded = self.record.book.folded
        fold = None if folded is None else (*folded, 0, "0")
        return Series([order for order in self.record.book.orders if order[4] is not None], fold)

    def _stream(self, name: str) -> Series:
        own: Sequence[Any] = self.record.streams.get(name, ())
        fold = self.record.folds.get(name)
        if name not in self.mixed:
            return Series(own, fold)
        points = self.mixed[name]
        orders = [(order[0], order[1], points, None) for order in self[PURCHASES].entries]
        return Series(sorted(chain(own, orders), key=_time) if own else orders, _joined(fold, self.record, points))

    @property
    def recorded(self) -> tuple[Order, ...]:
        """All orders, with those refunded in full."""
        return self.record.book.orders

    @property
    def money(self) -> Series:
        if self._money is None:
            refunds, orders = self.record.book.refunds, self[PURCHASES]
            both = sorted(chain(orders.entries, refunds), key=lambda entry: entry[:2]) if refunds else None
            self._money = orders if both is None else Series(both)
        return self._money

    @property
    def sums(self) -> list[Decimal]:
        if self._sums is None:
            total, sums = ZERO, [ZERO]
            for entry in self.money.entries:
                total = add(total, Decimal(entry[4]))
                sums.append(total)
            self._sums = sums
        return self._sums

    @property
    def falling(self) -> bool:
        """No amount is negative, so that the money of a window only falls."""
        if self._falling is None:
            book = self.record.book
            negative = any(order[4] is not None and order[4][0] == "-" for order in book.orders)
            self._falling = not book.refunds and not negative
        return self._falling


def _time(entry: Any) -> Instant:
    instant: Instant = entry[0]
    return instant


def _joined(fold: Fold | None, record: Record, points: int) -> Fold | None:
    folded = record.book.folded
    if folded is None:
        return fold
    first, last, count = folded
    if fold is None:
        return first, last, count, count * points, "0"
    return min(first, fold[0]), max(last, fold[1]), count + fold[2], count * points + fold[3], fold[4]


def ids_of(entries: Sequence[Any]) -> tuple[str, ...]:
    return tuple([event_id for entry in entries for event_id in entry[1]])


class Standing:
    """What is published of a customer as one evaluation goes on: the ground for rules about dimensions and composites.

    `before`: what those dimensions were that this evaluation changed.
    """

    __slots__ = ("before", "composites", "ever", "segments")

    def __init__(self, segments: dict[str, Segment], composites: set[str], ever: Mapping[str, tuple[str, ...]]) -> None:
        self.segments, self.composites, self.ever = segments, composites, ever
        self.before: dict[str, Any] = {}

    def value(self, dimension: str) -> Any:
        segment = self.segments.get(dimension)
        return None if segment is None else segment[0]


class Moment(dict["Measured", Any]):
    """The facts at one instant. `moment[metric]` is its value, which is worked out at most once."""

    __slots__ = ("_later", "at", "facts", "ids", "standing")

    def __init__(self, facts: Facts, standing: Standing, at: Instant) -> None:
        super().__init__()
        self.ids: dict[Any, tuple[str, ...]] = {}
        """What was found out about the events behind metrics, which several reasons may ask for."""
        self.facts, self.standing, self.at = facts, standing, at
        self._later: dict[Instant, Moment] = {}

    def __missing__(self, of: "Measured") -> Any:
        value = self[of] = of.at(self)
        return value

    def later(self, at: Instant) -> "Moment":
        """With what is published at this one. It is kept until `forget`, because several conditions ask for the same.

        Raises ValueError where it is not later: a search would go round for ever, and its worker with it.
        """
        if at <= self.at:
            raise ValueError(f"the next change is not after its moment: {at} after {self.at}")
        moment = self._later.get(at)
        if moment is None:
            moment = self._later[at] = Moment(self.facts, self.standing, at)
            moment._later = self._later
        return moment

    def forget(self) -> None:
        """The later ones, which know one another: else they would wait for the collector of cycles."""
        self._later.clear()


class Measured(Protocol):
    def at(self, moment: Moment, /) -> Any: ...
