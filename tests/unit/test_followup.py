"""Follow-up, rule by rule: what is promised when, what ends it, and what is refused."""

from uuid import UUID

import pytest

from shared.clock import DAY, HOUR, MINUTE, to_datetime
from shared.events import customers as c
from shared.events.feedback import CaseOpened
from shared.events.followups import FollowupActionRefused, FollowupEscalated, FollowupMissed, FollowupScheduled
from tests.unit.followup_story import CUSTOMER, DOMAIN, OTHER, Story, at, check_told, frequency, local

MONDAY = at("11-23 10:00")
INQUIRY = c.InquiryReceived(customer_id=CUSTOMER)


def contact(task_id: str | None = None, next_contact_at: int | None = None) -> c.ContactMade:
    when = to_datetime(next_contact_at) if next_contact_at else None
    return c.ContactMade(customer_id=CUSTOMER, by="li", task_id=task_id, next_contact_at=when)


def call(outcome: str = "answered", direction: str = "outbound", next_contact_at: int | None = None) -> c.CallEnded:
    when = to_datetime(next_contact_at) if next_contact_at else None
    return c.CallEnded(customer_id=CUSTOMER, direction=direction, outcome=outcome, next_contact_at=when)


def act(task_id: str, action: str, until: int | None = None, to: str | None = None) -> c.TaskActedOn:
    when = to_datetime(until) if until else None
    return c.TaskActedOn(customer_id=CUSTOMER, task_id=task_id, action=action, by="wang", until=when, to=to)


def corrected(field: str, to: str | None) -> c.CustomerCorrected:
    return c.CustomerCorrected(customer_id=CUSTOMER, changes={field: c.FieldChange(from_=None, to=to)}, by="desk")


@pytest.fixture
def story() -> Story:
    story = Story()
    story.send(MONDAY - HOUR, c.CustomerRegistered(customer_id=CUSTOMER, owner="li"))
    return story


# First contact


def test_an_inquiry_in_open_hours_is_due_at_once_with_one_business_hour(story: Story) -> None:
    assert story.send(MONDAY, INQUIRY) == ["scheduled", "due"]
    task = story.open("first_contact")
    assert (task.due_at, task.deadline_at, task.assignee, task.state) == (MONDAY, MONDAY + HOUR, "li", "due")


@pytest.mark.parametrize(
    ("asked", "due", "deadline"),
    [
        ("11-23 17:30", "11-23 17:30", "11-24 09:30"),
        ("11-20 19:00", "11-23 09:00", "11-23 10:00"),
        ("09-30 18:30", "10-08 09:00", "10-08 10:00"),
        ("10-10 11:00", "10-10 11:00", "10-10 12:00"),  # a make-up Saturday
    ],
)
def test_an_inquiry_waits_for_the_next_open_minute(asked: str, due: str, deadline: str) -> None:
    story = Story()
    story.send(at(asked), INQUIRY)
    task = story.open("first_contact")
    assert (local(task.due_at), local(task.deadline_at)) == (due, deadline)
    story.until(task.due_at)
    assert story.heard("due") == [(due, "due", "inquiry")]


def test_the_customers_own_time_zone_decides() -> None:
    story = Story()
    facets = c.Facets(timezone="America/New_York")
    story.send(MONDAY, c.CustomerRegistered(customer_id=CUSTOMER, facets=facets))
    story.send(MONDAY, INQUIRY)
    assert local(story.open("first_contact").due_at) == "11-23 22:00"
    changes = {"timezone": c.FieldChange(to="Europe/Berlin")}
    corrected = Story()
    corrected.send(MONDAY, c.CustomerCorrected(customer_id=CUSTOMER, changes=changes))
    corrected.send(MONDAY, INQUIRY)
    assert local(corrected.open("first_contact").due_at) == "11-23 16:00"


