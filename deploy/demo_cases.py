"""The demo's complaints and suggestions: what the customer says, and how staff take care of it, in time or not. Generated."""

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import Any

from services.feedback.case import case_id_of
from shared.clock import DAY, HOUR, MINUTE, Instant

SEVERITIES = ("low", "normal", "normal", "normal", "high", "high", "critical")
CATEGORIES = ("delivery", "product", "billing", "website", "service")
CAUSES = {
    "delivery": ("carrier", "wrong_address"),
    "product": ("defect", "wrong_item"),
    "billing": ("double_charge", "price_error"),
    "website": ("outage", "unclear_page"),
    "service": ("slow_answer", "tone"),
}
MEASURES = ("voucher", "replacement", "refund", "apology", "process_changed")
PRODUCTS = ("cd", "box_set", "gift_card")
WORDS = {
    "complaint": "Invented complaint for the demo. 演示用的虚构投诉。",
    "suggestion": "Invented suggestion for the demo. 演示用的虚构建议。",
}


@dataclass(frozen=True, slots=True)
class Said:
    """One event of a customer's life: its moment, its id within the demo's source, type and data."""

    at: Instant
    id: str
    type: str
    data: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Pace:
    """Milliseconds from the opening until staff acknowledge, and from then until they resolve. None: nobody does."""

    acknowledge: int | None
    resolve: int | None


def case_of(random: Random, source: str, name: str, at: Instant, owner: str) -> list[Said]:
    """A whole case. `name` makes its ids, so the case's id is known before anybody has read anything back."""
    kind = "suggestion" if random.random() < 0.25 else "complaint"
    severity = "low" if kind == "suggestion" else random.choice(SEVERITIES)
    category = random.choice(CATEGORIES)
    opening = {
        "kind": kind,
        "severity": severity,
        "channel": random.choice(("web", "phone", "email")),
        "category": category,
        "product": random.choice(PRODUCTS),
        "text": WORDS[kind],
    }
    said = [Said(at, name, "feedback.received", opening)]
    work = _Work(random, case_id_of(source, name), name, owner, random.choice(CAUSES[category]))
    said += work.done(at, _pace(random))
    return said


def _pace(random: Random) -> Pace:
    """Six in ten are served in time, some late, some not at all (whoever watches the demo sees what happens then)."""
    luck = random.random()
    if luck < 0.62:
        return Pace(random.randint(5, 50) * MINUTE, random.randint(30, 300) * MINUTE)
    if luck < 0.87:
        return Pace(random.randint(30, 100) * HOUR, random.randint(6, 20) * DAY)
    return Pace(random.randint(10, 60) * MINUTE, None) if luck < 0.94 else Pace(None, None)


class _Work:
    def __init__(self, random: Random, case_id: str, name: str, owner: str, cause: str) -> None:
        self._random = random
        self._case_id = case_id
        self._name = name
        self._owner = owner
        self._cause = cause
        self._count = 0

    def done(self, opened_at: Instant, pace: Pace) -> Iterator[Said]:
        if pace.acknowledge is None:
            return
        at = opened_at + pace.acknowledge
        yield self._act(at, "acknowledge")
        yield self._act(at + 3 * MINUTE, "assign", to=self._owner)
        if self._random.random() < 0.15:
            yield self._act(at + 5 * MINUTE, "set_severity", to="high")
        if self._random.random() < 0.04:
            yield self._act(at + 6 * MINUTE, "resume")
        if pace.resolve is None:
            return
        at += 10 * MINUTE
        if self._random.random() < 0.25:
            yield self._act(at, "wait", cause=self._random.choice(("customer", "customer", "third_party")))
            at += self._random.randint(20, 60) * HOUR
            yield self._act(at, "resume")
        at += pace.resolve
        yield self._act(at, "resolve", cause=self._cause, measure=self._random.choice(MEASURES))
        yield from self._answered(at)

    def _answered(self, at: Instant) -> Iterator[Said]:
        if self._random.random() > 0.6:
            return
        csat = self._random.choice((5, 5, 4, 4, 4, 3, 2, 1))
        at += self._random.randint(2, 70) * HOUR
        yield self._survey(at, csat)
        if csat <= 2:
            at += self._random.randint(1, 30) * HOUR
            yield self._act(at, "resolve", cause=self._cause, measure="voucher")
            yield self._survey(at + 5 * HOUR, 4)

    def _survey(self, at: Instant, csat: int) -> Said:
        return self._said(at, "survey.answered", {"survey": "after_case", "csat": csat, "case_id": self._case_id})

    def _act(self, at: Instant, action: str, **fields: str) -> Said:
        data = {"case_id": self._case_id, "action": action, "by": self._owner, **fields}
        return self._said(at, "case.acted_on", data)

    def _said(self, at: Instant, kind: str, data: dict[str, Any]) -> Said:
        self._count += 1
        return Said(at, f"{self._name}-{self._count}", kind, data)
