"""The deliverer over a log in memory, a real store and real sockets: stopped, killed and started again at will."""

import asyncio
import json
import random
from collections import defaultdict
from collections.abc import Awaitable, Callable, Collection, Iterable
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid5

from prometheus_client import CollectorRegistry
from standardwebhooks.webhooks import Webhook

from services.segmentation.webhooks.board import Board
from services.segmentation.webhooks.dispatch import Dispatch
from services.segmentation.webhooks.feed import Feed
from services.segmentation.webhooks.metrics import deliver_metrics
from services.segmentation.webhooks.sending import Caller
from services.segmentation.webhooks.signing import Signer
from services.segmentation.webhooks.store import DeliverStore
from services.segmentation.webhooks.subscription_log import SubscriptionLog
from services.segmentation.webhooks.verdicts import Policy
from shared.clock import to_datetime, wall_clock
from shared.events import subscriptions as s
from shared.events.catalog import DELIVER, PARTITIONS, SEGMENTS, SUBSCRIPTIONS
from shared.events.envelope import SEQUENCE_DIGITS, Data, Event
from shared.events.segments import CustomerForgotten, SegmentChange, SegmentsChanged
from shared.privacy import SubscriptionSeal
from shared.processing.follower import Follower
from shared.processing.memory import MemoryLog, MemoryReader, MemoryScanner
from shared.processing.records import Committed, Message, TopicPartition
from shared.processing.retry import Retry
from tests.support.receivers import Call

SEAL = SubscriptionSeal(b"k" * 32)
SECRET = "whsec_" + "QUJD" * 8
QUICK = Policy(waits=(0, 20, 40, 80, *(100,) * 200), rest=50, longest_rest=300)
"""Milliseconds where the real one has minutes, and many attempts."""
NAMESPACE = UUID(int=7)


@dataclass(slots=True)
class World:
    """What outlives every process: the log, the store. `erased`: customers whom segmentation has forgotten."""

    database: Any
    log: MemoryLog = field(
        default_factory=lambda: MemoryLog(dict.fromkeys((SEGMENTS.name, SUBSCRIPTIONS.name), PARTITIONS), wall_clock)
    )
    erased: set[str] = field(default_factory=set)
    said: dict[str, bytes] = field(default_factory=dict)
    numbers: dict[str, int] = field(default_factory=lambda: defaultdict(int))

    def __post_init__(self) -> None:
        places = [TopicPartition(topic, number) for topic in DELIVER.inputs for number in range(PARTITIONS)]
        self.log.group(DELIVER.group).offsets.update(dict.fromkeys(places, Committed(0)))

    def change(self, customer: str, dimension: str = "value", **more: Any) -> str:
        """The next change of a customer, in the log; its id."""
        change = SegmentChange(dimension=dimension, to="high")
        data = SegmentsChanged(customer_id=customer, changes=(change,), memberships={}, rules_version="1", **more)
        return self.say(customer, data)

    def forget(self, customer: str) -> str:
        self.erased.add(customer)
        return self.say(customer, CustomerForgotten(customer_id=customer, receipt_id="r"))

    def say(self, customer: str, data: Data) -> str:
        self.numbers[customer] += 1
        number = self.numbers[customer]
        event = _event(str(uuid5(NAMESPACE, f"{customer}:{number}")), number, data, customer)
        self.said[event.id] = event.to_json()
        self.log.append(Message(SEGMENTS.name, customer.encode(), event.to_json()))
        return event.id

    def subscribe(self, url: str, *dimensions: str, name: str | None = None) -> str:
        name = name or str(uuid5(NAMESPACE, url))
        return self.state(name, s.SubscriptionCreated(**_stated(name, url, dimensions)))

    def restate(self, name: str, url: str, **more: Any) -> str:
        return self.state(name, s.SubscriptionChanged(**_stated(name, url, ()), **more))

    def replay(self, name: str, **wanted: Any) -> str:
        return self.state(name, s.SubscriptionReplayRequested(subscription_id=name, **wanted))

    def state(self, name: str, data: s.OfSubscription) -> str:
        self.numbers[name] += 1
        event = _event(f"{name}:{self.numbers[name]}", self.numbers[name], data, None)
        self.log.append(Message(SUBSCRIPTIONS.name, name.encode(), event.to_json()))
        return name

    async def is_erased(self, customers: Collection[str]) -> set[str]:
        return self.erased & set(customers)


