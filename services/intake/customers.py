"""Intake's own record of a customer: what is known, under which keys, and every change of every field. Pure."""

from collections.abc import Collection, Mapping
from typing import Any

from pydantic import Field

from shared.clock import Instant, to_rfc3339
from shared.events import customers as c
from shared.events.codec import data_types
from shared.events.fields import Model, Sealed

FACETS = tuple(c.Facets.model_fields)
PLAIN = ("tags", "owner", "channel")
SealedFields = Mapping[str, Mapping[str, Any]]


class Change(Model):
    """One field's change; `from` and `to` are sealed values where the field is personal."""

    at: Instant
    event_id: str
    by: str
    field: str
    from_: Any = Field(default=None, alias="from")
    to: Any = None


class Customer(Model):
    """`keys`: the blind identity keys by field (`external_id:<system>` for external ids). `rev` rises with every change.

    `changes`: those that are being made; the earlier ones lie in rows of their own.
    """

    id: str
    rev: int = 1
    registered_at: Instant
    external_ids: tuple[dict[str, str], ...] = ()
    facets: dict[str, Any] = {}
    tags: tuple[str, ...] = ()
    owner: str | None = None
    channel: str | None = None
    consents: dict[str, str] = {}
    custom: dict[str, Any] = {}
    sealed: dict[str, dict[str, str]] = {}
    keys: dict[str, str] = {}
    objected: bool = False
    erased_at: Instant | None = None
    receipt_id: str | None = None
    changes: tuple[Change, ...] = ()


def registration_data(facts: Mapping[str, Any], sealed: SealedFields) -> dict[str, Any]:
    """The data of `customer.registered`, without what is empty."""
    data = {name: value for name, value in facts.items() if value not in (None, {}, [], ())}
    return {**data, "sealed": dict(sealed)} if sealed else data


def registered(
    customer_id: str, at: Instant, facts: Mapping[str, Any], sealed: SealedFields, keys: Mapping[str, str]
) -> Customer:
    return Customer(id=customer_id, registered_at=at, sealed=dict(sealed), keys=dict(keys), **facts)


def current(customer: Customer, field: str) -> Any:
    """The value of a field as corrections name it: facets and custom fields by their own names."""
    if field in customer.sealed:
        return customer.sealed[field]
    if field in FACETS:
        return customer.facets.get(field)
    if field.startswith("custom."):
        return customer.custom.get(field.removeprefix("custom."))
    if field.startswith("consents."):
        return customer.consents.get(field.removeprefix("consents."))
    if field in ("external_ids", "objected", *PLAIN):
        return getattr(customer, field)
    return None


def wanted_fields(facts: Mapping[str, Any]) -> dict[str, Any]:
    """The facts as single fields, named as `current` names them."""
    fields = dict(facts.get("facets", {}))
    fields |= {f"custom.{name}": value for name, value in facts.get("custom", {}).items()}
    fields |= {f"consents.{name}": value for name, value in facts.get("consents", {}).items()}
    return fields | {name: facts[name] for name in ("external_ids", *PLAIN) if name in facts}


def emptied(customer: Customer, cleared: Collection[str]) -> dict[str, Any]:
    """What a correction takes away, as single fields: a group with all its members, a birth date with what follows from it."""
    fields = set(cleared) - {"custom", "consents", "external_id"}
    if "custom" in cleared:
        fields |= {f"custom.{name}" for name in customer.custom} | {
            n for n in customer.sealed if n.startswith("custom.")
        }
    if "consents" in cleared:
        fields |= {f"consents.{name}" for name in customer.consents}
    if "birth_date" in cleared:
        fields |= {"birthday", "age_band"}
    return dict.fromkeys(fields) | ({"external_ids": ()} if "external_id" in cleared else {})


def remaining_keys(customer: Customer, cleared: Collection[str]) -> dict[str, str]:
    """Keys by field, without those of emptied fields."""
    return {field: key for field, key in customer.keys.items() if field.partition(":")[0] not in cleared}


