"""The domain: what each event and each instant does to one customer's cases."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from services.feedback.actions import (
    Act,
    Setting,
    Turn,
    closed,
    noted,
    overdue,
    perform,
    retargeted,
    started,
)
from services.feedback.case import Case, case_id_of, told
from services.feedback.reasons import Reason
from services.feedback.rules import Rules
from shared.calendar import BusinessCalendar
from shared.clock import Instant
from shared.events.customers import (
    CaseActedOn,
    CustomerCorrected,
    CustomerErased,
    CustomerRegistered,
    FeedbackReceived,
    SurveyAnswered,
)
from shared.events.envelope import Data, Event
from shared.events.feedback import CaseActionRefused, CaseOpened
from shared.events.fields import Model
from shared.events.segments import SegmentsChanged
from shared.processing.domain import Decision

TIMEZONE_FIELDS = ("timezone", "facets.timezone")
"""How a correction may name the customer's time zone."""


class FeedbackState(Model):
    """`memberships` and `composites`: those of the customer's segments that can raise a severity."""

    customer_id: str = ""
    timezone: str | None = None
    memberships: dict[str, str] = {}
    composites: tuple[str, ...] = ()
    cases: tuple[Case, ...] = ()

    def case(self, case_id: str) -> Case | None:
        return next((case for case in self.cases if case.case_id == case_id), None)

    def with_case(self, changed: Case) -> "FeedbackState":
        cases = tuple(changed if case.case_id == changed.case_id else case for case in self.cases)
        return self.model_copy(update={"cases": cases})


@dataclass(frozen=True, slots=True)
class ZoneHours:
    """Business hours in one customer's time zone; None: the calendar's own."""

    calendar: BusinessCalendar
    zone: str | None

    def add(self, start: Instant, duration: int) -> Instant:
        return self.calendar.add_business_time(start, duration, self.zone)

    def between(self, start: Instant, end: Instant) -> int:
        return self.calendar.business_time_between(start, end, self.zone)


FeedbackDecision = Decision[FeedbackState]


class FeedbackDomain:
    service = "feedback"
    state_type = FeedbackState

    def __init__(self, rules: Rules, calendar: BusinessCalendar) -> None:
        self._rules = rules
        self._calendar = calendar

    def initial(self, customer_id: str) -> FeedbackState:
        return FeedbackState(customer_id=customer_id)

    def on_event(self, state: FeedbackState, event: Event, at: Instant) -> FeedbackDecision:
        setting = replace(self._setting(state, at), live=not event.history, event_id=event.id)
        decision = self._decide(state, event, setting)
        if isinstance(event.data, CustomerErased):
            return decision
        swept = self._overdue(decision.state, setting)
        return Decision(self._bounded(swept.state), (*decision.events, *swept.events))

    def on_time(self, state: FeedbackState, at: Instant) -> FeedbackDecision:
        decision = self._overdue(state, self._setting(state, at))
        return Decision(self._bounded(decision.state), decision.events)

    def wake_at(self, state: FeedbackState) -> Instant | None:
        wakes = [wake for case in state.cases if (wake := case.wake_at()) is not None]
        return min(wakes, default=None)

    def view(self, state: FeedbackState) -> Mapping[str, Any]:
        """`opened_first` and `opened_last` bound the openings of the cases kept, so that a range finds its customers."""
        if not state.cases:
            return {}
        openings = [case.opened_at for case in state.cases]
        return {
            "case_ids": [case.case_id for case in state.cases],
            "states": sorted({case.state for case in state.cases}),
            "assignees": sorted({case.assignee for case in state.cases if case.assignee}),
            "opened_first": min(openings),
            "opened_last": max(openings),
        }

    def _decide(self, state: FeedbackState, event: Event, setting: Setting) -> FeedbackDecision:
        match event.data:
            case FeedbackReceived() as feedback if feedback.kind in self._rules.opens_case:
                return self._open(state, case_id_of(event.source, event.id), feedback, setting)
            case CaseActedOn() as acted:
                return _acted(state, acted, setting)
            case SurveyAnswered(case_id=str()) as answer:
                return _answered(state, answer, setting)
            case SegmentsChanged() as segments:
                return Decision(self._learned(state, segments))
            case CustomerRegistered() as registered if registered.facets.timezone:
                return Decision(self._moved(state, registered.facets.timezone, setting))
            case CustomerCorrected() as corrected:
                return Decision(self._corrected(state, corrected, setting))
            case CustomerErased():
                return _erased(state, setting)
        return Decision(state)

    def _open(
        self, state: FeedbackState, case_id: str, feedback: FeedbackReceived, setting: Setting
    ) -> FeedbackDecision:
        if state.case(case_id) is not None:
            return Decision(state)
        if sum(case.open for case in state.cases) >= self._rules.open_cases_limit:
            return Decision(state, (_refused(setting, case_id, "open", None, "too_many_open"),))
        case = noted(self._new_case(state, case_id, feedback, setting), "opened", Act("open"), setting)
        if setting.live:
            case = started(started(case, "acknowledge", setting, "opened"), "resolve", setting, "opened")
        opened = told(CaseOpened, case, state.customer_id)
        return Decision(state.model_copy(update={"cases": (*state.cases, case)}), (opened,))

    def _new_case(self, state: FeedbackState, case_id: str, feedback: FeedbackReceived, setting: Setting) -> Case:
        return Case(
            case_id=case_id,
            kind=feedback.kind,
            severity=self._rules.severity_for(feedback.severity, state.memberships, state.composites),
            reported_severity=feedback.severity,
            category=feedback.category,
            product=feedback.product,
            channel=feedback.channel,
            imported=not setting.live,
            opened_at=setting.at,
        )

    def _learned(self, state: FeedbackState, segments: SegmentsChanged) -> FeedbackState:
        dimensions = {rule.dimension for rule in self._rules.raise_severity}
        names = {rule.composite for rule in self._rules.raise_severity}
        held = {d: v for d, v in segments.memberships.items() if d in dimensions and isinstance(v, str)}
        composites = tuple(name for name in segments.composites if name in names)
        return state.model_copy(update={"memberships": held, "composites": composites})

    def _corrected(self, state: FeedbackState, corrected: CustomerCorrected, setting: Setting) -> FeedbackState:
        for field in TIMEZONE_FIELDS:
            change = corrected.changes.get(field)
            if change is not None:
                return self._moved(state, change.to if isinstance(change.to, str) else None, setting)
        return state

    def _moved(self, state: FeedbackState, zone: str | None, setting: Setting) -> FeedbackState:
        """Running deadlines go on in the business hours of the new time zone."""
        if zone == state.timezone:
            return state
        moved = replace(setting, hours=ZoneHours(self._calendar, zone))
        cases = tuple(retargeted(case, moved, setting.hours, "time_zone") for case in state.cases)
        return state.model_copy(update={"timezone": zone, "cases": cases})

    def _overdue(self, state: FeedbackState, setting: Setting) -> FeedbackDecision:
        events: tuple[Data, ...] = ()
        for case in [case for case in state.cases if _due(case, setting.at)]:
            turn = overdue(case, setting)
            state, events = state.with_case(turn.case), (*events, *turn.events)
        return Decision(state, events)

    def _bounded(self, state: FeedbackState) -> FeedbackState:
        """All open cases and the newest closed ones."""
        over = sum(not case.open for case in state.cases) - self._rules.closed_cases_kept
        if over <= 0:
            return state
        oldest = sorted((case for case in state.cases if not case.open), key=lambda case: case.closed_at or 0)[:over]
        return state.model_copy(update={"cases": tuple(case for case in state.cases if case not in oldest)})

    def _setting(self, state: FeedbackState, at: Instant) -> Setting:
        return Setting(state.customer_id, at, ZoneHours(self._calendar, state.timezone), self._rules)