def test_a_second_inquiry_while_one_waits_makes_no_second_task_and_a_later_one_does(story: Story) -> None:
    story.send(MONDAY, INQUIRY)
    assert story.send(MONDAY + MINUTE, INQUIRY) == []
    story.send(MONDAY + 2 * MINUTE, contact())
    assert story.send(MONDAY + 3 * MINUTE, INQUIRY) == ["scheduled", "due"]
    assert story.state.made == {"first_contact": 2}


def test_missed_at_the_deadline_and_escalated(story: Story) -> None:
    story.send(MONDAY, INQUIRY)
    assert story.until(MONDAY + HOUR - 1) == []
    assert story.until(MONDAY + HOUR) == ["missed", "escalated"]
    assert story.heard("missed", "escalated") == [
        ("11-23 11:00", "missed", "deadline_passed"),
        ("11-23 11:00", "escalated", "deadline_passed"),
    ]
    told = [data for _, data in story.told if isinstance(data, FollowupMissed | FollowupEscalated)]
    assert [data.assignee for data in told] == ["li", "supervisors"]
    assert DOMAIN.view(story.state)["work"] == ["escalated/supervisors"]
    story.send(MONDAY + 2 * HOUR, contact())
    assert DOMAIN.view(story.state)["work"] == []


def test_a_contact_just_before_the_deadline_keeps_the_promise_and_one_at_the_deadline_does_not() -> None:
    for late, ended in ((-1, "completed"), (0, "missed")):
        story = Story()
        story.send(MONDAY, INQUIRY)
        story.send(MONDAY + HOUR + late, contact())
        assert story.state.closed[0].state == ended


def test_an_answered_call_out_makes_the_first_contact_needless_but_a_call_in_does_not(story: Story) -> None:
    story.send(MONDAY, INQUIRY)
    assert story.send(MONDAY + MINUTE, call(direction="inbound")) == []
    assert story.send(MONDAY + MINUTE, call("no_answer")) == []
    assert story.send(MONDAY + MINUTE, call(), occurred=MONDAY - MINUTE) == [], "it came before the inquiry"
    assert story.send(MONDAY + 2 * MINUTE, call()) == ["cancelled"]
    assert story.heard("cancelled") == [("11-23 10:02", "cancelled", "contacted")]


# Completion


def test_a_contact_completes_the_task_that_it_names(story: Story) -> None:
    story.send(MONDAY, call("no_answer", next_contact_at=MONDAY + DAY))
    story.send(MONDAY, INQUIRY)
    promised = story.open("promised_contact").id
    assert story.send(MONDAY + MINUTE, contact(promised)) == ["completed"]
    assert story.tasks == {"first_contact": "due"}


def test_without_a_name_it_completes_the_oldest_due_one_and_only_that(story: Story) -> None:
    story.send(MONDAY - DAY, call("no_answer", next_contact_at=MONDAY - 30 * MINUTE))
    story.send(MONDAY, INQUIRY)
    assert story.tasks == {"promised_contact": "due", "first_contact": "due"}
    story.send(MONDAY + MINUTE, contact())
    assert story.tasks == {"first_contact": "due"}
    story.send(MONDAY + 2 * MINUTE, contact())
    assert story.tasks == {}
    assert story.send(MONDAY + 3 * MINUTE, contact()) == [], "nothing is due, nothing to complete, nothing to refuse"


@pytest.mark.parametrize("number", range(8))
def test_of_two_due_at_one_instant_it_completes_the_more_important_whoever_the_customer_is(number: int) -> None:
    """Ids of customers, and so of tasks, are chance: what they decide differs from one run to the next."""
    story = Story(state=DOMAIN.initial(str(UUID(int=number))))
    story.send(MONDAY - 100 * DAY, contact(), history=True)
    story.send(MONDAY - HOUR, frequency("medium"), history=True)
    assert story.send(MONDAY, INQUIRY) == ["scheduled", "scheduled", "due", "due"]
    story.send(MONDAY + MINUTE, contact())
    assert story.heard("due", "completed") == [
        ("11-23 10:00", "due", "inquiry"),
        ("11-23 10:00", "due", "cadence"),
        ("11-23 10:01", "completed", "contact_made"),
    ]
    (completed,) = (task for task in story.state.closed if task.state == "completed")
    assert completed.playbook == "first_contact"


