"""Pure decisions about one thing offered: who it is about, when it happened, what it looks like in the log."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal
from uuid import NAMESPACE_URL, uuid5

from services.intake.refusal import Refusal
from shared.clock import MINUTE, Instant, to_datetime, to_instant, to_rfc3339
from shared.events.catalog import CUSTOMERS
from shared.events.codec import HEADERS
from shared.events.customers import CustomerRegistered
from shared.processing.records import Message

SOURCE = "guanxi/intake"
AHEAD = 5 * MINUTE
Mark = Literal["history", "replay"] | None
_NAMESPACE = uuid5(NAMESPACE_URL, "https://guanxi.dev/intake")


@dataclass(frozen=True, slots=True)
class Person:
    """Who something is about. `keys`: blind identity keys by the field that they came from; `personal`: clear texts to be
    sealed; `facts`: what may be known in clear, as in `customer.registered`; `guessed`: facets that nobody stated, so that
    they give way to what is known."""

    id: str | None = None
    keys: Mapping[str, str] = field(default_factory=dict)
    personal: Mapping[str, str] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    guessed: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Offer:
    """One checked event that is to be published. `claim` None: it has no id of its emitter's, so it cannot come twice.

    `conflict` is the status for other content under the same claim: 409 for an event id, 422 for an Idempotency-Key.
    `fact`: the customer's own record changes by it. `full` None: only register or find the customer.
    `cleared`: fields that a correction empties. `size`: about how many bytes it is.
    """

    event_id: str
    source: str
    full: str | None
    time: Instant
    recorded_at: Instant
    person: Person
    data: Mapping[str, Any] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict)
    claim: str | None = None
    fingerprint: str = ""
    conflict: int = 409
    mark: Mark = None
    fact: bool = False
    by: str = ""
    reason: str | None = None
    cleared: frozenset[str] = frozenset()
    size: int = 500

    def of_customer(self, customer_id: str) -> "Offer":
        return replace(self, person=replace(self.person, id=customer_id))


def claim_of(source: str, event_id: str) -> str:
    """A hash, because an emitter's ids are of any length and may themselves be personal."""
    return hashlib.sha256(f"{source}\0{event_id}".encode()).hexdigest()


def keyed_id(owner: str, key: str, index: int) -> str:
    """The event's id where only an Idempotency-Key names it: the same for every retry."""
    return str(uuid5(_NAMESPACE, f"{owner}\0{key}\0{index}"))


def registration_id(customer_id: str) -> str:
    return str(uuid5(_NAMESPACE, f"registered\0{customer_id}"))


def correction_id(source: str, event_id: str) -> str:
    """Of the correction that an event causes because it knows more of its customer than we did."""
    return str(uuid5(_NAMESPACE, f"corrected\0{source}\0{event_id}"))


def canonical(document: Any) -> str:
    """The same text for the same content, however it was spaced and ordered."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"), default=str, ensure_ascii=False)


def happened_at(time: Any, now: Instant) -> Instant:
    """The stated time, or now. Raises Refusal for what lies more than five minutes ahead, or before 1970."""
    if time is None:
        return now
    instant = to_instant(time)
    if instant > now + AHEAD:
        raise Refusal.of_field("time", "lies more than 5 minutes in the future")
    if instant < 0:
        raise Refusal.of_field("time", "lies before 1970")
    return instant


def birth_facets(birth_date: Any, at: Instant) -> dict[str, Any]:
    """Birthday and decade of age: what of the birth date may travel in clear."""
    today = to_datetime(at).date()
    age = today.year - birth_date.year - ((today.month, today.day) < (birth_date.month, birth_date.day))
    if not 0 <= age < 130:
        raise Refusal.of_field("customer.birth_date", "is no birth date of a living person")
    decade = age // 10 * 10
    band = "under 10" if age < 10 else f"{decade}-{decade + 9}"
    return {"birthday": {"month": birth_date.month, "day": birth_date.day, "calendar": "solar"}, "age_band": band}


def owner_of(keys: Sequence[str], owners: Mapping[str, str]) -> str | None:
    """Whose customer these identity keys name; None: nobody's yet. Refusal (409) when they name several."""
    found = {owners[key] for key in keys if key in owners}
    if len(found) > 1:
        raise Refusal(
            409,
            "Two customers",
            "The keys given (id, external id, phone, e-mail) belong to different customers; merge them or send one key.",
            [("customer", "names more than one customer")],
        )
    return next(iter(found), None)


def envelope(offer: Offer, customer_id: str, data: Mapping[str, Any], **causes: str) -> bytes:
    """The CloudEvent of an offer, as it stands in the log."""
    assert offer.full is not None  # noqa: S101 - registrations are written by `registered`
    return _event(offer.event_id, offer.source, offer.full, offer, customer_id, data, causes)


def registered(offer: Offer, customer_id: str, data: Mapping[str, Any]) -> bytes:
    """`customer.registered`; it stands before the event that made the customer known, so it correlates and has no cause."""
    causes = {} if offer.full is None else {"correlationid": offer.event_id}
    return _event(registration_id(customer_id), SOURCE, CustomerRegistered.event_type, offer, customer_id, data, causes)


def fact(event_id: str, full: str, offer: Offer, customer_id: str, data: Mapping[str, Any]) -> bytes:
    """A fact that intake itself derives from an offer, such as a correction."""
    return _event(event_id, SOURCE, full, offer, customer_id, data, {"correlationid": offer.event_id})


def _event(
    event_id: str,
    source: str,
    full: str,
    offer: Offer,
    customer_id: str,
    data: Mapping[str, Any],
    causes: Mapping[str, str],
) -> bytes:
    document: dict[str, Any] = {
        "specversion": "1.0",
        "id": event_id,
        "source": source,
        "type": full,
        "time": to_rfc3339(offer.time),
        "recordedtime": to_rfc3339(offer.recorded_at),
        "subject": customer_id,
        "partitionkey": customer_id,
        **causes,
    }
    if offer.mark is not None:
        document[offer.mark] = True
    document["data"] = {"customer_id": customer_id, **data}
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()


def mark_of_time(full: str, at: Instant, identity: str, history: bool, data: Mapping[str, Any]) -> bytes:
    """A tick or a bracket: concerns no customer, so it has no subject. `identity` names the occasion."""
    moment = to_rfc3339(at)
    document: dict[str, Any] = {
        "specversion": "1.0",
        "id": str(uuid5(_NAMESPACE, identity)),
        "source": SOURCE,
        "type": full,
        "time": moment,
        "recordedtime": moment,
    }
    if history:
        document["history"] = True
    document["data"] = dict(data)
    return json.dumps(document, separators=(",", ":")).encode()


def to_message(value: bytes, customer_id: str | None, partition: int | None = None) -> Message:
    key = customer_id.encode() if customer_id is not None else None
    return Message(CUSTOMERS.name, key, value, HEADERS, partition)


def position(partition: int, offset: int) -> str | None:
    """None where Kafka only said that it has the record already."""
    return f"{CUSTOMERS.short}:{partition}:{offset}" if offset >= 0 else None
