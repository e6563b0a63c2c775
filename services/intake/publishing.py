"""The last steps of what was taken in: sent in order, acknowledged, written down as sent."""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from services.intake.batches import Accepted, Batch, messages
from services.intake.domain import position
from services.intake.store import IntakeStore
from shared.ending import together
from shared.processing.ports import LogWriter, TransientError

PAUSE = 0.2
"""Seconds between attempts when the store does not answer."""

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Job:
    """A claimed batch on its way. `answers`: by entry, set once Kafka has acknowledged."""

    batch: Batch
    live: Sequence[int]
    done: asyncio.Future[dict[int, str | None]]
    size: int = field(init=False)

    def __post_init__(self) -> None:
        self.size = sum(len(self.batch.entries[index].lines) for index in self.live)

    def accepted(self, index: int, positions: dict[int, str | None]) -> Accepted:
        entry = self.batch.entries[index]
        return Accepted(entry.event_id, entry.customer_id, entry.registered, positions.get(index))


class Publisher:
    """One queue, sent strictly in its order: what could not be sent yet is always sent before what came later."""

    def __init__(self, store: IntakeStore, writer: LogWriter, published: Callable[[int], None]) -> None:
        self._store = store
        self._writer = writer
        self._published = published
        self._queue: deque[Job] = deque()
        self._sent: deque[tuple[Job, dict[int, str | None]]] = deque()
        self._work = asyncio.Event()
        self._more_sent = asyncio.Event()
        self.jobs: dict[str, Job] = {}
        self.idle = asyncio.Event()
        self.idle.set()
        self.failing = False
        self.queued = 0

    def put(self, batch: Batch, live: Sequence[int]) -> Job:
        job = Job(batch, live, asyncio.get_running_loop().create_future())
        self.jobs[batch.id] = job
        self._queue.append(job)
        self.queued += job.size
        self.idle.clear()
        self._work.set()
        return job

    async def run(self) -> None:
        """Until cancelled. FatalError: sending again cannot help."""
        await together(self._send(), self._write_down())

    async def drained(self) -> None:
        """Returns when everything put so far is sent and written down."""
        while self.jobs:  # noqa: ASYNC110 - only at the end of the process
            await asyncio.sleep(0.01)

    async def _send(self) -> None:
        while True:
            await self._work.wait()
            self._work.clear()
            while self._queue:
                jobs = list(self._queue)
                try:
                    await self._publish(jobs)
                except TransientError:
                    self.failing = True
                    log.warning(
                        "kafka does not acknowledge; what was accepted is kept and sent again",
                        extra={"queued": self.queued},
                    )

    async def _publish(self, jobs: list[Job]) -> None:
        places = await self._writer.publish([m for job in jobs for m in messages(job.batch, job.live)])
        self.failing = False
        at = 0
        for job in jobs:
            positions: dict[int, str | None] = {}
            for index in job.live:
                count = len(job.batch.entries[index].lines)
                at += count
                positions[index] = position(*places[at - 1]) if count else None
            self._queue.popleft()
            self.queued -= job.size
            self._published(job.size)
            job.done.set_result(positions)
            self._sent.append((job, positions))
        if not self._queue:
            self.idle.set()
        self._more_sent.set()

    async def _write_down(self) -> None:
        while True:
            await self._more_sent.wait()
            self._more_sent.clear()
            while self._sent:
                job, positions = self._sent[0]
                try:
                    await self._store.acknowledge(job.batch.id, positions)
                except TransientError:
                    await asyncio.sleep(PAUSE)
                    continue
                self._sent.popleft()
                self.jobs.pop(job.batch.id, None)
