"""What feedback publishes on `guanxi.feedback.v1`."""

from typing import ClassVar

from shared.events.customers import OfCustomer
from shared.events.fields import Severity, UtcDateTime


class OfCase(OfCustomer):
    """One complaint or suggestion on its way to an answer; `deadlines` by what is due: acknowledge, resolve.

    `reason` is a code, whose texts feedback's rules hold in both languages; or the words of staff, where they gave any.
    """

    case_id: str
    kind: str
    severity: Severity
    category: str | None = None
    assignee: str | None = None
    deadlines: dict[str, UtcDateTime] = {}
    cause: str | None = None
    measure: str | None = None
    by: str | None = None
    reason: str | None = None


class CaseOpened(OfCase):
    event_type: ClassVar[str] = "guanxi.case.opened.v1"


class CaseAcknowledged(OfCase):
    event_type: ClassVar[str] = "guanxi.case.acknowledged.v1"


class CaseAssigned(OfCase):
    event_type: ClassVar[str] = "guanxi.case.assigned.v1"


class CaseWaitingStarted(OfCase):
    """`reason` names what the case waits for, as the rules do."""

    event_type: ClassVar[str] = "guanxi.case.waiting_started.v1"


class CaseWaitingEnded(OfCase):
    """`reason` names what the case waited for, as the rules do."""

    event_type: ClassVar[str] = "guanxi.case.waiting_ended.v1"


class CaseSeverityChanged(OfCase):
    """`reason` names the severity before."""

    event_type: ClassVar[str] = "guanxi.case.severity_changed.v1"


class CaseResolved(OfCase):
    event_type: ClassVar[str] = "guanxi.case.resolved.v1"


class CaseConfirmed(OfCase):
    event_type: ClassVar[str] = "guanxi.case.confirmed.v1"


class CaseReopened(OfCase):
    event_type: ClassVar[str] = "guanxi.case.reopened.v1"


class CaseEscalated(OfCase):
    """`level` counts the steps up (1 is the first); `to` is who the case is with now, as the rules name them."""

    event_type: ClassVar[str] = "guanxi.case.escalated.v1"
    level: int | None = None
    to: str | None = None


class CaseDeadlineMissed(OfCase):
    """`reason` names the deadline: acknowledge or resolve."""

    event_type: ClassVar[str] = "guanxi.case.deadline_missed.v1"


class CaseSurveyRequested(OfCase):
    event_type: ClassVar[str] = "guanxi.case.survey_requested.v1"


class CaseClosed(OfCase):
    event_type: ClassVar[str] = "guanxi.case.closed.v1"


class CaseActionRefused(OfCustomer):
    """`reason` is a code, whose texts feedback's rules hold in both languages."""

    event_type: ClassVar[str] = "guanxi.case.action_refused.v1"
    case_id: str
    action: str
    by: str | None = None
    reason: str
