"""The same batches over the log's whole past, at its own pace: rebuilds, verification, shadows and what-ifs. Publishes nothing."""

from collections.abc import Iterable, Mapping
from typing import Any

from shared.clock import Instant
from shared.events.customers import RulesActivated
from shared.processing.arrivals import Arrival
from shared.processing.batch import Batch, Loaded, Outcome
from shared.processing.document import Document, Entry
from shared.processing.domain import Domain, Successive, successor
from shared.processing.failures import FailureBudget
from shared.processing.owned import Owned
from shared.processing.parking import waiting_records
from shared.processing.ports import LogScanner, Store
from shared.processing.records import Committed, Record, TopicPartition
from shared.processing.succession import Succession, change_over

CHUNK = 5_000
FOREVER = 1 << 62


class PatientBudget(FailureBudget):
    """A replay repeats what live did, parked customers included; the bad-deploy stop is the live worker's."""

    def count(self, failed: bool) -> None:
        pass


def _everything_covered(_position: str) -> bool:
    return True


class Replay:
    """One partition number of a service's inputs, from the first record on. Documents stay in memory until flushed.

    It follows the log's successions: it begins under `domain` and goes on under whatever was activated.
    """

    def __init__(self, domain: Domain[Any], scanner: LogScanner, topics: tuple[str, ...], partition: int) -> None:
        self._scanner = scanner
        self._topics = topics
        self._owned = Owned(partition, domain, {topic: Committed(0) for topic in topics})
        self._owned.timers.horizon = FOREVER
        self._loaded: dict[str, Loaded] = {}
        self._flushed: Store | None = None
        self._dirty: set[str] = set()
        self._stored: dict[str, int] = {}
        self.applied = 0
        self.emitted: list[Entry] | None = None
        """Set it to a list to keep what would have been published."""
        self.successions: list[tuple[RulesActivated, int]] = []
        """What was activated on the way, and at which offset."""

    @property
    def domain(self) -> Domain[Any]:
        """Under which it has arrived."""
        return self._owned.domain

    def until(self, document: Document) -> Instant:
        """Up to when this customer was told that time has passed."""
        return max(document.at, self._owned.time.until(document.history))

    async def go_on(self, positions: Mapping[str, Committed], store: Store) -> None:
        """From where an earlier replay was flushed into `store`; documents there may be ahead of `positions`."""
        partition = self._owned.partition
        self._owned = Owned(partition, self._owned.domain, positions)
        self._owned.timers.fill(await store.due(partition, -1, FOREVER), FOREVER, self._owned.time.bracket)
        self._flushed = store

    async def advance(self, stops: Mapping[str, int]) -> None:
        """Applies every record before `stops` (per topic), in merge order. The last ones may have to wait for others
        that are not among them: they go in the order of arrival, as they did for the worker that committed `stops`."""
        while await self.step(stops):
            pass

    async def step(self, stops: Mapping[str, int], limit: int = CHUNK) -> bool:
        """A part of `advance`: at most about `limit` records of one input, or timers. False: nothing is left before `stops`."""
        if self._owned.overdue() is not None:
            await self._apply([], limit)
        elif await self._read(stops, limit):
            while arrivals := self._owned.collect(limit):
                await self._apply(arrivals, limit)
        elif (head := self._owned.merge.head()) is not None:
            await self._apply(self._owned.collect(limit) or [self._owned.merge.take(head)], limit)
        else:
            return False
        return True

    def documents(self) -> Iterable[Document]:
        return (loaded.document for loaded in self._loaded.values())

    def customers(self) -> Iterable[tuple[Document, Any]]:
        """Those in memory, each with its decoded state (None: there is none)."""
        return ((loaded.document, loaded.state) for loaded in self._loaded.values())

    @property
    def time(self) -> Instant:
        """The partition's, after what was applied."""
        return self._owned.time.now

    async def load(self, customer_ids: Iterable[str]) -> dict[str, Document]:
        """Those that it knows, in memory or flushed."""
        wanted = list(customer_ids)
        await self._load(wanted)
        return {key: self._loaded[key].document for key in wanted if key in self._loaded}

    def positions(self) -> dict[str, Committed]:
        """From where another replay may go on, once all of this one is flushed."""
        time = self._owned.time
        return {topic: Committed(offset, time.to_metadata(topic)) for topic, offset in self._owned.applied.items()}

    def changed(self) -> set[str]:
        """Who was touched since the last flush."""
        return set(self._dirty)

    async def flush(self, store: Store, keep: int = 0) -> bool:
        """Writes what changed since the last flush. At most about `keep` documents stay in memory. False: another one
        writes there too, and this replay is of no more use."""
        changed = [self._loaded[key].document for key in self._dirty]
        for start in range(0, len(changed), CHUNK):
            if not await store.save(changed[start : start + CHUNK]):
                return False
        self._flushed = store
        self._stored |= {document.id: document.rev for document in changed}
        self._dirty.clear()
        if len(self._loaded) > keep:
            self._loaded.clear()
            self._stored.clear()
        return True

    async def _read(self, stops: Mapping[str, int], limit: int) -> bool:
        """One chunk of the input that is farthest behind in time, so that the merge holds little. False at all ends."""
        open_topics = [topic for topic in self._topics if self._owned.next[topic] < stops.get(topic, 0)]
        if not open_topics:
            return False
        topic = min(open_topics, key=self._owned.merge.held)
        source = TopicPartition(topic, self._owned.partition)
        start = self._owned.next[topic]
        for record in await self._scanner.read(source, start, stops[topic], limit):
            self._owned.next[topic] = record.offset
            self._owned.offer(record)
        return True

    async def _apply(self, arrivals: list[Arrival], limit: int) -> None:
        """`limit`: how many timers may fire; the others are overdue then, and go first. All do before a succession."""
        time = self._owned.time.copy()
        times = {self._owned.partition: time}
        await self._load(arrival.customer_id for arrival in arrivals if arrival.customer_id is not None)
        domain = self._owned.domain
        domains, silent = {self._owned.partition: domain}, self.emitted is None
        batch = Batch(domains, self._loaded, _everything_covered, PatientBudget(), silent)
        waiting = await waiting_records(arrivals, self._loaded, domain.service, self._read_one)
        batch.apply(arrivals, times, waiting)
        succeeds = bool(arrivals) and successor(domain, arrivals[-1].event) is not None
        due = self._owned.timers_due(time, FOREVER if succeeds else limit)
        await self._load(due)
        batch.fire(due, times)
        self._owned.take_time(time)
        self._keep(batch.outcome())
        if arrivals:
            self._owned.positions(arrivals)
            self.applied += len(arrivals)
            await self._succeed(arrivals[-1])

    async def _read_one(self, source: TopicPartition, offset: int) -> list[Record]:
        return await self._scanner.read(source, offset, offset + 1, 1)

    async def _load(self, customer_ids: Iterable[str]) -> None:
        if self._flushed is None:
            return
        missing = [key for key in dict.fromkeys(customer_ids) if key not in self._loaded]
        found = await self._flushed.load(missing) if missing else {}
        self._loaded |= {key: Loaded(document) for key, document in found.items()}
        self._stored |= {key: document.rev for key, document in found.items()}

    def _keep(self, outcome: Outcome) -> None:
        if self.emitted is not None:
            self.emitted.extend(entry for _, entry in outcome.emitted)
        for document in outcome.documents:
            self._put(document, outcome.states[document.id])

    def _put(self, document: Document, state: Any) -> None:
        kept = document.replaced(outbox=(), unsent=False, rev=self._stored.get(document.id, 0) + 1)
        self._loaded[document.id] = Loaded(kept, state)
        self._dirty.add(document.id)
        self._owned.arm(kept)

    async def _succeed(self, arrival: Arrival) -> None:
        """Where another version was activated: its own fold of all before takes the place of ours, customer by customer."""
        written = successor(self._owned.domain, arrival.event)
        if written is None or not isinstance(self._owned.domain, Successive):
            return
        succession = Succession(self._owned.domain.succeeded_by(written), arrival, self._owned.time)
        other = Replay(succession.domain, self._scanner, self._topics, self._owned.partition)
        await other.advance(self._owned.applied)
        self._owned.timers.clear()
        for some in _pieces(await self._everybody()):
            before = await self.load(some)
            for key in some:
                self._change_over(before[key], other._loaded.get(key), succession)
        self._owned.domain = succession.domain
        self.successions.append((written, arrival.record.offset))

    def _change_over(self, before: Document, other: Loaded | None, succession: Succession) -> None:
        after, state = (None, None) if other is None else (other.document, other.state)
        changed, entry = change_over(before, after, succession, _everything_covered)
        if entry is not None and self.emitted is not None:
            self.emitted.append(entry)
        self._put(changed, state)

    async def _everybody(self) -> list[str]:
        flushed = await self._flushed.ids(self._owned.partition) if self._flushed is not None else []
        return sorted({*self._loaded, *flushed})


def _pieces(ids: list[str]) -> Iterable[list[str]]:
    return (ids[start : start + CHUNK] for start in range(0, len(ids), CHUNK))
