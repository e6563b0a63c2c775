"""What intake decides before anything is stored: shapes, checks, keys, refusals."""

import json
from decimal import Decimal
from typing import Any

import pytest

from services.intake import shapes
from services.intake.checking import Checker, Sender, Stamp
from services.intake.contracts import SEALED_FIELDS, accepted_types, edge_model
from services.intake.domain import Offer, owner_of
from services.intake.limits import Limits, check
from services.intake.refusal import Refusal
from services.intake.rules import CustomField, Rules
from shared.clock import MINUTE, from_rfc3339
from shared.events.codec import decode
from shared.events.customers import PurchaseMade
from shared.privacy import BlindIndex

NOW = from_rfc3339("2026-11-23T20:00:00Z")
CHECKER = Checker(
    Rules(custom_fields={"shirt": CustomField(), "card": CustomField(personal=True)}), BlindIndex(b"p" * 32)
)
SENDER = Sender("k1", "shop")
PURCHASE: dict[str, Any] = {
    "type": "purchase.made",
    "customer": {"phone": "138 0013 8000"},
    "data": {"amount": {"amount": "29.33", "currency": "USD"}},
}


def offer(document: dict[str, Any], **stamp: Any) -> Offer:
    return CHECKER.offer(document, SENDER, Stamp(NOW, **stamp))


def refused(document: Any, sender: Sender = SENDER) -> Refusal:
    with pytest.raises(Refusal) as caught:
        CHECKER.offer(document, sender, Stamp(NOW))
    return caught.value


def fields(refusal: Refusal) -> set[str]:
    return {field for field, _ in refusal.errors} | {".".join(map(str, f["loc"])) for f in refusal.faults}


def test_one_person_has_one_key_however_the_number_is_written() -> None:
    written = ("138 0013 8000", "+86 138-0013-8000", "0086 13800138000", "１３８００１３８０００")
    keys = {offer({**PURCHASE, "customer": {"phone": text}}).person.keys["phone"] for text in written}
    assert len(keys) == 1
    assert "13800138000" not in keys.pop()


def test_one_person_has_one_key_however_the_address_is_written() -> None:
    written = ("Li@Example.com", " li@example.COM ")
    assert len({offer({**PURCHASE, "customer": {"email": text}}).person.keys["email"] for text in written}) == 1


def test_personal_fields_are_set_apart_and_facets_derived_from_them() -> None:
    customer = {
        "phone": "+8613800138000",
        "name": "Li Lei",
        "birth_date": "1990-05-06",
        "custom": {"shirt": "L", "card": "9"},
    }
    person = offer({**PURCHASE, "customer": customer}).person
    assert person.personal == {
        "phone": "+8613800138000",
        "name": "Li Lei",
        "birth_date": "1990-05-06",
        "custom.card": "9",
    }
    assert person.facts == {
        "facets": {
            "birthday": {"month": 5, "day": 6, "calendar": "solar"},
            "age_band": "30-39",
            "country": "CN",
        },
        "custom": {"shirt": "L"},
    }


@pytest.mark.parametrize("kind", sorted(SEALED_FIELDS))
def test_free_texts_never_stay_in_the_data(kind: str) -> None:
    required = {
        "call.ended": {"direction": "inbound", "outcome": "answered"},
        "message.exchanged": {"direction": "inbound", "channel": "sms"},
        "feedback.received": {"kind": "complaint"},
        "contact.made": {"by": "amy"},
        "case.acted_on": {"case_id": "c", "action": "note", "by": "amy"},
    }.get(kind, {})
    for name in SEALED_FIELDS[kind]:
        for texts in ({name: "canary"}, {"sealed": {name: "canary"}}):
            made = offer({"type": kind, "customer": {"id": ID}, "data": {**required, **texts}})
            assert made.secrets == {name: "canary"}
            assert "canary" not in json.dumps(dict(made.data))