def test_staff_complete_a_task_before_it_is_due(story: Story) -> None:
    story.send(MONDAY, call("no_answer", next_contact_at=MONDAY + DAY))
    assert story.send(MONDAY + MINUTE, act(story.open("promised_contact").id, "complete")) == ["completed"]
    assert story.until(MONDAY + 9 * DAY) == []
    assert story.state.last_contact_at == MONDAY + MINUTE


@pytest.mark.parametrize("outcome", ["completed", "missed", "cancelled"])
def test_what_comes_after_the_end_is_refused_with_what_became_of_it(story: Story, outcome: str) -> None:
    story.send(MONDAY, INQUIRY)
    task = story.open("first_contact").id
    if outcome != "missed":
        story.send(MONDAY + MINUTE, act(task, "complete" if outcome == "completed" else "skip"))
    assert story.send(MONDAY + 2 * HOUR, act(task, "reschedule", MONDAY + DAY)) == ["action_refused"]
    assert story.send(MONDAY + 2 * HOUR, contact(task)) == ["action_refused"]
    refused = [data for _, data in story.told if isinstance(data, FollowupActionRefused)]
    assert [(r.action, r.by, r.reason) for r in refused] == [
        ("reschedule", "wang", f"already_{outcome}"),
        ("complete", "li", f"already_{outcome}"),
    ]
    assert story.state.last_contact_at == MONDAY + 2 * HOUR, "the contact itself is a fact"


# Staff actions


def test_reschedule_moves_due_and_deadline_and_it_is_due_then(story: Story) -> None:
    story.send(MONDAY, call("no_answer", next_contact_at=MONDAY + DAY))
    task = story.open("promised_contact")
    assert story.send(MONDAY, act(task.id, "reschedule", at("11-28 12:00"))) == ["rescheduled"]
    moved = story.open("promised_contact")
    assert (moved.id, local(moved.due_at), local(moved.deadline_at)) == (task.id, "11-30 09:00", "12-01 09:00")
    story.until(at("12-31 00:00"))
    assert story.heard("due", "missed") == [
        ("11-30 09:00", "due", "promise"),
        ("12-01 09:00", "missed", "deadline_passed"),
    ]


def test_a_due_task_can_be_put_off_and_is_due_again_at_the_new_instant(story: Story) -> None:
    story.send(MONDAY, INQUIRY)
    task = story.open("first_contact").id
    story.send(MONDAY + MINUTE, act(task, "reschedule", MONDAY + 2 * HOUR))
    assert story.until(MONDAY + 4 * HOUR) == ["due", "missed", "escalated"]
    check_told(story.told)


@pytest.mark.parametrize(
    ("action", "reason"),
    [
        (act("x", "complete"), "unknown_task"),
        (act("TASK", "reschedule"), "until_missing"),
        (act("TASK", "reschedule", MONDAY), "until_past"),
        (act("TASK", "reschedule", MONDAY + MINUTE), "until_past"),  # the very present
        (act("TASK", "reschedule", MONDAY + 731 * DAY), "until_too_far"),
        (act("TASK", "assign"), "to_missing"),
    ],
)
def test_what_cannot_be_is_refused_with_a_reason_and_changes_nothing(
    story: Story, action: c.TaskActedOn, reason: str
) -> None:
    story.send(MONDAY, INQUIRY)
    before = story.state
    if action.task_id == "TASK":
        action = action.model_copy(update={"task_id": story.open("first_contact").id})
    assert story.send(MONDAY + MINUTE, action) == ["action_refused"]
    assert story.heard("action_refused") == [("11-23 10:01", "action_refused", reason)]
    assert story.state == before
    assert reason in DOMAIN.rules.reasons


