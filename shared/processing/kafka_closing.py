"""The time that closing a client of Kafka may take: aiokafka's own ways to stop take our cancellations for those of their tasks,
raise theirs at us, and may wait for ever."""

import asyncio
import logging
from collections.abc import Coroutine, Iterable
from typing import Any

FAREWELL = 10.0
"""Seconds that a client has to say goodbye: to leave its group, to send what is queued."""
AT_ONCE = 1.0
"""Seconds that is given to what was told to stop at once."""

_log = logging.getLogger(__name__)


async def apart(work: Coroutine[Any, Any, Any], seconds: float) -> None:
    """In a task of its own and for so long, then cancelled. Raises nothing but a cancellation of whoever waits."""
    task = asyncio.create_task(work)
    task.add_done_callback(take_notice)
    try:
        await asyncio.wait({task}, timeout=seconds)
    finally:
        if not task.done():
            task.cancel()
            await asyncio.wait({task}, timeout=AT_ONCE)


def cancel(tasks: Iterable[asyncio.Task[Any]]) -> None:
    for task in tasks:
        task.cancel()
        task.add_done_callback(take_notice)


async def gone(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Of tasks that were cancelled: one that waited for another took it for the other's, and is told again."""
    for _ in range(2):
        alive = {task for task in tasks if not task.done()}
        if alive:
            await asyncio.wait(alive, timeout=AT_ONCE)
            cancel(task for task in alive if not task.done())


def take_notice(ended: asyncio.Future[Any]) -> None:
    """For what may fail when nobody waits for it any more."""
    if not ended.cancelled() and (error := ended.exception()) is not None:
        _log.debug("what nobody waits for any more failed: %s", type(error).__name__)