def _stated(name: str, url: str, dimensions: Iterable[str]) -> dict[str, Any]:
    secret = s.SubscriptionSecret(sealed=SEAL.seal(name, "one", SECRET))
    return {"subscription_id": name, "url": url, "dimensions": tuple(dimensions), "secrets": (secret,)}


def _event(name: str, number: int, data: Data, subject: str | None) -> Event:
    at = to_datetime(wall_clock())
    sequence = f"{number:0{SEQUENCE_DIGITS}d}"
    return Event(
        id=name,
        source="x",
        type=data.event_type,
        time=at,
        recordedtime=at,
        subject=subject,
        sequence=sequence,
        data=data,
    )


class Deliverer:
    """One process's life."""

    def __init__(self, world: World, name: str = "one", policy: Policy = QUICK, seconds: float = 10.0) -> None:
        self.world = world
        self.board = Board()
        self.registry = CollectorRegistry()
        store, scanner = DeliverStore(world.database), MemoryScanner(world.log)
        self.store = store
        metrics = deliver_metrics(self.registry, self.board.waiting)
        self.feed = Feed(
            self.board,
            store,
            SubscriptionLog(scanner, self.board.subscriptions),
            scanner,
            world.is_erased,
            metrics.unreadable.inc,
        )
        self.reader = MemoryReader(world.log, DELIVER.group, DELIVER.inputs, name, asyncio.sleep)
        retry = Retry(asyncio.sleep, wall_clock, random.Random(1))
        self.follower = Follower(lambda: self.reader, self.feed, retry, lambda: False, _briefly)
        self.caller = Caller(wall_clock, private=True, seconds=seconds)
        self.dispatch = Dispatch(
            self.board, store, self.caller, Signer(SEAL), policy, wall_clock, random.Random(2), retry, metrics
        )
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        self.board.standings = await self.store.standings()
        self._tasks = [asyncio.create_task(self.follower.run()), asyncio.create_task(self.dispatch.run())]

    async def kill(self) -> None:
        """As SIGKILL does: nothing more is written, and the group learns of it when the session is over."""
        self.reader.deaf = True
        self.reader.expire()
        await self._end()

    async def stop(self) -> None:
        await self._end()

    async def _end(self) -> None:
        for task in self._tasks:
            task.cancel()
        outcomes = await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.caller.close()
        wrong = [one for one in outcomes if isinstance(one, Exception)]
        assert not wrong, wrong

    def count(self, outcome: str, answer: str) -> float:
        labels = {"outcome": outcome, "answer": answer}
        return self.registry.get_sample_value("guanxi_webhook_attempts_total", labels) or 0.0


async def _briefly(seconds: float) -> None:
    await asyncio.sleep(min(seconds, 0.01))


async def eventually(what: str, holds: Callable[[], bool | Awaitable[bool]], seconds: float = 90.0) -> None:
    deadline = asyncio.get_running_loop().time() + seconds
    while True:
        found = holds()
        if found if isinstance(found, bool) else await found:
            return
        assert asyncio.get_running_loop().time() < deadline, f"not within {seconds:.0f} s: {what}"
        await asyncio.sleep(0.02)


def ids(calls: Iterable[Call]) -> list[str]:
    return [call.headers["webhook-id"] for call in calls]


def faults(calls: Iterable[Call], fired: Iterable[str], said: dict[str, bytes]) -> list[str]:
    """I7: what came is what was fired; repeats are the same but for timestamp and signature; a customer's in order."""
    found, first, newest = [], dict[str, bytes](), dict[str, int]()
    for call in calls:
        name = call.headers["webhook-id"]
        Webhook(SECRET).verify(call.body, call.headers)
        if call.body != said.get(name):
            found.append(f"{name}: another body than the log has")
        event = json.loads(call.body)
        customer, number = event["subject"], int(event["sequence"])
        if name not in first and number <= newest.get(customer, 0):
            found.append(f"{customer}: {number} for the first time after {newest[customer]}")
        first[name] = call.body
        newest[customer] = max(number, newest.get(customer, 0))
    found += [f"{name}: missed" for name in set(fired) - first.keys()]
    return found + [f"{name}: never fired" for name in first.keys() - set(fired)]
