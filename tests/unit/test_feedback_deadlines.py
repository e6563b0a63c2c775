"""Deadlines over random lives of a case, against an oracle that counts open minutes one by one."""

from dataclasses import dataclass, field
from datetime import timedelta
from functools import lru_cache
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from services.feedback.ledger import Deadline
from shared.clock import DAY, HOUR, MINUTE, Instant, to_datetime
from tests.unit.feedback_cases import MONDAY, Story, domain

SEVERITIES = ("low", "normal", "high", "critical")
RESOLVE_HOURS = {"low": 120, "normal": 72, "high": 24, "critical": 8}
ACKNOWLEDGE_HOURS = {"low": 24, "normal": 8, "high": 4, "critical": 1}
SHANGHAI = timedelta(hours=8)
HORIZON = 58 * DAY
"""The weeks after MONDAY hold no Chinese holiday and no make-up workday, so that the oracle needs no calendar library."""


@lru_cache
def open_minutes() -> tuple[bool, ...]:
    """Whether each minute from MONDAY on is open: Monday to Friday, 09:00 to 18:00 in Shanghai."""
    locals_ = (to_datetime(MONDAY + n * MINUTE) + SHANGHAI for n in range(HORIZON // MINUTE))
    return tuple(local.weekday() < 5 and 9 <= local.hour < 18 for local in locals_)


@dataclass
class Oracle:
    """One deadline told as a list of (minute, what): it walks the minutes and knows no arithmetic of intervals."""

    hours: dict[str, int]
    changes: list[tuple[int, str]] = field(default_factory=list)

    def missed(self) -> int | None:
        """The minute at which it is missed, None when it ends or the horizon comes first."""
        pending = list(self.changes)
        allowed, used, running = 0, 0, True
        for minute, is_open in enumerate(open_minutes()):
            while pending and pending[0][0] == minute:
                what = pending.pop(0)[1]
                if what == "end":
                    return None
                running = {"wait": False, "resume": True}.get(what, running)
                allowed = 60 * self.hours[what] if what in self.hours else allowed
                if running and used >= allowed:
                    return minute
            if running and is_open:
                used += 1
            if running and used >= allowed:
                return minute + 1
        return None


ACTIONS = st.sampled_from(("wait", "resume", *SEVERITIES, "acknowledge", "end"))
LIVES = st.lists(st.tuples(st.integers(1, 3_000), ACTIONS), max_size=12)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(severity=st.sampled_from(SEVERITIES), life=LIVES)
def test_each_deadline_is_missed_once_at_the_instant_of_the_oracle(severity: str, life: list[tuple[int, str]]) -> None:
    story, minute = Story(), 0
    case_id = story.complain(severity=severity)
    resolve, acknowledge = Oracle(RESOLVE_HOURS, [(0, severity)]), Oracle(ACKNOWLEDGE_HOURS, [(0, severity)])
    for gap, action in life:
        minute += gap
        _live(story, case_id, minute, action, resolve, acknowledge)
    story.until(MONDAY + HORIZON - MINUTE)
    told = [(event.reason, (at - MONDAY) // MINUTE) for at, event in story.heard("case.deadline_missed")]
    expected = [(name, o.missed()) for name, o in (("acknowledge", acknowledge), ("resolve", resolve))]
    assert sorted(told) == [(name, at) for name, at in expected if at is not None]
    assert len(story.heard("case.escalated")) == len(told)


def _live(story: Story, case_id: str, minute: int, action: str, resolve: Oracle, acknowledge: Oracle) -> None:
    at = MONDAY + minute * MINUTE
    if action in SEVERITIES:
        told = story.act(at, case_id, "set_severity", to=action)
    else:
        told = story.act(at, case_id, "resolve" if action == "end" else action)
    if "case.action_refused" in told:
        return
    if action != "acknowledge":
        resolve.changes.append((minute, action))
    if action not in ("wait", "resume"):
        acknowledge.changes.append((minute, "end" if action == "acknowledge" else action))


class CaseLife(RuleBasedStateMachine):
    """Anything in any order: what holds of every state that can be reached."""

    def __init__(self) -> None:
        super().__init__()
        self.story = Story()
        self.at: Instant = MONDAY
        self.ids: list[str] = []

    @initialize()
    def first(self) -> None:
        self.ids.append(self.story.complain(self.at))

    @rule(severity=st.sampled_from(SEVERITIES), marks=st.sampled_from(({}, {"history": True}, {"replay": True})))
    @precondition(lambda self: len(self.ids) < 4)
    def complain(self, severity: str, marks: dict[str, Any]) -> None:
        self.ids.append(self.story.complain(self.at, severity=severity, **marks))

    @rule(gap=st.sampled_from((0, 1, MINUTE, HOUR, DAY, 9 * DAY)))
    def pass_time(self, gap: int) -> None:
        self.at += gap
        self.story.until(self.at)

    @rule(
        number=st.integers(0, 3),
        action=st.sampled_from(
            (
                "acknowledge",
                "assign",
                "set_severity",
                "wait",
                "resume",
                "resolve",
                "confirm",
                "reopen",
                "escalate",
                "close",
            )
        ),
        to=st.sampled_from((None, "bo", *SEVERITIES)),
        cause=st.sampled_from((None, "customer", "third_party")),
    )
    def act(self, number: int, action: str, to: str | None, cause: str | None) -> None:
        case_id = self.ids[number % len(self.ids)]
        before = self.story.case(case_id)
        told = self.story.act(self.at, case_id, action, to=to, cause=cause)
        assert told, "what is asked is always answered"
        if told == ["case.action_refused"]:
            assert self.story.case(case_id).changed(steps=()) == before.changed(steps=())

    @rule(number=st.integers(0, 3), csat=st.sampled_from((None, 1, 3, 5)))
    def answer(self, number: int, csat: int | None) -> None:
        self.story.answer(self.at, self.ids[number % len(self.ids)], csat)

    @invariant()
    def ledgers_are_whole(self) -> None:
        for case in self.story.state.cases:
            for deadline in case.deadlines:
                _is_whole(deadline)
            assert case.unresolved or all(d.ended_at is not None for d in case.deadlines)
            assert len({d.name for d in case.deadlines if d.ended_at is None}) <= 2

    @invariant()
    def each_deadline_was_missed_at_most_once(self) -> None:
        missed = sum(d.missed_at is not None for case in self.story.state.cases for d in case.deadlines)
        assert len(self.story.heard("case.deadline_missed")) == missed

    @invariant()
    def time_alone_comes_to_rest(self) -> None:
        wake = domain().wake_at(self.story.state)
        assert wake is None or wake > self.at


def _is_whole(deadline: Deadline) -> None:
    """No gap, no overlap, one open end at most; what is due is exactly the allowance away from what was used."""
    for earlier, later in zip(deadline.spans, deadline.spans[1:], strict=False):
        assert earlier.end == later.start
    assert (deadline.spans[-1].end is None) == (deadline.ended_at is None)
    assert all(span.used == 0 for span in deadline.spans if not span.running)
    if deadline.due_at is not None:
        calendar, span = domain()._calendar, deadline.spans[-1]
        assert deadline.used + calendar.business_time_between(span.start, deadline.due_at) == deadline.allowed


TestCaseLife = CaseLife.TestCase
TestCaseLife.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)