def test_claim_and_assign_say_who_has_it_now(story: Story) -> None:
    story.send(MONDAY, INQUIRY)
    task = story.open("first_contact").id
    assert story.send(MONDAY + MINUTE, act(task, "claim")) == ["rescheduled"]
    assert story.open("first_contact").assignee == "wang"
    assert story.send(MONDAY + MINUTE, act(task, "claim")) == [], "it is theirs already"
    assert story.send(MONDAY + MINUTE, act(task, "assign", to="zhao")) == ["rescheduled"]
    assert story.open("first_contact").assignee == "zhao"
    assert story.tasks == {"first_contact": "due"}
    assert story.until(MONDAY + HOUR) == ["missed", "escalated"], "not due once more"


def test_a_new_owner_takes_over_what_the_old_one_had_and_nothing_else(story: Story) -> None:
    story.send(MONDAY, call("no_answer", next_contact_at=MONDAY + DAY))
    story.send(MONDAY, INQUIRY)
    story.send(MONDAY, act(story.open("first_contact").id, "claim"))
    assert story.send(MONDAY + MINUTE, c.CustomerAssigned(customer_id=CUSTOMER, owner="chen")) == ["rescheduled"]
    assert {t.playbook: t.assignee for t in story.state.open} == {"promised_contact": "chen", "first_contact": "wang"}
    story.send(MONDAY + MINUTE, c.CustomerAssigned(customer_id=CUSTOMER, owner=None))
    assert story.open("promised_contact").assignee == "sales", "nobody's customers are the default queue's"


# Promises


def test_a_promised_date_is_kept_in_open_hours(story: Story) -> None:
    assert story.send(MONDAY, contact(next_contact_at=at("11-28 15:00"))) == ["scheduled"]
    task = story.open("promised_contact")
    assert (local(task.due_at), local(task.deadline_at)) == ("11-30 09:00", "12-01 09:00")


@pytest.mark.parametrize("kind", [c.VisitHeld, c.MeetingHeld])
def test_visits_and_meetings_promise_too(story: Story, kind: type[c.VisitHeld]) -> None:
    story.send(MONDAY, kind(customer_id=CUSTOMER, next_contact_at=to_datetime(MONDAY + 2 * DAY)))
    assert story.open("promised_contact").due_at == MONDAY + 2 * DAY
    assert story.state.last_contact_at == MONDAY


def test_the_newest_promise_counts(story: Story) -> None:
    story.send(MONDAY, call("no_answer", next_contact_at=MONDAY + DAY))
    assert story.send(MONDAY, call("busy", next_contact_at=MONDAY + 2 * DAY)) == ["rescheduled"]
    story.until(MONDAY + 2 * DAY)
    assert story.tasks == {"promised_contact": "due"}
    said = story.send(MONDAY + 2 * DAY, call("busy", next_contact_at=MONDAY + 3 * DAY))
    assert said == ["cancelled", "scheduled"], "what is due is not due twice"
    check_told(story.told)


def test_a_promise_in_the_past_is_due_now_and_one_in_the_far_future_is_refused(story: Story) -> None:
    assert story.send(MONDAY, call("busy", next_contact_at=MONDAY - 9 * DAY)) == ["scheduled", "due"]
    far = MONDAY + 3_000_000 * DAY // 10
    assert story.send(MONDAY + MINUTE, call("busy", next_contact_at=far)) == ["action_refused"]


# Regular contact


@pytest.mark.parametrize(("value", "days"), [("high", 7), ("medium", 30), ("low", 90)])
def test_regular_contact_counts_from_the_last_contact(story: Story, value: str, days: int) -> None:
    story.send(MONDAY, contact())
    story.send(MONDAY + DAY, frequency(value))
    task = story.open("regular_contact")
    assert task.due_at == DOMAIN.calendar.next_open(MONDAY + days * DAY)
    assert task.deadline_at == DOMAIN.calendar.add_business_days(task.due_at, 3)


def test_without_any_contact_it_counts_from_when_the_segment_was_seen(story: Story) -> None:
    story.send(MONDAY, frequency("high"))
    assert local(story.open("regular_contact").due_at) == "11-30 10:00"