ID = "3f545075-c34c-48f6-a5ff-99c5b473f90e"


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"data": {"amount": {"amount": "1", "currency": "USD", "tax": 1}}}, "data.amount.tax"),
        ({"data": {"amount": {"amount": "1", "currency": "USD"}, "colour": "red"}}, "data.colour"),
        ({"data": {}}, "data.amount"),
        ({"data": {"amount": {"amount": "NaN", "currency": "USD"}}}, "data.amount.amount"),
        ({"surprise": 1}, "surprise"),
        ({"time": "2026-11-23T20:00:00"}, "time"),
        ({"time": 1795464000}, "time"),
        ({"time": "2026-11-23T20:05:01Z"}, "time"),
        ({"time": "1969-12-31T23:59:59Z"}, "time"),
        ({"type": "customer.erased"}, "type"),
        ({"type": "clock.ticked"}, "type"),
        ({"customer": {"phone": "12"}}, "customer.phone"),
        ({"customer": {"email": "nobody"}}, "customer.email"),
        ({"customer": {"id": ID, "nickname": "x"}}, "customer.nickname"),
        ({"customer": {"id": ID, "custom": {"height": 3}}}, "customer.custom"),
        ({"customer": {"id": ID, "birth_date": "1850-01-01"}}, "customer.birth_date"),
        ({"id": "x" * 257}, "id"),
    ],
)
def test_what_is_not_as_it_must_be_is_refused_with_its_field(change: dict[str, Any], field: str) -> None:
    refusal = refused({**PURCHASE, **change})
    assert refusal.status == 422
    assert field in fields(refusal)


@pytest.mark.parametrize("time", ["9999-12-31T23:59:59-05:00", "0001-01-01T00:00:00+05:00"])
def test_a_moment_that_no_utc_calendar_holds_is_refused_with_its_field(time: str) -> None:
    order = {"order_id": "1", "state": "placed", "expected_at": time}
    assert fields(refused({**PURCHASE, "type": "order.updated", "data": order})) == {"data.expected_at"}


def test_time_may_run_ahead_by_five_minutes_and_no_more() -> None:
    assert offer({**PURCHASE, "time": "2026-11-23T20:05:00Z"}).time == NOW + 5 * MINUTE


def test_imported_events_are_recorded_in_their_own_time() -> None:
    imported = offer({**PURCHASE, "time": "1997-01-01T12:00:00Z"}, mark="history")
    assert imported.recorded_at == imported.time == from_rfc3339("1997-01-01T12:00:00Z")
    assert offer({**PURCHASE, "time": "1997-01-01T12:00:00Z"}).recorded_at == NOW


def test_staff_actions_need_the_scope_of_staff() -> None:
    action = {"type": "contact.made", "customer": {"id": ID}, "data": {"by": "amy"}}
    assert refused(action, Sender("k", staff=False)).status == 403
    assert refused(PURCHASE, Sender("k", emit=False)).status == 403


def test_content_counts_as_the_same_however_it_is_written() -> None:
    first = offer({**PURCHASE, "id": "a"})
    again = offer(json.loads(json.dumps({"id": "a", **PURCHASE}, indent=2), parse_float=Decimal))
    other = offer({**PURCHASE, "id": "a", "data": {"amount": {"amount": "29.34", "currency": "USD"}}})
    assert (first.claim, first.fingerprint) == (again.claim, again.fingerprint)
    assert first.claim == other.claim
    assert first.fingerprint != other.fingerprint


def test_an_idempotency_key_gives_the_same_ids_to_the_same_places() -> None:
    first, again, second = (offer(PURCHASE, key="k", index=index, count=2) for index in (0, 0, 1))
    assert first.event_id == again.event_id != second.event_id
    assert first.conflict == 422
    assert offer(PURCHASE, key="k", index=0, count=3).fingerprint != first.fingerprint
    assert offer(PURCHASE).claim is None


def test_keys_of_two_customers_are_a_conflict() -> None:
    assert owner_of(["a", "b"], {}) is None
    assert owner_of(["a", "b"], {"b": "X"}) == "X"
    with pytest.raises(Refusal, match="Two customers"):
        owner_of(["a", "b"], {"a": "X", "b": "Y"})


def test_every_type_from_outside_has_a_strict_form_without_the_customer() -> None:
    for data in set(accepted_types().values()):
        edge = edge_model(data)
        assert edge.model_config["extra"] == "forbid"
        assert not {"customer_id", "sealed"} & set(edge.model_fields)


