"""Feedback, transition by transition: what each action does, what it refuses, what time alone does."""

from typing import Any

import pytest

from services.feedback.case import STEPS_KEPT
from services.feedback.domain import FeedbackDomain
from services.feedback.ledger import SPANS_KEPT
from shared.clock import DAY, HOUR, MINUTE, from_rfc3339, to_datetime, to_instant
from shared.events.customers import CaseActedOn, CustomerCorrected, CustomerRegistered, Facets, FieldChange
from tests.unit.feedback_cases import CUSTOMER, MONDAY, SOURCE, Story, domain, names

NEXT = MONDAY + MINUTE


def at(text: str) -> int:
    return from_rfc3339(f"2026-11-{text}:00+08:00")


@pytest.fixture
def story() -> Story:
    return Story()


@pytest.mark.parametrize("kind", ["complaint", "suggestion"])
def test_complaint_and_suggestion_open_a_case_with_both_deadlines(story: Story, kind: str) -> None:
    case = story.case(story.complain(kind=kind))
    assert (case.state, case.kind, case.opened_at) == ("received", kind, MONDAY)
    [(_, opened)] = story.heard("case.opened")
    assert {name: to_instant(due) for name, due in opened.deadlines.items()} == {
        "acknowledge": at("02T18:00"),
        "resolve": at("12T10:00"),
    }


@pytest.mark.parametrize("kind", ["praise", "question"])
def test_praise_and_questions_open_none(story: Story, kind: str) -> None:
    story.complain(kind=kind)
    assert story.state.cases == ()
    assert story.told == []


@pytest.mark.parametrize(
    ("severity", "acknowledge", "resolve"),
    [
        ("low", "04T16:00", "19T13:00"),
        ("normal", "02T18:00", "12T10:00"),
        ("high", "02T14:00", "04T16:00"),
        ("critical", "02T11:00", "02T18:00"),
    ],
)
def test_deadlines_by_severity(story: Story, severity: str, acknowledge: str, resolve: str) -> None:
    case = story.case(story.complain(severity=severity))
    assert [d.due_at for d in case.deadlines] == [at(acknowledge), at(resolve)]


def test_the_way_from_complaint_to_closed(story: Story) -> None:
    case_id = story.complain()
    assert story.act(NEXT, case_id, "acknowledge") == ["case.acknowledged"]
    assert story.case(case_id).state == "acknowledged"
    assert story.act(NEXT, case_id, "assign", to="bo") == ["case.assigned"]
    assert story.act(NEXT, case_id, "wait") == ["case.waiting_started"]
    assert story.act(NEXT + HOUR, case_id, "resume") == ["case.waiting_ended"]
    resolved = story.act(NEXT + HOUR, case_id, "resolve", cause="carrier", measure="voucher")
    assert resolved == ["case.resolved", "case.survey_requested"]
    assert story.act(NEXT + HOUR, case_id, "confirm") == ["case.confirmed"]
    assert story.act(NEXT + HOUR, case_id, "close") == ["case.closed"]
    case = story.case(case_id)
    assert case.waiting_for is None
    assert (case.state, case.assignee, case.cause, case.measure) == ("closed", "bo", "carrier", "voucher")
    assert [step.what for step in case.steps] == [
        "opened", "acknowledged", "assigned", "waiting_started", "waiting_ended", "resolved", "survey_requested",
        "confirmed", "closed",
    ]  # fmt: skip
    assert domain().wake_at(story.state) is None
    story.until(MONDAY + 400 * DAY)
    assert story.heard("case.deadline_missed") == []


def test_assigning_before_the_acknowledgement_leaves_its_clock_running(story: Story) -> None:
    case_id = story.complain()
    assert story.act(NEXT, case_id, "assign", to="bo") == ["case.assigned"]
    assert story.case(case_id).state == "received"
    assert story.case(case_id).running("acknowledge") is not None
    story.act(NEXT, case_id, "acknowledge")
    assert story.case(case_id).state == "assigned"


def test_resolving_at_once_acknowledges_too(story: Story) -> None:
    case_id = story.complain()
    told = story.act(NEXT, case_id, "resolve")
    assert told == ["case.acknowledged", "case.resolved", "case.survey_requested"]
    assert all(d.ended_at == NEXT and d.missed_at is None for d in story.case(case_id).deadlines)