@pytest.mark.parametrize("value", ["none", None])
def test_no_segment_no_task_and_leaving_it_cancels(story: Story, value: str | None) -> None:
    assert story.send(MONDAY, frequency(value)) == []
    story.send(MONDAY, frequency("high"))
    assert story.send(MONDAY + DAY, frequency(value)) == ["cancelled"]
    assert story.heard("cancelled")[-1][2] == "segment_ended"
    assert story.until(MONDAY + 99 * DAY) == []


@pytest.mark.parametrize(
    "spoken",
    [
        call(),
        call(direction="inbound"),
        c.VisitHeld(customer_id=CUSTOMER),
        c.MeetingHeld(customer_id=CUSTOMER),
        contact(),
    ],
)
def test_every_contact_starts_the_interval_anew(story: Story, spoken: c.OfCustomer) -> None:
    story.send(MONDAY, frequency("high"))
    assert story.send(MONDAY + 3 * DAY, spoken) == ["rescheduled"]
    assert story.open("regular_contact").due_at == MONDAY + 10 * DAY


@pytest.mark.parametrize(
    "other",
    [
        call("no_answer"),
        call("voicemail"),
        c.MessageExchanged(customer_id=CUSTOMER, direction="outbound", channel="email"),
        c.SurveyAnswered(customer_id=CUSTOMER, survey="s"),
    ],
)
def test_nothing_else_does(story: Story, other: c.OfCustomer) -> None:
    story.send(MONDAY, frequency("high"))
    assert story.send(MONDAY + 3 * DAY, other) == []
    assert story.open("regular_contact").due_at == MONDAY + 7 * DAY


def test_a_completed_contact_promises_the_next(story: Story) -> None:
    story.send(MONDAY, frequency("high"))
    story.until(MONDAY + 7 * DAY)
    assert story.send(MONDAY + 8 * DAY, contact()) == ["completed", "scheduled"]
    assert story.open("regular_contact").due_at == MONDAY + 15 * DAY


def test_a_contact_otherwise_ends_the_due_one_and_promises_the_next(story: Story) -> None:
    story.send(MONDAY, frequency("high"))
    story.until(MONDAY + 7 * DAY)
    assert story.send(MONDAY + 8 * DAY, call()) == ["cancelled", "scheduled"]
    assert story.open("regular_contact").due_at == MONDAY + 15 * DAY


def test_a_missed_one_is_followed_by_the_next_in_its_turn(story: Story) -> None:
    story.send(MONDAY, frequency("high"))
    assert story.until(MONDAY + 11 * DAY) == ["due", "missed", "escalated", "scheduled"]
    assert story.open("regular_contact").due_at == MONDAY + 14 * DAY
    ids = {data.task_id for _, data in story.told if isinstance(data, FollowupScheduled)}
    assert len(ids) == 2


def test_a_skipped_one_too(story: Story) -> None:
    story.send(MONDAY, frequency("high"))
    assert story.send(MONDAY + DAY, act(story.open("regular_contact").id, "skip")) == ["cancelled", "scheduled"]
    assert story.open("regular_contact").due_at == MONDAY + 14 * DAY


@pytest.mark.parametrize(("contacted", "due"), [(7, 37), (1, 31)])
def test_a_contact_after_a_skip_counts_as_any_other(story: Story, contacted: int, due: int) -> None:
    story.send(MONDAY, contact())
    story.send(MONDAY, frequency("medium"))
    story.send(MONDAY + DAY, act(story.open("regular_contact").id, "skip"))
    assert story.open("regular_contact").due_at == MONDAY + 60 * DAY
    story.send(MONDAY + contacted * DAY + HOUR, contact())
    assert story.open("regular_contact").due_at == MONDAY + due * DAY + HOUR


def test_a_contact_before_a_skip_that_is_told_after_it_does_not_undo_the_skip(story: Story) -> None:
    story.send(MONDAY, contact())
    story.send(MONDAY, frequency("medium"))
    story.send(MONDAY + 2 * DAY, act(story.open("regular_contact").id, "skip"))
    story.send(MONDAY + 3 * DAY, call(), occurred=MONDAY + DAY)
    assert story.open("regular_contact").due_at == MONDAY + 60 * DAY


