"""Exact money: decimals that are never rounded, converted at the rate of their day."""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from decimal import Context, Decimal, Inexact

from shared.clock import Instant

EXACT = Context(prec=10_000, Emax=100_000, Emin=-100_000, traps=[Inexact])
"""Sums and products of any sane amounts are exact; what would not be raises (and parks its customer) instead of rounding."""

add = EXACT.add
subtract = EXACT.subtract
multiply = EXACT.multiply

ZERO = Decimal(0)
ONE = Decimal(1)


class Rates:
    """`table`: per currency, ascending, the instant from which a rate holds and what a unit is worth in `base`."""

    def __init__(self, base: str, table: Mapping[str, Sequence[tuple[Instant, Decimal]]]) -> None:
        self.base = base
        self.first = {currency: rows[0][0] for currency, rows in table.items()} | {base: -(2**62)}
        """Per currency the instant before which there is no rate."""
        self._starts = {currency: [start for start, _ in rows] for currency, rows in table.items()}
        self._rates = {currency: [rate for _, rate in rows] for currency, rows in table.items()}

    def rate(self, currency: str, at: Instant) -> Decimal | None:
        """The latest rate not after `at`; None where there is none."""
        if currency == self.base:
            return ONE
        index = bisect_right(self._starts.get(currency, ()), at)
        return self._rates[currency][index - 1] if index else None


def number_of(text: str) -> Decimal | None:
    """The number that a text is, if it is one as people write them: 12, -3, 4.50."""
    digits = text.removeprefix("-")
    whole, point, fraction = digits.partition(".")
    plain_digits = whole.isascii() and whole.isdigit() and (not point or (fraction.isascii() and fraction.isdigit()))
    return Decimal(text) if plain_digits else None
