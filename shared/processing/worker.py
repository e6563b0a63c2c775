"""The sequential loop of one worker: fetch, apply, write, publish, commit. Ownership of partitions is its only coordination."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from shared.clock import SECOND, Clock, Instant
from shared.processing.announcer import Announcer
from shared.processing.arrivals import Arrival
from shared.processing.batch import Batch, Loaded, Outcome
from shared.processing.cache import DocumentCache
from shared.processing.domain import Domain
from shared.processing.failures import FailureBudget
from shared.processing.handover import Handover
from shared.processing.metrics import EngineMetrics
from shared.processing.owned import Owned
from shared.processing.ownership import Ownership
from shared.processing.parking import waiting_records
from shared.processing.partition_time import PartitionTime
from shared.processing.portion import Portion
from shared.processing.ports import LogReader, LogScanner, LogWriter, Store, TransientError
from shared.processing.records import Fetched, Message, Record, TopicPartition
from shared.processing.retry import Retry
from shared.processing.successions import Successions
from shared.processing.timer_turns import TimerTurns
from shared.processing.versions import Lineage, VersionStore
from shared.processing.wakeups import TickAsker

IDLE_WAIT = 0.2
"""Seconds that a fetch may wait when nothing is due: how late at most an idle worker sees a stop or a pause."""
LONG_BATCH = 500
"""Milliseconds. Longer batches are made smaller: while one is decided, no heartbeat reaches the group."""
BULK = 200
"""Records of one fetch that show that many more are waiting: then whatever else this process does steps aside, as it does
while timers are due that were not yet fired."""
REASSURE = 1 * SECOND
"""How often a partition that is held says that somebody is at work on it; well under the neighbours' patience."""


@dataclass(frozen=True, slots=True)
class Ports:
    reader: LogReader
    writer: LogWriter
    scanner: LogScanner
    store: Store
    retry: Retry
    clock: Clock
    metrics: EngineMetrics
    versions: VersionStore | None = None
    """Of a service whose domain may be succeeded by another version."""


@dataclass(frozen=True, slots=True)
class Options:
    """`inputs`: full topic names. `patience` in seconds. `asks`: whether ticks may be asked for (GUANXI_CLOCK=wall).

    `recheck` in seconds: how often an owner looks again for what a predecessor's late write left.
    """

    inputs: tuple[str, ...]
    output: str | None
    latest: str | None = None
    batch_size: int = 2_000
    patience: float = 2.0
    asks: bool = True
    cache: int = 50_000
    recheck: float = 5.0