def test_whoever_buys_more_often_after_a_skip_is_contacted_weekly(story: Story) -> None:
    story.send(MONDAY, contact())
    story.send(MONDAY, frequency("low"))
    story.send(MONDAY + DAY, act(story.open("regular_contact").id, "skip"))
    story.send(MONDAY + 2 * DAY, contact())
    story.send(MONDAY + 3 * DAY, frequency("high"))
    assert story.open("regular_contact").due_at == MONDAY + 9 * DAY


def test_whoever_comes_back_into_the_segment_without_any_contact_is_counted_anew(story: Story) -> None:
    story.send(MONDAY, frequency("high"))
    story.send(MONDAY + DAY, frequency("none"))
    story.send(MONDAY + 21 * DAY, frequency("high"))
    assert story.open("regular_contact").due_at == MONDAY + 28 * DAY


def test_another_frequency_moves_what_is_scheduled_and_leaves_what_is_due(story: Story) -> None:
    story.send(MONDAY, frequency("medium"))
    assert story.send(MONDAY + DAY, frequency("high")) == ["rescheduled"]
    assert story.open("regular_contact").due_at == MONDAY + 7 * DAY
    assert story.send(MONDAY + DAY, frequency("high")) == []
    story.until(MONDAY + 7 * DAY)
    assert story.send(MONDAY + 8 * DAY, frequency("low")) == []
    assert story.tasks == {"regular_contact": "due"}


def test_a_date_that_staff_chose_stands_until_the_next_contact(story: Story) -> None:
    story.send(MONDAY, frequency("high"))
    story.send(MONDAY, act(story.open("regular_contact").id, "reschedule", MONDAY + 9 * DAY))
    assert story.send(MONDAY + DAY, frequency("high")) == []
    assert story.open("regular_contact").due_at == MONDAY + 9 * DAY
    story.send(MONDAY + 2 * DAY, call())
    assert story.open("regular_contact").due_at == MONDAY + 9 * DAY
    assert story.open("regular_contact").basis == MONDAY + 2 * DAY


def test_a_report_that_comes_late_does_not_turn_the_last_contact_back(story: Story) -> None:
    story.send(MONDAY, contact())
    story.send(MONDAY + DAY, call(), occurred=MONDAY - 9 * DAY)
    assert story.state.last_contact_at == MONDAY
    story.send(MONDAY + DAY, call(), occurred=MONDAY + 2 * DAY)  # a clock ahead of ours
    assert story.state.last_contact_at == MONDAY + DAY


# What ends a reason


def test_denied_consent_cancels_what_uses_the_channel_and_granting_brings_the_regular_one_back(story: Story) -> None:
    story.send(MONDAY, frequency("high"))
    story.send(MONDAY, INQUIRY)
    email = c.CustomerConsentChanged(customer_id=CUSTOMER, channel="email", consent="denied")
    assert story.send(MONDAY, email) == []
    denied = c.CustomerConsentChanged(customer_id=CUSTOMER, channel="phone", consent="denied")
    assert story.send(MONDAY + MINUTE, denied) == ["cancelled", "cancelled"]
    assert {why for *_, why in story.heard("cancelled")} == {"consent_denied"}
    assert story.send(MONDAY + MINUTE, INQUIRY) == []
    granted = c.CustomerConsentChanged(customer_id=CUSTOMER, channel="phone", consent="granted")
    assert story.send(MONDAY + 2 * MINUTE, granted) == ["scheduled"]


