"""What intake says on `guanxi.subscriptions.v1`: who wants to be told of segment changes by webhook, and where."""

from typing import ClassVar

from shared.events.envelope import Data
from shared.events.fields import CustomerId, Model, SealedText, UtcDateTime


class OfSubscription(Data):
    """Each event of a subscription is numbered 1, 2, 3 … by `sequence`."""

    subscription_id: str


class SubscriptionSecret(Model):
    """A signing secret, sealed. `until`: it signs beside its successor up to then; absent: it is the newest."""

    sealed: SealedText
    until: UtcDateTime | None = None


class SubscriptionCreated(OfSubscription):
    """`dimensions` empty: all. A subscription is told of every change that stands in the log after this record."""

    event_type: ClassVar[str] = "guanxi.subscription.created.v1"
    url: str
    dimensions: tuple[str, ...] = ()
    description: str | None = None
    secrets: tuple[SubscriptionSecret, ...]
    by: str | None = None


class SubscriptionChanged(OfSubscription):
    """The whole subscription as it is from now on. Said of one that its receiver has ended (410), it begins anew."""

    event_type: ClassVar[str] = "guanxi.subscription.changed.v1"
    url: str
    dimensions: tuple[str, ...] = ()
    description: str | None = None
    secrets: tuple[SubscriptionSecret, ...]
    paused: bool = False
    by: str | None = None


class SubscriptionDeleted(OfSubscription):
    event_type: ClassVar[str] = "guanxi.subscription.deleted.v1"
    by: str | None = None


class SubscriptionReplayRequested(OfSubscription):
    """Changes are to be told again: of one customer or all, beyond a number, or since an instant (when Kafka got them)."""

    event_type: ClassVar[str] = "guanxi.subscription.replay_requested.v1"
    of_customer: CustomerId | None = None
    after_sequence: int | None = None
    since: UtcDateTime | None = None
    by: str | None = None
