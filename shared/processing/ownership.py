"""Which partitions are ours: taken over from what was committed, looked at again for late writes, forgotten when they go."""

import asyncio
import logging
from collections.abc import AsyncIterator, Collection, Iterable, Mapping
from contextlib import asynccontextmanager
from functools import partial

from shared.clock import SECOND, Clock
from shared.processing.announcer import Announcer
from shared.processing.arrivals import Arrival
from shared.processing.batch import Loaded, Outcome
from shared.processing.cache import DocumentCache
from shared.processing.closing import Closing
from shared.processing.control import Folded
from shared.processing.outbox import Covered, covered_by, unpublished
from shared.processing.owned import Owned
from shared.processing.ports import FatalError, LogReader, LogWriter, Store, TransientError
from shared.processing.records import Committed, Fetched, TopicPartition
from shared.processing.redelivery import Redelivery
from shared.processing.retry import Retry
from shared.processing.versions import Lineage

_log = logging.getLogger(__name__)


class Ownership:
    """The partitions of one worker. All but the listeners and what closes a batch run under `lock`, which the listeners wait for."""

    def __init__(
        self,
        lineage: Lineage,
        inputs: tuple[str, ...],
        reader: LogReader,
        writer: LogWriter,
        store: Store,
        retry: Retry,
        clock: Clock,
        announcer: Announcer,
        cache: DocumentCache,
    ) -> None:
        self.lock = asyncio.Lock()
        self.closing = Closing()
        self.owned: dict[int, Owned] = {}
        self.watermarks: dict[str, int] = {}
        self.pending: set[TopicPartition] = set()
        self._lineage = lineage
        self._inputs = inputs
        self._reader = reader
        self._writer = writer
        self._store = store
        self._retry = retry
        self._clock = clock
        self._announcer = announcer
        self._cache = cache

    @property
    def covered(self) -> Covered:
        return covered_by(self.watermarks)

    async def assigned(self, partitions: Collection[TopicPartition]) -> None:
        async with self.lock:
            self.pending |= set(partitions)

    async def revoked(self, partitions: Collection[TopicPartition]) -> None:
        """Awaits the batch in hand, then forgets all about these partitions."""
        async with self.at_rest():
            self.pending -= set(partitions)
            for number in {partition.partition for partition in partitions}:
                self.owned.pop(number, None)
                self._cache.empty(number)

    @asynccontextmanager
    async def at_rest(self) -> AsyncIterator[None]:
        """No batch is in hand, and the last one is committed."""
        async with self.lock:
            await self.closing.done()
            yield

    @property
    def settled(self) -> bool:
        """Nothing is begun: no partition changes over, no timer has come that did not fire, and no document of ours is ahead
        of what is committed."""
        return not self.closing.begun and not any(
            owned.held is not None or owned.uncommitted or owned.overdue() is not None for owned in self.owned.values()
        )

    async def settle(self) -> None:
        """The last batch is published and committed, also what an earlier commit could not say."""
        await self.closing.done()
        await self.commit_applied()

    async def take_over(self) -> None:
        """Before any record of a partition just assigned: its time, its timers, and what a predecessor left unsent."""
        if not self.pending:
            return
        await self.closing.done()
        taken = sorted(self.pending)
        numbers = sorted({partition.partition for partition in taken})
        if {TopicPartition(topic, number) for topic in self._inputs for number in numbers} != set(taken):
            raise FatalError("the group split a partition number over members: all of them must use the range assignor")
        committed = await self._retry("reading commits", lambda: self._reader.committed(taken))
        for number in numbers:
            await self._own(number, {tp.topic: at for tp, at in committed.items() if tp.partition == number})
        self.pending -= set(taken)
        _log.info("partitions taken over", extra={"partitions": len(numbers)})

    async def _own(self, number: int, committed: dict[str, Committed]) -> None:
        self._cache.empty(number)
        domain = await self._retry("reading versions", lambda: self._lineage.under(number, committed))
        owned = Owned(number, domain, committed)
        for topic, at in committed.items():
            self.watermarks[owned.key(topic)] = at.offset
        await self._look_ahead(owned)
        self.owned[number] = owned
        await self._republish_unsent(number, owned.redelivery)

    async def start_again(self, folded: Folded) -> None:
        """The collection was switched under us: documents and timers are new. Positions and time are as they were, unless we
        went on because we did not hear of the pause: then back to where the new documents are."""
        for number, owned in list(self.owned.items()):
            positions = dict(folded.get(number, {}))
            if positions and {topic: at.offset for topic, at in positions.items()} != owned.applied:
                _log.warning("went on while the state was rebuilt: goes back", extra={"partition": number})
                await self._own(number, positions)
                self.seek_back(TopicPartition(topic, number) for topic in self._inputs)
                continue
            self._cache.empty(number)
            await self._retry("reading timers", partial(owned.look_again, self._store))
            await self._republish_unsent(number, owned.redelivery)

    async def _look_ahead(self, owned: Owned) -> None:
        """As far as the wall clock too: in a quiet log only a timer that we know of can make us ask for a tick."""
        until = max(owned.time.now, self._clock())
        if until >= owned.timers.horizon:
            await self._retry("reading timers", lambda: owned.look_ahead(self._store, until))

    def accept(self, fetched: Fetched) -> None:
        """Whatever was fetched across a rebalance, or leaves a gap, is fetched again from where we are."""
        if fetched.epoch != self._reader.epoch():
            self.seek_back({record.source for record in fetched.records})
            return
        gaps: set[TopicPartition] = set()
        for record in fetched.records:
            owned = self.owned.get(record.partition)
            if owned is not None and record.source not in gaps and not owned.offer(record):
                gaps.add(record.source)
        self.seek_back(gaps)

    def seek_back(self, partitions: Iterable[TopicPartition]) -> None:
        for partition in partitions:
            owned = self.owned.get(partition.partition)
            if owned is not None:
                self._reader.seek(partition, owned.next[partition.topic])

    async def look_again(self, every: float) -> None:
        """A predecessor's write may have landed after the first look: its timers and its unsent events are ours.

        At first after `every` seconds, then after twice as long each time: such a write becomes ever less likely. One
        partition in one go: with many timers this takes a while, for which everybody else would wait.
        """
        now = self._clock()
        for number, owned in self.owned.items():
            await self._look_ahead(owned)
            if owned.looks_again(now, round(every * SECOND)):
                await self.closing.done()
                await self._retry("reading timers", partial(owned.look_again, self._store))
                await self._republish_unsent(number, owned.redelivery)
                return

    async def _republish_unsent(self, number: int, redelivery: Redelivery | None) -> None:
        """What a timer emitted concerns no input, so no redelivery would bring it back; while there is one, it waits."""
        left = await self._retry("reading unsent", lambda: self._store.unsent(number))
        if not left:
            return
        found = await self._retry("reading customers", lambda: self._store.load(left))
        outcome = Outcome()
        for document in found.values():
            outcome.republished.extend((document, entry) for entry in unpublished(document, self.covered))
            outcome.confirmed[document.id] = document.rev
        if redelivery is not None:
            redelivery.take(outcome, number)
        messages = list(self._announcer.events(outcome))
        await self._retry("publishing to Kafka", lambda: self._writer.publish(messages))
        self._cache.discard(found)
        await self.confirm(outcome.confirmed)

    async def confirm(self, revisions: Mapping[str, int]) -> None:
        """What timers emitted is in the log: only now may their mark go, and only at the revision that was published."""
        if not revisions:
            return
        await self._retry("clearing unsent marks", lambda: self._store.clear_unsent(revisions))
        for customer_id, rev in revisions.items():
            self._cache.sent(customer_id, rev)

    def held_back(self, arrivals: list[Arrival]) -> list[Arrival]:
        """Those that are done with: not the record of a succession, before all customers have changed over."""
        return [
            arrival for number, mine in _by_partition(arrivals).items() for arrival in self.owned[number].hold(mine)
        ]

    def is_redelivered(self, paused: bool) -> bool:
        """Whether somewhere everything that was applied before has come by, and nothing after it is there."""
        return any(one.redelivery is not None and self._has_come_by(one, paused) for one in self.owned.values())

    def _has_come_by(self, owned: Owned, paused: bool) -> bool:
        if paused and owned.uncommitted:
            return True
        sources = (TopicPartition(topic, owned.partition) for topic in self._inputs)
        return owned.ready() is None and all(self._reader.read_to_end(source) for source in sources)

    def keep_together(self, outcome: Outcome, paused: bool) -> None:
        """What is redelivered is said at once, when all of it has come by: not as we cut it into batches. In a pause no more
        of it comes, and nothing applied may be left uncommitted."""
        for number, owned in self.owned.items():
            if (redelivery := owned.redelivery) is None:
                continue
            if number in outcome.news or redelivery.full() or self._has_come_by(owned, paused):
                redelivery.give(outcome)
                owned.redelivery = None
            else:
                redelivery.take(outcome, number)

    async def commit(self, arrivals: list[Arrival]) -> None:
        """What was applied and published, with the partition's time."""
        for number, mine in _by_partition(arrivals).items():
            owned = self.owned[number]
            owned.uncommitted |= owned.positions(mine)
        await self.commit_applied()

    async def commit_applied(self) -> None:
        """Just that, with what an earlier commit could not say: in a quiet log no later one would. Nothing of what is
        redelivered before it has been said: it would count as covered."""
        positions = {
            TopicPartition(topic, number): at
            for number, owned in self.owned.items()
            if owned.redelivery is None
            for topic, at in owned.uncommitted.items()
        }
        if not positions or not await self.committed(positions):
            return
        for partition, at in positions.items():
            owned = self.owned[partition.partition]
            self.watermarks[owned.key(partition.topic)] = at.offset
            owned.uncommitted.clear()

    async def committed(self, positions: Mapping[TopicPartition, Committed]) -> bool:
        """True: what these inputs caused is covered. A commit that failed costs duplicates, never a loss."""
        try:
            return await self._reader.commit(positions)
        except TransientError:
            return False

    def keep(self, outcome: Outcome, touched: Mapping[str, Loaded]) -> None:
        """The write was acknowledged: only now may the cache know of it, and the timers. What was read counts as well,
        where nothing was written upon it: it may be our own write of which the answer was lost, or a predecessor's that landed
        late."""
        for customer_id, loaded in touched.items():
            if loaded.fresh and customer_id not in outcome.states:
                self._cache.put(loaded.document, loaded.state)
                self.owned[loaded.document.partition].arm(loaded.document)
        for document in outcome.documents:
            self._cache.put(document, outcome.states[document.id])
            self.owned[document.partition].arm(document)
        for owned in self.owned.values():
            owned.timers.come_nearer(owned.time.now)


def _by_partition(arrivals: list[Arrival]) -> dict[int, list[Arrival]]:
    found: dict[int, list[Arrival]] = {}
    for arrival in arrivals:
        found.setdefault(arrival.record.partition, []).append(arrival)
    return found
