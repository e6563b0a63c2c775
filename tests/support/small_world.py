"""One service's engine over the in-memory log and store, driven step by step: what unit tests of the engine stand on."""

import json
import random
from typing import Any

from prometheus_client import CollectorRegistry

from shared.clock import DAY, Instant
from shared.events.catalog import OUTPUT, TOPICS, group_of, inputs_of
from shared.processing.document import Document, from_fields
from shared.processing.domain import Domain
from shared.processing.memory import MemoryLog, MemoryReader, MemoryScanner, MemoryWriter
from shared.processing.memory_store import MemoryStore
from shared.processing.memory_versions import MemoryVersions
from shared.processing.metrics import engine_metrics
from shared.processing.ports import Store
from shared.processing.records import Committed, Message, Record, TopicPartition
from shared.processing.retry import Retry
from shared.processing.worker import Options, Ports, Worker
from tests.support.happenings import START

NEVER = 1e12
METRICS = engine_metrics(CollectorRegistry())


class SmallWorld:
    """`clock` is the append time of whatever is appended now, and the wall clock of the workers."""

    def __init__(self, domain: Domain[Any], partitions: int = 2, clock: Instant = START + 1_000 * DAY) -> None:
        self.domain = domain
        self.clock = clock
        self.log = MemoryLog({topic.name: partitions for topic in TOPICS}, lambda: self.clock)
        self.store = MemoryStore()
        self.versions = MemoryVersions()
        self.partitions = partitions
        self.inputs = tuple(topic.name for topic in inputs_of(domain.service))
        self.output = OUTPUT[domain.service].name
        self._members = 0
        offsets = self.log.group(group_of(domain.service)).offsets
        for topic in self.inputs:
            offsets.update({TopicPartition(topic, number): Committed(0) for number in range(partitions)})

    def append(self, *messages: Message) -> list[tuple[int, int]]:
        return [self.log.append(message) for message in messages]

    async def worker(self, store: Store | None = None, **options: Any) -> Worker:
        """A new member that has joined; options are the engine's."""
        self._members += 1
        reader = MemoryReader(self.log, group_of(self.domain.service), self.inputs, f"member-{self._members}")
        retry = Retry(self._sleep, lambda: self.clock, random.Random(1))
        scanner, writer = MemoryScanner(self.log), MemoryWriter(self.log)
        ports = Ports(reader, writer, scanner, store or self.store, retry, lambda: self.clock, METRICS, self.versions)
        chosen = {"patience": NEVER, "asks": False} | options
        worker = Worker(self.domain, ports, Options(self.inputs, self.output, **chosen))
        await worker.start()
        return worker

    async def retire(self, worker: Worker) -> None:
        await worker._ports.reader.stop()

    async def drain(self, **options: Any) -> None:
        """A worker that works until three steps in a row had nothing to do, and leaves."""
        worker = await self.worker(**options)
        await settle(worker)
        await self.retire(worker)

    async def document(self, customer_id: str) -> Document:
        return (await self.store.load([customer_id]))[customer_id]

    def documents(self) -> dict[str, Document]:
        return {key: from_fields(json.loads(text)) for key, text in self.store._texts.items()}

    def records(self, topic: str) -> list[Record]:
        ends = [TopicPartition(topic, number) for number in range(self.partitions)]
        return [record for place in ends for record in self.log.read(place, 0, 1_000_000)]

    def said(self, customer_id: str | None = None) -> list[dict[str, Any]]:
        """Numbered events on the output, repeats included, in log order per partition."""
        events = [json.loads(record.value) for record in self.records(self.output) if record.key and record.value]
        return [event for event in events if customer_id in (None, event["subject"])]

    async def _sleep(self, seconds: float) -> None:
        self.clock += int(seconds * 1000)


async def settle(worker: Worker, quiet: int = 3) -> None:
    """Until nothing was done and nothing came in for `quiet` steps."""
    idle = 0
    seen = -1
    for _ in range(10_000):
        worked = await worker.step()
        read = sum(sum(owned.next.values()) for owned in worker.owned.values())
        idle = 0 if worked or read != seen else idle + 1
        seen = read
        if idle >= quiet:
            return
    raise AssertionError("the worker finds no rest")
