"""The worker's own processor time per event, and how much of it the domain takes: no server, no wall clock.

The sample log goes through the real worker between a log and a store that cost nothing but the encoding (`still.py`), so that a change of
the hot path shows also on a machine that others use. What more rules cost shows here as well: every dimension a second time over the
same events, in what a worker takes for all it does with an event, and in what deciding takes alone.
"""

import asyncio
import random
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry

from services.segmentation.domain import SegmentationDomain
from services.segmentation.language.program import Program
from services.segmentation.processor import build_domain
from services.segmentation.state import CustomerState
from shared.clock import Instant, wall_clock
from shared.events.catalog import OUTPUT, inputs_of
from shared.events.envelope import Event
from shared.processing.domain import Decision
from shared.processing.kafka_writer import KafkaWriter
from shared.processing.memory import MemoryLog, MemoryScanner
from shared.processing.memory_versions import MemoryVersions
from shared.processing.metrics import engine_metrics
from shared.processing.records import Message
from shared.processing.retry import Retry
from shared.processing.worker import Options, Ports, Worker
from tests.bench.bench_segmentation import FIVE, STANDARD
from tests.bench.bench_segmentation_domain import doubled
from tests.bench.figures import Effort, Figure, ratios
from tests.bench.stage import sample, with_rules
from tests.bench.still import StillConnection, StillReader, StillStore

ONCE = "all dimensions"
TWICE = "every dimension twice"
COPIES = 3
BATCH = 2_000


class Watched(SegmentationDomain):
    """Counts what deciding takes."""

    seconds = 0.0
    decisions = 0

    def on_event(self, state: CustomerState, event: Event, at: Instant) -> Decision[CustomerState]:
        began = time.process_time()
        decision = super().on_event(state, event, at)
        self.seconds += time.process_time() - began
        self.decisions += 1
        return decision

    def on_time(self, state: CustomerState, at: Instant) -> Decision[CustomerState]:
        began = time.process_time()
        decision = super().on_time(state, at)
        self.seconds += time.process_time() - began
        self.decisions += 1
        return decision


def worker_on(domain: SegmentationDomain, reader: StillReader, connection: Any) -> Worker:
    retry = Retry(asyncio.sleep, wall_clock, random.Random(1))
    scanner = MemoryScanner(MemoryLog({}, wall_clock))
    metrics = engine_metrics(CollectorRegistry())
    ports = Ports(
        reader, KafkaWriter(connection), scanner, StillStore(), retry, wall_clock, metrics, versions=MemoryVersions()
    )
    inputs = tuple(topic.name for topic in inputs_of("segmentation"))
    options = Options(inputs, OUTPUT["segmentation"].name, domain.latest_topic, BATCH, asks=False)
    return Worker(domain, ports, options)


async def one_run(messages: Sequence[Message], program: Program) -> tuple[float, float]:
    """Microseconds of processor time per event: all of it, and what deciding takes."""
    domain = Watched(program)
    reader, connection = StillReader(messages, BATCH), StillConnection()
    worker = worker_on(domain, reader, connection)
    await worker.start()
    began = time.process_time()
    while reader.left or any(one.overdue() is not None or one.ready() is not None for one in worker.owned.values()):
        await worker.step()
    await worker.ownership.closing.done()
    took = time.process_time() - began
    if domain.decisions < len(messages) or connection.made.messages < domain.decisions / 2:
        raise RuntimeError(f"{domain.decisions} decisions of {len(messages)} events: something was left out")
    return took * 1e6 / len(messages), domain.seconds * 1e6 / len(messages)


def programs() -> dict[str, Program]:
    with tempfile.TemporaryDirectory(prefix="guanxi-bench-") as room:
        five, every = (build_domain(Path(with_rules(Path(room), rules))) for rules in (FIVE, STANDARD))
    return {"five dimensions": five.program, ONCE: every.program, TWICE: doubled(every).program}


async def measure(effort: Effort) -> list[Figure]:
    messages = sample(effort.of(COPIES))
    messages = messages[: effort.of(len(messages))]
    made = programs()
    whole: dict[str, list[float]] = {name: [] for name in made}
    deciding: dict[str, list[float]] = {name: [] for name in made}
    for _ in range(effort.runs):
        for name, program in made.items():
            took, decided = await one_run(messages, program)
            whole[name].append(took)
            deciding[name].append(decided)
            print(f"{name}: {took:.0f} µs per event, deciding {decided:.0f}", flush=True)
    return [
        *(Figure(f"worker, {name}: processor", tuple(runs), "µs/event") for name, runs in whole.items()),
        *(Figure(f"worker, {name}: of that deciding", tuple(runs), "µs/event") for name, runs in deciding.items()),
        Figure(f"{TWICE} ÷ once: processor", ratios(whole[TWICE], whole[ONCE]), "×", 1.3, at_least=False),
        Figure(f"{TWICE} ÷ once: deciding alone", ratios(deciding[TWICE], deciding[ONCE]), "×"),
    ]
