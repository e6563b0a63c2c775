"""Telling a partition that time went on: requests of the services become one `clock.ticked` per partition and tenth of a second."""

import asyncio
import logging
from collections.abc import Callable

from services.intake.domain import mark_of_time, to_message
from shared.clock import MINUTE, Clock, Instant
from shared.events.customers import ClockTicked
from shared.processing.ports import LogWriter, TransientError
from shared.processing.records import Message

APART = 100
"""Milliseconds between two ticks of one partition: the first request is answered at once, those that follow share one."""

log = logging.getLogger(__name__)


class Wanted:
    """Which partitions want a tick, and when each may have it. Pure but for its own memory."""

    def __init__(self) -> None:
        self._wanted: dict[int, list[Instant]] = {}
        self._ticked: dict[int, Instant] = {}

    def want(self, partition: int, until: Instant, now: Instant) -> None:
        """Asked for far ahead of its time, it is passed over: whoever needs it asks again every second."""
        if until <= now + MINUTE:
            self._wanted.setdefault(partition, []).append(until)

    def next_at(self) -> Instant | None:
        return min((self._due_at(partition) for partition in self._wanted), default=None)

    def take(self, now: Instant) -> list[int]:
        """The partitions whose tick is due; what a tick at `now` answers is done with."""
        due = sorted(p for p in self._wanted if self._due_at(p) <= now)
        for partition in due:
            self._ticked[partition] = now
            later = [until for until in self._wanted.pop(partition) if until > now]
            if later:
                self._wanted[partition] = later
        return due

    def _due_at(self, partition: int) -> Instant:
        return max(min(self._wanted[partition]), self._ticked.get(partition, 0) + APART)


class Ticker:
    def __init__(self, writer: LogWriter, clock: Clock, ticked: Callable[[int], None]) -> None:
        self._writer = writer
        self._clock = clock
        self._ticked = ticked
        self._wanted = Wanted()
        self._asked = asyncio.Event()

    def want(self, partition: int, until: Instant) -> None:
        self._wanted.want(partition, until, self._clock())
        self._asked.set()

    async def run(self) -> None:
        while True:
            await self._wait()
            now = self._clock()
            due = self._wanted.take(now)
            if not due:
                continue
            try:
                await self._writer.publish([tick(partition, now, f"tick\0{partition}\0{now}") for partition in due])
                self._ticked(len(due))
            except TransientError:
                log.warning("ticks could not be appended; they will be asked for again", extra={"count": len(due)})

    async def _wait(self) -> None:
        self._asked.clear()
        next_at = self._wanted.next_at()
        wait = None if next_at is None else max(next_at - self._clock(), 0) / 1000
        if wait == 0:
            return
        try:
            async with asyncio.timeout(wait):
                await self._asked.wait()
        except TimeoutError:
            return


def tick(partition: int, at: Instant, identity: str, *, history: bool = False) -> Message:
    value = mark_of_time(ClockTicked.event_type, at, identity, history, {})
    return to_message(value, None, partition)
