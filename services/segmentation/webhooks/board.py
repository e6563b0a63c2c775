"""What one deliverer process holds at this moment: per partition that it owns, what waits for whom."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field

from services.segmentation.webhooks.deliveries import Delivery, Lanes
from services.segmentation.webhooks.store import Cursor, DeliverStore, Standing
from services.segmentation.webhooks.subscriptions import Subscription, Subscriptions
from shared.clock import Instant

HELD = 200
"""Deliveries of one subscription out of one partition that wait at most. Beyond, its place in the log is kept instead:
a receiver that is away for days costs no more than this, and loses nothing."""
FRESH = 20
"""Of these, so many keep their body in memory from the log to the first attempt; the others' bodies are in the store."""


@dataclass(slots=True)
class Outgoing:
    """One partition. `sure`: its cursors are as the store has them."""

    partition: int
    lanes: dict[str, Lanes] = field(default_factory=dict)
    cursors: dict[str, Cursor] = field(default_factory=dict)
    sure: bool = False

    def lanes_of(self, subscription: str) -> Lanes:
        return self.lanes.setdefault(subscription, Lanes())

    def cursor_of(self, subscription: str) -> Cursor:
        return self.cursors.get(subscription) or Cursor(subscription, self.partition)

    def add(self, delivery: Delivery) -> bool:
        return self.lanes_of(delivery.subscription).add(delivery)

    def forget(self, customer: str) -> None:
        for lanes in self.lanes.values():
            lanes.forget(customer)


@dataclass(slots=True)
class Receiver:
    """How a subscription's receiver is just now, in this process. `rest_until`: it asked for a pause."""

    under_way: int = 0
    rest_until: Instant = 0
    turn: int = 0


class Board:
    """Feeding writes it, dispatching reads it; both run in one loop."""

    def __init__(self) -> None:
        self.subscriptions = Subscriptions()
        self.outgoing: dict[int, Outgoing] = {}
        self.standings: dict[str, Standing] = {}
        self.receivers: dict[str, Receiver] = {}
        self.work = asyncio.Event()
        self.delivered: set[str] = set()
        """What is over and may still have its row in the store."""
        self._removing = asyncio.Lock()

    def receiver(self, subscription: str) -> Receiver:
        return self.receivers.setdefault(subscription, Receiver())

    def open(self, subscription: Subscription) -> bool:
        """Whether anything may be sent: neither paused, nor ended by its receiver since it was last stated."""
        standing = self.standings.get(subscription.id)
        return not subscription.paused and (standing is None or standing.ended < subscription.changed)

    def lanes_of(self, subscription: str) -> list[Lanes]:
        return [one.lanes[subscription] for one in self.outgoing.values() if subscription in one.lanes]

    def lanes(self) -> Iterator[Lanes]:
        return (lanes for one in self.outgoing.values() for lanes in one.lanes.values())

    def waiting(self) -> int:
        return sum(len(lanes) for lanes in self.lanes())

    async def remove_delivered(self, store: DeliverStore) -> None:
        """When it returns, all that was over when it was called has no row: what is told again may then have one."""
        async with self._removing:
            names = frozenset(self.delivered)
            if names:
                await store.remove(names)
            self.delivered -= names
