"""Intake wired together and run: settings in, a serving process out."""

import asyncio
import logging
import socket
from contextlib import AsyncExitStack
from dataclasses import dataclass

from fastapi import FastAPI
from prometheus_client import CollectorRegistry

from services.intake import api
from services.intake.checking import Checker
from services.intake.customers_api import CustomerDesk
from services.intake.entries import EntryWriter
from services.intake.events_api import EventDoor
from services.intake.identities import Identities, KnownKeys
from services.intake.imports import Imports
from services.intake.metrics import intake_metrics
from services.intake.neighbours import Neighbours
from services.intake.processor import Intake
from services.intake.publishing import Publisher
from services.intake.pulse import Pulse
from services.intake.registers import ImportRegister, KeyRegister, ReceiptRegister, RuleRegister
from services.intake.rules import load_rules
from services.intake.rules_api import RulesDesk
from services.intake.store import IntakeStore
from services.intake.subscriptions_desk import SubscriptionDesk
from services.intake.subscriptions_register import SubscriptionRegister
from services.intake.ticks import Ticker
from shared.clock import wall_clock
from shared.ending import end, failure_among, on_stop, together
from shared.events.catalog import CUSTOMERS, SUBSCRIPTIONS, group_of, inputs_of
from shared.privacy import BlindIndex, Secrets, SubscriptionSeal, Vault
from shared.processing.connections import Kafka
from shared.processing.mongo import connect, database_of
from shared.processing.ports import LogReader
from shared.processing.records import TopicPartition
from shared.settings import Settings
from shared.telemetry import configure_logging
from shared.web.app import Readiness
from shared.web.keys import KeyRing
from shared.web.server import listen, port_of, serve_on

NAME = "intake"
STOP_WITHIN = 12.0
"""Seconds that what was accepted may take to be acknowledged at the end. What is not then is sent by the next process."""

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Parts:
    """One process's intake. `app` may be served by anybody; `run` keeps what is behind it going."""

    app: FastAPI
    intake: Intake
    publisher: Publisher
    ticker: Ticker
    neighbours: Neighbours
    pulse: Pulse
    subscriptions: SubscriptionDesk

    async def run(self) -> None:
        """Until cancelled, or until something is beyond help (FatalError)."""
        parts = (self.publisher, self.intake, self.ticker, self.neighbours, self.pulse, self.subscriptions)
        await together(*(part.run() for part in parts))


async def build(settings: Settings, stack: AsyncExitStack) -> Parts:
    rules = load_rules(settings.config_dir / "intake.yaml")
    secrets = Secrets.read(settings.secrets_file)
    client = connect(settings.mongo_url)
    stack.callback(client.close)
    store = IntakeStore(client[database_of(NAME)])
    await store.ensure()
    kafka = Kafka(settings, NAME, stack)
    inputs = tuple(topic.name for topic in inputs_of(NAME))
    await kafka.check((CUSTOMERS.name, SUBSCRIPTIONS.name, *inputs))
    writer = await kafka.writer()

    def make_reader() -> LogReader:
        return kafka.reader(group_of(NAME), inputs)

    registry = CollectorRegistry()
    metrics = intake_metrics(registry, lambda: publisher.queued)
    publisher = Publisher(store, writer, metrics.published.inc)
    vault = Vault(secrets.key_encryption_key, KeyRegister(store.database))
    known = KnownKeys()
    entries = EntryWriter(store, Identities(store, known, publisher.jobs.keys), known, vault)
    intake = Intake(store, publisher, entries, known, vault, wall_clock)
    checker = Checker(rules, BlindIndex(secrets.blind_index_pepper))
    receipts = ReceiptRegister(store.database)
    ticker = Ticker(writer, wall_clock, metrics.ticks.inc)
    lag = kafka.lag()
    first = TopicPartition(CUSTOMERS.name, 0)
    pulse = Pulse({"the store": store.ping, "Kafka": lambda: lag.ends([first])})
    subscriptions = SubscriptionDesk(
        SubscriptionRegister(store.database),
        writer,
        SubscriptionSeal(secrets.key_encryption_key),
        wall_clock,
        private=settings.webhook_allow_private,
    )
    app = api.build(
        EventDoor(intake, checker, wall_clock, metrics.count),
        CustomerDesk(intake, checker, store, receipts, vault, wall_clock),
        Imports(ImportRegister(store.database), store, intake, checker, wall_clock),
        RulesDesk(RuleRegister(store.database), intake, wall_clock),
        subscriptions,
        KeyRing(settings.keys_file),
        lambda: _readiness(intake, publisher, pulse),
        registry,
    )
    neighbours = Neighbours(make_reader, kafka.scanner(), ticker, receipts, wall_clock)
    return Parts(app, intake, publisher, ticker, neighbours, pulse, subscriptions)


async def ensure_store(settings: Settings) -> None:
    """Provisioning asks for it, so that two intakes that start at once find their collections."""
    client = connect(settings.mongo_url)
    try:
        await IntakeStore(client[database_of(NAME)]).ensure()
    finally:
        client.close()


def _readiness(intake: Intake, publisher: Publisher, pulse: Pulse) -> Readiness:
    if not intake.ready:
        return Readiness(False, "the store does not answer")
    if publisher.failing:
        return Readiness(False, "Kafka does not acknowledge")
    if pulse.silent is not None:
        return Readiness(False, f"{pulse.silent} does not answer")
    return Readiness(True, "accepting")


async def run(settings: Settings) -> int:
    """Until SIGTERM or SIGINT (0): takes nothing new in, finishes what was accepted, leaves. 1: it must not go on."""
    configure_logging(NAME, settings.log_level)
    async with AsyncExitStack() as stack:
        bound = listen(settings.host, settings.port_of(NAME), or_any=True)
        stack.callback(bound.close)
        parts = await build(settings, stack)
        return await _serve(parts, bound)


async def _serve(parts: Parts, bound: socket.socket) -> int:
    stopping = asyncio.Event()
    on_stop(stopping.set)
    working = asyncio.create_task(parts.run())
    serving = asyncio.create_task(serve_on(parts.app, bound))
    waiting = asyncio.create_task(stopping.wait())
    log.info("started", extra={"port": port_of(bound)})
    await asyncio.wait({working, serving, waiting}, return_when=asyncio.FIRST_COMPLETED)
    told = stopping.is_set()
    served = await end(serving, waiting)
    if told:
        draining = asyncio.create_task(parts.intake.drained())
        await asyncio.wait({draining, working}, timeout=STOP_WITHIN, return_when=asyncio.FIRST_COMPLETED)
        await end(draining)
    error = failure_among([*await end(working), *served])
    if told and error is None:
        return 0
    log.error("intake stopped and will not go on by itself", exc_info=error)
    return 1