def test_missed_deadlines_are_told_once_at_their_instant_and_escalate(story: Story) -> None:
    case_id = story.complain(severity="critical")
    story.until(MONDAY + 30 * DAY)
    missed = [(instant, event.reason) for instant, event in story.heard("case.deadline_missed")]
    assert missed == [(at("02T11:00"), "acknowledge"), (at("02T18:00"), "resolve")]
    escalated = [(instant, event.level, event.to) for instant, event in story.heard("case.escalated")]
    assert escalated == [(at("02T11:00"), 1, "team_lead"), (at("02T18:00"), 2, "service_manager")]
    assert names(tuple(event for _, event in story.told))[1:3] == ["case.deadline_missed", "case.escalated"]
    assert story.case(case_id).state == "received"


def test_a_missed_deadline_stays_missed_and_shows_how_late(story: Story) -> None:
    case_id = story.complain(severity="critical")
    story.act(at("03T10:00"), case_id, "acknowledge")
    acknowledge = next(d for d in story.case(case_id).deadlines if d.name == "acknowledge")
    assert (acknowledge.missed_at, acknowledge.used) == (at("02T11:00"), 9 * HOUR)


def test_a_miss_escalates_no_further_than_the_last_step(story: Story) -> None:
    case_id = story.complain(severity="critical")
    for _ in range(3):
        story.act(NEXT, case_id, "escalate")
    story.until(at("02T11:00"))
    _, escalated = story.heard("case.escalated")[-1]
    assert (escalated.level, escalated.to, escalated.reason) == (3, "director", "acknowledge_missed")


def test_what_was_missed_has_no_due_instant_again(story: Story) -> None:
    case_id = story.complain(severity="critical")
    story.act(at("03T10:00"), case_id, "acknowledge")
    story.act(at("03T10:00"), case_id, "wait")
    story.act(at("03T11:00"), case_id, "resume")
    resolve = story.case(case_id).running("resolve")
    assert resolve is not None
    assert [span.due_at for span in resolve.spans] == [at("02T18:00"), None, None]
    assert resolve.shown_at == at("02T18:00")


def test_a_long_ledger_keeps_its_sum(story: Story) -> None:
    case_id = story.complain(severity="low")
    story.act(NEXT, case_id, "acknowledge")
    for number in range(1, 101):
        story.act(MONDAY + 2 * number * MINUTE, case_id, "wait")
        story.act(MONDAY + 2 * number * MINUTE + MINUTE, case_id, "resume")
    resolve = story.case(case_id).running("resolve")
    assert resolve is not None
    assert len(resolve.spans) == SPANS_KEPT + 1
    assert resolve.used == 101 * MINUTE
    assert len(story.case(case_id).steps) == STEPS_KEPT


def test_waiting_for_the_customer_pauses_the_resolve_clock_only(story: Story) -> None:
    case_id = story.complain(severity="high")
    story.act(at("02T12:00"), case_id, "acknowledge")
    story.act(at("02T12:00"), case_id, "wait", cause="customer")
    assert story.case(case_id).wake_at() is None
    story.act(at("06T10:00"), case_id, "resume")
    resolve = story.case(case_id).running("resolve")
    assert resolve is not None
    assert [(s.running, s.reason, s.used) for s in resolve.spans] == [
        (True, "opened", 2 * HOUR),
        (False, "customer", 0),
        (True, "resumed", 0),
    ]
    assert resolve.due_at == at("10T14:00")


def test_resolving_ends_the_waiting(story: Story) -> None:
    case_id = story.complain()
    story.act(NEXT, case_id, "acknowledge")
    story.act(NEXT, case_id, "wait")
    story.act(NEXT, case_id, "resolve")
    assert story.case(case_id).waiting_for is None


def test_waiting_for_others_does_not_stop_the_clock(story: Story) -> None:
    case_id = story.complain()
    story.act(NEXT, case_id, "acknowledge")
    story.act(NEXT, case_id, "wait", cause="third_party")
    assert story.case(case_id).wake_at() == at("12T10:00")
    story.act(NEXT + HOUR, case_id, "resume")
    assert story.case(case_id).wake_at() == at("12T10:00")


def test_time_used_counts_under_another_severity(story: Story) -> None:
    case_id = story.complain(severity="normal")
    story.act(at("03T10:00"), case_id, "acknowledge")
    assert story.act(at("03T10:00"), case_id, "set_severity", to="high") == ["case.severity_changed"]
    assert story.case(case_id).wake_at() == at("04T16:00"), "24 hours from the opening, 9 of them used"
    story.act(at("03T11:00"), case_id, "set_severity", to="low")
    assert story.case(case_id).wake_at() == at("19T13:00")
    changes = [(event.reason, event.severity) for _, event in story.heard("case.severity_changed")]
    assert changes == [("normal", "high"), ("high", "low")]


