"""Customers through intake's routes and a real store: limits, corrections, races of two intakes, erasure."""

import asyncio
import json
import warnings
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from services.intake.batches import Batch, Entry, Line
from services.intake.rules import CustomField, Rules
from shared.events.codec import decode
from shared.processing.mongo import connect
from tests.support.intake_world import IntakeWorld, log_in_memory

pytestmark = pytest.mark.real

PHONE = "+8613800138000"
OTHER = "+8613800138001"
RULES = Rules(custom_fields={"shirt": CustomField(), "card": CustomField(personal=True)})
Make = Callable[[], IntakeWorld]


@pytest.fixture
async def make(mongo: str, tmp_path: Path) -> AsyncIterator[Make]:
    """Intakes that share one store and one log."""
    client, log = connect(mongo), log_in_memory()
    name = f"intake_{uuid4().hex[:12]}"
    yield lambda: IntakeWorld(client[name], log, tmp_path, RULES)
    await client.drop_database(name)
    client.close()


@pytest.fixture
async def intake(make: Make) -> AsyncIterator[IntakeWorld]:
    async with make() as intake:
        yield intake


@pytest.fixture
async def other(make: Make, intake: IntakeWorld) -> AsyncIterator[IntakeWorld]:
    """A second intake beside the first."""
    assert intake.intake.ready
    async with make() as other:
        yield other


def consent(customer: str, consent: str, id_: str, channel: str = "sms", source: str = "crm") -> dict[str, Any]:
    data = {"channel": channel, "consent": consent}
    return {"type": "customer.consent_changed", "id": id_, "source": source, "customer": {"id": customer}, "data": data}


def signal(id_: str, source: str = "crm", **customer: Any) -> dict[str, Any]:
    return {"type": "signal.observed", "id": id_, "source": source, "customer": customer, "data": {"name": "x"}}


class TestLimits:
    async def test_a_customer_larger_than_any_record_is_refused_and_intake_goes_on(self, intake: IntakeWorld) -> None:
        for interests, status in ((["x" * 250] * 3_990, 422), (["x" * 250] * 1_000, 413)):
            answer = await intake.ask("POST", "/v1/customers", {"phone": PHONE, "interests": interests}, status)
            assert answer["errors"][0]["reason"]
        await intake.registered(phone=PHONE)

    async def test_a_change_whose_record_would_be_too_large_is_refused_alone(self, intake: IntakeWorld) -> None:
        texts = [[f"{letter}{n:03}" + "文" * 200 for n in range(900)] for letter in "ab"]
        customer = await intake.registered(phone=PHONE, tags=texts[0])
        change, beside = await asyncio.gather(
            intake.ask("PATCH", f"/v1/customers/{customer}", {"tags": texts[1]}, 413),
            intake.ask("PATCH", f"/v1/customers/{customer}", {"region": "Hubei"}, 200),
        )
        assert change["errors"][0].keys() == {"field", "reason"}
        assert beside["position"]
        shown = await intake.shown(customer)
        assert (shown["tags"][0], shown["facets"]["region"]) == (texts[0][0], "Hubei")

    async def test_as_many_changes_of_one_customer_as_a_request_may_hold(self, intake: IntakeWorld) -> None:
        customer = await intake.registered(phone=PHONE)
        docs = [consent(customer, ("granted", "denied")[n % 2], str(n)) for n in range(1_000)]
        answers = await intake.ask("POST", "/v1/events", docs, 202)
        assert all("position" in answer for answer in answers)
        changes = (await intake.ask("GET", f"/v1/customers/{customer}/history"))["changes"]
        assert [change["event_id"] for change in changes] == [str(n) for n in range(1_000)]
        assert [r["id"] for r in intake.records()[1:]] == [str(n) for n in range(1_000)]

    async def test_large_customers_at_once_go_into_as_many_batches_as_they_need(self, intake: IntakeWorld) -> None:
        interests = ["文" * 190] * 1_000
        answers = await asyncio.gather(
            *(intake.registered(email=f"a{n}@b.com", interests=interests) for n in range(24))
        )
        assert len(set(answers)) == 24

    @pytest.mark.parametrize(
        "value", [b"[" * 300 + b"]" * 300, b"NaN", b"1e400", b'"\\ud800"', b'"' + b"x" * 20_001 + b'"']
    )
    async def test_what_an_event_may_not_hold_a_customer_may_not_either(
        self, intake: IntakeWorld, value: bytes
    ) -> None:
        body = b'{"phone":"%s","custom":{"shirt":%s}}' % (PHONE.encode(), value)
        answer = await intake.ask("POST", "/v1/customers", body)
        assert answer["status"] in (400, 422)
        assert intake.records() == []
        customer = await intake.registered(phone=PHONE)
        assert (await intake.ask("PATCH", f"/v1/customers/{customer}", body))["status"] in (400, 422)

    async def test_a_number_of_a_customer_stays_a_number(self, intake: IntakeWorld) -> None:
        customer = await intake.registered(phone=PHONE, custom={"shirt": 1.5})
        await intake.ask("POST", "/v1/events", signal("1", email="a@b.com", custom={"shirt": [100.25]}), 202)
        assert (await intake.shown(customer))["custom"] == {"shirt": 1.5}
        given = [r["data"]["custom"] for r in intake.records() if "registered" in r["type"]]
        assert sorted(map(str, given)) == ["{'shirt': 1.5}", "{'shirt': [100.25]}"]

    async def test_fields_are_named_as_they_were_sent(self, intake: IntakeWorld) -> None:
        answer = await intake.ask("POST", "/v1/customers", {"phone": "12"}, 422)
        assert answer["errors"][0]["field"] == "phone"
        broken = await intake.ask("POST", "/v1/customers", b'{"phone"', 400)
        assert "errors" not in broken


