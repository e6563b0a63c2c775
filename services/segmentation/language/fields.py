"""What a field of an event can hold, as far as the event's model says: what it never can, no rule may ask for."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from decimal import Decimal
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from services.segmentation.language.misfits import Misfit, unknown
from services.segmentation.measures.metrics import Compare
from services.segmentation.measures.streams import plain
from shared.events.envelope import Data
from shared.events.fields import Money

UNBOUNDED = Decimal("Infinity")


@dataclass(frozen=True, slots=True)
class Holding:
    """`words`: all that there are (None: any text). `number`: numbers only, from `low` to `high`. `several`: a list of such.
    `model`: fields of its own, known ones; `keyed`: others."""

    words: frozenset[str] | None = None
    number: bool = False
    low: Decimal = -UNBOUNDED
    high: Decimal = UNBOUNDED
    several: bool = False
    model: type[BaseModel] | None = None
    keyed: bool = False

    def allows(self, compare: Compare, bound: Decimal) -> bool:
        """Whether some number that it can hold compares so."""
        nearest = min(max(bound, self.low), self.high)
        return any(compare(number, bound) for number in (self.low, nearest, self.high))

    @property
    def bounds(self) -> str:
        low = "" if self.low == -UNBOUNDED else f" from {self.low}"
        return low + ("" if self.high == UNBOUNDED else f" to {self.high}")


ANYTHING = Holding()


def compared(path: str, name: str, kind: type[Data]) -> Holding:
    """Of the field by its dotted path. Raises Misfit where there is none, or none that could be compared with anything."""
    held = _found(path, name, kind)
    if held.several and held.model is not None:
        raise Misfit(path, _no_list(name))
    if held.model is not None or held.keyed:
        first = next(iter(held.model.model_fields)) if held.model is not None else "…"
        raise Misfit(path, f"{name!r} has fields of its own; name one of them, as {name}.{first}")
    return held


def kept(path: str, name: str, kind: type[Data]) -> Holding:
    """The same of one whose value is kept; money is a number then."""
    held = _found(path, name, kind)
    return Holding(number=True) if held.model is Money and not held.several else compared(path, name, kind)


def _found(path: str, name: str, kind: type[Data]) -> Holding:
    held = Holding(model=kind)
    for part in name.split("."):
        if held.model is None:
            return ANYTHING
        if held.several:
            raise Misfit(path, _no_list(name))
        if part not in held.model.model_fields:
            raise Misfit(path, f"{_called(kind)}: {unknown(part, held.model.model_fields)}")
        field = held.model.model_fields[part]
        held = _bounded(_holding(field.annotation), field.metadata)
    return held


def _no_list(name: str) -> str:
    return f"{name!r} is a list of several fields each, into which no rule looks"


def _called(kind: type[Data]) -> str:
    return kind.event_type.removeprefix("guanxi.").rsplit(".v", 1)[0]


def _holding(annotation: Any) -> Holding:
    origin, within = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _bounded(_holding(within[0]), within[1:])
    if origin in (Union, UnionType):
        options = [option for option in within if option is not NoneType]
        return _holding(options[0]) if len(options) == 1 else ANYTHING
    if origin is Literal:
        return Holding(words=frozenset(map(plain, within)))
    if origin in (tuple, list):
        return replace(_holding(within[0]), several=True)
    return Holding(keyed=True) if origin is dict else _of_type(annotation)


def _of_type(kind: Any) -> Holding:
    if not isinstance(kind, type):
        return ANYTHING
    if issubclass(kind, BaseModel):
        return Holding(model=kind)
    if issubclass(kind, bool):
        return Holding(words=frozenset(("true", "false")))
    return Holding(number=issubclass(kind, int | float | Decimal))


def _bounded(held: Holding, metadata: Iterable[Any]) -> Holding:
    for one in metadata:
        if isinstance(one, FieldInfo):
            held = _bounded(held, one.metadata)
        elif held.number:
            low, high = getattr(one, "ge", None), getattr(one, "le", None)
            held = replace(held, low=held.low if low is None else Decimal(low))
            held = replace(held, high=held.high if high is None else Decimal(high))
    return held