def differing(customer: Customer, wanted: Mapping[str, Any]) -> dict[str, c.FieldChange]:
    """What would really change; lists compare as lists."""
    changes: dict[str, c.FieldChange] = {}
    for field, to in wanted.items():
        was = current(customer, field)
        if _comparable(was) != _comparable(to):
            changes[field] = c.FieldChange(from_=was, to=to)
    return changes


def _comparable(value: Any) -> Any:
    """Nothing in a list is the same as no list."""
    return (list(value) or None) if isinstance(value, tuple | list) else value


def with_external(customer: Customer, added: tuple[dict[str, str], ...]) -> tuple[dict[str, str], ...]:
    """External ids are collected: a customer has one per system, and a new one replaces that system's."""
    systems = {key["system"] for key in added}
    return (*(key for key in customer.external_ids if key["system"] not in systems), *added)


def corrected(
    customer: Customer, changes: Mapping[str, c.FieldChange], event_id: str, by: str, at: Instant
) -> Customer:
    update: dict[str, Any] = {"rev": customer.rev + 1}
    for field, change in changes.items():
        _set(customer, update, field, change.to)
    log = tuple(
        Change(at=at, event_id=event_id, by=by, field=field, from_=change.from_, to=change.to)
        for field, change in changes.items()
    )
    return customer.model_copy(update={**update, "changes": (*customer.changes, *log)})


def _set(customer: Customer, update: dict[str, Any], field: str, to: Any) -> None:
    group, _, name = field.partition(".")
    if isinstance(to, Sealed):
        _put(customer, update, "sealed", field, to.model_dump())
    elif field in customer.sealed:
        _put(customer, update, "sealed", field, None)
    if group in ("custom", "consents"):
        _put(customer, update, group, name, None if isinstance(to, Sealed) else to)
    elif field in FACETS:
        _put(customer, update, "facets", field, to)
    elif field in ("external_ids", "objected", *PLAIN):
        empty = Customer.model_fields[field].default
        update[field] = empty if to is None else tuple(to) if isinstance(empty, tuple) else to


def _put(customer: Customer, update: dict[str, Any], group: str, name: str, to: Any) -> None:
    members = dict(update.get(group, getattr(customer, group)))
    if to is None:
        members.pop(name, None)
    else:
        members[name] = to
    update[group] = members


def changes_of(full: str, data: Mapping[str, Any], customer: Customer) -> dict[str, c.FieldChange]:
    """What a customer's fact (consent, owner, objection) changes in the record; empty: nothing new."""
    wanted: dict[str, Any] = {}
    match data_types()[full]:
        case c.CustomerConsentChanged:
            wanted = {f"consents.{data['channel']}": data["consent"]}
        case c.CustomerAssigned:
            wanted = {"owner": data.get("owner")}
        case c.CustomerObjected:
            wanted = {"objected": True}
        case c.CustomerObjectionWithdrawn:
            wanted = {"objected": False}
    return differing(customer, wanted)


def erased(customer: Customer, receipt_id: str, at: Instant) -> Customer:
    """Only that there was one, and when it went."""
    return Customer(
        id=customer.id,
        rev=customer.rev + 1,
        registered_at=customer.registered_at,
        erased_at=at,
        receipt_id=receipt_id,
    )


def shown(customer: Customer, opened: Mapping[str, str] | None) -> dict[str, Any]:
    """As answered over HTTP. `opened`: personal fields in clear, None where the caller may not see them."""
    document = customer.model_dump(mode="json", exclude={"keys", "changes", "sealed", "rev"}, exclude_none=True)
    for name in ("registered_at", "erased_at"):
        if name in document:
            document[name] = to_rfc3339(document[name])
    document["personal"] = dict(opened) if opened is not None else dict.fromkeys(customer.sealed, "sealed")
    return document