class TestShapes:
    def read(self, body: Any, kind: str = "application/json", **headers: str) -> shapes.Arrived:
        text = body if isinstance(body, bytes) else json.dumps(body).encode()
        return shapes.read(text, {"content-type": kind, **headers})

    def test_one_and_many(self) -> None:
        assert self.read(PURCHASE) == shapes.Arrived([PURCHASE], many=False)
        assert self.read([PURCHASE, PURCHASE]).many
        lines = b"\n".join(json.dumps(PURCHASE).encode() for _ in range(2)) + b"\n"
        assert self.read(lines, "application/x-ndjson").documents == [PURCHASE, PURCHASE]

    def test_a_broken_line_is_refused_alone(self) -> None:
        first, second = self.read(b'{"type": 1}\n{broken\n', "application/x-ndjson").documents
        assert first == {"type": 1}
        assert isinstance(second, Refusal)

    def test_cloud_events_say_the_same_in_all_three_modes(self) -> None:
        attributes = {"specversion": "1.0", "id": "1", "source": "/shop", "type": "purchase.made", "subject": ID}
        wanted = {
            "id": "1",
            "source": "/shop",
            "type": "purchase.made",
            "customer": {"id": ID},
            "data": PURCHASE["data"],
        }
        structured = {**attributes, "data": PURCHASE["data"]}
        binary = {f"ce-{name}": value for name, value in attributes.items()}
        assert self.read(structured, shapes.CLOUD_EVENT).documents == [wanted]
        assert self.read([structured], shapes.CLOUD_BATCH).documents == [wanted]
        assert self.read(PURCHASE["data"], **binary).documents == [wanted]

    def test_a_cloud_event_may_name_its_customer_by_any_key(self) -> None:
        data = {**PURCHASE["data"], "customer": {"phone": "+8613800138000"}}
        event = {"specversion": "1.0", "id": "1", "source": "/s", "type": "purchase.made", "data": data}
        assert self.read(event, shapes.CLOUD_EVENT).documents[0]["customer"] == {"phone": "+8613800138000"}

    @pytest.mark.parametrize(
        ("body", "kind", "status"),
        [
            (b"{", "application/json", 400),
            (b'{"a": NaN}', "application/json", 400),
            (b"[" * 100_000, "application/json", 400),
            (b"\xff", "application/json", 400),
            (b'"text"', "application/json", 400),
            (b"{}", "text/csv", 415),
            (b"[" + b"1," * 1_000 + b"1]", "application/json", 413),
            (b"{}", shapes.CLOUD_EVENT, 422),
        ],
    )
    def test_what_cannot_be_read(self, body: bytes, kind: str, status: int) -> None:
        with pytest.raises(Refusal) as caught:
            self.read(body, kind)
        assert caught.value.status == status

    def test_amounts_are_exact(self) -> None:
        amount = self.read(b'{"a": 0.12345678901234567890}').documents[0]["a"]
        assert amount == Decimal("0.12345678901234567890")


@pytest.mark.parametrize(
    "document",
    [
        {"a": "x" * 21},
        {"a": [1] * 11},
        {"a": {"b": {"c": {"d": 1}}}},
        {"a": "\ud800"},
        {"\ud800": 1},
        {"a": 10**40},
        {"a": Decimal("1e50")},
    ],
)
def test_limits(document: Any) -> None:
    with pytest.raises(Refusal):
        check(document, Limits(text=20, items=10, depth=3))
    check({"a": ["x" * 20, {"b": Decimal("1.5")}]}, Limits(text=20, items=10, depth=3))


def test_an_event_is_small_enough_for_kafka_whatever_its_neighbours_are() -> None:
    large = {
        **PURCHASE,
        "type": "survey.answered",
        "data": {"survey": "s", "answers": dict.fromkeys(map(str, range(11)), "文" * 19_000)},
    }
    size = 300_000
    assert offer({**large, "data": {"survey": "s"}}, size=size).full == "guanxi.survey.answered.v1"
    with pytest.raises(Refusal) as caught:
        offer(large, size=size // 10, count=10)
    assert caught.value.status == 413


def test_an_accepted_event_is_read_as_it_was_meant() -> None:
    from services.intake.domain import envelope

    made = offer({**PURCHASE, "id": "a", "time": "2026-11-23T20:00:00+08:00"}, mark="replay")
    event = decode(envelope(made, ID, made.data))
    assert isinstance(event.data, PurchaseMade)
    assert (event.id, event.source, event.subject, event.replay) == ("a", "/keys/k1", ID, True)
    assert event.occurred_at == event.recorded_at == from_rfc3339("2026-11-23T12:00:00Z")
    assert event.data.amount.amount == Decimal("29.33")
