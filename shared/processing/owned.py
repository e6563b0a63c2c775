"""One owned partition number: its merged inputs, its time, its timers, and how far it was read and committed."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from shared.clock import DAY, MINUTE, SECOND, Instant
from shared.events.customers import HistoryBegan, HistoryEnded
from shared.processing.arrivals import Arrival, arrive, position_key
from shared.processing.document import Document
from shared.processing.domain import Domain, successor
from shared.processing.merge import Merge
from shared.processing.parking import asks_to_resume
from shared.processing.partition_time import PartitionTime
from shared.processing.ports import Store, Timer
from shared.processing.records import Committed, Record, TopicPartition
from shared.processing.redelivery import Redelivery
from shared.processing.timers import Timers

MOST_HELD = 5_000
"""Records of one input that may wait in a merge. An input that others wait for is read on."""
FEW_TIMERS = 1_000
MANY_TIMERS = 5_000
LONGEST_LOOK = 400 * DAY
SHORTEST_LOOK = 10 * SECOND
LONGEST_BETWEEN_LOOKS = 5 * MINUTE


class Owned:
    """Made at assignment from what was committed; dropped at revocation."""

    def __init__(self, partition: int, domain: Domain[Any], committed: Mapping[str, Committed]) -> None:
        self.partition = partition
        self.domain = domain
        self.held: Arrival | None = None
        """The record at which another version succeeds: until all customers have changed over, nothing behind it is taken."""
        self.uncommitted: dict[str, Committed] = {}
        """Applied and published; a commit that failed is said again."""
        self.redelivery: Redelivery | None = Redelivery()
        """None: what was applied before we took over has all come by, and was said."""
        self.time = PartitionTime()
        self.next = {topic: at.offset for topic, at in committed.items()}
        self.applied = dict(self.next)
        for topic, at in committed.items():
            self.time.restore(topic, at.metadata)
        self.merge = Merge(list(committed), self.time.inputs)
        self.timers = Timers()
        self.timers_doubted = False
        """A bracket began: the store may already know who follows it, so a worker looks again."""
        self.said: Instant = 0
        self.forced: tuple[Instant, int, int] = (self.time.now, -1, -1)
        self.impatient = 0
        self.appended_at: Instant | None = None
        """Append time of the newest record applied: how old the next one is at most, whatever its logical time."""
        self.asked_at: Instant = 0
        self.asked_for: Instant = 0
        self.waits_for: Arrival | None = None
        self.waits_since: Instant = 0
        self._still: dict[str, Instant] = {}
        self._stopped: set[str] = set()
        self._look = DAY
        self._looked_at: Instant | None = None
        self._look_every: Instant = 0

    def offer(self, record: Record) -> bool:
        """False: records were passed over between the last one and this; the reader must go back to `next`."""
        expected = self.next[record.topic]
        if record.offset > expected:
            return False
        self._still.pop(record.topic, None)
        self._stopped.discard(record.topic)
        if record.offset == expected:
            self.merge.offer(arrive(record))
            self.next[record.topic] = expected + 1
        return True

    def full(self) -> list[TopicPartition]:
        """Inputs that need not be read on before something of them has gone."""
        return [TopicPartition(topic, self.partition) for topic in self.merge.full(MOST_HELD)]

    def collect(self, limit: int) -> list[Arrival]:
        """What may be applied now. A mark of history and a resume request are batches of their own, after all due timers."""
        taken: list[Arrival] = []
        while len(taken) < limit and (head := self.ready()) is not None:
            alone = self._stands_alone(head)
            if alone and (taken or self.overdue() is not None):
                break
            taken.append(self._taken(head))
            if alone:
                break
        return taken

    def ready(self) -> Arrival | None:
        """The head, unless a neighbour that still moves could bring something earlier."""
        if self.held is not None:
            return None
        head = self.merge.head()
        return head if head is not None and self._stopped.issuperset(self.merge.blocked_by(head)) else None

    def watch_neighbours(self, now: Instant, patience: Instant, quiet: Callable[[str], bool]) -> None:
        """An input that holds us back, is read to its end and brings nothing for `patience` milliseconds counts as
        stopped, until it moves again: a slow neighbour is waited for, a stopped one must not stop us."""
        head = self.merge.head()
        for topic in self.merge.blocked_by(head) if head is not None else ():
            if quiet(topic) and now - self._still.setdefault(topic, now) >= patience:
                self._stopped.add(topic)

    def _taken(self, head: Arrival) -> Arrival:
        """What goes although something earlier may still come is remembered; what comes then is known to be late."""
        key = self.merge.key(head)
        head.late = key < self.forced
        if self.merge.blocked_by(head):
            self.forced = max(self.forced, key)
            self.impatient += 1
        return self.merge.take(head)

    def overdue(self) -> Instant | None:
        """The earliest timer that has come; where time has passed what was read of them, one may have come just behind that."""
        unread = self.timers.horizon + 1 if self.time.now > self.timers.horizon else None
        known = self.timers.overdue(self.time.now, self.time.history_now)
        return min((at for at in (known, unread) if at is not None), default=None)

    async def look_ahead(self, store: Store, until: Instant) -> None:
        """Makes the timers complete up to `until`, and farther by as much as keeps the heap small and the asking rare."""
        if until < self.timers.horizon:
            return
        horizon = until + self._look
        found = await store.due(self.partition, self.timers.horizon, horizon)
        self.timers.fill(found, horizon, self.time.bracket)
        if len(found) < FEW_TIMERS:
            self._look = min(self._look * 2, LONGEST_LOOK)
        elif len(found) > MANY_TIMERS:
            self._look = max(self._look // 2, SHORTEST_LOOK)

    def looks_again(self, now: Instant, first: Instant) -> bool:
        """Whether it is time; `first` is the first interval in milliseconds, each next one is twice as long."""
        if self._looked_at is None:
            self._looked_at, self._look_every = now, first
        if now - self._looked_at < self._look_every:
            return False
        self._looked_at, self._look_every = now, min(self._look_every * 2, LONGEST_BETWEEN_LOOKS)
        return True

    async def look_again(self, store: Store) -> None:
        """A predecessor's write may have landed after the first look."""
        horizon = self.timers.horizon
        found = await store.due(self.partition, -1, horizon)
        self.timers = Timers()
        self.timers.fill(found, horizon, self.time.bracket)
        self.timers_doubted = False

    def arm(self, document: Document) -> None:
        if document.wake_at is not None:
            self.timers.arm(Timer(document.wake_at, document.id, document.history), self.time.bracket)

    def timers_due(self, time: PartitionTime, limit: int) -> list[str]:
        """Whose time has come when the partition's time will be `time`; inside a bracket that stays, by the bracket's time."""
        return self.timers.due(time.now, self._history_now(time), limit)

    def reached(self, time: PartitionTime) -> PartitionTime:
        """How far timers fire in this turn: those that were left for the next one must not come after later ones."""
        ripe = time.copy()
        ripe.now, ripe.history_now = self.timers.reached(time.now, self._history_now(time))
        return ripe

    def _history_now(self, time: PartitionTime) -> Instant:
        return time.history_now if time.bracket == self.time.bracket else time.now

    def take_time(self, time: PartitionTime) -> None:
        """The batch is saved: its time is ours, and a bracket that ended gives its timers back to the present."""
        before, self.time = self.time.bracket, time
        if time.bracket is not None and time.bracket != before:
            self.timers_doubted = True
        if before is not None and time.bracket != before:
            self.timers.close_bracket()

    def may_say(self) -> Instant:
        """Up to when everything that this partition decides has been said. Nothing new while its predecessor's is not."""
        if self.redelivery is not None:
            return self.said
        overdue = self.overdue()
        until = self.time.now if self.held is None else min(self.time.now, self.held.time - 1)
        return until if overdue is None else min(until, overdue - 1)

    def hold(self, arrivals: Sequence[Arrival]) -> list[Arrival]:
        """Keeps back the record at which another version succeeds, which stands alone; gives those that are applied."""
        if len(arrivals) != 1 or successor(self.domain, arrivals[0].event) is None:
            return list(arrivals)
        self.held = arrivals[0]
        return []

    def succeed(self, domain: Domain[Any]) -> Arrival:
        """All customers have changed over; gives the record at which they did, applied from now on."""
        assert self.held is not None  # noqa: S101 - the caller's condition, said for the type checker
        held, self.held, self.domain = self.held, None, domain
        return held

    def positions(self, arrivals: Sequence[Arrival]) -> dict[str, Committed]:
        """Per input topic, what to commit once these arrivals are applied and what they emitted is acknowledged."""
        offsets = {arrival.record.topic: arrival.record.offset + 1 for arrival in arrivals}
        self.applied |= offsets
        self.appended_at = max(arrival.record.timestamp for arrival in arrivals)
        return {topic: Committed(offset, self.time.to_metadata(topic)) for topic, offset in offsets.items()}

    def key(self, topic: str) -> str:
        return position_key(topic, self.partition)

    def _stands_alone(self, arrival: Arrival) -> bool:
        data = arrival.event.data if arrival.event else None
        if isinstance(data, HistoryBegan | HistoryEnded) or asks_to_resume(arrival, self.domain.service):
            return True
        return successor(self.domain, arrival.event) is not None
