"""What is stated of a customer (facets, an objection) replaces what stood before it in the log, whatever their times say."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from services.segmentation.measures.facets import CUSTOM, KNOWN, PLAIN, stated
from shared.clock import Instant
from shared.events.customers import (
    CustomerAssigned,
    CustomerCorrected,
    CustomerObjected,
    CustomerObjectionWithdrawn,
    CustomerRegistered,
)
from shared.events.envelope import Data, Event

OBJECTION = "objection"


class Heard(NamedTuple):
    """One of a customer's events, and from when on it counts."""

    event: Event
    at: Instant


def objects_now(heard: Sequence[Heard]) -> bool:
    said = [type(one.event.data) for one in heard if OBJECTION in _named(one.event.data)]
    return bool(said) and said[-1] is CustomerObjected


def unreplaced(heard: Sequence[Heard]) -> list[Heard]:
    """In the order of the log, without what something later in it had replaced already when it would have begun to hold."""
    replaced_from: dict[str, Instant] = {}
    found: list[Heard] = []
    for event, at in reversed(heard):
        named = _named(event.data)
        gone = frozenset(name for name in named if replaced_from.get(name, at) < at)
        replaced_from |= {name: min(at, replaced_from.get(name, at)) for name in named}
        if (data := _without(event.data, gone) if gone else event.data) is not None:
            found.append(Heard(event if data is event.data else event.model_copy(update={"data": data}), at))
    return found[::-1]


def _named(data: Data) -> frozenset[str]:
    match data:
        case CustomerCorrected():
            return frozenset(data.changes)
        case CustomerRegistered():
            return frozenset(stated(data, (*KNOWN, *(f"{CUSTOM}{name}" for name in data.custom))))
        case CustomerAssigned():
            return frozenset({"owner"})
        case CustomerObjected() | CustomerObjectionWithdrawn():
            return frozenset({OBJECTION})
    return frozenset()


def _without(data: Data, gone: frozenset[str]) -> Data | None:
    """None: it stated nothing else."""
    match data:
        case CustomerCorrected():
            kept = {name: change for name, change in data.changes.items() if name not in gone}
            return data.model_copy(update={"changes": kept})
        case CustomerRegistered():
            return data.model_copy(update=_left_out(data, gone))
    return None


def _left_out(data: CustomerRegistered, gone: frozenset[str]) -> Mapping[str, Any]:
    facets = dict.fromkeys(gone - {*PLAIN})
    custom = {name: value for name, value in data.custom.items() if f"{CUSTOM}{name}" not in gone}
    return {
        "facets": data.facets.model_copy(update=facets),
        "custom": custom,
        **dict.fromkeys(gone.intersection(PLAIN)),
    }
