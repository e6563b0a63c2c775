"""Every type that was ever shipped can be read for ever, and comes out again as it went in."""

import json
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from shared.events import codec
from shared.events.codec import UndecodableEvent, data_types, decode
from shared.events.customers import CustomerAssigned, PurchaseMade
from shared.events.envelope import Data, Event
from shared.events.fields import Money, Sealed

GOLDEN = sorted((Path(__file__).parent / "golden").glob("*.json"))
CUSTOMER = "0b7e5c1e-4a55-4c6e-9a0f-6f1f6f2f7d10"
PURCHASE = Path(__file__).parent / "golden" / "purchase.made.v1.json"


def purchase(**changes: Any) -> bytes:
    return json.dumps(json.loads(PURCHASE.read_text()) | changes).encode()


def test_every_type_of_the_catalogue_has_a_golden_sample() -> None:
    sampled = {f"guanxi.{file.stem}" for file in GOLDEN}
    assert set(data_types()) <= sampled
    assert {name for name in sampled if name not in data_types()} <= set(codec.UPCASTERS)


@pytest.mark.parametrize("file", GOLDEN, ids=lambda file: file.stem)
def test_a_golden_sample_decodes_and_encodes_to_itself(file: Path) -> None:
    event = decode(file.read_bytes())
    if f"guanxi.{file.stem}" in data_types():
        assert json.loads(event.to_json()) == json.loads(file.read_text())
        assert type(event.data) is data_types()[event.type]
    assert decode(event.to_json()) == event


@pytest.mark.parametrize("file", GOLDEN, ids=lambda file: file.stem)
def test_a_golden_sample_shows_every_field_of_its_type(file: Path) -> None:
    """What no sample shows, no test reads."""
    sample = json.loads(file.read_text())
    model = data_types().get(sample["type"])
    fields = {info.alias or name for name, info in model.model_fields.items()} if model else set(sample["data"])
    assert set(sample["data"]) == fields


@pytest.mark.parametrize("file", GOLDEN, ids=lambda file: file.stem)
def test_unknown_fields_are_ignored_everywhere(file: Path) -> None:
    sample = json.loads(file.read_text())
    assert decode(json.dumps(_with_strangers(sample)).encode()) == decode(file.read_bytes())


OPEN = {"custom", "answers", "memberships", "consents", "deadlines", "sealed", "changes", "values", "from", "to"}
"""Fields whose keys are data."""


def _with_strangers(node: Any, name: str = "") -> Any:
    if isinstance(node, dict):
        grown = {key: _with_strangers(value, key) for key, value in node.items()}
        return grown if name in OPEN else {**grown, "unheard_of": {"deep": [1]}}
    return [_with_strangers(item, name) for item in node] if isinstance(node, list) else node


@pytest.mark.parametrize("data", data_types().values(), ids=lambda data: data.__name__)
def test_what_has_only_its_required_fields_survives_the_way_through_the_log(data: type[Data]) -> None:
    """Absent and None are written alike, so whatever may be None must have a default."""
    sample = json.loads((GOLDEN[0].parent / f"{data.event_type.removeprefix('guanxi.')}.json").read_text())["data"]
    made = data.model_validate({name: sample[name] for name, info in data.model_fields.items() if info.is_required()})
    event = Event(id="1", source="s", type=data.event_type, time=TIME, recordedtime=TIME, data=made)  # type: ignore[arg-type]
    assert decode(event.to_json()).data == made


TIME = "2026-03-02T09:15:30.250Z"


def test_nobody_need_own_a_customer() -> None:
    data = CustomerAssigned(customer_id=CUSTOMER, owner=None)
    event = Event(id="1", source="s", type=data.event_type, time=TIME, recordedtime=TIME, data=data)  # type: ignore[arg-type]
    assert decode(event.to_json()).data == data


# Times


def test_times_are_utc_inside_and_need_an_offset() -> None:
    event = decode(purchase(time="2026-03-02T17:15:30.250+08:00"))
    assert event == decode(purchase())
    assert json.loads(event.to_json())["time"] == TIME
    assert event.time.utcoffset() == timedelta(0)
    with pytest.raises(UndecodableEvent, match="time: "):
        decode(purchase(time="2026-03-02T09:15:30"))


@pytest.mark.parametrize("time", ["9999-12-31T23:59:59-05:00", "0001-01-01T00:00:00+05:00"])
def test_a_time_that_no_utc_calendar_holds_is_undecodable(time: str) -> None:
    with pytest.raises(UndecodableEvent, match="time: lies outside"):
        decode(purchase(time=time))


# Money


@given(
    st.decimals(
        allow_nan=False, allow_infinity=False, places=4, min_value=Decimal(-(10**12)), max_value=Decimal(10**12)
    )
)
def test_money_keeps_every_digit(amount: Decimal) -> None:
    data = PurchaseMade(customer_id=CUSTOMER, amount=Money(amount=amount, currency="CNY"))
    event = Event(id="1", source="s", type=data.event_type, time=TIME, recordedtime=TIME, data=data)  # type: ignore[arg-type]
    written = json.loads(event.to_json())["data"]["amount"]["amount"]
    assert isinstance(written, str)
    again = decode(event.to_json()).data
    assert isinstance(again, PurchaseMade)
    assert (again.amount.amount, str(again.amount.amount)) == (amount, str(amount))