@pytest.mark.parametrize(("to", "due"), [("denied", False), ("withdrawn", False), ("granted", True), (None, True)])
def test_a_correction_of_consent_is_heard_as_consent_is(story: Story, to: str | None, due: bool) -> None:
    story.send(MONDAY, INQUIRY)
    correction = corrected("consents.phone", to)
    assert story.send(MONDAY + MINUTE, correction) == ([] if due else ["cancelled"])
    assert story.send(MONDAY + HOUR // 2, c.VisitHeld(customer_id=CUSTOMER)) == (["cancelled"] if due else [])
    assert story.send(MONDAY + HOUR, INQUIRY) == (["scheduled", "due"] if due else [])
    assert story.send(MONDAY + 2 * HOUR, corrected("consents.phone", None)) == []
    assert story.state.denied == ()


def test_an_agreed_date_that_must_not_be_is_refused_with_its_reason(story: Story) -> None:
    story.send(MONDAY, c.CustomerConsentChanged(customer_id=CUSTOMER, channel="phone", consent="denied"))
    assert story.send(MONDAY, contact(next_contact_at=MONDAY + 2 * DAY)) == ["action_refused"]
    assert story.heard("action_refused")[-1][2] == "consent_denied"


def test_a_denial_that_an_import_of_history_brings_holds_for_what_is_promised(story: Story) -> None:
    story.send(MONDAY, contact(next_contact_at=MONDAY + 2 * DAY))
    denied = c.CustomerConsentChanged(customer_id=CUSTOMER, channel="phone", consent="denied")
    assert story.send(MONDAY + HOUR, denied, history=True) == ["cancelled"]
    assert story.until(MONDAY + 3 * DAY) == []


def test_what_is_promised_moves_into_the_hours_of_a_corrected_time_zone(story: Story) -> None:
    story.send(MONDAY, contact(next_contact_at=MONDAY + 2 * DAY))
    story.send(MONDAY, frequency("high"))
    story.send(MONDAY + HOUR, INQUIRY)
    moved = story.send(MONDAY + HOUR + MINUTE, corrected("timezone", "America/New_York"))
    assert moved == ["rescheduled"] * 3
    assert {why for *_, why in story.heard("rescheduled")} == {"time_zone"}
    assert {task.playbook: (task.state, local(task.due_at), local(task.deadline_at)) for task in story.state.open} == {
        "first_contact": ("scheduled", "11-23 22:00", "11-23 23:00"),
        "promised_contact": ("scheduled", "11-25 22:00", "11-26 22:00"),
        "regular_contact": ("scheduled", "11-30 22:00", "12-03 22:00"),
    }
    assert story.send(MONDAY + 2 * HOUR, corrected("timezone", "America/New_York")) == []


def test_what_is_due_stays_so_where_it_is_working_time_in_the_corrected_time_zone_too(story: Story) -> None:
    story.send(MONDAY, INQUIRY)
    assert story.send(MONDAY + MINUTE, corrected("timezone", "Asia/Tokyo")) == []
    assert story.tasks == {"first_contact": "due"}


def test_consent_denied_from_the_beginning() -> None:
    story = Story()
    story.send(MONDAY, c.CustomerRegistered(customer_id=CUSTOMER, consents={"phone": "denied", "sms": "granted"}))
    assert story.send(MONDAY, INQUIRY) == []
    assert story.send(MONDAY, frequency("high")) == []


def test_objection_to_profiling_ends_what_rests_on_segments_and_nothing_else(story: Story) -> None:
    story.send(MONDAY, frequency("high"))
    story.send(MONDAY, INQUIRY)
    assert story.send(MONDAY + MINUTE, c.CustomerObjected(customer_id=CUSTOMER)) == ["cancelled"]
    assert (story.tasks, story.heard("cancelled")[0][2]) == ({"first_contact": "due"}, "objected")
    assert story.send(MONDAY + MINUTE, c.CustomerObjectionWithdrawn(customer_id=CUSTOMER)) == ["scheduled"]


def test_a_merged_customer_is_contacted_no_more_until_split(story: Story) -> None:
    story.send(MONDAY, frequency("high"))
    story.send(MONDAY, INQUIRY)
    kept = c.CustomerMerged(customer_id=CUSTOMER, into=CUSTOMER, from_id=OTHER)
    assert story.send(MONDAY, kept) == []
    gone = c.CustomerMerged(customer_id=CUSTOMER, into=OTHER, from_id=CUSTOMER)
    assert story.send(MONDAY + MINUTE, gone) == ["cancelled", "cancelled"]
    assert story.send(MONDAY + 2 * MINUTE, INQUIRY) == []
    split = c.CustomerSplit(customer_id=CUSTOMER, into=OTHER, from_id=CUSTOMER)
    assert story.send(MONDAY + 3 * MINUTE, split) == ["scheduled"]


def test_erasure_cancels_everything_open(story: Story) -> None:
    story.send(MONDAY, frequency("high"))
    story.send(MONDAY, INQUIRY)
    erased = c.CustomerErased(customer_id=CUSTOMER, receipt_id="r")
    assert story.send(MONDAY + MINUTE, erased) == ["cancelled", "cancelled"]
    assert {why for *_, why in story.heard("cancelled")} == {"erased"}
    assert DOMAIN.wake_at(story.state) is None


# History, replay, bounds, views


def test_history_teaches_and_promises_nothing() -> None:
    story = Story()
    story.send(MONDAY, c.CustomerRegistered(customer_id=CUSTOMER, owner="li"), history=True)
    for data in (frequency("high"), INQUIRY, call(next_contact_at=MONDAY + 9 * DAY), contact()):
        assert story.send(MONDAY, data, history=True) == []
    assert story.until(MONDAY + DAY) == []
    assert story.send(MONDAY + 2 * DAY, INQUIRY) == ["scheduled", "scheduled", "due"]
    regular = story.open("regular_contact")
    assert (regular.due_at, regular.assignee) == (MONDAY + 7 * DAY, "li"), "counted from the contact in the history"


def test_a_contact_long_ago_in_history_is_due_at_the_first_live_event() -> None:
    story = Story()
    story.send(MONDAY - 200 * DAY, contact(), history=True)
    story.send(MONDAY - 100 * DAY, frequency("low"), history=True)
    assert story.send(MONDAY, c.SurveyAnswered(customer_id=CUSTOMER, survey="s")) == ["scheduled", "due"]


def test_replay_makes_tasks_at_its_own_time(story: Story) -> None:
    assert story.send(MONDAY, INQUIRY, replay=True) == ["scheduled", "due"]


def test_closed_tasks_are_kept_newest_first_and_bounded(story: Story) -> None:
    for minute in range(30):
        story.send(MONDAY + minute * MINUTE, INQUIRY)
        story.send(MONDAY + minute * MINUTE + 1, contact())
    closed = [task.closed_at for task in story.state.closed]
    assert len(closed) == DOMAIN.rules.keep_closed
    assert closed == sorted(closed, reverse=True)
    assert len(story.state.model_dump_json(exclude_defaults=True)) < 6_000


def test_task_ids_are_the_same_for_the_same_story_and_differ_between_tasks() -> None:
    def tell() -> list[str]:
        story = Story()
        story.send(MONDAY, frequency("high"))
        story.send(MONDAY, INQUIRY)
        story.until(MONDAY + 60 * DAY)
        return [data.task_id for _, data in story.told if isinstance(data, FollowupScheduled)]

    ids = tell()
    assert ids == tell()
    assert len(ids) == len(set(ids)) > 5


def test_what_other_services_say_is_heard_without_harm(story: Story) -> None:
    opened = CaseOpened(customer_id=CUSTOMER, case_id="k", kind="complaint", severity="high")
    assert story.send(MONDAY, opened) == []


def test_the_view_holds_what_is_asked_for(story: Story) -> None:
    assert dict(DOMAIN.view(story.state)) == {}
    story.send(MONDAY, frequency("high"))
    story.send(MONDAY, INQUIRY)
    assert DOMAIN.view(story.state) == {
        "states": ["due", "scheduled"],
        "work": ["2026-11-30/li", "due/li"],
        "load": ["2026-11-30/regular_contact", "due/first_contact"],
    }
