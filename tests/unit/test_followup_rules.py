"""The playbooks' file: what is refused with which words, what a change of it does to promises already made."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from services.followup.domain import FollowupDomain
from services.followup.rules import Rules, load_rules
from shared.clock import DAY, HOUR, MINUTE, to_datetime
from shared.events import customers as c
from tests.unit.followup_story import CONFIG, CUSTOMER, DOMAIN, Story, at, check_told, frequency

MONDAY = at("11-23 10:00")
INQUIRY = c.InquiryReceived(customer_id=CUSTOMER)
CONTACT = c.ContactMade(customer_id=CUSTOMER, by="li")


def written() -> dict[str, Any]:
    return yaml.safe_load((CONFIG / "followup.yaml").read_text("utf-8"))


def domain(change: Callable[[dict[str, Any]], object]) -> FollowupDomain:
    document = written()
    change(document)
    return FollowupDomain(Rules.model_validate(document), DOMAIN.calendar)


def of(name: str, **changes: Any) -> Callable[[dict[str, Any]], object]:
    return lambda document: document["playbooks"][name].update(changes)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (of("first_contact", deadline={}), "playbooks.first_contact.deadline: .*exactly one of"),
        (of("first_contact", deadline={"business_days": 1, "business_minutes": 1}), "exactly one of"),
        (of("first_contact", deadline={"business_days": 0}), "business_days: .*greater than or equal to 1"),
        (of("first_contact", occurs="every"), "playbooks.first_contact: .*starts_with: segment"),
        (of("regular_contact", occurs="once"), "playbooks.regular_contact: .*starts_with: segment"),
        (of("regular_contact", every_days={}), "playbooks.regular_contact: .*every_days"),
        (of("first_contact", dimension="value"), "playbooks.first_contact: .*dimension"),
        (of("first_contact", label={"en": "only English"}), "playbooks.first_contact.label.zh: Field required"),
        (of("first_contact", content_key="lost"), "contents has no 'lost'"),
        (of("first_contact", colour="red"), "playbooks.first_contact.colour: Extra inputs"),
        (lambda d: d["reasons"].pop("skipped"), "reasons: .*skipped"),
        (lambda d: d["reasons"].update(tired={"en": "x", "zh": "y"}), "reasons: .*tired"),
        (lambda d: d["states"].pop("missed"), "states: .*missed"),
        (lambda d: d["sections"].update(later={"en": "x", "zh": "y"}), "sections: .*later"),
        (lambda d: d["sections"]["due"].update(zh=""), "sections.due.zh: "),
        (lambda d: d.pop("escalate_to"), "escalate_to: Field required"),
    ],
)
def test_a_wrong_file_is_named_with_the_place_and_what_was_expected(
    tmp_path: Path, change: Callable[[dict[str, Any]], object], complaint: str
) -> None:
    document = written()
    change(document)
    path = tmp_path / "followup.yaml"
    path.write_text(yaml.safe_dump(document, allow_unicode=True))
    with pytest.raises(ValueError, match=f"followup.yaml: .*{complaint}"):
        load_rules(path)


@pytest.mark.parametrize(("text", "complaint"), [("a: [", "not YAML"), ("", "version: Field required")])
def test_no_yaml_and_nothing_at_all(tmp_path: Path, text: str, complaint: str) -> None:
    path = tmp_path / "followup.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=complaint):
        load_rules(path)


def test_once_means_once_for_ever() -> None:
    story = Story(domain(of("first_contact", occurs="once")))
    assert story.send(MONDAY, INQUIRY) == ["scheduled", "due"]
    story.send(MONDAY + MINUTE, CONTACT)
    assert story.send(MONDAY + 90 * DAY, INQUIRY) == []


def test_other_numbers_in_the_file_are_other_promises() -> None:
    story = Story(domain(of("regular_contact", every_days={"low": 10}, deadline={"business_minutes": 30})))
    assert story.send(MONDAY, frequency("high")) == []
    story.send(MONDAY, frequency("low"))
    task = story.open("regular_contact")
    assert (task.due_at, task.deadline_at) == (MONDAY + 10 * DAY, MONDAY + 10 * DAY + 30 * MINUTE)


def test_a_playbook_may_follow_any_dimension() -> None:
    story = Story(domain(of("regular_contact", dimension="spend_level", every_days={"high": 5})))
    story.send(MONDAY, frequency(None))
    assert story.open("regular_contact").every_days == 5


def test_an_agreement_may_have_no_playbook() -> None:
    story = Story(domain(lambda d: d["playbooks"].pop("promised_contact")))
    agreed = CONTACT.model_copy(update={"next_contact_at": to_datetime(MONDAY + DAY)})
    assert story.send(MONDAY, agreed) == []


def test_a_promise_outlives_its_playbook_and_keeps_its_length() -> None:
    story = Story()
    story.send(MONDAY, INQUIRY)
    task = story.open("first_contact")
    story.domain = domain(lambda d: d["playbooks"].pop("first_contact"))
    act = c.TaskActedOn(
        customer_id=CUSTOMER, task_id=task.id, action="reschedule", by="wu", until="2026-11-23T04:00:00Z"
    )
    assert story.send(MONDAY + MINUTE, act) == ["rescheduled"]
    moved = story.open("first_contact")
    assert moved.deadline_at - moved.due_at == HOUR
    assert story.until(MONDAY + DAY) == ["due", "missed", "escalated"]
    check_told(story.told)


def test_a_shorter_memory_forgets_the_oldest() -> None:
    story = Story(domain(lambda d: d.update(keep_closed=2)))
    for number in range(4):
        story.send(MONDAY + number * MINUTE, INQUIRY)
        story.send(MONDAY + number * MINUTE + 1, CONTACT)
    assert [task.closed_at for task in story.state.closed] == [MONDAY + 3 * MINUTE + 1, MONDAY + 2 * MINUTE + 1]


def test_an_old_state_without_the_newer_fields_still_reads() -> None:
    state = DOMAIN.state_type.model_validate_json(f'{{"customer_id":"{CUSTOMER}"}}')
    assert state == DOMAIN.initial(CUSTOMER)
