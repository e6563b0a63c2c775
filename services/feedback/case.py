"""A case: one complaint or suggestion on its way to an answer, with its timeline and its deadlines."""

import uuid
from typing import Any, Literal, TypeVar

from services.feedback.ledger import Deadline, DeadlineName
from shared.clock import Instant, to_datetime
from shared.events.feedback import OfCase
from shared.events.fields import Model, Severity

State = Literal["received", "acknowledged", "assigned", "waiting", "reopened", "resolved", "confirmed", "closed"]

STEPS_KEPT = 100
DEADLINES_KEPT = 20
"""Per case; a case that is reopened without end keeps the newest."""

E = TypeVar("E", bound=OfCase)
StepName = Literal[
    "opened",
    "acknowledged",
    "assigned",
    "waiting_started",
    "waiting_ended",
    "severity_changed",
    "escalated",
    "deadline_missed",
    "resolved",
    "survey_requested",
    "survey_answered",
    "confirmed",
    "reopened",
    "closed",
    "note",
    "refused",
]


class Step(Model):
    """One line of the timeline. `event_id` is the causing event (sealed notes are read there); empty: time alone."""

    at: Instant
    what: StepName
    by: str | None = None
    detail: str | None = None
    event_id: str | None = None


class Case(Model):
    """`imported`: opened by imported history, so nobody is held to a deadline. `close_at`: when it closes by itself.

    `level` counts escalations. `reopenings` counts how often it was reopened.
    """

    case_id: str
    kind: str
    state: State = "received"
    severity: Severity
    reported_severity: Severity
    category: str | None = None
    product: str | None = None
    channel: str | None = None
    assignee: str | None = None
    cause: str | None = None
    measure: str | None = None
    csat: int | None = None
    level: int = 0
    reopenings: int = 0
    imported: bool = False
    opened_at: Instant
    acknowledged_at: Instant | None = None
    resolved_at: Instant | None = None
    closed_at: Instant | None = None
    close_at: Instant | None = None
    waiting_for: str | None = None
    deadlines: tuple[Deadline, ...] = ()
    steps: tuple[Step, ...] = ()

    @property
    def open(self) -> bool:
        return self.state != "closed"

    @property
    def unresolved(self) -> bool:
        return self.state not in ("resolved", "confirmed", "closed")

    def running(self, name: DeadlineName) -> Deadline | None:
        """The deadline of that name that has not ended (it may stand still); None where there is none."""
        return next((d for d in reversed(self.deadlines) if d.name == name and d.ended_at is None), None)

    def wake_at(self) -> Instant | None:
        """When time alone will next change it. It closes by itself only when no deadline runs any more."""
        return min((d.due_at for d in self.deadlines if d.due_at is not None), default=self.close_at)

    def changed(self, **changes: Any) -> "Case":
        return self.model_copy(update=changes)

    def with_deadline(self, deadline: Deadline) -> "Case":
        """Replaces the one of that name that has not ended, or adds it."""
        same = next((n for n, d in enumerate(self.deadlines) if d.name == deadline.name and d.ended_at is None), None)
        if same is not None:
            return self.changed(deadlines=(*self.deadlines[:same], deadline, *self.deadlines[same + 1 :]))
        return self.changed(deadlines=(*self.deadlines, deadline)[-DEADLINES_KEPT:])

    def with_step(self, step: Step) -> "Case":
        return self.changed(steps=(*self.steps, step)[-STEPS_KEPT:])


def case_id_of(source: str, event_id: str) -> str:
    """The case that the feedback event opens: known to the emitter before anything is read back."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"guanxi:case:{source}:{event_id}"))


def told(event: type[E], case: Case, customer_id: str, **more: Any) -> E:
    """The event about this case as it stands now, with the deadlines that somebody is being held to."""
    due = {d.name: to_datetime(d.due_at) for d in case.deadlines if d.due_at is not None}
    fields: dict[str, Any] = {
        "customer_id": customer_id,
        "case_id": case.case_id,
        "kind": case.kind,
        "severity": case.severity,
        "category": case.category,
        "assignee": case.assignee,
        "deadlines": due,
        "cause": case.cause,
        "measure": case.measure,
    }
    return event(**(fields | more))