def test_what_staff_say_of_an_escalation_or_a_closing_stays_in_their_words(story: Story) -> None:
    case_id = story.complain()
    story.act(NEXT, case_id, "escalate")
    story.act(NEXT, case_id, "escalate", cause="the press asks")
    story.act(NEXT, case_id, "resolve")
    story.act(NEXT, case_id, "close", cause="settled by phone")
    told = [event.reason for _, event in (*story.heard("case.escalated"), *story.heard("case.closed"))]
    assert told == ["requested", "the press asks", "settled by phone"]


def test_a_severity_whose_time_is_used_up_is_missed_at_that_instant(story: Story) -> None:
    case_id = story.complain(severity="normal")
    story.act(at("02T11:00"), case_id, "acknowledge")
    told = story.act(at("03T10:00"), case_id, "set_severity", to="critical")
    assert told == ["case.severity_changed", "case.deadline_missed", "case.escalated"]
    story.act(at("03T10:01"), case_id, "set_severity", to="low")
    story.until(MONDAY + 100 * DAY)
    assert len(story.heard("case.deadline_missed")) == 1


def test_severity_changed_while_waiting_keeps_waiting(story: Story) -> None:
    case_id = story.complain(severity="normal")
    story.act(at("02T11:00"), case_id, "acknowledge")
    story.act(at("02T11:00"), case_id, "wait")
    story.act(at("02T12:00"), case_id, "set_severity", to="high")
    assert story.case(case_id).wake_at() is None
    resolve = story.case(case_id).running("resolve")
    assert resolve is not None
    assert [span.reason for span in resolve.spans] == ["opened", "customer", "customer"]
    story.act(at("03T09:00"), case_id, "resume")
    assert story.case(case_id).wake_at() == at("05T14:00"), "23 of 24 hours are left"


REFUSALS: list[tuple[list[tuple[str, dict[str, Any]]], str, dict[str, Any], str]] = [
    ([("acknowledge", {})], "acknowledge", {}, "while_acknowledged"),
    ([("acknowledge", {}), ("assign", {"to": "bo"})], "acknowledge", {}, "while_assigned"),
    ([("acknowledge", {}), ("wait", {})], "wait", {}, "while_waiting"),
    ([("resolve", {}), ("reopen", {})], "acknowledge", {}, "while_reopened"),
    ([("resolve", {}), ("confirm", {})], "confirm", {}, "while_confirmed"),
    ([], "assign", {}, "to_missing"),
    ([("assign", {"to": "bo"})], "assign", {"to": "bo"}, "already_assigned"),
    ([], "set_severity", {"to": "dire"}, "severity_unknown"),
    ([], "set_severity", {"to": "normal"}, "severity_unchanged"),
    ([], "wait", {}, "while_received"),
    ([("acknowledge", {})], "wait", {"cause": "rain"}, "waiting_unknown"),
    ([], "resume", {}, "while_received"),
    ([("resolve", {})], "resolve", {}, "while_resolved"),
    ([], "confirm", {}, "while_received"),
    ([], "reopen", {}, "while_received"),
    ([("escalate", {})] * 3, "escalate", {}, "last_step"),
    ([], "close", {}, "while_received"),
    ([("resolve", {})], "assign", {"to": "bo"}, "while_resolved"),
    ([("resolve", {}), ("close", {})], "close", {}, "while_closed"),
]


@pytest.mark.parametrize(("given", "action", "fields", "reason"), REFUSALS)
def test_what_cannot_be_is_refused_with_its_reason(
    story: Story, given: list[tuple[str, dict[str, Any]]], action: str, fields: dict[str, Any], reason: str
) -> None:
    case_id = story.complain()
    for name, more in given:
        assert "case.action_refused" not in story.act(NEXT, case_id, name, **more)
    before = story.case(case_id)
    assert story.act(NEXT, case_id, action, **fields) == ["case.action_refused"]
    _, refused = story.heard("case.action_refused")[-1]
    assert (refused.case_id, refused.action, refused.by, refused.reason) == (case_id, action, "anna", reason)
    after = story.case(case_id)
    assert after.changed(steps=()) == before.changed(steps=())
    assert (after.steps[-1].what, after.steps[-1].detail) == ("refused", f"{action}: {reason}")


def test_an_unknown_case_is_refused(story: Story) -> None:
    assert story.act(NEXT, "nowhere", "acknowledge") == ["case.action_refused"]
    assert story.answer(NEXT, "nowhere", 5) == ["case.action_refused"]
    assert [event.reason for _, event in story.heard("case.action_refused")] == ["unknown_case"] * 2


