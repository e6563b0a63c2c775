"""Whether Kafka and the store answer, asked every few seconds, so that readiness does not depend on traffic."""

import asyncio
from collections.abc import Awaitable, Callable

from shared.processing.ports import FatalError, TransientError

EVERY = 3.0
PATIENCE = 5.0

Ask = Callable[[], Awaitable[object]]


class Pulse:
    """`silent`: the first of those asked that did not answer the last time, None when all did."""

    def __init__(self, asked: dict[str, Ask]) -> None:
        self._asked = asked
        self.silent: str | None = None

    async def run(self) -> None:
        while True:
            self.silent = await self.beat()
            await asyncio.sleep(EVERY)

    async def beat(self) -> str | None:
        for name, ask in self._asked.items():
            try:
                async with asyncio.timeout(PATIENCE):
                    await ask()
            except (TransientError, FatalError, TimeoutError):
                return name
        return None