def test_no_event_model_has_a_float() -> None:
    seen: set[type] = set()
    for model in (Event, *data_types().values()):
        assert not list(_floats(model, seen)), model


def _floats(annotation: Any, seen: set[type]) -> Any:
    if annotation is float:
        yield annotation
    for inner in getattr(annotation, "__args__", ()):
        yield from _floats(inner, seen)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel) and annotation not in seen:
        seen.add(annotation)
        for name, info in annotation.model_fields.items():
            yield from ((annotation.__name__, name, found) for found in _floats(info.annotation, seen))


@pytest.mark.parametrize("amount", ["NaN", "Infinity", "1e400000", "0.123456789", "1" * 25, "", None, True])
def test_what_is_no_sum_of_money_is_refused(amount: Any) -> None:
    with pytest.raises(ValidationError):
        Money(amount=amount, currency="CNY")


@pytest.mark.parametrize("currency", ["cny", "RMB元", "", "EURO"])
def test_a_currency_is_three_capitals(currency: str) -> None:
    with pytest.raises(ValidationError):
        Money(amount=Decimal(1), currency=currency)


# Old versions


def test_an_old_version_is_read_as_its_newest(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two steps: v0 had a bare number of cents, its predecessor called the order `order`."""
    monkeypatch.setitem(codec.UPCASTERS, "guanxi.sale.made.v0", _renamed)
    monkeypatch.setitem(codec.UPCASTERS, "guanxi.purchase.made.v0", _with_currency)
    old = purchase(type="guanxi.sale.made.v0", data={"customer_id": CUSTOMER, "order": "SO-1", "cents": 26850})
    event = decode(old)
    assert event.type == "guanxi.purchase.made.v1"
    assert event.data == PurchaseMade(
        customer_id=CUSTOMER, order_id="SO-1", amount=Money(amount=Decimal("268.50"), currency="CNY")
    )
    assert event.id == decode(purchase()).id


def _renamed(document: dict[str, Any]) -> dict[str, Any]:
    data = dict(document["data"])
    data["order_id"] = data.pop("order")
    return {**document, "type": "guanxi.purchase.made.v0", "data": data}


def _with_currency(document: dict[str, Any]) -> dict[str, Any]:
    data = dict(document["data"])
    amount = {"amount": str(Decimal(data.pop("cents")) / 100), "currency": "CNY"}
    return {**document, "type": "guanxi.purchase.made.v1", "data": {**data, "amount": amount}}


def test_an_old_version_that_cannot_be_raised_is_undecodable_not_a_crash(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(codec.UPCASTERS, "guanxi.sale.made.v0", _renamed)
    with pytest.raises(UndecodableEvent, match="lacks something: KeyError"):
        decode(purchase(type="guanxi.sale.made.v0", data={"customer_id": CUSTOMER}))
    monkeypatch.setitem(codec.UPCASTERS, "guanxi.sale.made.v0", lambda document: document)
    with pytest.raises(UndecodableEvent, match="move its type on"):
        decode(purchase(type="guanxi.sale.made.v0"))


# What is no event


@given(st.one_of(st.binary(max_size=60), st.text(max_size=60).map(str.encode)))
def test_any_bytes_are_an_event_or_undecodable(value: bytes) -> None:
    with pytest.raises(UndecodableEvent):
        decode(value)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(st.sampled_from(sorted(json.loads(PURCHASE.read_text()))), json_values)
def test_a_wrong_part_makes_it_undecodable_at_worst(name: str, value: Any) -> None:
    try:
        event = decode(purchase(**{name: value}))
    except UndecodableEvent:
        return
    assert decode(event.to_json()) == event


@pytest.mark.parametrize(
    "value", [b"[" * 5_000, b'{"a":' * 5_000, b'{"type": "\\ud800"}', b"\xff\xfe{\x00}\x00", b"null"]
)
def test_hostile_bytes_are_undecodable(value: bytes) -> None:
    with pytest.raises(UndecodableEvent):
        decode(value)


def test_the_reason_names_fields_and_quotes_nothing() -> None:
    canary = "zhang.wei@example.com"
    data = {"customer_id": CUSTOMER, "consents": {canary: canary}, "sealed": {canary: canary}}
    with pytest.raises(UndecodableEvent) as caught:
        decode(purchase(type="guanxi.customer.registered.v1", data=data))
    assert canary not in str(caught.value)
    assert "consents.?" in str(caught.value)


def test_a_sealed_value_is_no_text() -> None:
    """A clear text where a sealed value belongs must never get through the codec."""
    data = {"customer_id": CUSTOMER, "sealed": {"text": "my number is 13800138000"}}
    with pytest.raises(UndecodableEvent):
        decode(purchase(type="guanxi.inquiry.received.v1", data=data))
    assert set(Sealed.model_fields) == {"field", "event_id", "ciphertext"}