def test_a_note_is_kept_in_every_state(story: Story) -> None:
    case_id = story.complain()
    assert story.act(NEXT, case_id, "note") == []
    story.act(NEXT, case_id, "resolve")
    story.act(NEXT, case_id, "close")
    assert story.act(NEXT, case_id, "note") == []
    assert [s.what for s in story.case(case_id).steps].count("note") == 2


@pytest.mark.parametrize(("csat", "state"), [(5, "confirmed"), (4, "confirmed"), (3, "resolved"), (2, "reopened")])
def test_the_survey_confirms_or_reopens(story: Story, csat: int, state: str) -> None:
    case_id = story.complain()
    story.act(NEXT, case_id, "resolve")
    story.answer(NEXT + HOUR, case_id, csat)
    assert (story.case(case_id).state, story.case(case_id).csat) == (state, csat)


def test_an_answer_before_the_resolution_is_only_noted(story: Story) -> None:
    case_id = story.complain()
    assert story.answer(NEXT, case_id, 5) == []
    assert story.case(case_id).state == "received"


def test_a_reopened_case_has_a_deadline_of_its_own(story: Story) -> None:
    case_id = story.complain(severity="high")
    story.act(at("02T11:00"), case_id, "resolve")
    story.answer(at("03T09:00"), case_id, 1)
    case = story.case(case_id)
    assert [(d.name, d.reopening) for d in case.deadlines] == [("acknowledge", 0), ("resolve", 0), ("resolve", 1)]
    assert case.wake_at() == at("05T15:00")
    assert story.act(at("03T10:00"), case_id, "assign", to="bo") == ["case.assigned"]
    story.until(at("30T10:00"))
    assert [e.reason for _, e in story.heard("case.deadline_missed")] == ["resolve"]
    assert story.heard("case.closed") == []


def test_it_closes_by_itself_after_resolution_and_after_confirmation(story: Story) -> None:
    silent, kind = story.complain(), story.complain(NEXT)
    story.act(NEXT, silent, "resolve")
    story.act(NEXT, kind, "resolve")
    story.act(NEXT + HOUR, kind, "confirm")
    story.until(NEXT + 100 * DAY)
    closed = [(instant, event.case_id, event.reason) for instant, event in story.heard("case.closed")]
    assert closed == [(NEXT + HOUR + DAY, kind, "confirmed"), (NEXT + 7 * DAY, silent, "no_answer")]


def test_reopening_has_an_end(story: Story) -> None:
    case_id = story.complain()
    story.act(NEXT, case_id, "resolve")
    story.act(NEXT, case_id, "close")
    assert story.act(NEXT + 30 * DAY, case_id, "reopen") == ["case.reopened"]
    story.act(NEXT + 30 * DAY, case_id, "resolve")
    story.act(NEXT + 30 * DAY, case_id, "close")
    assert story.act(NEXT + 60 * DAY + 1, case_id, "reopen") == ["case.action_refused"]
    _, refused = story.heard("case.action_refused")[-1]
    assert refused.reason == "too_late_to_reopen"


@pytest.mark.parametrize(
    ("memberships", "composites", "reported", "severity"),
    [
        ({"value": "high"}, (), "normal", "high"),
        ({"value": "medium"}, (), "normal", "normal"),
        ({"value": "medium"}, ("vip",), "low", "high"),
        ({"value": "high"}, (), "critical", "critical"),
    ],
)
def test_the_segment_raises_the_severity(
    story: Story, memberships: dict[str, Any], composites: tuple[str, ...], reported: str, severity: str
) -> None:
    story.segments(MONDAY, memberships, composites)
    case = story.case(story.complain(NEXT, severity=reported))
    assert (case.severity, case.reported_severity) == (severity, reported)


def test_history_is_learned_without_deadlines_or_questions(story: Story) -> None:
    case_id = story.complain(history=True)
    assert names(tuple(event for _, event in story.told)) == ["case.opened"]
    assert story.case(case_id).deadlines == ()
    assert domain().wake_at(story.state) is None


def test_history_resolved_asks_nobody(story: Story) -> None:
    case_id = story.complain(history=True)
    act = CaseActedOn(customer_id=CUSTOMER, case_id=case_id, action="resolve", by="anna")
    assert names(story.send(NEXT, act, history=True)) == ["case.acknowledged", "case.resolved"]


def test_a_live_reopening_of_an_imported_case_has_a_deadline(story: Story) -> None:
    case_id = story.complain(history=True)
    story.act(NEXT, case_id, "resolve")
    story.act(NEXT, case_id, "reopen")
    assert [d.name for d in story.case(case_id).deadlines] == ["resolve"]
    assert not story.case(case_id).imported


