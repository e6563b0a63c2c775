"""Cases as they are shown over HTTP: instants as RFC 3339, durations in business hours."""

from pydantic import BaseModel

from services.feedback.case import Case, State, Step, StepName
from services.feedback.ledger import Deadline, DeadlineName, Span
from services.feedback.statistics import By, Group
from services.feedback.store import Found
from shared.clock import HOUR, Instant, to_rfc3339
from shared.events.fields import Severity


class Fresh(BaseModel):
    """How fresh the answer is: the log's time that was applied, and how far behind the log that is."""

    as_of: str | None
    behind_seconds: float | None


class StepShown(BaseModel):
    """`what`: a code of `labels.steps`. `detail`: codes and names as on the event of this step; of a refusal, `action: code`.
    `event_id` names the event in which a sealed note can be read; null: time alone did it."""

    at: str
    what: StepName
    by: str | None
    detail: str | None
    event_id: str | None


class SpanShown(BaseModel):
    """`reason`: a code of `labels.reasons`; where the clock stands still, of `waiting`. `hours_used` is null while the
    span lasts."""

    start: str
    end: str | None
    running: bool
    reason: str
    hours_allowed: float
    hours_used: float | None
    due_at: str | None


class DeadlineShown(BaseModel):
    """`due_at`: the newest instant that it was set for. `reopening`: which reopening began it, 0 for the opening."""

    name: DeadlineName
    reopening: int
    hours_allowed: float
    hours_used: float
    running: bool
    due_at: str | None
    missed_at: str | None
    ended_at: str | None
    ledger: list[SpanShown]


class CaseShown(BaseModel):
    """`next_at`: when time alone will next change something."""

    case_id: str
    customer_id: str
    kind: str
    state: State
    severity: Severity
    reported_severity: Severity
    category: str | None
    product: str | None
    channel: str | None
    assignee: str | None
    cause: str | None
    measure: str | None
    waiting_for: str | None
    csat: int | None
    level: int
    reopenings: int
    imported: bool
    opened_at: str
    acknowledged_at: str | None
    resolved_at: str | None
    closed_at: str | None
    next_at: str | None


class CaseInFull(CaseShown, Fresh):
    timeline: list[StepShown]
    deadlines: list[DeadlineShown]


class CasePage(Fresh):
    """`next_cursor` null: this was the last page."""

    cases: list[CaseShown]
    next_cursor: str | None = None


class Statistics(Fresh):
    by: By
    total: Group
    groups: list[Group]


def shown(found: Found) -> CaseShown:
    return CaseShown(**_fields(found))


def in_full(found: Found, fresh: Fresh) -> CaseInFull:
    timeline = [_step(step) for step in found.case.steps]
    deadlines = [_deadline(deadline) for deadline in found.case.deadlines]
    return CaseInFull(**_fields(found), **fresh.model_dump(), timeline=timeline, deadlines=deadlines)


def _fields(found: Found) -> dict[str, object]:
    case = found.case
    times = {name: _text(getattr(case, name)) for name in ("opened_at", "acknowledged_at", "resolved_at", "closed_at")}
    same = {name: getattr(case, name) for name in CaseShown.model_fields if name in Case.model_fields}
    return {**same, **times, "customer_id": found.customer_id, "next_at": _text(case.wake_at())}


def _step(step: Step) -> StepShown:
    return StepShown(**(step.model_dump() | {"at": to_rfc3339(step.at)}))


def _deadline(deadline: Deadline) -> DeadlineShown:
    return DeadlineShown(
        name=deadline.name,
        reopening=deadline.reopening,
        hours_allowed=deadline.allowed / HOUR,
        hours_used=deadline.used / HOUR,
        running=deadline.running,
        due_at=_text(deadline.shown_at),
        missed_at=_text(deadline.missed_at),
        ended_at=_text(deadline.ended_at),
        ledger=[_span(span) for span in deadline.spans],
    )


def _span(span: Span) -> SpanShown:
    return SpanShown(
        start=to_rfc3339(span.start),
        end=_text(span.end),
        running=span.running,
        reason=span.reason,
        hours_allowed=span.allowed / HOUR,
        hours_used=None if span.end is None else span.used / HOUR,
        due_at=_text(span.due_at),
    )


def _text(instant: Instant | None) -> str | None:
    return None if instant is None else to_rfc3339(instant)
