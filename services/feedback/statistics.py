"""What a set of cases adds up to, per cause, category, channel, assignee or product."""

from collections import defaultdict
from collections.abc import Iterable
from statistics import fmean, median
from typing import Literal, get_args

from pydantic import BaseModel

from services.feedback.case import Case
from services.feedback.ledger import DeadlineName
from shared.clock import HOUR

By = Literal["cause", "category", "channel", "assignee", "product"]


class Kept(BaseModel):
    """`kept`: done in time. `missed`: told as missed, whether done later or not. `running`: neither yet."""

    kept: int = 0
    missed: int = 0
    running: int = 0


class Group(BaseModel):
    """Cases opened in the range that share one value; null: those without. Hours are hours of the clock on the wall."""

    value: str | None
    opened: int
    open: int
    resolved: int
    closed: int
    reopened: int
    escalated: int
    deadlines: dict[DeadlineName, Kept]
    median_hours_to_resolve: float | None
    mean_csat: float | None


def grouped(cases: Iterable[Case], by: By) -> list[Group]:
    """Largest first; equal ones by value."""
    found: dict[str | None, list[Case]] = defaultdict(list)
    for case in cases:
        found[getattr(case, by)].append(case)
    groups = [group(value, members) for value, members in found.items()]
    return sorted(groups, key=lambda one: (-one.opened, one.value or ""))


def group(value: str | None, cases: list[Case]) -> Group:
    hours = [(case.resolved_at - case.opened_at) / HOUR for case in cases if case.resolved_at is not None]
    answers = [case.csat for case in cases if case.csat is not None]
    return Group(
        value=value,
        opened=len(cases),
        open=sum(case.open for case in cases),
        resolved=len(hours),
        closed=sum(not case.open for case in cases),
        reopened=sum(case.reopenings > 0 for case in cases),
        escalated=sum(case.level > 0 for case in cases),
        deadlines={name: _kept(cases, name) for name in get_args(DeadlineName)},
        median_hours_to_resolve=median(hours) if hours else None,
        mean_csat=fmean(answers) if answers else None,
    )


def _kept(cases: list[Case], name: DeadlineName) -> Kept:
    deadlines = [d for case in cases for d in case.deadlines if d.name == name]
    missed = sum(d.missed_at is not None for d in deadlines)
    kept = sum(d.missed_at is None and d.ended_at is not None for d in deadlines)
    return Kept(kept=kept, missed=missed, running=len(deadlines) - missed - kept)
