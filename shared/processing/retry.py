"""Patience with networks, stores and brokers: in place, with backoff and jitter, bounded, then loudly no more."""

import random
from collections.abc import Awaitable, Callable, Iterator
from typing import TypeVar

from shared.clock import Clock
from shared.processing.ports import FatalError, Sleeper, TransientError

T = TypeVar("T")

FIRST_WAIT = 0.05
LONGEST_WAIT = 2.0
PATIENCE = 120.0
"""Seconds; well under `max.poll.interval` (300 s), beyond which the group would give our partitions away."""


class Retry:
    def __init__(self, sleep: Sleeper, clock: Clock, chance: random.Random, patience: float = PATIENCE) -> None:
        self._sleep = sleep
        self._clock = clock
        self._chance = chance
        self._patience = patience

    async def __call__(self, what: str, operation: Callable[[], Awaitable[T]]) -> T:
        """The operation must be harmless to repeat. FatalError when patience is over."""
        started = self._clock()
        wait = FIRST_WAIT
        while True:
            try:
                return await operation()
            except TransientError as error:
                if self._clock() - started > self._patience * 1000:
                    raise FatalError(
                        f"{what} failed for {self._patience:.0f} s ({error}): is the server up? See `guanxi status`"
                    ) from error
            await self.pause(wait)
            wait = min(wait * 2, LONGEST_WAIT)

    def attempts(self, what: str) -> Iterator[None]:
        """As many as patience allows, for a step that must begin anew each time. FatalError when it is over."""
        started = self._clock()
        while True:
            yield
            if self._clock() - started > self._patience * 1000:
                raise FatalError(f"{what} failed for {self._patience:.0f} s: is the server up? See `guanxi status`")

    async def pause(self, seconds: float = FIRST_WAIT) -> None:
        await self._sleep(seconds * self._chance.uniform(0.5, 1.0))
