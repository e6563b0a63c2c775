"""The deliverer wired together and run: `python -m services.segmentation deliver`."""

import asyncio
import logging
import random
import socket
from collections.abc import Collection
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import typer
from fastapi import FastAPI
from prometheus_client import CollectorRegistry

from services.segmentation.webhooks import api as deliver_api
from services.segmentation.webhooks.board import Board
from services.segmentation.webhooks.dispatch import Dispatch
from services.segmentation.webhooks.feed import Feed
from services.segmentation.webhooks.metrics import DeliverMetrics, deliver_metrics
from services.segmentation.webhooks.sending import Caller
from services.segmentation.webhooks.signing import Signer
from services.segmentation.webhooks.store import COLLECTIONS, DeliverStore
from services.segmentation.webhooks.subscription_log import SubscriptionLog
from services.segmentation.webhooks.verdicts import Policy
from shared.clock import SECOND, wall_clock
from shared.ending import end, failure_among, on_stop
from shared.events.catalog import DELIVER
from shared.privacy import Secrets, SubscriptionSeal
from shared.processing.commands import guarded
from shared.processing.connections import Kafka
from shared.processing.follower import GATHER_MS, Follower
from shared.processing.mongo import Documents, connect, database_of, ensure_collection
from shared.processing.mongo_control import MongoControl
from shared.processing.ports import FatalError
from shared.processing.retry import Retry
from shared.settings import Settings
from shared.telemetry import configure_logging
from shared.web.app import Readiness, build_app
from shared.web.keys import KeyRing
from shared.web.server import listen, port_of, serve_on

NAME = "webhooks"
STALE = 30.0
"""Seconds without a turn after which the deliverer no longer calls itself ready."""

log = logging.getLogger(__name__)


def command() -> None:
    """Send webhooks to subscribers, until SIGTERM."""
    raise typer.Exit(guarded(run))


async def run(settings: Settings, policy: Policy | None = None) -> int:
    """Until SIGTERM or SIGINT (0): calls under way are broken off and come again. 1: it must not go on."""
    configure_logging(NAME, settings.log_level)
    async with AsyncExitStack() as stack:
        parts = await _build(settings, policy or Policy(), stack)
        bound = listen(settings.host, settings.webhooks_port, or_any=True)
        return await _serve(parts, bound)


@dataclass(frozen=True, slots=True)
class Parts:
    app: FastAPI
    follower: Follower
    dispatch: Dispatch


async def _build(settings: Settings, policy: Policy, stack: AsyncExitStack) -> Parts:
    client = connect(settings.mongo_url)
    stack.callback(client.close)
    database = client[database_of(DELIVER.service)]
    for name, indexes in COLLECTIONS.items():
        await ensure_collection(database, name, indexes)
    kafka = Kafka(settings, NAME, stack)
    await kafka.check(DELIVER.inputs)
    registry, board, store = CollectorRegistry(), Board(), DeliverStore(database)
    board.standings = await store.standings()
    metrics = deliver_metrics(registry, board.waiting)
    retry = Retry(asyncio.sleep, wall_clock, random.Random())  # noqa: S311 - jitter, not a secret
    scanner = kafka.scanner()
    erased = _Erased(database)
    feed = Feed(
        board, store, SubscriptionLog(scanner, board.subscriptions), scanner, erased.among, metrics.unreadable.inc
    )  # fmt: skip
    follower = Follower(
        lambda: kafka.reader(DELIVER.group, DELIVER.inputs, GATHER_MS), feed, retry, lambda: False, asyncio.sleep
    )  # fmt: skip
    dispatch = await _dispatch(settings, policy, board, store, retry, metrics, stack)
    app = build_app(
        "Guanxi webhooks",
        NAME,
        KeyRing(settings.keys_file),
        _Turning(feed).readiness,
        [deliver_api.build_router(board, store)],
        registry,
    )
    return Parts(app, follower, dispatch)


async def _dispatch(
    settings: Settings,
    policy: Policy,
    board: Board,
    store: DeliverStore,
    retry: Retry,
    metrics: DeliverMetrics,
    stack: AsyncExitStack,
) -> Dispatch:
    caller = Caller(wall_clock, private=settings.webhook_allow_private)
    stack.push_async_callback(caller.close)
    chance = random.Random()  # noqa: S311 - jitter, not a secret
    signer = Signer(_seal(settings))
    return Dispatch(board, store, caller, signer, policy, wall_clock, chance, retry, metrics)


def _seal(settings: Settings) -> SubscriptionSeal:
    try:
        return SubscriptionSeal(Secrets.read(settings.secrets_file).key_encryption_key)
    except (OSError, ValueError) as error:
        raise FatalError(
            f"no secrets ({error}): GUANXI_SECRETS_FILE must be intake's; `guanxi provision` makes it"
        ) from None


class _Turning:
    """Ready means that the log is followed and the store answers, not that the process lives."""

    def __init__(self, feed: Feed) -> None:
        self._feed = feed
        self._turns = 0
        self._turned_at = 0

    def readiness(self) -> Readiness:
        now = wall_clock()
        if self._feed.turns != self._turns:
            self._turns, self._turned_at = self._feed.turns, now
        late = now - self._turned_at > STALE * SECOND
        return Readiness(not late, "Kafka or the store does not answer" if late else "delivering")


class _Erased:
    """Asked of segmentation's own documents, wherever a rebuild has put them."""

    def __init__(self, database: Any) -> None:
        self._database = database

    async def among(self, customers: Collection[str]) -> set[str]:
        documents = Documents(self._database, (await MongoControl(self._database).pause()).collection)
        wanted = {"_id": {"$in": list(customers)}, "erased": True}
        return {found.id for found in await documents.find(wanted, None, len(customers))}


async def _serve(parts: Parts, bound: socket.socket) -> int:
    stopping = asyncio.Event()
    on_stop(stopping.set)
    working = [asyncio.create_task(part.run()) for part in (parts.follower, parts.dispatch)]
    serving = asyncio.create_task(serve_on(parts.app, bound))
    waiting = asyncio.create_task(stopping.wait())
    log.info("started", extra={"port": port_of(bound)})
    await asyncio.wait({*working, serving, waiting}, return_when=asyncio.FIRST_COMPLETED)
    told = stopping.is_set()
    error = failure_among(await end(*working, serving, waiting))
    if told and error is None:
        return 0
    log.error("the deliverer stopped and will not go on by itself", exc_info=error)
    return 1
