"""Ending for good: a library that takes a cancellation for its own swallows it, and what was to end would go on for ever."""

import asyncio
import logging
import os
import signal
import threading
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, TypeVar

T = TypeVar("T")

AGAIN_AFTER = 6.0
"""Seconds, longer than requests under way are given: what ends in good order is not disturbed."""
GONE_WITHIN = 14.5
"""Seconds after which a process that was told to go is gone: a store or a broker that fell silent may hold up its end for
longer than an operator waits. What was not committed by then is read again by whoever comes next."""

_log = logging.getLogger(__name__)


async def end(*tasks: "asyncio.Task[Any]") -> list[Any]:
    """Cancels until all have ended, also where it is cancelled itself meanwhile. What each gave or raised, as
    `asyncio.gather` with `return_exceptions` tells it."""
    waiting, cancelled = {task for task in tasks if not task.done()}, False
    while waiting:
        for task in waiting:
            task.cancel()
        try:
            await asyncio.wait(waiting, timeout=AGAIN_AFTER)
        except asyncio.CancelledError:
            cancelled = True
        waiting = {task for task in waiting if not task.done()}
    if cancelled:
        raise asyncio.CancelledError
    return await asyncio.gather(*tasks, return_exceptions=True)


async def together(*works: Coroutine[Any, Any, None]) -> None:
    """Until one of them ends or fails, or until cancelled: then all are ended. Raises what one of them raised.

    A TaskGroup would tell each only once.
    """
    tasks = [asyncio.create_task(work) for work in works]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        outcomes = await end(*tasks)
    failure = failure_among(outcomes)
    if failure is not None:
        raise failure


def failure_among(outcomes: Iterable[Any]) -> Exception | None:
    """The first of what `end` tells that is more than a cancellation."""
    return next((outcome for outcome in outcomes if isinstance(outcome, Exception)), None)


async def to_its_end(work: Coroutine[Any, Any, T]) -> T:
    """A cancellation is heard when it is done: a driver's thread does its part in any case, maybe behind what comes next."""
    task, cancelled = asyncio.create_task(work), False
    while not task.done():
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError:
            cancelled = True
    result = task.result()
    if cancelled:
        raise asyncio.CancelledError
    return result


def on_stop(told: Callable[[], None]) -> None:
    """Calls `told` at SIGTERM and SIGINT; the process is gone within GONE_WITHIN, whatever it waits for."""

    def leave() -> None:
        told()
        timer = threading.Timer(GONE_WITHIN, _leave)
        timer.daemon = True
        timer.start()

    for signum in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(signum, leave)


def _leave() -> None:
    _log.error("the end took too long; what was not committed is read again by whoever comes next")
    logging.shutdown()
    os._exit(1)
