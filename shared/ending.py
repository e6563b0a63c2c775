"""Ending tasks for good: a library that takes a cancellation for its own swallows it, and the task would go on for ever."""

import asyncio
from typing import Any

AGAIN_AFTER = 6.0
"""Seconds, longer than requests under way are given: what ends in good order is not disturbed."""


async def end(*tasks: "asyncio.Task[Any]") -> list[Any]:
    """Cancels until all have ended. What each gave or raised, as `asyncio.gather` with `return_exceptions` tells it."""
    waiting = set(tasks)
    while waiting:
        for task in waiting:
            task.cancel()
        _, waiting = await asyncio.wait(waiting, timeout=AGAIN_AFTER)
    return await asyncio.gather(*tasks, return_exceptions=True)
