"""Streams of the rules, compiled: kinds of events, their fields, points and values."""

from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any, get_args

from pydantic import BaseModel

from services.segmentation.language.grammar import EntryRule, Scalar
from services.segmentation.language.misfits import Misfit, named, unknown
from services.segmentation.language.sentences import ranged
from services.segmentation.measures.facts import PURCHASES
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
    where = tuple(
        (_field(f"{path}.where.{name}", name, kind), _test(f"{path}.where.{name}", wanted))
        for name, wanted in entry.where.items()
    )
    value = None if entry.value is None else _field(f"{path}.value", entry.value, kind)
    ranges = tuple((label, _test(f"{path}.as.{label}", text)) for label, text in entry.as_.items())
    return Fit(where, entry.points, value, ranges)


def _field(path: str, name: str, kind: type[Data]) -> Field:
    """Known as far as the models say what there is."""
    model: Any = kind
    for part in name.split("."):
        if model is None:
            break
        if part not in model.model_fields:
            raise Misfit(path, f"{_short(kind)}: {unknown(part, model.model_fields)}")
        model = _model_of(model.model_fields[part].annotation)
    return Field(name)


def _model_of(annotation: Any) -> type[BaseModel] | None:
    return next(
        (a for a in (annotation, *get_args(annotation)) if isinstance(a, type) and issubclass(a, BaseModel)), None
    )


def _test(path: str, wanted: Scalar | list[Scalar]) -> Test:
    """A value, a list of values, or a comparison."""
    compared = ranged(path, wanted)
    if compared is not None:
        compare, bound = compared
        return partial(_compares, compare, bound)
    texts = frozenset(plain(one) for one in (wanted if isinstance(wanted, list) else [wanted]))
    numbers = frozenset(number for text in texts if (number := number_of(text)) is not None)
    return partial(_equals, texts, numbers)


def _compares(compare: Any, bound: Any, text: str) -> bool:
    return bool(compare(text, bound))


def _equals(texts: frozenset[str], numbers: frozenset[Any], text: str) -> bool:
    return text in texts or (bool(numbers) and number_of(text) in numbers)
