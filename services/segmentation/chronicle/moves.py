"""Moves between values, and the sizes that they add up to: the arithmetic of what the chronicle keeps."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

from shared.events.segments import Membership, SegmentChange

COMPOSITES = "composites"
"""The dimension under which composites are counted: a list of names."""

Value = str | None
Move = tuple[str, Value, Value]
"""Dimension, from, to; None: in no value. Where several values hold at once, each comes and goes by itself."""

Moves = Counter[Move]
Sizes = Mapping[str, Mapping[str, int]]
"""Per dimension and value, how many customers; what is empty is left out."""


def moves_of(changes: Iterable[SegmentChange]) -> Moves:
    return Counter(move for c in changes for move in _between(c.dimension, c.from_, c.to))


def departure(memberships: Mapping[str, Membership], composites: tuple[str, ...]) -> Moves:
    """All that an erased customer leaves."""
    held = {**memberships, COMPOSITES: composites}
    return Counter(move for dimension, value in held.items() for move in _between(dimension, value, None))


def _between(dimension: str, before: Membership, after: Membership) -> Iterator[Move]:
    if isinstance(before, tuple) or isinstance(after, tuple):
        left, joined = set(_listed(before)), set(_listed(after))
        yield from ((dimension, value, None) for value in sorted(left - joined))
        yield from ((dimension, None, value) for value in sorted(joined - left))
    elif before != after:
        yield dimension, before, after


def _listed(value: Membership) -> tuple[str, ...]:
    return value if isinstance(value, tuple) else () if value is None else (value,)


def moved(sizes: Sizes, moves: Moves) -> dict[str, dict[str, int]]:
    """The sizes after these moves."""
    counted = {dimension: Counter(values) for dimension, values in sizes.items()}
    for (dimension, before, after), number in moves.items():
        values = counted.setdefault(dimension, Counter())
        if before is not None:
            values[before] -= number
        if after is not None:
            values[after] += number
    kept = {dimension: {value: n for value, n in values.items() if n} for dimension, values in counted.items()}
    return {dimension: values for dimension, values in kept.items() if values}


def summed(parts: Iterable[Sizes]) -> dict[str, dict[str, int]]:
    """Of several partitions together."""
    total: dict[str, Counter[str]] = {}
    for sizes in parts:
        for dimension, values in sizes.items():
            total.setdefault(dimension, Counter()).update(values)
    return {dimension: dict(values) for dimension, values in total.items()}
