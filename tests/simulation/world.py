"""All services in one process: log, stores, workers that die and come back, and intake's part (the records, the ticks)."""

import asyncio
import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from prometheus_client import CollectorRegistry

from services.intake.ticks import Wanted, tick
from shared.clock import SECOND, Instant, to_instant
from shared.events.catalog import OUTPUT, TOPICS, WAKEUPS, group_of, inputs_of
from shared.events.codec import decode
from shared.events.customers import RulesActivated
from shared.events.wakeups import ClockTickWanted
from shared.processing.domain import Domain, Successive
from shared.processing.memory import MemoryLog, MemoryReader
from shared.processing.memory_store import MemoryStore
from shared.processing.memory_versions import MemoryVersions
from shared.processing.metrics import engine_metrics
from shared.processing.ports import FatalError
from shared.processing.preparation import Preparation
from shared.processing.records import Committed, Message, Record, TopicPartition
from shared.processing.retry import Retry
from shared.processing.worker import Options, Ports, Worker
from tests.simulation.faults import Faults
from tests.simulation.process import (
    Crashed,
    FaultyReader,
    FaultyScanner,
    FaultyStore,
    FaultyVersions,
    FaultyWriter,
    Nature,
    Process,
)
from tests.support.happenings import START

_NUMBER = re.compile(rb'"sequence":"([0-9]+)"')
PATIENCE = 60
"""How many spans of quiet a world is given to come to rest."""
SESSION = 0.8
"""Seconds after which the group gives up on a dead member."""


@dataclass(frozen=True)
class Plan:
    """What one run is: who takes part, what happens when, and how workers are set."""

    seed: int
    domains: tuple[Callable[[bool], Domain[Any]], ...]
    happenings: tuple[tuple[float, Message], ...]
    faults: Faults
    partitions: int = 2
    workers: Mapping[str, int] = field(default_factory=dict)
    batch_size: int = 5
    cache: int = 4
    patience: float = 30.0
    recheck: float = 1.0
    mended_at: float = 8.0
    calm_after: float = 12.0
    churn: tuple[tuple[float, str], ...] = ()
    preparing: tuple[tuple[float, RulesActivated], ...] = ()
    """When segmentation's next versions begin to be prepared, each by a process of its own."""
    lasts: float = 8.0
    quiet: float = 3.0
    speed: int = 1
    """How much faster the world's clock runs than the loop's until the calm, so that months pass in seconds."""


