"""Streams of the rules, compiled: kinds of events, their fields, points and values."""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from functools import partial
from operator import eq
from typing import Any

from services.segmentation.conditions import numeric
from services.segmentation.language.fields import Holding, compared, kept
from services.segmentation.language.grammar import EntryRule, Scalar
from services.segmentation.language.misfits import Misfit, named, unknown
from services.segmentation.language.sentences import ranged
from services.segmentation.measures.facts import PURCHASES
from services.segmentation.measures.metrics import Compare
from services.segmentation.measures.money import number_of
from services.segmentation.measures.streams import Field, Fit, Test, plain
from shared.events import customers
from shared.events.envelope import Data

NO_INTERACTION = (
    customers.CustomerErased,
    customers.CustomerMerged,
    customers.CustomerSplit,
    customers.CustomerResumeRequested,
)


def kinds() -> dict[str, type[Data]]:
    """Short name to type, of all events of a customer that a stream may count."""
    found = [
        kind for kind in vars(customers).values() if isinstance(kind, type) and issubclass(kind, customers.OfCustomer)
    ]
    return {_short(kind): kind for kind in found if kind is not customers.OfCustomer and kind not in NO_INTERACTION}


def _short(kind: type[Data]) -> str:
    return kind.event_type.removeprefix("guanxi.").rsplit(".v", 1)[0]


def fits_of(path: str, entries: Iterable[EntryRule]) -> tuple[dict[type[Data], tuple[Fit, ...]], int | None]:
    """By kind of event, in the order of the file; and the points of an order, None where orders are no part."""
    known: Mapping[str, Any] = {**kinds(), PURCHASES: None}
    fits: dict[type[Data], tuple[Fit, ...]] = {}
    points: int | None = None
    for index, entry in enumerate(entries):
        for name in entry.on:
            kind = named(f"{path}[{index}].on", name, known)
            if kind is not None:
                fits[kind] = (*fits.get(kind, ()), _fit(f"{path}[{index}]", entry, kind))
            elif points is None:
                points = _of_orders(f"{path}[{index}]", entry)
    return fits, points


def _of_orders(path: str, entry: EntryRule) -> int:
    if entry.where or entry.value is not None:
        raise Misfit(
            path, "orders count with `points` only; for fields of single purchases expected `on: purchase.made`"
        )
    return entry.points


def _fit(path: str, entry: EntryRule, kind: type[Data]) -> Fit:
    where = tuple((Field(name), _asked(f"{path}.where.{name}", name, kind, text)) for name, text in entry.where.items())
    if entry.value is None:
        return Fit(where, entry.points, None, ())
    held = kept(f"{path}.value", entry.value, kind)
    if held.several and entry.as_:
        raise Misfit(f"{path}.value", f"{entry.value!r} is a list; `as` names ranges of one value")
    ranges = tuple((label, _test(f"{path}.as.{label}", text, held)) for label, text in entry.as_.items())
    return Fit(where, entry.points, Field(entry.value), ranges)


def _asked(path: str, name: str, kind: type[Data], wanted: Scalar | list[Scalar]) -> Test:
    return _test(path, wanted, compared(path, name, kind))


def _test(path: str, wanted: Scalar | list[Scalar], held: Holding) -> Test:
    """A value, a list of values, or a comparison."""
    comparison = ranged(path, wanted)
    if comparison is not None:
        compare, bound = comparison
        _possible(path, wanted, compare, bound, held)
        return partial(_compares, numeric(compare), bound)
    texts = frozenset(plain(one) for one in (wanted if isinstance(wanted, list) else [wanted]))
    for text in sorted(texts):
        _one_of(path, text, held)
    numbers = frozenset(number for text in texts if (number := number_of(text)) is not None)
    return partial(_equals, texts, numbers)


def _possible(path: str, wanted: Any, compare: Compare, bound: Decimal, held: Holding) -> None:
    if held.words is not None:
        raise Misfit(path, f"{wanted!r} holds for no word; expected one of {', '.join(sorted(held.words))}")
    if held.number and not held.allows(compare, bound):
        raise Misfit(path, f"{plain(wanted)!r} can never hold; there are numbers only{held.bounds}")


def _one_of(path: str, text: str, held: Holding) -> None:
    if held.words is not None and text not in held.words:
        raise Misfit(path, unknown(text, held.words))
    if held.number:
        number = number_of(text)
        if number is None:
            raise Misfit(path, f"{text!r}: expected a number, or a comparison such as '>= 3'")
        _possible(path, text, eq, number, held)


def _compares(compare: Any, bound: Any, text: str) -> bool:
    return bool(compare(text, bound))


def _equals(texts: frozenset[str], numbers: frozenset[Any], text: str) -> bool:
    return text in texts or (bool(numbers) and number_of(text) in numbers)
