"""Beside the worker: reports how far each partition is, notices a rebuild's pause and its switch, and measures lag."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping

from shared.clock import SECOND, Clock, Instant
from shared.processing.control import ControlStore, Pause, Progress
from shared.processing.metrics import EngineMetrics
from shared.processing.owned import Owned
from shared.processing.ports import TransientError
from shared.processing.records import TopicPartition
from shared.processing.worker import Worker

_log = logging.getLogger(__name__)

EVERY = 0.5
"""Seconds between beats."""

EndOffsets = Callable[[list[TopicPartition]], Awaitable[Mapping[TopicPartition, int]]]
Switched = Callable[[str], None]


class Heartbeat:
    """`ends` tells the log's end offsets; `switched` is called when the live collection has become another than `collection`,
    with which the worker began."""

    def __init__(
        self,
        worker: Worker,
        name: str,
        control: ControlStore,
        ends: EndOffsets,
        switched: Switched,
        metrics: EngineMetrics,
        clock: Clock,
        collection: str,
    ) -> None:
        self._worker = worker
        self._name = name
        self._control = control
        self._ends = ends
        self._switched = switched
        self._metrics = metrics
        self._clock = clock
        self._collection = collection
        self._keeps: Instant = 0
        self.beat_at = 0

    async def run(self) -> None:
        while True:
            try:
                await self.beat()
            except TransientError:
                _log.warning("heartbeat failed", extra={"worker": self._name})
            await asyncio.sleep(EVERY)

    async def beat(self) -> None:
        pause = await self._control.pause()
        await self._obey(pause)
        progress = await self._measure()
        await self._control.report(progress)
        self.beat_at = self._clock()

    async def _obey(self, pause: Pause) -> None:
        """Pausing waits for the batch in hand; going on with another collection starts from what that one says."""
        holds = pause.holds(self._clock())
        moved = pause.collection != self._collection
        self._keeps = pause.until if holds else 0
        if holds == self._worker.paused and not moved:
            return
        folded = await self._control.folded() if moved else {}
        async with self._worker.ownership.at_rest():
            if moved:
                self._switched(pause.collection)
                await self._worker.ownership.start_again(folded)
                self._collection = pause.collection
            self._worker.paused = holds

    async def _measure(self) -> list[Progress]:
        owned = dict(self._worker.owned)
        inputs = [TopicPartition(topic, number) for number, part in owned.items() for topic in part.next]
        ends = await self._ends(inputs) if inputs else {}
        return [self._progress(part, ends) for part in owned.values()]

    def _progress(self, part: Owned, ends: Mapping[TopicPartition, int]) -> Progress:
        now = self._clock()
        lag = 0
        for topic, offset in part.applied.items():
            waiting = max(0, ends.get(TopicPartition(topic, part.partition), offset) - offset)
            self._metrics.lag_events.labels(part.key(topic)).set(waiting)
            lag += waiting
        since = part.appended_at if part.appended_at is not None else part.time.now
        behind = max(0.0, (now - since) / SECOND) if lag else 0.0
        self._metrics.behind_seconds.labels(str(part.partition)).set(behind)
        keeps = self._keeps if self._worker.still else 0
        return Progress(part.partition, self._name, part.time.now, behind, lag, keeps, now)