class World:
    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.nature = Nature(plan.seed, plan.faults)
        self.log = MemoryLog({topic.name: plan.partitions for topic in TOPICS}, self.clock)
        self.domains = {made.service: made for made in (build(True) for build in plan.domains)}
        self._builders = {build(True).service: build for build in plan.domains}
        self.stores = {service: MemoryStore() for service in self.domains}
        self.versions = {service: MemoryVersions() for service in self.domains}
        self.metrics = {service: engine_metrics(CollectorRegistry()) for service in self.domains}
        self.stopped: list[str] = []
        self.too_early: list[str] = []
        self.still_growing: dict[str, tuple[int | None, int]] = {}
        self.workers: dict[str, Worker] = {}
        self._incarnations = 0
        self._tasks: list[asyncio.Task[None]] = []
        self._ending = False
        for service in self.domains:
            self._begin(service)

    def _begin(self, service: str) -> None:
        offsets = self.log.group(group_of(service)).offsets
        for topic in inputs_of(service):
            offsets.update({TopicPartition(topic.name, n): Committed(0) for n in range(self.plan.partitions)})

    def output(self, service: str) -> str:
        return OUTPUT[service].name

    async def again(self) -> None:
        """After the end: new workers, to whom everything is delivered from the beginning."""
        self._ending = False
        for service in self.domains:
            self._begin(service)
            self._start(self._keep_alive(service))
        await self._rest()
        await self._end()

    async def _end(self) -> None:
        self._ending = True
        for worker in self.workers.values():
            worker.stop()
        await asyncio.sleep(1.0)

    def clock(self) -> Instant:
        fast = min(self.seconds, self.plan.calm_after)
        return START + int((fast * self.plan.speed + self.seconds - fast) * SECOND)

    def loop_clock(self) -> Instant:
        return int(self.seconds * SECOND)

    @property
    def seconds(self) -> float:
        return asyncio.get_running_loop().time()

    def records(self, topic: str, partition: int) -> list[Record]:
        return self.log.read(TopicPartition(topic, partition), 0, 1 << 30)

    def count(self, service: str, kind: str) -> float:
        return float(self.metrics[service].counts.labels(kind)._value.get())

    async def run(self) -> None:
        """Through all happenings and faults to the calm, and on until nothing moves any more."""
        for service in self.domains:
            for _ in range(self.plan.workers.get(service, 1)):
                self._start(self._keep_alive(service))
        self._start(self._happen())
        self._start(self._tick())
        self._start(self._churn())
        for moment, written in self.plan.preparing:
            self._start(self._prepare(moment, written))
        await asyncio.sleep(self.plan.calm_after)
        self.nature.faults.heal()
        self.nature.note("healed")
        await self._rest()
        await self._end()

    async def _rest(self) -> None:
        """Timers, ticks and rechecks have had their time, and small batches theirs to catch up."""
        await asyncio.sleep(self.plan.lasts)
        for _ in range(PATIENCE):
            before = self._moves()
            await asyncio.sleep(self.plan.quiet)
            grown = {name: (before.get(name), at) for name, at in self._moves().items() if at != before.get(name)}
            self.still_growing = grown
            if not grown:
                return

    def _moves(self) -> dict[str, int]:
        """Where the log ends, and how far every service has read it: a world at rest changes neither."""
        places = [TopicPartition(topic.name, n) for topic in TOPICS for n in range(self.plan.partitions)]
        moves = {f"{place.topic}:{place.partition}": self.log.end(place) for place in places}
        for service in self.domains:
            for place, committed in self.log.group(group_of(service)).offsets.items():
                moves[f"{service} {place.topic}:{place.partition}"] = committed.offset
        return moves

    def _start(self, work: Any) -> None:
        self._tasks.append(asyncio.get_running_loop().create_task(work))

    async def _happen(self) -> None:
        for moment, message in self.plan.happenings:
            await asyncio.sleep(max(moment - self.seconds, 0))
            partition, offset = self.log.append(message)
            self.nature.note(f"intake {message.topic}:{partition}:{offset}")

    def _witness(self, service: str, messages: Sequence[Message]) -> None:
        """I2: what is said was decided and kept before it was said."""
        for message in messages:
            number = _NUMBER.search(message.value or b"")
            if message.topic == OUTPUT[service].name and number is not None:
                document = self.stores[service]._documents.get((message.key or b"").decode())
                if document is None or document.sequence < int(number[1]):
                    self.too_early.append(f"{service} {message.key!r} said {int(number[1])} before it was kept")

    async def _tick(self) -> None:
        """Intake's own rule for whose request is answered when; the requests are read from the log."""
        wanted = Wanted()
        heard = dict.fromkeys(range(self.plan.partitions), 0)
        while True:
            await asyncio.sleep(0.02)
            for partition in heard:
                for record in self.log.read(TopicPartition(WAKEUPS.name, partition), heard[partition], 1_000):
                    heard[partition] = record.offset + 1
                    data = decode(record.value or b"").data
                    assert isinstance(data, ClockTickWanted)
                    wanted.want(partition, to_instant(data.until), self.clock())
            for partition in wanted.take(self.clock()):
                self.log.append(tick(partition, self.clock(), f"tick {partition} {self.clock()}"))

    async def _churn(self) -> None:
        for moment, service in self.plan.churn:
            await asyncio.sleep(max(moment - self.seconds, 0))
            self._start(self._visit(service))

    async def _prepare(self, moment: float, written: RulesActivated) -> None:
        """Somebody runs it again until it is done, or can no longer be."""
        await asyncio.sleep(max(moment - self.seconds, 0))
        attempt = 0
        while not self._ending:
            attempt += 1
            try:
                await self._preparation(f"preparing-{written.number}-{attempt}", written).run(lambda *_: None)
            except Crashed:
                await asyncio.sleep(0.2 + self.nature.chance.random())
            except FatalError as error:
                self.nature.note(f"preparing {written.number} ends: {error}")
                return
            else:
                return

    def _preparation(self, name: str, written: RulesActivated) -> Preparation:
        topics = tuple(topic.name for topic in inputs_of("segmentation"))
        process = Process(name, self.nature, MemoryReader(self.log, "nobody's", topics, name))
        first, scanner = self.domains["segmentation"], FaultyScanner(process, self.log)
        assert isinstance(first, Successive)
        versions = FaultyVersions(process, self.versions["segmentation"])
        partitions = self.plan.partitions
        retry = Retry(process.sleep, self.loop_clock, random.Random(self.plan.seed))
        return Preparation(first.succeeded_by(written), scanner, topics, partitions, self._committed, versions, retry)

    async def _committed(self, number: int) -> dict[str, int]:
        offsets = self.log.group(group_of("segmentation")).offsets
        return {t.name: offsets[TopicPartition(t.name, number)].offset for t in inputs_of("segmentation")}

    async def _visit(self, service: str) -> None:
        """One more worker for a while, which then leaves in good order."""
        asyncio.get_running_loop().call_later(0.3 + self.nature.chance.random() * 2, self._dismiss, service)
        await self._live(service, visitor=True)

    def _dismiss(self, service: str) -> None:
        for name, worker in self.workers.items():
            if name.startswith(f"{service}-visitor"):
                worker.stop()

    async def _keep_alive(self, service: str) -> None:
        while not self._ending and await self._live(service):  # noqa: ASYNC110 - a supervisor's pause
            await asyncio.sleep(0.2 + self.nature.chance.random())

    async def _live(self, service: str, visitor: bool = False) -> bool:
        """True when it crashed and should come back."""
        self._incarnations += 1
        name = f"{service}-{'visitor-' if visitor else ''}{self._incarnations}"
        plan = self.plan
        topics = tuple(topic.name for topic in inputs_of(service))
        reader = MemoryReader(self.log, group_of(service), topics, name)
        process = Process(name, self.nature, reader)
        reader._sleeper = process.sleep
        retry = Retry(process.sleep, self.loop_clock, random.Random(plan.seed + self._incarnations))
        ports = Ports(
            FaultyReader(process),
            FaultyWriter(process, self.log, partial(self._witness, service)),
            FaultyScanner(process, self.log),
            FaultyStore(process, self.stores[service]),
            retry,
            self.clock,
            self.metrics[service],
            FaultyVersions(process, self.versions[service]),
        )
        options = Options(
            topics,
            OUTPUT[service].name,
            None,
            plan.batch_size,
            plan.patience * plan.speed,
            True,
            plan.cache,
            plan.recheck * plan.speed,
        )
        worker = Worker(self._builders[service](self.seconds >= plan.mended_at), ports, options)
        self.workers[name] = worker
        heart = asyncio.get_running_loop().create_task(self._beat(process))
        mending = asyncio.get_running_loop().call_later(max(plan.mended_at - self.seconds, 0.001), self._mend, worker)
        try:
            await worker.run()
        except Crashed:
            return True
        except FatalError as error:
            self.stopped.append(f"{name}: {error}")
            return False
        finally:
            mending.cancel()
            heart.cancel()
            self.workers.pop(name)
            self._start(self._expire(reader))
        return False

    @staticmethod
    def _mend(worker: Worker) -> None:
        worker._domain.mended = True

    async def _beat(self, process: Process) -> None:
        while not process.dead:
            await asyncio.sleep(0.15)
            if not process.dead:
                await process.reader.heartbeat()

    async def _expire(self, reader: MemoryReader) -> None:
        await asyncio.sleep(SESSION)
        reader.expire()
