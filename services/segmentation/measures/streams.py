"""What events are worth to the streams of the rules: which entry fits, with how many points and which value."""

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

from services.segmentation.measures.money import Rates, add, multiply, number_of
from services.segmentation.state import Entry, Fold
from shared.clock import Instant
from shared.events.envelope import Data
from shared.events.fields import Money

Kept = str | tuple[str, ...] | None
Test = Callable[[Any], bool]
"""Of one value of a field, as text."""


class Field:
    """A field of an event's data, by its dotted path."""

    def __init__(self, path: str) -> None:
        self._names = path.split(".")

    def of(self, data: Data) -> Any:
        value: Any = data
        for name in self._names:
            value = value.get(name) if isinstance(value, Mapping) else getattr(value, name, None)
        return value


class Fit(NamedTuple):
    """One entry of a stream, for one kind of event. `ranges`: names of ranges of the value, the first that holds."""

    where: tuple[tuple[Field, Test], ...]
    points: int
    value: Field | None
    ranges: tuple[tuple[str, Test], ...]

    def worth(self, data: Data, rates: Rates, at: Instant) -> tuple[int, Kept] | None:
        """Points and value; None where the entry does not fit the event. Money without a rate is an entry without a value."""
        if not all(_any(test, field.of(data)) for field, test in self.where):
            return None
        if self.value is None:
            return self.points, None
        value = self.value.of(data)
        kept = text_of(value, rates, at)
        if kept is None:
            return (self.points, None) if isinstance(value, Money) else None
        if self.ranges:
            kept = next((name for name, test in self.ranges if test(kept)), None)
        return None if kept is None else (self.points, kept)


def _any(test: Test, value: Any) -> bool:
    members = value if isinstance(value, tuple | list) else (value,)
    return any(member is not None and test(plain(member)) for member in members)


def plain(value: Any) -> str:
    """A single value as text: numbers as decimals, booleans as true and false."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:f}" if isinstance(value, Decimal) else str(value)


def text_of(value: Any, rates: Rates, at: Instant) -> Kept:
    """What is kept of a field: text, or texts sorted; money in the base currency at the rate of its day. None: nothing."""
    if isinstance(value, Money):
        rate = rates.rate(value.currency, at)
        return None if rate is None else f"{multiply(value.amount, rate):f}"
    if isinstance(value, tuple | list):
        return tuple(sorted({plain(member) for member in value if isinstance(member, str | int | Decimal)})) or None
    return plain(value) if isinstance(value, str | int | float | Decimal) and value != "" else None


class Stream(NamedTuple):
    """`fits`: by type of data. `horizon`: how far back any rule looks, in milliseconds (None: for ever)."""

    name: str
    fits: Mapping[type[Data], Sequence[Fit]]
    horizon: int | None
    limit: int

    def worth(self, data: Data, rates: Rates, at: Instant) -> tuple[int, Kept] | None:
        return next((found for fit in self.fits[type(data)] if (found := fit.worth(data, rates, at)) is not None), None)

    def with_entry(self, entries: tuple[Entry, ...], entry: Entry, at: Instant) -> tuple[Entry, ...]:
        """In its place by time, of equal times the last; without what no rule looks back to any more."""
        index = len(entries)
        while index and entries[index - 1][0] > entry[0]:
            index -= 1
        return self.pruned((*entries[:index], entry, *entries[index:]), at)

    def pruned(self, entries: tuple[Entry, ...], at: Instant) -> tuple[Entry, ...]:
        if self.horizon is None or not entries or entries[0][0] > at - self.horizon:
            return entries
        return tuple(entry for entry in entries if entry[0] > at - self.horizon)

    def folded(self, entries: tuple[Entry, ...], fold: Fold | None) -> tuple[tuple[Entry, ...], Fold | None]:
        """Beyond the limit the oldest entries count for first, last, number and sums only."""
        surplus = entries[: -self.limit]
        if not surplus:
            return entries, fold
        for time, _, points, value in surplus:
            fold = _with(fold, time, points, value)
        return entries[-self.limit :], fold


def _with(fold: Fold | None, time: Instant, points: int, value: Kept) -> Fold:
    amount = value if isinstance(value, str) and number_of(value) is not None else "0"
    if fold is None:
        return time, time, 1, points, amount
    first, last, count, had, total = fold
    return min(first, time), max(last, time), count + 1, had + points, f"{add(Decimal(total), Decimal(amount)):f}"
