"""What follows a saved batch while the next one is decided: it is published, committed, and its unsent marks are cleared."""

import asyncio
from collections.abc import Coroutine, Mapping
from typing import Any


class Closing:
    """One at a time. Whoever saves, commits, takes partitions over or gives them up waits for it first."""

    def __init__(self) -> None:
        self._task: asyncio.Task[Mapping[str, int]] | None = None

    def begin(self, work: Coroutine[Any, Any, Mapping[str, int]]) -> None:
        """`work` gives the revisions whose unsent marks it cleared, per customer."""
        self._task = asyncio.create_task(work)

    @property
    def begun(self) -> bool:
        return self._task is not None

    async def done(self) -> Mapping[str, int]:
        """What it gave, or raised, to the first who waits; to all others, nothing."""
        task, self._task = self._task, None
        return {} if task is None else await task
