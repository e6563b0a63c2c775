"""Intake's own record of a customer: what changes, and what does not."""

from services.intake import customers as known
from services.intake.batches import Batch, Entry, Guard, Line, entry_from
from services.intake.customers import Customer
from services.intake.refusal import Refusal, Unavailable
from shared.events.customers import CustomerConsentChanged, CustomerObjected, FieldChange

CUSTOMER = Customer(
    id="x",
    registered_at=1,
    facets={"region": "Beijing"},
    external_ids=({"system": "shop", "id": "1"},),
    sealed={"name": {"field": "name", "event_id": "e", "ciphertext": "c"}},
    keys={"phone": "phone:1"},
    consents={"sms": "denied"},
)


def test_only_what_differs_is_a_change() -> None:
    wanted = known.wanted_fields({"facets": {"region": "Beijing", "country": "CN"}, "tags": []})
    assert known.differing(CUSTOMER, wanted) == {"country": FieldChange(from_=None, to="CN")}


def test_a_change_keeps_when_by_whom_from_and_to() -> None:
    changes = {"region": FieldChange(from_="Beijing", to="Hubei"), "name": FieldChange(from_={"c": 1}, to=None)}
    after = known.corrected(CUSTOMER, changes, "e2", "amy", 5)
    assert (after.rev, after.facets, after.sealed) == (2, {"region": "Hubei"}, {})
    assert [(c.at, c.by, c.field, c.from_, c.to) for c in after.changes] == [
        (5, "amy", "region", "Beijing", "Hubei"),
        (5, "amy", "name", {"c": 1}, None),
    ]
    assert CUSTOMER.facets == {"region": "Beijing"}


def test_one_external_id_per_system() -> None:
    added = known.with_external(CUSTOMER, ({"system": "shop", "id": "2"}, {"system": "crm", "id": "9"}))
    assert added == ({"system": "shop", "id": "2"}, {"system": "crm", "id": "9"})


def test_facts_change_the_record_once() -> None:
    consent = {"channel": "sms", "consent": "granted"}
    changes = known.changes_of(CustomerConsentChanged.event_type, consent, CUSTOMER)
    after = known.corrected(CUSTOMER, changes, "e", "amy", 1)
    assert after.consents == {"sms": "granted"}
    assert known.changes_of(CustomerConsentChanged.event_type, consent, after) == {}
    objected = known.changes_of(CustomerObjected.event_type, {}, CUSTOMER)
    assert known.corrected(CUSTOMER, objected, "e", "amy", 1).objected


def test_of_an_erased_customer_only_that_it_was_remains() -> None:
    erased = known.erased(CUSTOMER, "r", 9)
    assert (erased.rev, erased.erased_at, erased.receipt_id) == (2, 9, "r")
    left = (erased.facets, erased.sealed, erased.keys, erased.external_ids, erased.changes)
    assert not any(left)


def test_personal_fields_are_shown_to_nobody_without_the_scope() -> None:
    assert known.shown(CUSTOMER, None)["personal"] == {"name": "sealed"}
    assert known.shown(CUSTOMER, {"name": "Li"})["personal"] == {"name": "Li"}
    assert "keys" not in known.shown(CUSTOMER, None)


def test_a_batch_reads_back_as_it_was_written() -> None:
    guard = Guard(CUSTOMER, 1, ("phone:1",), release=("email:2",))
    entries = (
        Entry("e", "x", (Line("a"), Line("b")), True, "claim", "print", guard),
        Entry("", "", (Line("t", 3),)),
    )
    batch = Batch("b", "o", 1, 2, entries)
    assert tuple(entry_from(entry.to_fields()) for entry in batch.entries) == entries
    keyed, explicit = (entry.lines[0].message(entry.customer_id) for entry in entries)
    assert (keyed.key, keyed.partition) == (b"x", None)
    assert (explicit.key, explicit.partition) == (None, 3)


def test_what_is_not_available_stays_so_for_whom_the_group_is_the_whole_document() -> None:
    """It is answered with Retry-After, as on every other way in."""
    assert isinstance(Unavailable("later").within("customer"), Unavailable)
    refused = Refusal.of_field("customer.phone", "is no phone number").within("customer")
    assert refused.errors == (("phone", "is no phone number"),)
