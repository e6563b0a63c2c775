"""The demo's data: real purchases untouched, the rest repeatable, all of it acceptable to intake and telling for feedback."""

import re
from collections import Counter
from datetime import date
from decimal import Decimal
from functools import lru_cache
from itertools import islice, pairwise
from typing import Any
from uuid import NAMESPACE_URL, uuid5

import pytest

from deploy.demo_data import DemoEvent, demo_events, read_purchases, replay_from, trickle
from services.intake.checking import Checker, Sender, Stamp
from services.intake.rules import load_rules
from shared.clock import DAY, from_rfc3339, to_datetime, to_rfc3339
from shared.events.codec import data_types
from shared.privacy import BlindIndex
from tests.unit.feedback_cases import CONFIG, Story, names

TODAY = date(2026, 11, 23)
MIDNIGHT = from_rfc3339("2026-11-23T00:00:00Z")


@lru_cache
def played() -> tuple[DemoEvent, ...]:
    return tuple(demo_events(read_purchases(), TODAY))


def of_type(name: str) -> list[DemoEvent]:
    return [event for event in played() if event.document["type"] == name]


@lru_cache
def checker() -> Checker:
    return Checker(load_rules(CONFIG / "intake.yaml"), BlindIndex(b"p" * 32))


def test_every_real_purchase_is_there_with_its_distances_and_amounts() -> None:
    rows = sorted(read_purchases(), key=lambda row: row.line)
    sold = {event.document["data"]["order_id"]: event for event in of_type("purchase.made")}
    assert len(sold) == len(rows) == 6_919
    last = max(row.on for row in rows)
    for row in rows:
        event = sold[f"cdnow-{row.line:05d}"]
        assert event.document["customer"]["external_id"] == {"system": "cdnow", "id": row.customer}
        assert event.document["data"]["amount"] == {"amount": row.amount, "currency": "USD"}
        assert event.document["data"]["items"][0]["quantity"] == row.quantity
        assert event.at == MIDNIGHT - DAY // 2 - (last - row.on).days * DAY, "12:00 UTC, the last day is yesterday"


def test_it_is_in_order_of_time_and_ends_yesterday() -> None:
    assert all(earlier.at <= later.at for earlier, later in pairwise(played()))
    assert MIDNIGHT - DAY <= played()[-1].at < MIDNIGHT
    assert all(event.document["time"] == to_rfc3339(event.at) for event in played())


def test_the_last_thirty_days_are_replayed_the_rest_is_history() -> None:
    assert replay_from(TODAY) == MIDNIGHT - 30 * DAY
    assert all(event.history == (event.at < MIDNIGHT - 30 * DAY) for event in played())


def test_there_is_enough_of_everything() -> None:
    counts = Counter(event.document["type"] for event in played())
    recent = Counter(event.document["type"] for event in played() if not event.history)
    assert 2_500 < len(played()) - counts["purchase.made"] < 3_500
    for name, least in {
        "inquiry.received": 300, "call.ended": 400, "survey.answered": 200, "purchase.refunded": 80,
        "customer.consent_changed": 80, "feedback.received": 150, "case.acted_on": 500, "contact.made": 150,
    }.items():  # fmt: skip
        assert counts[name] >= least, name
    assert min(recent[name] for name in ("inquiry.received", "call.ended", "feedback.received", "case.acted_on")) >= 50


def test_the_same_seed_gives_the_same_and_another_gives_another() -> None:
    some = [purchase for purchase in read_purchases() if purchase.customer < "0100"]
    assert demo_events(some, TODAY, 1) == demo_events(list(reversed(some)), TODAY, 1)
    assert demo_events(some, TODAY, 1) != demo_events(some, TODAY, 2)


def test_ids_are_unique() -> None:
    assert len({event.document["id"] for event in played()}) == len(played())


def test_profiles_come_once_and_contact_keys_belong_to_one_customer() -> None:
    profiles = [event.document["customer"] for event in played() if "name" in event.document["customer"]]
    everybody = {tuple(event.document["customer"]["external_id"].values()) for event in played()}
    assert len(profiles) == len(everybody)
    for key in ("phone", "email"):
        keys = [profile[key] for profile in profiles if key in profile]
        assert len(set(keys)) == len(keys) > 2_000


def test_people_are_plainly_invented() -> None:
    for event in played():
        customer = event.document["customer"]
        assert customer.get("name", "Sample Customer").startswith("Sample Customer")
        assert customer.get("email", "@example.com").endswith("@example.com")
        assert re.fullmatch(r"\+1\d{3}55501\d\d", customer.get("phone", "+12015550100"))


def test_refunds_are_of_orders_already_made_and_not_above_them() -> None:
    sold = {event.document["data"]["order_id"]: event for event in of_type("purchase.made")}
    shares = set()
    for refund in of_type("purchase.refunded"):
        order = sold[refund.document["data"]["order_id"]]
        paid, back = (Decimal(e.document["data"]["amount"]["amount"]) for e in (order, refund))
        assert order.at < refund.at
        assert 0 < back <= paid
        shares.add(back == paid)
    assert shares == {True, False}


def test_intake_would_take_every_document() -> None:
    for event in played():
        checker().offer(event.document, Sender("k1"), Stamp(MIDNIGHT))


def test_what_trickles_is_acceptable_and_endless_and_new_each_time() -> None:
    first, second = (list(islice(trickle(1, now, ["0001", "0002"]), 400)) for now in (MIDNIGHT, MIDNIGHT + 1))
    assert len({document["id"] for document in first + second}) == 800
    assert {"purchase.made", "inquiry.received", "call.ended", "feedback.received", "case.acted_on"} <= {
        document["type"] for document in first
    }
    for document in first:
        checker().offer(document, Sender("k1"), Stamp(MIDNIGHT))
        assert "time" not in document


@pytest.fixture(scope="module")
def stories() -> dict[str, Story]:
    """The demo as feedback hears it, one story per customer."""
    types = {name.removeprefix("guanxi.").removesuffix(".v1"): data for name, data in data_types().items()}
    found: dict[str, Story] = {}
    for event in played():
        document = event.document
        if document["type"] in ("feedback.received", "case.acted_on", "survey.answered"):
            customer = str(uuid5(NAMESPACE_URL, str(document["customer"]["external_id"])))
            data = types[document["type"]].model_validate({"customer_id": customer, **document["data"]})
            _tell(found.setdefault(customer, Story(customer)), event, data)
    for story in found.values():
        story.until(MIDNIGHT)
    return found


def _tell(story: Story, event: DemoEvent, data: Any) -> None:
    marks = {"history": True} if event.history else {"replay": True}
    story.send(event.at, data, id=event.document["id"], source=event.document["source"], **marks)


def test_the_cases_run_through_with_deadlines_kept_and_missed(stories: dict[str, Story]) -> None:
    told = Counter(name for story in stories.values() for name in names(tuple(event for _, event in story.told)))
    cases = [case for story in stories.values() for case in story.state.cases]
    deadlines = [deadline for case in cases for deadline in case.deadlines]
    assert told["case.opened"] == len(of_type("feedback.received")) == len(cases), "every case id was computed rightly"
    assert told["case.action_refused"] < len(of_type("case.acted_on")) / 20
    assert sum(d.missed_at is None and d.ended_at is not None for d in deadlines) > 30
    assert told["case.deadline_missed"] > 20
    assert {"closed", "resolved", "assigned", "received"} <= {case.state for case in cases}
    assert all(not case.imported or case.opened_at < MIDNIGHT - 30 * DAY for case in cases)
    assert all(to_datetime(case.opened_at).weekday() < 5 for case in cases)
