"""One customer's events as the oracle of segmentation reads them, and what they are once they are laid side by side."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from tests.support.segmentation_orders import Order, booked, converted

POINTS = {"visit.held": 4, "meeting.held": 4, "inquiry.received": 3, "survey.answered": 2} | {
    "usage.reported": 1,
    "signal.observed": 1,
}
A_PURCHASE = 5
FACETS = ("region", "country", "language", "age_band", "gender", "industry", "company_size", "interests")


@dataclass(frozen=True, slots=True)
class Fact:
    """One event in the order of the log. `at`: the customer's clock. `said`: the event's data as JSON.

    `kind`: other, purchase, refund, objected, withdrawn, erased, registered, corrected, or an event type's short name.
    """

    kind: str
    id: str
    time: int
    at: int
    order_id: str | None = None
    currency: str = "CNY"
    amount: str = "0"
    said: Mapping[str, Any] = field(default_factory=dict, hash=False)

    @property
    def counts_at(self) -> int:
        return min(self.time, self.at)


@dataclass(frozen=True, slots=True)
class Entry:
    """What counts in a window: when, made by which events, and what it is worth there."""

    at: int
    ids: tuple[str, ...]
    worth: Any


@dataclass(frozen=True, slots=True)
class Known:
    """All of one customer that was in the log up to some record; each list by time, and by the log where times are equal.

    `orders`: those that count as purchases; `loose`: refunds without an order. `stated`: per facet its value and the
    event that said so.
    """

    facts: tuple[Fact, ...]
    objects: bool
    orders: tuple[Order, ...]
    loose: tuple[Order, ...]
    touches: tuple[Entry, ...]
    opinions: tuple[Entry, ...]
    wishes: tuple[Entry, ...]
    budgets: tuple[Entry, ...]
    stated: Mapping[str, tuple[str | tuple[str, ...] | None, str]]

    def instants(self) -> set[int]:
        return {fact.counts_at for fact in self.facts}


def known(facts: Sequence[Fact]) -> Known:
    """Laid out anew from the first event on."""
    orders, loose = booked(facts)
    bought = [Entry(order.at, tuple(order.ids), A_PURCHASE) for order in orders]
    return Known(
        facts=tuple(facts),
        objects=_objects(facts),
        orders=tuple(orders),
        loose=tuple(loose),
        touches=_by_time([*bought, *_entries(facts, _points)]),
        opinions=_by_time(_entries(facts, _opinion)),
        wishes=_by_time(_entries(facts, _needs)),
        budgets=_by_time(_entries(facts, _budget)),
        stated=_stated(facts),
    )


def _by_time(entries: list[Entry]) -> tuple[Entry, ...]:
    return tuple(sorted(entries, key=lambda entry: entry.at))


def _entries(facts: Sequence[Fact], worth: Any) -> list[Entry]:
    found = ((fact, worth(fact)) for fact in facts)
    return [Entry(fact.counts_at, (fact.id,), value) for fact, value in found if value]


def _objects(facts: Sequence[Fact]) -> bool:
    said = [fact.kind for fact in facts if fact.kind in ("objected", "withdrawn")]
    return bool(said) and said[-1] == "objected"


def _points(fact: Fact) -> int:
    if fact.kind == "call.ended":
        return 3 if fact.said["outcome"] == "answered" else 0
    if fact.kind == "message.exchanged":
        return 2 if fact.said["direction"] == "inbound" else 0
    return POINTS.get(fact.kind, 0)


def _opinion(fact: Fact) -> str | None:
    """A survey's NPS before its CSAT."""
    if fact.kind == "survey.answered":
        nps, stars = fact.said.get("nps"), fact.said.get("csat")
        if nps is not None:
            return "promoter" if nps >= 9 else "passive" if nps >= 7 else "detractor"
    elif fact.kind == "service.performed":
        stars = fact.said.get("satisfaction")
    else:
        return None
    return None if stars is None else {5: "promoter", 4: "passive"}.get(stars, "detractor")


def _needs(fact: Fact) -> tuple[str, ...]:
    return tuple(fact.said.get("needs", ())) if fact.kind in ("inquiry.received", "survey.answered") else ()


def _budget(fact: Fact) -> tuple[Fraction | None] | None:
    """Of an inquiry, in the base currency at its date. In a tuple, for zero counts too, and so does what has no rate."""
    budget = fact.said.get("budget") if fact.kind == "inquiry.received" else None
    return None if budget is None else (converted(budget["currency"], Fraction(budget["amount"]), fact.counts_at),)


def _stated(facts: Sequence[Fact]) -> dict[str, tuple[str | tuple[str, ...] | None, str]]:
    """The last word of the log on every facet; a correction to nothing takes it away."""
    stated: dict[str, tuple[Any, str]] = {}
    for fact in facts:
        for name, value in _says(fact).items():
            one = value if isinstance(value, str) else tuple(sorted(set(value or ())))
            stated[name] = (one or None, fact.id)
    return stated


def _says(fact: Fact) -> dict[str, Any]:
    """A registration says what it names; it takes nothing away."""
    if fact.kind == "corrected":
        return {name: change.get("to") for name, change in fact.said["changes"].items()}
    if fact.kind != "registered":
        return {}
    facets = {name: fact.said.get("facets", {}).get(name) for name in FACETS}
    custom = {f"custom.{name}": value for name, value in fact.said.get("custom", {}).items()}
    everything = facets | custom | {"channel": fact.said.get("channel")}
    return {name: value for name, value in everything.items() if value not in (None, [], ())}