def test_replay_makes_deadlines(story: Story) -> None:
    assert len(story.case(story.complain(replay=True)).deadlines) == 2


def test_business_hours_are_the_customers(story: Story) -> None:
    story.send(MONDAY, CustomerRegistered(customer_id=CUSTOMER, facets=Facets(timezone="Europe/Berlin")))
    case = story.case(story.complain(MONDAY, severity="critical"))
    assert case.wake_at() == from_rfc3339("2026-11-02T10:00:00+01:00")


def test_a_move_to_another_time_zone_keeps_what_was_used(story: Story) -> None:
    case_id = story.complain(severity="high")
    story.act(at("02T11:00"), case_id, "acknowledge")
    changes = {"facets.timezone": FieldChange(to="Europe/Berlin")}
    story.send(at("02T12:00"), CustomerCorrected(customer_id=CUSTOMER, changes=changes))
    resolve = story.case(case_id).running("resolve")
    assert resolve is not None
    assert resolve.used == 2 * HOUR
    assert [span.reason for span in resolve.spans] == ["opened", "time_zone"]
    assert resolve.due_at == from_rfc3339("2026-11-04T13:00:00+01:00"), "22 hours from Monday 09:00 in Berlin"


def test_erasure_closes_what_is_open(story: Story) -> None:
    story.complain()
    closed = story.complain(NEXT)
    story.act(NEXT, closed, "resolve")
    story.act(NEXT, closed, "close")
    assert story.erase(NEXT + HOUR) == ["case.closed"]
    _, told = story.heard("case.closed")[-1]
    assert told.reason == "erased"


def test_the_same_feedback_again_changes_nothing(story: Story) -> None:
    story.complain()
    before, story.count = story.state, 0
    story.complain(NEXT)
    assert story.state == before


def test_only_the_newest_closed_cases_are_kept(story: Story) -> None:
    kept = domain()._rules.closed_cases_kept
    open_one = story.complain()
    ids = []
    for number in range(kept + 3):
        ids.append(story.complain(NEXT + number * MINUTE))
        story.act(NEXT + number * MINUTE, ids[-1], "resolve")
        story.act(NEXT + number * MINUTE, ids[-1], "close")
    assert [case.case_id for case in story.state.cases] == [open_one, *ids[3:]]


def test_a_flood_of_open_cases_is_refused(story: Story) -> None:
    for number in range(domain()._rules.open_cases_limit):
        story.complain(MONDAY + number)
    story.complain(NEXT)
    _, refused = story.heard("case.action_refused")[-1]
    assert (refused.action, refused.reason) == ("open", "too_many_open")
    assert len(story.state.cases) == domain()._rules.open_cases_limit


def test_the_view_holds_what_is_asked_for(story: Story) -> None:
    case_id, other = story.complain(), story.complain(NEXT)
    story.act(NEXT, case_id, "assign", to="bo")
    story.act(NEXT, other, "acknowledge")
    assert domain().view(story.state) == {
        "case_ids": [case_id, other],
        "states": ["acknowledged", "received"],
        "assignees": ["bo"],
        "opened_first": MONDAY,
        "opened_last": NEXT,
    }
    assert domain().view(domain().initial(CUSTOMER)) == {}


def test_deadlines_told_are_those_that_still_hold(story: Story) -> None:
    case_id = story.complain()
    story.act(NEXT, case_id, "acknowledge")
    _, told = story.heard("case.acknowledged")[-1]
    assert told.deadlines == {"resolve": to_datetime(at("12T10:00"))}
    assert story.case(case_id).steps[0].event_id == "e1"
    assert SOURCE not in story.state.model_dump_json()


def test_another_policy_takes_hold_with_the_next_span_and_used_time_stays(story: Story) -> None:
    case_id = story.complain(severity="high")
    story.act(at("02T11:00"), case_id, "acknowledge")
    high = domain()._rules.severities["high"].model_copy(update={"resolve": 10})
    rules = domain()._rules.model_copy(update={"severities": domain()._rules.severities | {"high": high}})
    story.domain = FeedbackDomain(rules, domain()._calendar)
    story.act(at("02T12:00"), case_id, "note")
    assert story.case(case_id).wake_at() == at("04T16:00"), "what is running keeps what was promised"
    story.act(at("02T13:00"), case_id, "wait")
    story.act(at("03T09:00"), case_id, "resume")
    resolve = story.case(case_id).running("resolve")
    assert resolve is not None
    assert [span.allowed // HOUR for span in resolve.spans] == [24, 10, 10]
    assert resolve.due_at == at("03T16:00"), "7 of 10 hours are left, after 3 before the wait"
