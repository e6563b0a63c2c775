"""What can be done to a case, in which states, and why it is refused otherwise."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import get_args

from services.feedback import ledger
from services.feedback.case import Case, State, Step, StepName, told
from services.feedback.ledger import Deadline, DeadlineName, Hours
from services.feedback.reasons import Reason
from services.feedback.rules import Rules
from shared.clock import Instant
from shared.events.envelope import Data
from shared.events.feedback import (
    CaseAcknowledged,
    CaseAssigned,
    CaseClosed,
    CaseConfirmed,
    CaseDeadlineMissed,
    CaseEscalated,
    CaseReopened,
    CaseResolved,
    CaseSeverityChanged,
    CaseSurveyRequested,
    CaseWaitingEnded,
    CaseWaitingStarted,
    OfCase,
)
from shared.events.fields import Severity


@dataclass(frozen=True, slots=True)
class Setting:
    """What holds while one customer's event or timer is decided. `live`: deadlines and questions are made."""

    customer_id: str
    at: Instant
    hours: Hours
    rules: Rules
    live: bool = True
    event_id: str | None = None


@dataclass(frozen=True, slots=True)
class Act:
    """What somebody asks for; the fields mean what they mean in `case.acted_on`."""

    name: str
    by: str | None = None
    to: str | None = None
    cause: str | None = None
    measure: str | None = None


@dataclass(frozen=True, slots=True)
class Turn:
    """The case after it, and what is to be told, in order."""

    case: Case
    events: tuple[Data, ...] = ()


Handler = Callable[[Case, Act, Setting], Turn | Reason]


def perform(case: Case, act: Act, setting: Setting) -> Turn | Reason:
    """The one way in: the state decides first, then the action's own conditions."""
    allowed, handler = ACTIONS[act.name]
    if case.state not in allowed:
        return _WHILE[case.state]
    return handler(case, act, setting)


def noted(case: Case, what: StepName, act: Act, setting: Setting, detail: str | None = None) -> Case:
    return case.with_step(Step(at=setting.at, what=what, by=act.by, detail=detail, event_id=setting.event_id))


def _acknowledge(case: Case, act: Act, setting: Setting) -> Turn:
    state: State = "assigned" if case.assignee else "acknowledged"
    case = _ended(case, "acknowledge", setting).changed(state=state, acknowledged_at=setting.at)
    return _told(CaseAcknowledged, noted(case, "acknowledged", act, setting), act, setting)


def _assign(case: Case, act: Act, setting: Setting) -> Turn | Reason:
    if not act.to:
        return "to_missing"
    if act.to == case.assignee:
        return "already_assigned"
    state: State = "assigned" if case.state in ("acknowledged", "reopened") else case.state
    case = case.changed(state=state, assignee=act.to)
    return _told(CaseAssigned, noted(case, "assigned", act, setting, act.to), act, setting)


def _set_severity(case: Case, act: Act, setting: Setting) -> Turn | Reason:
    before, severity = case.severity, _severity(act.to)
    if severity is None:
        return "severity_unknown"
    if severity == before:
        return "severity_unchanged"
    case = noted(case.changed(severity=severity), "severity_changed", act, setting, f"{before} -> {severity}")
    case = retargeted(case, setting, setting.hours, "severity_changed")
    return _told(CaseSeverityChanged, case, act, setting, reason=before)


def _wait(case: Case, act: Act, setting: Setting) -> Turn | Reason:
    reasons = setting.rules.waiting
    reason = act.cause or next(iter(reasons))
    if reason not in reasons:
        return "waiting_unknown"
    case = noted(case.changed(state="waiting", waiting_for=reason), "waiting_started", act, setting, reason)
    running = case.running("resolve")
    if running is not None and reasons[reason].pauses:
        case = case.with_deadline(
            ledger.pause(_current(running, case, setting), setting.at, setting.hours, reason=reason)
        )
    return _told(CaseWaitingStarted, case, act, setting, reason=reason)


