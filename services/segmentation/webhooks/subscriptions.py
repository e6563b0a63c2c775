"""Who is to be told of what: subscriptions folded from `guanxi.subscriptions.v1`. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from shared.clock import Instant, to_instant
from shared.events.envelope import Event
from shared.events.segments import CustomerForgotten, SegmentsChanged
from shared.events.subscriptions import (
    OfSubscription,
    SubscriptionChanged,
    SubscriptionCreated,
    SubscriptionDeleted,
    SubscriptionReplayRequested,
    SubscriptionSecret,
)


@dataclass(frozen=True, slots=True)
class Replay:
    """What is to be told again: of one customer or all, beyond a number, appended since an instant."""

    number: int
    of_customer: str | None = None
    after_sequence: int = 0
    since: Instant = 0


@dataclass(frozen=True, slots=True)
class Subscription:
    """`since`: what Kafka got from then on is told. `changed`: number of the newest event that (re)stated it."""

    id: str
    number: int
    url: str
    dimensions: frozenset[str]
    secrets: tuple[SubscriptionSecret, ...]
    since: Instant
    paused: bool = False
    changed: int = 1
    replays: tuple[Replay, ...] = ()

    def wants(self, event: Event) -> bool:
        """That a customer was forgotten concerns everybody: who was told of it must forget it too."""
        if isinstance(event.data, SegmentsChanged):
            return not self.dimensions or any(change.dimension in self.dimensions for change in event.data.changes)
        return isinstance(event.data, CustomerForgotten)


class Subscriptions:
    """The living ones. Each event counts once, by its number, however often it stands in the log."""

    def __init__(self) -> None:
        self._living: dict[str, Subscription] = {}
        self._numbers: dict[str, int] = {}

    def __iter__(self) -> Iterator[Subscription]:
        return iter(tuple(self._living.values()))

    def over(self, name: str) -> bool:
        """Whether it was deleted; not so where nothing is known of it."""
        return name in self._numbers and name not in self._living

    def get(self, name: str) -> Subscription | None:
        return self._living.get(name)

    def take(self, event: Event, appended_at: Instant) -> None:
        data, number = event.data, event.number
        if not isinstance(data, OfSubscription) or number is None:
            return
        if number <= self._numbers.get(data.subscription_id, 0):
            return
        self._numbers[data.subscription_id] = number
        after = _after(self._living.get(data.subscription_id), data, number, appended_at)
        if after is None:
            self._living.pop(data.subscription_id, None)
        else:
            self._living[data.subscription_id] = after


def _after(before: Subscription | None, data: OfSubscription, number: int, appended_at: Instant) -> Subscription | None:
    match data:
        case SubscriptionDeleted():
            return None
        case SubscriptionReplayRequested() if before is not None:
            return replace(before, number=number, replays=(*before.replays, _replay(data, number)))
        case SubscriptionCreated() | SubscriptionChanged():
            return _stated(before, data, number, appended_at)
    return before


def _stated(
    before: Subscription | None, data: SubscriptionCreated | SubscriptionChanged, number: int, appended_at: Instant
) -> Subscription:
    return Subscription(
        data.subscription_id,
        number,
        data.url,
        frozenset(data.dimensions),
        data.secrets,
        before.since if before is not None else appended_at,
        paused=isinstance(data, SubscriptionChanged) and data.paused,
        changed=number,
        replays=before.replays if before is not None else (),
    )


def _replay(data: SubscriptionReplayRequested, number: int) -> Replay:
    since = to_instant(data.since) if data.since is not None else 0
    return Replay(number, data.of_customer, data.after_sequence or 0, since)
