"""From a document that somebody sent to an offer: validated, normalised, its keys blinded, its personal texts set apart. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import phonenumbers
from pydantic import ValidationError

from services.intake import limits
from services.intake.contracts import (
    CUSTOMER_FACTS,
    PERSONAL,
    SEALED_FIELDS,
    CustomerBlock,
    accepted_types,
    is_staff,
    submission_model,
)
from services.intake.customers import FACETS
from services.intake.domain import Mark, Offer, Person, birth_facets, canonical, claim_of, happened_at, keyed_id
from services.intake.refusal import Refusal
from services.intake.rules import Rules
from shared.clock import Instant
from shared.events.codec import short_name
from shared.privacy import BlindIndex, normalise_email, normalise_phone


@dataclass(frozen=True, slots=True)
class Sender:
    """Who sends: the id of the API key names the default source; `staff` and `emit` are what the key may."""

    key_id: str
    name: str = ""
    emit: bool = True
    staff: bool = True


@dataclass(frozen=True, slots=True)
class Stamp:
    """What intake itself says of a request: when it came, as what it is imported, and under which Idempotency-Key."""

    now: Instant
    mark: Mark = None
    key: str | None = None
    index: int = 0
    count: int = 1
    size: int = 500


class Checker:
    """Holds the rules and the pepper; everything else is an argument."""

    def __init__(self, rules: Rules, index: BlindIndex) -> None:
        self._rules = rules
        self._index = index

    def offer(self, document: Any, sender: Sender, stamp: Stamp) -> Offer:
        """Raises Refusal: 403 where the key may not send this type, 422 for content that is not as it must be."""
        limits.check(document)
        if stamp.size * stamp.count > limits.LIMITS.event:
            limits.check_size(document)
        kind = _type_of(document)
        _allow(kind, sender)
        try:
            submission = submission_model(kind).model_validate(document)
        except ValidationError as error:
            raise Refusal.of_model(error) from None
        time = happened_at(submission.time, stamp.now)
        source = submission.source or f"/keys/{sender.key_id}"
        event_id, claim, conflict = _identity(submission.id, source, sender, stamp)
        data = submission.data.model_dump(mode="json", exclude_none=True, exclude_defaults=False)
        names = SEALED_FIELDS.get(short_name(kind.event_type), ())
        return Offer(
            event_id=event_id,
            source=source,
            full=kind.event_type,
            time=time,
            recorded_at=time if stamp.mark else stamp.now,
            person=self.person(submission.customer, time),
            data={name: value for name, value in data.items() if name not in names and value != []},
            secrets={name: data[name] for name in names if name in data},
            claim=claim,
            fingerprint=self._fingerprint(document, stamp) if claim else "",
            conflict=conflict,
            mark=stamp.mark,
            fact=kind in CUSTOMER_FACTS,
            by=str(data.get("by") or sender.name or sender.key_id),
            size=stamp.size,
        )

    def registration(self, block: CustomerBlock, document: Any, sender: Sender, stamp: Stamp) -> Offer:
        """An offer that only registers, or finds. `document` is all that its sender said. Raises Refusal (413, 422)."""
        size = limits.check_size(document)
        source = f"/keys/{sender.key_id}"
        event_id, claim, conflict = _identity(None, source, sender, stamp)
        return Offer(
            event_id=event_id,
            source=source,
            full=None,
            time=stamp.now,
            recorded_at=stamp.now,
            person=self.person(block, stamp.now),
            claim=claim,
            fingerprint=self._fingerprint(document, stamp) if claim else "",
            conflict=conflict,
            by=sender.name or sender.key_id,
            size=size,
        )

    def person(self, block: CustomerBlock, at: Instant) -> Person:
        given = block.model_dump(mode="json", exclude_none=True)
        personal = {name: str(given[name]) for name in PERSONAL if name in given}
        facets = {name: given[name] for name in FACETS if name in given and given[name] != []}
        if block.birth_date is not None:
            facets = {**birth_facets(block.birth_date, at), **facets}
        keys, guessed = self._keys(block, personal, facets)
        facts = {name: given[name] for name in ("tags", "owner", "channel", "consents") if given.get(name)}
        custom = self._custom(given.get("custom", {}), personal)
        facts |= {"facets": facets} if facets else {}
        facts |= {"custom": custom} if custom else {}
        if block.external_id is not None:
            facts["external_ids"] = ({"system": block.external_id.system, "id": block.external_id.id},)
        return Person(block.id, keys, personal, facts, guessed)

    def fingerprint(self, document: Any) -> str:
        """Keyed, because content may be personal and short enough to guess."""
        return self._index.of("content", canonical(document))

    def _fingerprint(self, document: Any, stamp: Stamp) -> str:
        return self.fingerprint([document, stamp.count] if stamp.key else document)

    def _keys(
        self, block: CustomerBlock, personal: dict[str, str], facets: dict[str, Any]
    ) -> tuple[dict[str, str], frozenset[str]]:
        """Identity keys by field, and the facets that were guessed from them."""
        keys: dict[str, str] = {}
        guessed: frozenset[str] = frozenset()
        if block.external_id is not None:
            text = f"{block.external_id.system}\0{block.external_id.id}"
            keys[f"external_id:{block.external_id.system}"] = f"external:{self._index.of('external', text)}"
        if block.phone is not None:
            phone = _normal("phone", lambda: normalise_phone(block.phone or "", self._rules.phone_region))
            personal["phone"] = phone
            keys["phone"] = f"phone:{self._index.of('phone', phone)}"
            country = phonenumbers.region_code_for_number(phonenumbers.parse(phone))
            if country and "country" not in facets:
                facets["country"] = country
                guessed = frozenset({"country"})
        if block.email is not None:
            email = _normal("email", lambda: normalise_email(block.email or ""))
            personal["email"] = email
            keys["email"] = f"email:{self._index.of('email', email)}"
        return keys, guessed

    def _custom(self, given: Mapping[str, Any], personal: dict[str, str]) -> dict[str, Any]:
        """Undeclared fields are refused: nobody could know whether they are personal."""
        shown: dict[str, Any] = {}
        for name, value in given.items():
            declared = self._rules.custom_fields.get(name)
            if declared is None:
                raise Refusal.of_field("customer.custom", "has a field that deploy/config/intake.yaml does not declare")
            if value is None:
                continue
            if not declared.personal:
                shown[name] = value
            elif isinstance(value, str):
                personal[f"custom.{name}"] = value
            else:
                raise Refusal.of_field("customer.custom", "has a personal field that is no text")
        return shown


def _normal(field: str, normalise: Any) -> str:
    try:
        return str(normalise())
    except ValueError as error:
        raise Refusal.of_field(f"customer.{field}", str(error)) from None


def _type_of(document: Any) -> Any:
    if not isinstance(document, dict):
        raise Refusal.of_field("body", "is no JSON object")
    name = document.get("type")
    kind = accepted_types().get(name) if isinstance(name, str) else None
    if kind is None:
        raise Refusal.of_field("type", "is no event type that may be sent here (customers have routes of their own)")
    return kind


def _allow(kind: Any, sender: Sender) -> None:
    scope = "staff" if is_staff(kind) else "emit"
    if not (sender.staff if is_staff(kind) else sender.emit):
        raise Refusal(403, "This key may not do that", f"The scope {scope} is required for this type.")


def _identity(given: str | None, source: str, sender: Sender, stamp: Stamp) -> tuple[str, str | None, int]:
    """The event's id, its claim, and the status when the claim holds other content."""
    if given is not None:
        return given, claim_of(source, given), 409
    if stamp.key is not None:
        event_id = keyed_id(sender.key_id, stamp.key, stamp.index)
        return event_id, claim_of(f"key:{sender.key_id}", event_id), 422
    return str(uuid4()), None, 409
