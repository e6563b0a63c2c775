"""`guanxi demo --in-memory`: the same four services and domains in one process, on a log and stores that nothing keeps."""

import asyncio
import json
import random
import secrets
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, cast

import typer
from prometheus_client import CollectorRegistry
from rich.console import Console
from rich.progress import track
from rich.table import Table

from deploy.console import INTERRUPTED, Failure, say
from deploy.demo_data import SEED, DemoEvent, demo_events, read_purchases, trickle
from services.feedback.processor import build_domain as feedback
from services.followup.processor import build_domain as followup
from services.intake.batches import Entry
from services.intake.checking import Checker, Sender, Stamp
from services.intake.customers import Customer
from services.intake.domain import Mark, mark_of_time, to_message
from services.intake.entries import EntryWriter
from services.intake.identities import Identities, KnownKeys
from services.intake.rules import Rules
from services.segmentation.processor import build_domain as segmentation
from shared.clock import Instant, wall_clock
from shared.events.catalog import FEEDBACK, FOLLOWUPS, OUTPUT, PARTITIONS, SEGMENTS, TOPICS, Topic, group_of, inputs_of
from shared.events.codec import short_name
from shared.events.customers import ClockTicked, HistoryBegan, HistoryEnded
from shared.events.envelope import Data
from shared.privacy import BlindIndex, MemoryKeyStore, Vault
from shared.processing.memory import MemoryLog, MemoryReader, MemoryScanner, MemoryWriter
from shared.processing.memory_store import MemoryStore
from shared.processing.metrics import engine_metrics
from shared.processing.records import Committed, TopicPartition
from shared.processing.retry import Retry
from shared.processing.worker import Options, Ports, Worker
from shared.settings import Settings

CHUNK = 500
SENDER = Sender("demo", "demo")
_PAUSE = 2.0
"""Seconds between two events of the trickle."""


class MemoryRegister:
    """Who is known, in a dictionary: what intake's entries ask of their store."""

    def __init__(self) -> None:
        self._owners: dict[str, tuple[str, str]] = {}
        self._customers: dict[str, Customer] = {}

    async def owners(self, keys: Collection[str]) -> dict[str, tuple[str, str]]:
        return {key: self._owners[key] for key in keys if key in self._owners}

    async def customers(self, ids: Collection[str]) -> dict[str, Customer]:
        return {key: self._customers[key] for key in ids if key in self._customers}

    async def pending_among(self, _batches: Collection[str]) -> set[str]:
        return set()

    def take(self, entry: Entry) -> None:
        if (guard := entry.guard) is not None:
            self._customers[guard.customer.id] = guard.customer
            self._owners |= dict.fromkeys(guard.keys, (guard.customer.id, ""))


class Door:
    """Intake without HTTP: the same checks, the same sealing, the same envelopes."""

    def __init__(self, log: MemoryLog) -> None:
        self._log = log
        self._register = MemoryRegister()
        store = cast("Any", self._register)
        known = KnownKeys()
        vault = Vault(secrets.token_bytes(32), MemoryKeyStore())
        self._checker = Checker(Rules(), BlindIndex(secrets.token_bytes(32)))
        self._entries = EntryWriter(store, Identities(store, known, tuple), known, vault)

    async def take(self, documents: Sequence[Mapping[str, Any]], mark: Mark) -> None:
        stamp = Stamp(wall_clock(), mark)
        offers = [self._checker.offer(dict(document), SENDER, stamp) for document in documents]
        for built in await self._entries.entries(offers):
            if not isinstance(built, Entry):
                raise Failure(f"intake refuses an event of the demo: {built}")
            self._register.take(built)
            for line in built.lines:
                self._log.append(line.message(built.customer_id))

    def mark(self, data: Data, at: Instant, *, history: bool = False) -> None:
        """A mark of time in every partition."""
        for number in range(PARTITIONS):
            identity = f"{data.event_type}:{number}:{at}"
            value = mark_of_time(data.event_type, at, identity, history, data.model_dump(mode="json"))
            self._log.append(to_message(value, None, number))