async def test_what_can_never_be_sent_is_left_out_and_intake_starts(make: Make) -> None:
    store = make().store
    await store.ensure()
    entries = (Entry("large", "x", (Line("x" * 1_100_000),), claim="a"), Entry("small", "x", (Line("{}"),), claim="b"))
    batch = Batch("b", "gone", 1, 1, entries)
    await store.begin(batch)
    async with make() as intake:
        await intake.publisher.drained()
        assert intake.records() == [{}]
        assert await store.claims(["a"]) == {}


class TestTwoIntakes:
    async def test_the_erased_stay_erased(self, intake: IntakeWorld, other: IntakeWorld) -> None:
        customer = await intake.registered(phone=PHONE, region="Hubei", name="Li")
        intake.meanwhile(lambda: other.ask("POST", f"/v1/customers/{customer}/erasure", {}, 202))
        docs = [consent(customer, "granted", channel, channel) for channel in ("sms", "email")]
        answers = await intake.ask("POST", "/v1/events", docs)
        assert [item["problem"]["status"] for item in answers] == [410, 410]
        shown = await other.shown(customer)
        assert "erased_at" in shown
        assert not shown["facets"]
        assert not shown["consents"]
        assert intake.kinds() == ["customer.registered", "customer.erased"]

    async def test_what_rests_on_a_lost_change_is_decided_anew(self, intake: IntakeWorld, other: IntakeWorld) -> None:
        customer = await intake.registered(phone=PHONE)
        change = {"region": "Hubei", "email": "li@example.com"}
        intake.meanwhile(lambda: other.ask("PATCH", f"/v1/customers/{customer}", change, 200))
        docs = [consent(customer, "granted", "1"), signal("2", id=customer), consent(customer, "denied", "3")]
        await intake.ask("POST", "/v1/events", docs, 202)
        shown = await other.shown(customer)
        assert (shown["facets"]["region"], shown["consents"]) == ("Hubei", {"sms": "denied"})
        assert shown["personal"]["email"] == "li@example.com"
        assert [r["id"] for r in intake.records() if r["source"] == "crm"] == ["1", "2", "3"]
        history = (await other.ask("GET", f"/v1/customers/{customer}/history"))["changes"]
        assert [c["field"] for c in history[-2:]] == ["consents.sms", "consents.sms"]

    async def test_a_key_learned_in_a_race_is_learned_and_goes_with_its_customer(
        self, intake: IntakeWorld, other: IntakeWorld
    ) -> None:
        external = {"system": "crm", "id": "1"}
        customer = await intake.registered(external_id=external)
        intake.meanwhile(lambda: other.ask("PATCH", f"/v1/customers/{customer}", {"region": "Hubei"}, 200))
        await intake.ask("POST", "/v1/events", signal("1", external_id=external, phone=PHONE), 202)
        assert (await intake.shown(customer))["personal"]["phone"] == PHONE
        await intake.ask("POST", f"/v1/customers/{customer}/erasure", {}, 202)
        again = await intake.ask("POST", "/v1/events", signal("2", phone=PHONE), 202)
        assert again["customer_id"] != customer

    async def test_one_id_of_two_sources_is_two_changes(self, intake: IntakeWorld, other: IntakeWorld) -> None:
        customer = await intake.registered(phone=PHONE)
        first, second = consent(customer, "denied", "1", "sms", "a"), consent(customer, "denied", "1", "email", "b")
        intake.meanwhile(lambda: other.ask("POST", "/v1/events", first, 202))
        await intake.ask("POST", "/v1/events", second, 202)
        assert (await intake.shown(customer))["consents"] == {"sms": "denied", "email": "denied"}

    async def test_a_retry_at_the_other_intake_takes_only_its_own_part_out(
        self, intake: IntakeWorld, other: IntakeWorld
    ) -> None:
        customer = await intake.registered(phone=PHONE)
        docs = [consent(customer, "granted", "1"), consent(customer, "denied", "2", "email")]
        intake.meanwhile(lambda: other.ask("POST", "/v1/events", docs[0], 202))
        await intake.ask("POST", "/v1/events", docs, 202)
        assert (await intake.shown(customer))["consents"] == {"sms": "granted", "email": "denied"}
        assert [r["id"] for r in intake.records() if r["source"] == "crm"] == ["1", "2"]

    async def test_who_asks_twice_at_once_is_told_of_somebody_who_exists(
        self, intake: IntakeWorld, other: IntakeWorld
    ) -> None:
        """The second rests on what the first was about to register, and lost."""
        intake.meanwhile(lambda: other.ask("POST", "/v1/customers", {"phone": PHONE}, 201))
        answers = await asyncio.gather(*(intake.ask("POST", "/v1/customers", {"phone": PHONE}) for _ in range(3)))
        assert len({answer["customer_id"] for answer in answers}) == 1
        await other.shown(answers[0]["customer_id"])

    async def test_nothing_reaches_whom_the_other_intake_erased(self, intake: IntakeWorld, other: IntakeWorld) -> None:
        def complaint(id_: str) -> dict[str, Any]:
            data = {"kind": "complaint", "text": "help"}
            return {"type": "feedback.received", "id": id_, "source": "s", "customer": {"phone": PHONE}, "data": data}

        first = await other.ask("POST", "/v1/events", complaint("1"), 202)
        await other.ask("POST", "/v1/events", complaint("2"), 202)
        await intake.ask("POST", f"/v1/customers/{first['customer_id']}/erasure", {}, 202)
        later = await other.ask("POST", "/v1/events", complaint("3"), 202)
        assert later["customer_id"] != first["customer_id"]


