"""Made-up lives of one customer: late events, ties, equal instants, leap days, long silence, and every kind of event."""

from datetime import datetime
from typing import Any

from hypothesis import strategies as st

from shared.clock import DAY, HOUR, to_instant
from tests.support.segmentation_facts import Fact

YEAR = 365 * DAY
SPANS = st.sampled_from(
    [0, 1, HOUR, 7 * HOUR, 30 * DAY - 1, YEAR - 1, YEAR, YEAR + 1]
    + [days * DAY for days in (1, 1, 2, 3, 5, 5, 10, 15, 29, 30, 60, 90, 120, 180, 240, 300, 800)]
)
AMOUNTS = st.sampled_from(
    ["0", "0.00", "0.01", "10", "99.90", "300", "1000", "1999.995", "5000", "9876543210987654.3211"]
)
BUDGETS = st.sampled_from(["0", "120.773", "999.99", "1000", "10000", "99999.9999", "100000", "7000000"])
CURRENCIES = st.sampled_from(["CNY", "CNY", "CNY", "USD", "USD", "XYZ"])
STARTS = st.sampled_from(
    ["2003-12-31T23:59:59.999Z", "2004-02-29T12:00:00Z", "2005-07-20T23:00:00Z", "2023-06-01T00:00:00Z"]
)
NEEDS = st.lists(st.sampled_from(["delivery", "training", "price", "自动化"]), max_size=3)
CATEGORIES = st.sampled_from([None, "shoes", "books", "tea", "家居"])
CHOICES: dict[str, st.SearchStrategy[Any]] = {
    "region": st.sampled_from(["east", "north", None]),
    "age_band": st.sampled_from(["30-39", "40-49", None]),
    "gender": st.sampled_from(["female", "male", None]),
    "industry": st.sampled_from(["retail", "textiles", None]),
    "company_size": st.sampled_from(["large", "large", "small", None]),
    "interests": st.lists(st.sampled_from(["tea", "hiking", "书法"]), max_size=3),
    "channel": st.sampled_from(["web", "wechat", None]),
    "custom.tier": st.sampled_from(["gold", "silver", None]),
}
MONEY = st.fixed_dictionaries({"amount": AMOUNTS, "currency": CURRENCIES})


def _item(draw: st.DrawFn, currency: str) -> dict[str, Any]:
    item: dict[str, Any] = {"category": draw(CATEGORIES)}
    if draw(st.booleans()):
        item["amount"] = {"amount": draw(AMOUNTS), "currency": draw(st.just(currency) | CURRENCIES)}
    return item


def _purchase(draw: st.DrawFn, currency: str) -> dict[str, Any]:
    items = [_item(draw, currency) for _ in range(draw(st.sampled_from([0, 0, 1, 2, 3])))]
    return {"category": draw(CATEGORIES), "items": items}


def _registration(draw: st.DrawFn, _currency: str) -> dict[str, Any]:
    said = {name: draw(CHOICES[name]) for name in draw(st.sets(st.sampled_from(sorted(CHOICES))))}
    facets = {name: value for name, value in said.items() if value and name not in ("channel", "custom.tier")}
    tier = said.get("custom.tier")
    return {"facets": facets, "channel": said.get("channel"), "custom": {"tier": tier} if tier else {}}


def _correction(draw: st.DrawFn, _currency: str) -> dict[str, Any]:
    names = draw(st.sets(st.sampled_from(sorted(CHOICES)), min_size=1, max_size=3))
    return {"changes": {name: {"to": draw(CHOICES[name])} for name in sorted(names)}}


def _inquiry(draw: st.DrawFn, _currency: str) -> dict[str, Any]:
    budget = {"amount": draw(BUDGETS), "currency": draw(CURRENCIES)} if draw(st.booleans()) else None
    return {"needs": draw(NEEDS), "budget": budget}


def _survey(draw: st.DrawFn, _currency: str) -> dict[str, Any]:
    nps, stars = st.none() | st.integers(0, 10), st.none() | st.integers(1, 5)
    return {"survey": "s", "nps": draw(nps), "csat": draw(stars), "needs": draw(NEEDS)}


def _call(draw: st.DrawFn, _currency: str) -> dict[str, Any]:
    return {"direction": "inbound", "outcome": draw(st.sampled_from(["answered", "answered", "busy"]))}


def _message(draw: st.DrawFn, _currency: str) -> dict[str, Any]:
    return {"direction": draw(st.sampled_from(["inbound", "inbound", "outbound"])), "channel": "chat"}


def _service(draw: st.DrawFn, _currency: str) -> dict[str, Any]:
    return {"satisfaction": draw(st.none() | st.integers(1, 5))}


SAYS: dict[str, Any] = {
    "purchase": _purchase,
    "registered": _registration,
    "corrected": _correction,
    "inquiry.received": _inquiry,
    "survey.answered": _survey,
    "call.ended": _call,
    "message.exchanged": _message,
    "service.performed": _service,
    "usage.reported": lambda _draw, _currency: {"name": "login"},
    "signal.observed": lambda _draw, _currency: {"name": "like"},
    "feedback.received": lambda _draw, _currency: {"kind": "complaint"},
}
ABOUT_MONEY = ["purchase"] * 11 + ["refund"] * 6 + ["other", "objected", "withdrawn", "withdrawn"]
ABOUT_CONTACT = [
    "inquiry.received", "inquiry.received", "survey.answered", "survey.answered", "call.ended", "message.exchanged",
    "visit.held", "meeting.held", "service.performed", "usage.reported", "signal.observed", "feedback.received",
]  # fmt: skip
MIXED = ABOUT_MONEY + ABOUT_CONTACT + ["registered", "registered", "corrected", "corrected"]
OF_CONTACT = [*ABOUT_CONTACT, "purchase", "refund", "corrected", "objected", "withdrawn"]
WHERE_THE_NEWEST_COUNTS = [
    "survey.answered",
    "service.performed",
    "inquiry.received",
    "registered",
    "corrected",
    "corrected",
]
FACES = (ABOUT_MONEY, MIXED, MIXED, OF_CONTACT, WHERE_THE_NEWEST_COUNTS)
"""A history is mostly about one thing, so that its windows fill."""


@st.composite
def histories(draw: st.DrawFn, longest: int = 60) -> list[Fact]:
    """Refunds come before, after and without their purchase; ids are not in the order of the log."""
    at = to_instant(datetime.fromisoformat(draw(STARTS)))
    kinds, pace = (
        draw(st.sampled_from(FACES)),
        draw(st.sampled_from([SPANS, SPANS, st.sampled_from([0, 1, DAY, 5 * DAY])])),
    )
    facts = []
    for number in range(draw(st.integers(1, longest))):
        at += draw(st.just(0) | pace)
        facts.append(draw(_fact(number, kinds, at)))
    if draw(st.integers(0, 19)) == 0:
        place = draw(st.integers(0, len(facts) - 1))
        then = facts[place].at
        facts.insert(place, Fact("erased", "gone", then, then, said={"receipt_id": "r"}))
    return facts


@st.composite
def _fact(draw: st.DrawFn, number: int, kinds: list[str], at: int) -> Fact:
    kind, currency = draw(st.sampled_from(kinds)), draw(CURRENCIES)
    late = draw(st.sampled_from([0, 0, 0, -1]) | SPANS)
    order = draw(st.sampled_from([None, "o1", "o2", "o3", "o4"])) if kind in ("purchase", "refund") else None
    said = SAYS[kind](draw, currency) if kind in SAYS else {}
    return Fact(kind, f"e{number * 37 % 64:02d}", at - late, at, order, currency, draw(AMOUNTS), said)