def _resume(case: Case, act: Act, setting: Setting) -> Turn:
    waited, case = case.waiting_for, _resumed(case, setting)
    case = case.changed(state="assigned" if case.assignee else "acknowledged")
    return _told(CaseWaitingEnded, noted(case, "waiting_ended", act, setting, waited), act, setting, reason=waited)


def _resolve(case: Case, act: Act, setting: Setting) -> Turn:
    """An answer acknowledges too, where nobody did before."""
    first = _acknowledge(case, act, setting) if case.state == "received" else Turn(case)
    case = _ended(first.case, "resolve", setting).changed(
        state="resolved",
        waiting_for=None,
        resolved_at=setting.at,
        close_at=setting.at + setting.rules.closing.after_resolution,
        cause=act.cause or case.cause,
        measure=act.measure or case.measure,
    )
    turn = _told(CaseResolved, noted(case, "resolved", act, setting, act.cause), act, setting)
    events = (*first.events, *turn.events)
    if not (setting.live and setting.rules.survey.requested):
        return replace(turn, events=events)
    asked = noted(turn.case, "survey_requested", Act("survey"), setting)
    return Turn(asked, (*events, told(CaseSurveyRequested, asked, setting.customer_id)))


def _confirm(case: Case, act: Act, setting: Setting) -> Turn:
    case = case.changed(state="confirmed", close_at=setting.at + setting.rules.closing.after_confirmation)
    return _told(CaseConfirmed, noted(case, "confirmed", act, setting), act, setting)


def _reopen(case: Case, act: Act, setting: Setting) -> Turn | Reason:
    """A new round with a deadline of its own; the ledgers of earlier rounds stay."""
    within = setting.rules.closing.reopen_within
    if case.closed_at is not None and setting.at - case.closed_at > within:
        return "too_late_to_reopen"
    case = case.changed(
        state="reopened",
        reopenings=case.reopenings + 1,
        resolved_at=None,
        closed_at=None,
        close_at=None,
        imported=case.imported and not setting.live,
    )
    if setting.live:
        case = started(case, "resolve", setting, "reopened")
    return _told(CaseReopened, noted(case, "reopened", act, setting, act.cause), act, setting, reason=act.cause)


def _escalate(case: Case, act: Act, setting: Setting) -> Turn | Reason:
    if case.level >= len(setting.rules.escalation):
        return "last_step"
    return escalated(case, act, setting, act.cause or "requested")


def _close(case: Case, act: Act, setting: Setting) -> Turn:
    return closed(case, act, setting, act.cause)


def _note(case: Case, act: Act, setting: Setting) -> Turn:
    return Turn(noted(case, "note", act, setting))


UNRESOLVED: tuple[State, ...] = ("received", "acknowledged", "assigned", "waiting", "reopened")
ANSWERED: tuple[State, ...] = ("resolved", "confirmed")
IN_WORK: tuple[State, ...] = ("acknowledged", "assigned", "reopened")

ACTIONS: Mapping[str, tuple[tuple[State, ...], Handler]] = {
    "acknowledge": (("received",), _acknowledge),
    "assign": (UNRESOLVED, _assign),
    "set_severity": (UNRESOLVED, _set_severity),
    "wait": (IN_WORK, _wait),
    "resume": (("waiting",), _resume),
    "resolve": (UNRESOLVED, _resolve),
    "confirm": (("resolved",), _confirm),
    "reopen": ((*ANSWERED, "closed"), _reopen),
    "escalate": (UNRESOLVED, _escalate),
    "close": (ANSWERED, _close),
    "note": (get_args(State), _note),
}


_WHILE: Mapping[State, Reason] = {
    "received": "while_received",
    "acknowledged": "while_acknowledged",
    "assigned": "while_assigned",
    "waiting": "while_waiting",
    "reopened": "while_reopened",
    "resolved": "while_resolved",
    "confirmed": "while_confirmed",
    "closed": "while_closed",
}