class World:
    """The log, the door and the three workers, stepped in turn."""

    def __init__(self) -> None:
        self.log = MemoryLog({topic.name: topic.partitions for topic in TOPICS}, wall_clock)
        self.door = Door(self.log)
        config = Settings().config_dir
        domains = (segmentation(config), followup(config), feedback(config))
        self._workers = [self._worker(domain) for domain in domains]

    def _worker(self, domain: Any) -> Worker:
        service, inputs = domain.service, tuple(topic.name for topic in inputs_of(domain.service))
        group = self.log.group(group_of(service))
        for topic in inputs:
            group.offsets |= {TopicPartition(topic, number): Committed(0) for number in range(PARTITIONS)}
        ports = Ports(
            MemoryReader(self.log, group_of(service), inputs, "demo"),
            MemoryWriter(self.log),
            MemoryScanner(self.log),
            MemoryStore(),
            Retry(asyncio.sleep, wall_clock, random.Random()),  # noqa: S311 - jitter, not a secret
            wall_clock,
            engine_metrics(CollectorRegistry()),
        )
        return Worker(domain, ports, Options(inputs, OUTPUT[service].name, asks=False))

    async def start(self) -> None:
        for worker in self._workers:
            await worker.start()

    async def settle(self) -> None:
        """Until nobody has anything to do."""
        worked = True
        while worked:
            worked = any([await worker.step() for worker in self._workers])

    def said(self, topic: Topic) -> Iterable[dict[str, Any]]:
        for number in range(PARTITIONS):
            place = TopicPartition(topic.name, number)
            records = self.log.read(place, 0, self.log.end(place))
            yield from (json.loads(record.value) for record in records if record.key and record.value)


def run(*, keep: bool) -> None:
    """`keep`: it lives on after the summary, until Ctrl-C."""
    say("everything runs in this one process and NOTHING IS KEPT: no Kafka, no store. It is for trying out.")
    try:
        asyncio.run(_play(keep=keep))
    except KeyboardInterrupt:
        say("\ninterrupted; there is nothing to clean up")
        raise typer.Exit(INTERRUPTED) from None


async def _play(*, keep: bool) -> None:
    world = World()
    await world.start()
    events = demo_events(read_purchases(), datetime.now(UTC).date())
    say(f"{len(events)} events; the purchases are real (CDNOW sample, dates shifted), everything else is generated")
    world.door.mark(HistoryBegan(import_id="demo"), events[0].at)
    for start in track(range(0, len(events), CHUNK), "importing"):
        await _import(world, events[start : start + CHUNK])
    world.door.mark(HistoryEnded(import_id="demo"), wall_clock())
    await _come_to_the_present(world)
    _show(world)
    if keep:
        with suppress(asyncio.CancelledError):  # what Ctrl-C does to what asyncio runs
            await _live_on(world)


async def _import(world: World, events: Sequence[DemoEvent]) -> None:
    for history in (True, False):
        documents = [event.document for event in events if event.history == history]
        if documents:
            await world.door.take(documents, "history" if history else "replay")
    world.door.mark(ClockTicked(), events[-1].at, history=True)
    await world.settle()


async def _come_to_the_present(world: World) -> None:
    """What one service says last its neighbour reads next; two ticks let both pass."""
    for _ in range(3):
        world.door.mark(ClockTicked(), wall_clock())
        await world.settle()
        await asyncio.sleep(0.01)


async def _live_on(world: World) -> None:
    say("\na slow trickle of generated events goes on; Ctrl-C ends it. Segment changes as they happen:")
    seen = {event["id"] for event in world.said(SEGMENTS)}
    for document in trickle(SEED, wall_clock()):
        await world.door.take([document], None)
        await _come_to_the_present(world)
        for event in [event for event in world.said(SEGMENTS) if event["id"] not in seen]:
            seen.add(event["id"])
            for change in event["data"].get("changes", ()):
                say(f"  {event['subject'][:8]}  {change['dimension']}: {change.get('from')} → {change.get('to')}")
        await asyncio.sleep(_PAUSE)


def _show(world: World) -> None:
    """Made from what the services published: a customer's newest record carries its whole membership."""
    newest = {event["subject"]: event["data"] for event in world.said(SEGMENTS) if "memberships" in event["data"]}
    console = Console()
    changes = sum(1 for _ in world.said(SEGMENTS))
    console.print(f"\n[bold]{len(newest)}[/] customers 客户, [bold]{changes}[/] segment changes published")
    table = Table("segments by dimension 客户细分", "customers", box=None, header_style="bold")
    for dimension in next(iter(newest.values()), {"memberships": {}})["memberships"]:
        sizes = Counter(str(data["memberships"].get(dimension)) for data in newest.values())
        table.add_row(dimension, ", ".join(f"{value} {count}" for value, count in sizes.most_common(8)))
    console.print(table)
    console.print(_last_words("follow-ups by last event 跟进任务", world.said(FOLLOWUPS), "task_id"))
    console.print(_last_words("cases by last event 投诉与建议", world.said(FEEDBACK), "case_id"))


def _last_words(title: str, events: Iterable[Mapping[str, Any]], name: str) -> Table:
    last = {event["data"][name]: short_name(event["type"]) for event in events if name in event["data"]}
    table = Table(title, "", box=None, header_style="bold")
    for state, count in Counter(last.values()).most_common():
        table.add_row(state, str(count))
    return table