def _due(case: Case, at: Instant) -> bool:
    wake = case.wake_at()
    return wake is not None and wake <= at


def _acted(state: FeedbackState, acted: CaseActedOn, setting: Setting) -> FeedbackDecision:
    case = state.case(acted.case_id)
    if case is None:
        return Decision(state, (_refused(setting, acted.case_id, acted.action, acted.by, "unknown_case"),))
    turn = perform(case, Act(acted.action, acted.by, acted.to, acted.cause, acted.measure), setting)
    if isinstance(turn, Turn):
        return Decision(state.with_case(turn.case), turn.events)
    case = noted(case, "refused", Act(acted.action, acted.by), setting, f"{acted.action}: {turn}")
    return Decision(state.with_case(case), (_refused(setting, acted.case_id, acted.action, acted.by, turn),))


def _answered(state: FeedbackState, answer: SurveyAnswered, setting: Setting) -> FeedbackDecision:
    """The answer is always noted; it moves the case only where the case is answered and waits for this word."""
    case = state.case(answer.case_id or "")
    if case is None:
        return Decision(state, (_refused(setting, answer.case_id or "", "survey", None, "unknown_case"),))
    case = noted(case.changed(csat=answer.csat or case.csat), "survey_answered", Act("survey"), setting, _csat(answer))
    wish = _wish(answer.csat, setting.rules)
    turn = perform(case, Act(wish, "customer"), setting) if wish else None
    if isinstance(turn, Turn):
        return Decision(state.with_case(turn.case), turn.events)
    return Decision(state.with_case(case))


def _csat(answer: SurveyAnswered) -> str | None:
    return None if answer.csat is None else f"csat {answer.csat}"


def _wish(csat: int | None, rules: Rules) -> str | None:
    if csat is None:
        return None
    if csat >= rules.survey.confirms_from:
        return "confirm"
    return "reopen" if csat <= rules.survey.reopens_to else None


def _erased(state: FeedbackState, setting: Setting) -> FeedbackDecision:
    turns = [closed(case, Act("close"), setting, "erased") for case in state.cases if case.open]
    for turn in turns:
        state = state.with_case(turn.case)
    return Decision(state, tuple(event for turn in turns for event in turn.events))


def _refused(setting: Setting, case_id: str, action: str, by: str | None, reason: Reason) -> CaseActionRefused:
    return CaseActionRefused(customer_id=setting.customer_id, case_id=case_id, action=action, by=by, reason=reason)