_MISSED: Mapping[DeadlineName, Reason] = {"acknowledge": "acknowledge_missed", "resolve": "resolve_missed"}


def started(case: Case, name: DeadlineName, setting: Setting, reason: Reason) -> Case:
    allowed = setting.rules.allowed(name, case.severity)
    deadline = ledger.start(name, allowed, setting.at, setting.hours, reason=reason, reopening=case.reopenings)
    return case.with_deadline(deadline)


def retargeted(case: Case, setting: Setting, before: Hours, reason: Reason) -> Case:
    """Every deadline that has not ended goes on under what holds now; what was used until now stays used."""
    for deadline in [d for d in case.deadlines if d.ended_at is None]:
        allowed = setting.rules.allowed(deadline.name, case.severity)
        case = case.with_deadline(ledger.retarget(deadline, allowed, setting.at, before, setting.hours, reason=reason))
    return case


def escalated(case: Case, act: Act, setting: Setting, reason: str) -> Turn:
    """One step up; it stays at the last. `reason`: a code, or the words of staff."""
    level = min(case.level + 1, len(setting.rules.escalation))
    to = setting.rules.escalation[level - 1].to
    case = noted(case.changed(level=level), "escalated", act, setting, to)
    return _told(CaseEscalated, case, act, setting, reason=reason, level=level, to=to)


def closed(case: Case, act: Act, setting: Setting, reason: str | None) -> Turn:
    """`reason`: a code, or the words of staff."""
    case = case.changed(state="closed", closed_at=setting.at, close_at=None)
    for name in get_args(DeadlineName):
        case = _ended(case, name, setting)
    return _told(CaseClosed, noted(case, "closed", act, setting, reason), act, setting, reason=reason)


def overdue(case: Case, setting: Setting) -> Turn:
    """Everything of this case that is due by now: missed deadlines, each escalated once, and the closing by itself."""
    events: tuple[Data, ...] = ()
    for deadline in [d for d in case.deadlines if d.due_at is not None and d.due_at <= setting.at]:
        missed = _missed(case, deadline, setting)
        case, events = missed.case, (*events, *missed.events)
    if case.close_at is not None and case.close_at <= setting.at:
        reason: Reason = "confirmed" if case.state == "confirmed" else "no_answer"
        ended = closed(case, Act("close"), setting, reason)
        case, events = ended.case, (*events, *ended.events)
    return Turn(case, events)


def _missed(case: Case, deadline: Deadline, setting: Setting) -> Turn:
    case = noted(case, "deadline_missed", Act("miss"), setting, deadline.name)
    event = told(CaseDeadlineMissed, case, setting.customer_id, reason=deadline.name)
    case = case.with_deadline(ledger.miss(deadline, setting.at))
    turn = escalated(case, Act("escalate"), setting, _MISSED[deadline.name])
    return replace(turn, events=(event, *turn.events))


def _current(deadline: Deadline, case: Case, setting: Setting) -> Deadline:
    """With the allowance that the rules give now: a changed policy takes hold where a span begins."""
    return deadline.model_copy(update={"allowed": setting.rules.allowed(deadline.name, case.severity)})


def _resumed(case: Case, setting: Setting) -> Case:
    deadline = case.running("resolve")
    if deadline is not None and not deadline.running:
        current = _current(deadline, case, setting)
        case = case.with_deadline(ledger.resume(current, setting.at, setting.hours, reason="resumed"))
    return case.changed(waiting_for=None)


def _ended(case: Case, name: DeadlineName, setting: Setting) -> Case:
    deadline = case.running(name)
    return case if deadline is None else case.with_deadline(ledger.end(deadline, setting.at, setting.hours))


def _told(event: type[OfCase], case: Case, act: Act, setting: Setting, **more: object) -> Turn:
    return Turn(case, (told(event, case, setting.customer_id, by=act.by, **more),))


def _severity(text: str | None) -> Severity | None:
    return next((severity for severity in get_args(Severity) if severity == text), None)
