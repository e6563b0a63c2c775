"""An event loop without waiting: when nothing is ready, its time jumps to the next timer. Same program, same order, always."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class Deadlock(Exception):
    """Nothing is ready and nothing ever will be."""


class Endless(Exception):
    """Something goes round without end."""


MOST_TURNS = 400_000


class VirtualLoop(asyncio.BaseEventLoop):
    def __init__(self) -> None:
        super().__init__()
        self._now = 0.0
        self._turns = 0
        self._selector = self
        self._clock_resolution = 1e-9

    def time(self) -> float:
        return self._now

    def select(self, timeout: float | None) -> list[Any]:
        if timeout is None:
            raise Deadlock
        self._turns += 1
        if self._turns > MOST_TURNS:
            raise Endless
        self._now += max(timeout, 0.0)
        return []

    def _process_events(self, events: list[Any]) -> None:
        """No sockets here."""

    def _write_to_self(self) -> None:
        """No other thread here."""


def run(main: Coroutine[Any, Any, T]) -> T:
    """Like `asyncio.run`, in virtual time; tasks that are left over are cancelled."""
    loop = VirtualLoop()
    try:
        asyncio.set_event_loop(loop)
        return loop.run_until_complete(main)
    finally:
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.call_soon(loop.stop)
        loop.run_forever()
        asyncio.set_event_loop(None)
        loop.close()