class TestErasedInTheSameTick:
    async def test_whoever_asks_for_an_erasure_twice_gets_its_receipt_twice(self, intake: IntakeWorld) -> None:
        customer = await intake.registered(phone=PHONE)

        async def erased(after: float) -> Any:
            await asyncio.sleep(after)
            return await intake.ask("POST", f"/v1/customers/{customer}/erasure", {}, 202)

        one, two = await asyncio.gather(erased(0), erased(0.3))
        assert one == two
        assert intake.kinds() == ["customer.registered", "customer.erased"]

    async def test_who_comes_back_by_a_released_key_is_somebody_new(self, intake: IntakeWorld) -> None:
        customer = await intake.registered(phone=PHONE)
        _, after = await asyncio.gather(
            intake.ask("POST", f"/v1/customers/{customer}/erasure", {}, 202), self.soon(intake)
        )
        kinds = [r["type"].split(".")[2] for r in intake.records() if r["subject"] == customer]
        assert after["customer_id"] != customer or kinds.index("observed") < kinds.index("erased")

    async def soon(self, intake: IntakeWorld) -> Any:
        return await intake.ask("POST", "/v1/events", signal("1", phone=PHONE), 202)


class TestCorrections:
    async def test_a_key_of_idempotency_stands_for_one_change_of_one_customer(self, intake: IntakeWorld) -> None:
        one, two = await intake.registered(phone=PHONE), await intake.registered(phone=OTHER)
        change = {"region": "Hubei", "industry": "x", "language": "zh"}
        key = {"idempotency-key": "k1"}
        first = await intake.ask("PATCH", f"/v1/customers/{one}", change, 200, **key)
        assert await intake.ask("PATCH", f"/v1/customers/{one}", change, 200, **key) == first
        await intake.ask("PATCH", f"/v1/customers/{two}", change, 422, **key)
        await intake.ask("PATCH", f"/v1/customers/{one}?reason=asked", change, 422, **key)
        await intake.ask("PATCH", f"/v1/customers/{one}", {"industry": None}, 200, **{"idempotency-key": "k2"})
        await intake.ask("PATCH", f"/v1/customers/{one}", {"language": None}, 422, **{"idempotency-key": "k2"})
        await intake.ask("POST", "/v1/customers", {"industry": None}, 422, **{"idempotency-key": "k2"})

    async def test_a_personal_custom_field_is_corrected_and_emptied(self, intake: IntakeWorld) -> None:
        customer = await intake.registered(phone=PHONE, custom={"card": "OLD", "shirt": "L"})
        path = f"/v1/customers/{customer}"
        await intake.ask("PATCH", path, {"custom": {"card": "NEW"}}, 200)
        shown = await intake.shown(customer)
        assert (shown["personal"]["custom.card"], shown["custom"]) == ("NEW", {"shirt": "L"})
        await intake.ask("PATCH", path, {"custom": {"card": None, "shirt": None}}, 200)
        shown = await intake.shown(customer)
        assert ("custom.card" in shown["personal"], shown["custom"]) == (False, {})

    async def test_fields_that_are_not_given_stay(self, intake: IntakeWorld) -> None:
        customer = await intake.registered(email="a@b.com", country="FR", interests=["x"], tags=["y"])
        await intake.ask("PATCH", f"/v1/customers/{customer}", {"phone": PHONE}, 200)
        assert (await intake.shown(customer))["facets"] == {"country": "FR", "interests": ["x"]}
        await intake.ask("PATCH", f"/v1/customers/{customer}", {"interests": [], "tags": []}, 200)
        shown = await intake.shown(customer)
        assert (shown["facets"], shown["tags"]) == ({"country": "FR"}, [])

    async def test_what_follows_from_a_birth_date_goes_with_it(self, intake: IntakeWorld) -> None:
        customer = await intake.registered(email="a@b.com", birth_date="1990-05-06")
        await intake.ask("PATCH", f"/v1/customers/{customer}", {"birth_date": None}, 200)
        shown = await intake.shown(customer)
        assert (shown["facets"], "birth_date" in shown["personal"]) == ({}, False)

    async def test_what_was_taken_away_names_nobody_any_more(self, intake: IntakeWorld) -> None:
        external = {"system": "crm", "id": "1"}
        customer = await intake.registered(phone=PHONE, external_id=external)
        await intake.ask("PATCH", f"/v1/customers/{customer}", {"phone": OTHER, "external_id": None}, 200)
        assert (await intake.shown(customer))["external_ids"] == []
        for named in ({"phone": PHONE}, {"external_id": external}):
            assert (await intake.ask("POST", "/v1/customers", named, 201))["customer_id"] != customer
        assert (await intake.ask("POST", "/v1/customers", {"phone": OTHER}, 200))["customer_id"] == customer

    async def test_nothing_is_warned_of_with_what_it_is_about(self, intake: IntakeWorld) -> None:
        customer = await intake.registered(email="a@b.com")
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            await intake.ask("PATCH", f"/v1/customers/{customer}", {"tags": ["canary"]}, 200)
        assert "canary" not in "".join(str(warning.message) for warning in caught)

    async def test_events_of_two_sources_that_share_an_id_cause_two_corrections(self, intake: IntakeWorld) -> None:
        external = {"system": "crm", "id": "1"}
        await intake.registered(external_id=external)
        await intake.ask("POST", "/v1/events", signal("7", "a", external_id=external, phone=PHONE), 202)
        await intake.ask("POST", "/v1/events", signal("7", "b", external_id=external, email="a@b.com"), 202)
        corrections = [r["id"] for r in intake.records() if "corrected" in r["type"]]
        assert len(set(corrections)) == 2
        assert all(decode(json.dumps(record).encode()) for record in intake.records())