class Worker:
    """One member of the service's consumer group. `run` until `stop`; a FatalError leaves `run` and ends the process."""

    def __init__(self, domain: Domain[Any], ports: Ports, options: Options) -> None:
        self._domain = domain
        self._ports = ports
        self._options = options
        self._cache = DocumentCache(options.cache)
        self._budget = FailureBudget()
        self._announcer = Announcer(domain.service, options.output, options.latest)
        self._asker = TickAsker(domain.service, ports.clock)
        self._portion = Portion(options.batch_size, options.batch_size, LONG_BATCH)
        self._timers = TimerTurns(ports.store, ports.retry, options.batch_size)
        self._reassured_at: Instant = 0
        self._stopping = False
        self.paused = False
        self.busy = False
        self._lineage = Lineage(domain, ports.versions)
        self._successions = Successions(self._lineage, options.inputs, ports.scanner, ports.store, ports.retry)
        self.ownership = Ownership(
            self._lineage,
            options.inputs,
            ports.reader,
            ports.writer,
            ports.store,
            ports.retry,
            ports.clock,
            self._announcer,
            self._cache,
        )

    @property
    def owned(self) -> Mapping[int, Owned]:
        return self.ownership.owned

    @property
    def still(self) -> bool:
        """Whether a pause that was asked for holds: what was begun is finished first, and committed."""
        return self.paused and self.ownership.settled

    async def run(self) -> None:
        """Raises FatalError when it must not go on; everything applied before is committed or will be redelivered."""
        await self.start()
        try:
            while not self._stopping:
                await self.step()
        finally:
            await self._ports.reader.stop()

    async def start(self) -> None:
        """Joins the group; whoever steps the worker by hand begins with it."""
        await self._ports.retry("reading versions", self._lineage.begin)
        await self._ports.reader.start(self.ownership.assigned, self.ownership.revoked)

    def stop(self) -> None:
        """The batch in hand is finished first."""
        self._stopping = True

    async def step(self) -> bool:
        """One turn. False when there was nothing to do."""
        fetched = await self._fetch()
        self.busy = len(fetched.records) >= BULK or any(one.overdue() is not None for one in self.owned.values())
        async with self.ownership.lock:
            await self.ownership.take_over()
            self.ownership.accept(fetched)
            if self.paused:
                await self.ownership.settle()
            worked = not self.still and await self._work() | await self._succeed()
            if not worked:
                await self.ownership.settle()
            if self.still:
                return False
            await self.ownership.look_again(self._options.recheck)
            await self._ask()
            return worked

    async def _fetch(self) -> Fetched:
        full = frozenset(place for owned in self.owned.values() for place in owned.full())
        fetch = self._ports.reader.fetch
        return await self._ports.retry("reading from Kafka", lambda: fetch(self._portion.size, self._wait(), full))

    def _wait(self) -> float:
        """Seconds until something is due without any record; ready work waits for nothing."""
        if self.still:
            return IDLE_WAIT
        ready = any(one.overdue() is not None or (not self.paused and one.ready()) for one in self.owned.values())
        if ready or self.ownership.pending:
            return 0.0
        if self._successions.next(self.owned) is not None:
            return 0.0
        wait = IDLE_WAIT
        if self._options.asks:
            now = self._ports.clock()
            asks = [at for owned in self.owned.values() if (at := self._asker.next_at(owned)) is not None]
            wait = min([wait, *((at - now) / SECOND for at in asks)])
        return max(wait, 0.001)

    async def _ask(self) -> None:
        messages = self._asker.ask(self.owned.values()) if self._options.asks else []
        if messages:
            self._ports.metrics.count("ticks_asked", len(messages))
            await self._ports.retry("asking for a tick", lambda: self._ports.writer.publish(messages))

    async def _work(self) -> bool:
        arrivals = self._collect()
        owned = self.owned.values()
        rests = not arrivals and all(one.overdue() is None for one in owned)
        if rests and not self._announcer.has_more_to_say(owned) and not self.ownership.is_redelivered(self.paused):
            return False
        started = self._ports.clock()
        timers = await self._apply(arrivals)
        took = self._ports.clock() - started
        self._timers.took(took, timers, arrivals)
        self._ports.metrics.batch_seconds.observe(took / SECOND)
        return True

    def _collect(self) -> list[Arrival]:
        arrivals: list[Arrival] = []
        if self.paused:
            return arrivals
        patience = round(self._options.patience * SECOND)
        for owned in self.owned.values():
            owned.watch_neighbours(self._ports.clock(), patience, partial(self._quiet, owned.partition))
            arrivals += owned.collect(self._portion.size - len(arrivals))
            self._ports.metrics.count("impatient", owned.impatient)
            owned.impatient = 0
        return arrivals

    def _quiet(self, number: int, topic: str) -> bool:
        """Whether the input was read to its end: only then can its silence mean anything."""
        return self._ports.reader.read_to_end(TopicPartition(topic, number))

    async def _apply(self, arrivals: list[Arrival]) -> int:
        """Redone from the store's truth until the write is acknowledged; nothing of a failed attempt is kept.

        Saved only when the batch before is committed: only the deciding goes on beside that. The number of customers whose
        timers were due.
        """
        fired: dict[str, None] = {}
        for _ in self._ports.retry.attempts("saving customers"):
            times = {number: owned.time.copy() for number, owned in self.owned.items()}
            budget = self._budget.copied()
            outcome, touched = await self._attempt(arrivals, times, fired, budget)
            if await self._saved(outcome):
                break
            self._cache.discard([*touched, *(document.id for document in outcome.documents)])
            self._ports.metrics.count("conflicts")
        self._budget = budget
        for number, time in times.items():
            self.owned[number].take_time(time)
        self.ownership.keep(outcome, touched)
        applied = self.ownership.held_back(arrivals)
        self.ownership.keep_together(outcome, self.paused)
        self._ports.metrics.add(outcome, len(arrivals), len(fired))
        self._ports.metrics.late(outcome.fired, self._ports.clock())
        self._ports.metrics.armed_timers.set(sum(len(owned.timers) for owned in self.owned.values()))
        self.ownership.closing.begin(self._close(self._said(arrivals, outcome), applied, outcome.confirmed))
        return len(fired)

    async def _close(
        self, messages: list[Message], applied: list[Arrival], confirmed: Mapping[str, int]
    ) -> Mapping[str, int]:
        await self._publish(messages)
        await self.ownership.commit(applied)
        await self.ownership.confirm(confirmed)
        return confirmed

    async def _attempt(
        self, arrivals: list[Arrival], times: dict[int, PartitionTime], fired: dict[str, None], budget: FailureBudget
    ) -> tuple[Outcome, dict[str, Loaded]]:
        """`fired` collects the customers whose timers left the heaps, so that a redo fires them again."""
        loaded = await self._load(arrival.customer_id for arrival in arrivals if arrival.customer_id is not None)
        domains = {number: owned.domain for number, owned in self.owned.items()}
        batch = Batch(domains, loaded, self.ownership.covered, budget)
        waiting = await waiting_records(arrivals, loaded, self._domain.service, self._read_one)
        started = self._ports.clock()
        batch.apply(arrivals, times, waiting)
        took = self._ports.clock() - started
        fired |= dict.fromkeys(await self._timers.due(self.owned, times, arrivals))
        loaded |= await self._load(customer_id for customer_id in fired if customer_id not in loaded)
        started = self._ports.clock()
        batch.fire(fired, {number: self.owned[number].reached(time) for number, time in times.items()})
        # Of deciding alone: waiting for the store or for Kafka lets heartbeats pass.
        self._portion.fit(took + self._ports.clock() - started)
        return batch.outcome(await self.ownership.closing.done()), loaded

    async def _read_one(self, source: TopicPartition, offset: int) -> list[Record]:
        read = partial(self._ports.scanner.read, source, offset, offset + 1, 1)
        return await self._ports.retry("reading parked records", read)

    async def _load(self, customer_ids: Iterable[str]) -> dict[str, Loaded]:
        wanted = dict.fromkeys(customer_ids)
        cached = {key: entry for key in wanted if (entry := self._cache.get(key)) is not None}
        missing = [key for key in wanted if key not in cached]
        if not missing:
            return cached
        found = await self._ports.retry("reading customers", lambda: self._ports.store.load(missing))
        return cached | {key: Loaded(document, fresh=True) for key, document in found.items()}

    async def _saved(self, outcome: Outcome) -> bool:
        """False: conflict, duplicate key or unknown outcome; all customers of the batch are read again."""
        if not outcome.documents:
            return True
        try:
            return await self._ports.store.save(outcome.documents)
        except TransientError:
            await self._ports.retry.pause()
            return False

    async def _succeed(self) -> bool:
        """One step of one partition that is held at a succession."""
        owned = self._successions.next(self.owned)
        if owned is None:
            return False
        await self.ownership.closing.done()
        started, handover = self._ports.clock(), await self._successions.handover(owned)
        if await handover.proceed(owned.partition):
            await self._change_over(handover)
            if handover.passed():
                await self._go_on(owned, handover)
        handover.took(self._ports.clock() - started)
        await self._reassure()
        return True

    async def _reassure(self) -> None:
        now = self._ports.clock()
        if now - self._reassured_at >= REASSURE:
            self._reassured_at = now
            messages = list(self._announcer.repeated_marks(self.owned.values()))
            await self._ports.retry("publishing to Kafka", lambda: self._ports.writer.publish(messages))

    async def _change_over(self, handover: Handover) -> None:
        for _ in self._ports.retry.attempts("saving customers"):
            budget = self._budget.copied()
            outcome = await handover.outcome(self.ownership.covered, budget)
            if await self._saved(outcome):
                break
            self._ports.metrics.count("conflicts")
        self._budget = budget
        await self._publish(self._said([], outcome))
        await self.ownership.confirm(outcome.confirmed)
        self._ports.metrics.add(outcome)

    async def _go_on(self, owned: Owned, handover: Handover) -> None:
        """Under the successor. Only now may the record be committed."""
        await self._successions.complete(owned, handover)
        self._cache.empty(owned.partition)
        held = owned.succeed(handover.succession.domain)
        await self._ports.retry("reading timers", partial(owned.look_again, self._ports.store))
        await self.ownership.commit([held])

    def _said(self, arrivals: list[Arrival], outcome: Outcome) -> list[Message]:
        """Old before new, then how far the partitions' time has come by what was saved."""
        return [*self._announcer.events(outcome), *self._announcer.marks(arrivals, self.owned.values())]

    async def _publish(self, messages: list[Message]) -> None:
        """All acknowledged, before anything is committed."""
        if messages:
            await self._ports.retry("publishing to Kafka", lambda: self._ports.writer.publish(messages))
