"""From what waits to the receivers: one call at a time per customer, few per receiver, nobody behind a slow one."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from random import Random
from typing import Protocol

from services.segmentation.webhooks.board import Board
from services.segmentation.webhooks.deliveries import Delivery, Lanes
from services.segmentation.webhooks.metrics import DeliverMetrics
from services.segmentation.webhooks.signing import Headers, Signer
from services.segmentation.webhooks.store import DeliverStore, Standing
from services.segmentation.webhooks.subscriptions import Subscription
from services.segmentation.webhooks.verdicts import Answer, Policy, Verdict, judge
from shared.clock import SECOND, Clock
from shared.ending import end
from shared.privacy import BrokenSeal
from shared.processing.ports import FatalError
from shared.processing.retry import Retry

AT_ONCE = 8
"""Calls of one receiver at a time."""
LARGE = 20_000
"""Bytes that Standard Webhooks recommends at most. Larger changes are sent whole all the same: a cut one would be no
change, and the number line would have a gap."""
TOGETHER = 0.05
"""Seconds in which what was delivered is gathered, to be removed from the store in one go."""
LONGEST_WAIT = 1.0

log = logging.getLogger(__name__)


class Calls(Protocol):
    async def post(self, url: str, headers: Headers, body: bytes) -> Answer:
        """Never raises."""


class Dispatch:
    """`policy` says how often and when; `chance` spreads what would come all at once."""

    def __init__(
        self,
        board: Board,
        store: DeliverStore,
        calls: Calls,
        signer: Signer,
        policy: Policy,
        clock: Clock,
        chance: Random,
        retry: Retry,
        metrics: DeliverMetrics,
    ) -> None:
        self._board = board
        self._store = store
        self._calls = calls
        self._signer = signer
        self._policy = policy
        self._clock = clock
        self._chance = chance
        self._retry = retry
        self._metrics = metrics
        self._tasks: set[asyncio.Task[None]] = set()
        self._failure: FatalError | None = None

    async def run(self) -> None:
        """Until cancelled; calls under way are then broken off and come again. FatalError: an operator must help."""
        removing = asyncio.create_task(self._remove_delivered())
        try:
            while self._failure is None and not removing.done():
                self.launch()
                await self._wait()
        finally:
            await end(*self._tasks, removing)
        raise self._failure or FatalError("what was delivered cannot be noted down; see `guanxi status`")

    def launch(self) -> None:
        """Everything that may go now goes."""
        now = self._clock()
        for subscription in self._board.subscriptions:
            receiver = self._board.receiver(subscription.id)
            if receiver.rest_until > now or not self._board.open(subscription):
                continue
            while receiver.under_way < AT_ONCE and (found := self._next(subscription)) is not None:
                self._start(subscription, *found)

    def _next(self, subscription: Subscription) -> tuple[Lanes, Delivery] | None:
        """Partitions take turns, so that none waits for another's backlog."""
        all_lanes = self._board.lanes_of(subscription.id)
        receiver = self._board.receiver(subscription.id)
        for _ in all_lanes:
            receiver.turn += 1
            lanes = all_lanes[receiver.turn % len(all_lanes)]
            delivery = lanes.take(self._clock())
            if delivery is not None:
                return lanes, delivery
        return None

    def _start(self, subscription: Subscription, lanes: Lanes, delivery: Delivery) -> None:
        self._board.receiver(subscription.id).under_way += 1
        task = asyncio.create_task(self._deliver(subscription, lanes, delivery))
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self._failure = error if isinstance(error, FatalError) else FatalError(f"delivering failed: {error!r}")
        self._board.work.set()

    async def _wait(self) -> None:
        dues = (lanes.next_at() for lanes in self._board.lanes())
        now = self._clock()
        next_at = min(
            (due for due in dues if due is not None and due > now), default=now + round(LONGEST_WAIT * SECOND)
        )
        try:
            async with asyncio.timeout(min(LONGEST_WAIT, max(next_at - now, 10) / SECOND)):
                await self._board.work.wait()
        except TimeoutError:
            pass
        self._board.work.clear()

    async def _deliver(self, subscription: Subscription, lanes: Lanes, delivery: Delivery) -> None:
        try:
            body = delivery.body or await self._retry("reading a delivery", lambda: self._store.body(delivery.id))
            if not body:
                lanes.done(delivery)
                return
            if len(body) > LARGE:
                self._metrics.large.inc()
            delivery.body = body
            verdict = await self._attempt(subscription, delivery, body)
            await self._settle(subscription, lanes, delivery, verdict)
        finally:
            self._board.receiver(subscription.id).under_way -= 1

    async def _attempt(self, subscription: Subscription, delivery: Delivery, body: bytes) -> Verdict:
        at = self._clock()
        try:
            headers = self._signer.headers(subscription, delivery.event_id, at, body)
        except BrokenSeal as error:
            raise FatalError(
                "a subscription's secret was sealed under another key: GUANXI_SECRETS_FILE must be intake's"
            ) from error
        answer = await self._calls.post(subscription.url, headers, body)
        delivery.attempts += 1
        verdict = judge(answer, delivery.attempts, self._clock(), self._policy, self._chance.random())
        self._metrics.attempts.labels(verdict.outcome, answer.told).inc()
        return verdict

    async def _settle(self, subscription: Subscription, lanes: Lanes, delivery: Delivery, verdict: Verdict) -> None:
        receiver = self._board.receiver(subscription.id)
        receiver.rest_until = max(receiver.rest_until, verdict.rest_until)
        if verdict.outcome == "delivered":
            self._metrics.delay_seconds.observe(max(0, self._clock() - delivery.appended_at) / SECOND)
            self._board.delivered.add(delivery.id)
            lanes.done(delivery)
        elif verdict.outcome == "again":
            await self._postpone(lanes, delivery, verdict.at)
        elif verdict.outcome == "ended":
            known = self._board.standings.get(subscription.id) or Standing(subscription.id)
            self._board.standings[subscription.id] = ended(known, subscription.changed, self._clock())
            await self._note(subscription.id, lambda standing: ended(standing, subscription.changed, self._clock()))
            await self._postpone(lanes, delivery, self._clock())
            log.warning("a receiver has ended its subscription (410); see `guanxi subscriptions list`")
        else:
            await self._note(subscription.id, lambda standing: given_up(standing, self._clock()))
            self._board.delivered.add(delivery.id)
            lanes.done(delivery)
            log.error("a delivery was given up; `guanxi subscriptions replay` sends it again")

    async def _postpone(self, lanes: Lanes, delivery: Delivery, at: int) -> None:
        """The store remembers how often it was tried, over any restart; memory lets go of the body."""
        delivery.due_at = at
        await self._retry("noting an attempt", lambda: self._store.postpone(delivery))
        delivery.body = None
        lanes.again(delivery, at)

    async def _note(self, subscription: str, change: Callable[[Standing], Standing]) -> None:
        async def once() -> Mapping[str, Standing]:
            while True:
                found = await self._store.standings()
                if await self._store.save_standing(change(found.get(subscription) or Standing(subscription))):
                    return await self._store.standings()

        self._board.standings.update(await self._retry("noting a receiver's standing", once))

    async def _remove_delivered(self) -> None:
        """Late at worst: what is removed too late is sent once more, under the same id."""
        while True:
            await asyncio.sleep(TOGETHER)
            await self._retry("noting what was delivered", lambda: self._board.remove_delivered(self._store))


def ended(standing: Standing, number: int, now: int) -> Standing:
    return replace(standing, ended=max(standing.ended, number), ended_at=now)


def given_up(standing: Standing, now: int) -> Standing:
    first = standing.given_up_from or now
    return replace(standing, given_up=standing.given_up + 1, given_up_from=first, given_up_to=now)
