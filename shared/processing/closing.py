"""What follows a saved batch while the next one is decided: it is published, committed, and its unsent marks are cleared."""

import asyncio
from collections.abc import Coroutine, Mapping
from typing import Any


class Closing:
    """One at a time. Whoever saves, commits, takes partitions over or gives them up waits for it first."""

    def __init__(self) -> None:
        self._task: asyncio.Task[Mapping[str, int]] | None = None
        self._failure: Exception | None = None

    def begin(self, work: Coroutine[Any, Any, Mapping[str, int]]) -> None:
        """`work` gives the revisions whose unsent marks it cleared, per customer."""
        self._task = asyncio.create_task(work)

    @property
    def begun(self) -> bool:
        return self._task is not None

    async def done(self) -> Mapping[str, int]:
        """What it gave, to the first who waits; what it raised, to everybody from then on: whoever hears it first may not be
        the one that would go on."""
        if self._failure is not None:
            raise self._failure
        task, self._task = self._task, None
        try:
            return {} if task is None else await task
        except Exception as error:
            self._failure = error
            raise
