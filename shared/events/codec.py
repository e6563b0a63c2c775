"""Bytes to events and back: one discriminated union over all newest types, and upcasters for older versions."""

import json
from collections.abc import Callable
from functools import lru_cache
from typing import Annotated, Any, Literal, Union

from pydantic import Field, TypeAdapter, ValidationError, create_model

from shared.events.catalog import TOPICS
from shared.events.envelope import Data, Event
from shared.events.reasons import field_errors

CONTENT_TYPE = "application/cloudevents+json"
HEADERS: tuple[tuple[str, bytes], ...] = (("content-type", CONTENT_TYPE.encode()),)

Upcaster = Callable[[dict[str, Any]], dict[str, Any]]
UPCASTERS: dict[str, Upcaster] = {}
"""Old full type name to a function that turns the whole old document into its successor's (type included)."""


class UndecodableEvent(Exception):
    """The bytes are no event that this version knows. The message names fields and reasons, never values."""


@lru_cache
def data_types() -> dict[str, type[Data]]:
    """Full type name to the model of its data."""
    return {data.event_type: data for topic in TOPICS for data in topic.types}


def short_name(event_type: str) -> str:
    """`purchase.made` for `guanxi.purchase.made.v1`."""
    return event_type.removeprefix("guanxi.").rsplit(".v", 1)[0]


@lru_cache
def event_model(data: type[Data]) -> type[Event]:
    """The whole event of one type: the envelope with this data."""
    fields: dict[str, Any] = {"type": (Literal[data.event_type], ...), "data": (data, ...)}
    return create_model(f"{data.__name__}Event", __base__=Event, **fields)


@lru_cache
def _adapter() -> TypeAdapter[Event]:
    union: Any = Union[tuple(event_model(data) for data in data_types().values())]  # noqa: UP007 - built at run time
    typed: Any = Annotated[union, Field(discriminator="type")]
    return TypeAdapter(typed)


def decode(value: bytes) -> Event:
    """Reads any version ever shipped as its newest. Raises UndecodableEvent."""
    try:
        return _adapter().validate_json(value)
    except ValidationError as error:
        return _upcast(value, error)


def _upcast(value: bytes, error: ValidationError) -> Event:
    document = _json_object(value)
    upcaster = UPCASTERS.get(str(document.get("type")))
    if upcaster is None:
        raise UndecodableEvent(_reasons(error)) from None
    return decode(json.dumps(_raised(upcaster, document)).encode())


def _raised(upcaster: Upcaster, document: dict[str, Any]) -> dict[str, Any]:
    try:
        newer = upcaster(document)
    except (KeyError, ValueError, TypeError, AttributeError, IndexError, ArithmeticError) as fault:
        raise UndecodableEvent(f"an old version that lacks something: {type(fault).__name__}") from None
    if newer.get("type") == document["type"]:
        raise UndecodableEvent("an upcaster must move its type on")
    return newer


def _json_object(value: bytes) -> dict[str, Any]:
    try:
        document = json.loads(value)
    except (ValueError, RecursionError):
        raise UndecodableEvent("not JSON") from None
    if not isinstance(document, dict):
        raise UndecodableEvent("not a JSON object")
    return document


def _reasons(error: ValidationError) -> str:
    shown = field_errors(error.errors(include_input=False, include_url=False))[:5]
    return "; ".join(f"{e['field'] or 'event'}: {e['reason']}" for e in shown)
