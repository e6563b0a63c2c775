"""The same batches over the log's whole past, at its own pace: rebuilds, verification and what-ifs. Publishes nothing."""

from collections.abc import Iterable, Mapping
from typing import Any

from shared.clock import Instant
from shared.processing.arrivals import Arrival
from shared.processing.batch import Batch, Loaded, Outcome
from shared.processing.document import Document, Entry
from shared.processing.domain import Domain
from shared.processing.failures import FailureBudget
from shared.processing.owned import Owned
from shared.processing.parking import waiting_records
from shared.processing.ports import LogScanner, Store
from shared.processing.records import Committed, Record, TopicPartition

CHUNK = 5_000
FOREVER = 1 << 62


class PatientBudget(FailureBudget):
    """A replay repeats what live did, parked customers included; the bad-deploy stop is the live worker's."""

    def count(self, failed: bool) -> None:
        pass


def _everything_covered(_position: str) -> bool:
    return True


class Replay:
    """One partition number of a service's inputs, from the first record on. Documents stay in memory until flushed."""

    def __init__(self, domain: Domain[Any], scanner: LogScanner, topics: tuple[str, ...], partition: int) -> None:
        self._domain = domain
        self._scanner = scanner
        self._topics = topics
        self._owned = Owned(partition, domain.service, {topic: Committed(0) for topic in topics})
        self._owned.timers.horizon = FOREVER
        self._loaded: dict[str, Loaded] = {}
        self._flushed: Store | None = None
        self._dirty: set[str] = set()
        self._stored: dict[str, int] = {}
        self.applied = 0
        self.emitted: list[Entry] | None = None
        """Set it to a list to keep what would have been published."""

    async def advance(self, stops: Mapping[str, int]) -> None:
        """Applies every record before `stops` (per topic), in merge order. The last ones may have to wait for others
        that are not among them: they go in the order of arrival, as they did for the worker that committed `stops`."""
        while await self._read(stops):
            while arrivals := self._owned.collect(CHUNK):
                await self._apply(arrivals)
        while (head := self._owned.merge.head()) is not None:
            await self._apply(self._owned.collect(CHUNK) or [self._owned.merge.take(head)])

    def documents(self) -> Iterable[Document]:
        return (loaded.document for loaded in self._loaded.values())

    def customers(self) -> Iterable[tuple[Document, Any]]:
        """Those in memory, each with its decoded state (None: there is none)."""
        return ((loaded.document, loaded.state) for loaded in self._loaded.values())

    @property
    def time(self) -> Instant:
        """The partition's, after what was applied."""
        return self._owned.time.now

    async def flush(self, store: Store) -> int:
        """Writes what changed since the last flush into a collection that only this replay writes."""
        changed = [self._loaded[key].document for key in self._dirty]
        for start in range(0, len(changed), CHUNK):
            await store.save(changed[start : start + CHUNK])
        self._flushed = store
        self._loaded.clear()
        self._stored.clear()
        self._dirty.clear()
        return len(changed)

    async def _read(self, stops: Mapping[str, int]) -> bool:
        """One chunk of the input that is farthest behind in time, so that the merge holds little. False at all ends."""
        open_topics = [topic for topic in self._topics if self._owned.next[topic] < stops.get(topic, 0)]
        if not open_topics:
            return False
        topic = min(open_topics, key=self._owned.merge.held)
        source = TopicPartition(topic, self._owned.partition)
        start = self._owned.next[topic]
        for record in await self._scanner.read(source, start, stops[topic], CHUNK):
            self._owned.next[topic] = record.offset
            self._owned.offer(record)
        return True

    async def _apply(self, arrivals: list[Arrival]) -> None:
        time = self._owned.time.copy()
        times = {self._owned.partition: time}
        await self._load(arrival.customer_id for arrival in arrivals if arrival.customer_id is not None)
        batch = Batch(self._domain, self._loaded, _everything_covered, PatientBudget())
        waiting = await waiting_records(arrivals, self._loaded, self._domain.service, self._read_one)
        batch.apply(arrivals, times, waiting)
        due = self._owned.timers_due(time, FOREVER)
        await self._load(due)
        batch.fire(due, times)
        self._owned.take_time(time)
        self._keep(batch.outcome())
        self.applied += len(arrivals)

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
            kept = document.replaced(outbox=(), unsent=False, rev=self._stored.get(document.id, 0) + 1)
            self._loaded[document.id] = Loaded(kept, outcome.states[document.id])
            self._dirty.add(document.id)
            self._owned.arm(kept)
