"""A subscription as intake keeps it: each change is its next event, kept beside it until Kafka has acknowledged. Pure."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from services.intake.domain import SOURCE, canonical
from shared.clock import HOUR, Instant, to_datetime, to_rfc3339
from shared.events import subscriptions as s
from shared.events.catalog import SUBSCRIPTIONS
from shared.events.codec import HEADERS
from shared.events.envelope import SEQUENCE_DIGITS, Event
from shared.events.fields import Model, SealedText
from shared.processing.records import Message

OVERLAP = 24 * HOUR
"""How long a replaced secret goes on signing beside its successor."""
_NAMESPACE = uuid5(NAMESPACE_URL, "https://guanxi.dev/subscriptions")


class Secret(Model):
    """`until` None: the newest."""

    sealed: SealedText
    until: Instant | None = None


class Subscription(Model):
    """`number`: of its newest event. `outbox`: events, oldest first, that Kafka may not have. `rev` rises with every save."""

    id: str
    number: int = 1
    rev: int = 1
    url: str
    dimensions: tuple[str, ...] = ()
    description: str | None = None
    secrets: tuple[Secret, ...] = ()
    paused: bool = False
    deleted: bool = False
    created_at: Instant
    changed_at: Instant
    fingerprint: str = ""
    outbox: tuple[str, ...] = ()

    def shown(self) -> dict[str, Any]:
        """As answered over HTTP: secrets are told apart by their ids only."""
        return {
            "id": self.id,
            "url": self.url,
            "dimensions": list(self.dimensions),
            "description": self.description,
            "paused": self.paused,
            "created_at": to_rfc3339(self.created_at),
            "changed_at": to_rfc3339(self.changed_at),
            "secrets": [
                {"id": one.sealed.event_id, "signs_until": None if one.until is None else to_rfc3339(one.until)}
                for one in self.secrets
            ],
        }


def id_of(owner: str, key: str) -> str:
    """The same for every repetition of a request with an Idempotency-Key."""
    return str(uuid5(_NAMESPACE, f"{owner}\0{key}"))


def fingerprint(wanted: Mapping[str, Any]) -> str:
    return hashlib.sha256(canonical(wanted).encode()).hexdigest()


def created(new: Subscription, by: str) -> Subscription:
    data = s.SubscriptionCreated(**_told(new, by), secrets=_secrets(new))
    return _saying(new, data, new.created_at)


def changed(before: Subscription, changes: Mapping[str, Any], at: Instant, by: str) -> Subscription:
    after = before.model_copy(update={**changes, "number": before.number + 1, "changed_at": at})
    data = s.SubscriptionChanged(**_told(after, by), secrets=_secrets(after), paused=after.paused)
    return _saying(after, data, at)


def rotated(before: Subscription, fresh: SealedText, at: Instant) -> tuple[Secret, ...]:
    """The fresh secret first; those before it sign for OVERLAP more, so that a receiver can change over at leisure."""
    living = [one for one in before.secrets if one.until is None or one.until > at]
    older = (Secret(sealed=one.sealed, until=min(one.until or at + OVERLAP, at + OVERLAP)) for one in living)
    return (Secret(sealed=fresh), *older)


def deleted(before: Subscription, at: Instant, by: str) -> Subscription:
    """Its number lives on, so that the id never begins again; its secrets do not."""
    after = before.model_copy(update={"deleted": True, "secrets": (), "number": before.number + 1, "changed_at": at})
    return _saying(after, s.SubscriptionDeleted(subscription_id=after.id, by=by), at)


def replayed(before: Subscription, wanted: Mapping[str, Any], at: Instant, by: str) -> Subscription:
    after = before.model_copy(update={"number": before.number + 1})
    return _saying(after, s.SubscriptionReplayRequested(subscription_id=after.id, by=by, **wanted), at)


def sent(subscription: Subscription, events: Sequence[str]) -> Subscription:
    """Without the events that Kafka now has."""
    return subscription.model_copy(
        update={"outbox": tuple(event for event in subscription.outbox if event not in events)}
    )


def messages(subscription: Subscription) -> list[Message]:
    key = subscription.id.encode()
    return [Message(SUBSCRIPTIONS.name, key, event.encode(), HEADERS) for event in subscription.outbox]


def _told(subscription: Subscription, by: str) -> dict[str, Any]:
    return {
        "subscription_id": subscription.id,
        "url": subscription.url,
        "dimensions": subscription.dimensions,
        "description": subscription.description,
        "by": by,
    }


def _secrets(subscription: Subscription) -> tuple[s.SubscriptionSecret, ...]:
    return tuple(
        s.SubscriptionSecret(sealed=one.sealed, until=None if one.until is None else to_datetime(one.until))
        for one in subscription.secrets
    )


def _saying(subscription: Subscription, data: s.OfSubscription, at: Instant) -> Subscription:
    event = Event(
        id=str(uuid5(_NAMESPACE, f"{subscription.id}\0{subscription.number}")),
        source=SOURCE,
        type=data.event_type,
        time=to_datetime(at),
        recordedtime=to_datetime(at),
        partitionkey=subscription.id,
        sequence=f"{subscription.number:0{SEQUENCE_DIGITS}d}",
        data=data,
    )
    return subscription.model_copy(update={"outbox": (*subscription.outbox, event.to_json().decode())})
