"""Reading topics beside the engine, in a group of one's own: batches are handed on, and committed once they took effect."""

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping, Sequence, Set
from typing import Protocol

from shared.processing.ports import LogReader, Sleeper, TransientError
from shared.processing.records import Committed, Record, TopicPartition
from shared.processing.retry import Retry

_log = logging.getLogger(__name__)

LIMIT = 2_000
WAIT = 0.5
"""Seconds that a fetch may wait for records."""
GATHER_MS = 100
"""How long Kafka gathers what a follower's next fetch shall bring."""
GAP = 0.2
"""Seconds between batches: a few large ones cost the store less than many small ones."""
LONGEST_ASIDE = 5.0
"""Seconds that a batch waits at most for who goes first: under endless load a follower still goes on, slowly."""
FEW = 500
"""Records of a batch that is taken although somebody else should go first."""
COMMIT_EVERY = 1.0

MakeReader = Callable[[], LogReader]
GoesFirst = Callable[[], bool]


class Seat(Protocol):
    """What a listener may ask of its follower between batches."""

    @property
    def owned(self) -> Collection[TopicPartition]: ...

    def read_to_end(self, partition: TopicPartition) -> bool: ...

    def position(self, partition: TopicPartition) -> int | None:
        """From where on records are still to be handed out. None where it went to somebody else, also in mid-turn."""

    async def rewind(self, positions: Mapping[TopicPartition, int]) -> bool:
        """Commits these positions and reads on from them. False: not committed, so nothing has changed."""


class Listener(Protocol):
    """Whoever is followed for. Everything may be repeated: after a crash, a failed commit, an unknown outcome."""

    def begin(self) -> None:
        """Other partitions are owned now: whatever was held in memory of them is void."""

    async def take(self, records: Sequence[Record]) -> None:
        """In order per partition. When it returns, the effect is durable."""

    async def turn(self, seat: Seat) -> None:
        """Between batches, also where nothing comes."""

    def held(self) -> Mapping[TopicPartition, int]:
        """Offsets beyond which nothing may be committed yet, because what they began is not finished."""


class Follower:
    """A member of a group of its own. `make_reader`: a reader lives once, so a broken connection needs a new one.

    `goes_first`: whether something more urgent is at work in this process; then the follower steps aside.
    """

    def __init__(
        self, make_reader: MakeReader, listener: Listener, retry: Retry, goes_first: GoesFirst, sleep: Sleeper
    ) -> None:
        self._make_reader = make_reader
        self._listener = listener
        self._retry = retry
        self._goes_first = goes_first
        self._sleep = sleep
        self._owned: tuple[TopicPartition, ...] = ()
        self._changed = False
        self._at: dict[TopicPartition, int] = {}
        self._heard: dict[TopicPartition, int] = {}
        self._said: dict[TopicPartition, int] = {}

    async def run(self) -> None:
        """Until cancelled. FatalError: an operator must help."""
        while True:
            try:
                await self._follow()
            except TransientError:
                _log.warning("kafka does not answer; following again")
                await self._sleep(1)

    async def _follow(self) -> None:
        try:
            await self.start()
            await self._listen()
        finally:
            await self._reader.stop()

    async def start(self) -> None:
        """Joins the group; whoever steps the follower by hand begins with it."""
        self._reader = self._make_reader()
        await self._reader.start(self._assigned, self._revoked)

    async def _listen(self) -> None:
        loop = asyncio.get_running_loop()
        committed_at = loop.time()
        while True:
            await self.step()
            if loop.time() - committed_at > COMMIT_EVERY:
                await self.commit()
                committed_at = loop.time()
            await self._rest()

    async def step(self) -> int:
        """One batch and what comes between batches; how many records were taken."""
        fetched = await self._reader.fetch(FEW if self._goes_first() else LIMIT, WAIT)
        if self._changed:
            self._changed = False
            self._listener.begin()
        if fetched.epoch != self._reader.epoch():
            self._seek_back({record.source for record in fetched.records})
            return 0
        if fetched.records:
            await self._retry("following the log", lambda: self._listener.take(fetched.records))
        if fetched.epoch == self._reader.epoch():
            self._heard |= {record.source: record.offset + 1 for record in fetched.records}
            self._at |= self._heard
            await self._retry("following the log", lambda: self._listener.turn(self))
        return len(fetched.records)

    def _seek_back(self, partitions: Set[TopicPartition]) -> None:
        """A poll that began before a rebalance may hand out records from behind it: the client has moved over them."""
        for partition in partitions & self._at.keys():
            self._reader.seek(partition, self._at[partition])

    @property
    def owned(self) -> Collection[TopicPartition]:
        return self._owned

    def read_to_end(self, partition: TopicPartition) -> bool:
        return self._reader.read_to_end(partition)

    def position(self, partition: TopicPartition) -> int | None:
        """As Seat."""
        return self._at.get(partition)

    async def rewind(self, positions: Mapping[TopicPartition, int]) -> bool:
        """As Seat."""
        if not await self._reader.commit({partition: Committed(offset) for partition, offset in positions.items()}):
            return False
        for partition, offset in positions.items():
            self._heard.pop(partition, None)
            self._said.pop(partition, None)
            self._at[partition] = offset
            self._reader.seek(partition, offset)
        return True

    async def _assigned(self, partitions: Collection[TopicPartition]) -> None:
        self._heard.clear()
        self._said.clear()
        self._owned, self._changed = tuple(partitions), True
        committed = await self._reader.committed(partitions)
        self._at = {partition: at.offset for partition, at in committed.items()}
        for partition, offset in self._at.items():
            self._reader.seek(partition, offset)

    async def _revoked(self, _partitions: Collection[TopicPartition]) -> None:
        await self.commit()
        self._owned, self._changed = (), True

    async def commit(self) -> None:
        """What a commit could not say the next one says, also where nothing more comes: a quiet log has no lag."""
        held = self._listener.held()
        wanted = {partition: min(offset, held.get(partition, offset)) for partition, offset in self._heard.items()}
        wanted = {partition: offset for partition, offset in wanted.items() if self._said.get(partition) != offset}
        if wanted and await self._reader.commit({p: Committed(offset) for p, offset in wanted.items()}):
            self._said |= wanted

    async def _rest(self) -> None:
        waited = GAP
        await self._sleep(GAP)
        while self._goes_first() and waited < LONGEST_ASIDE:
            await self._sleep(GAP)
            waited += GAP
