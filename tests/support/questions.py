"""Questions to the whole log that need no log: other processes must be able to import them."""

import asyncio
import gc
import os
import signal
from dataclasses import dataclass

from services.segmentation.questions.sweep import Report
from shared.processing.ports import FatalError, LogScanner
from tests.support.heaps import heaps

MUCH = 8_000_000
"""Bytes that no pipe takes before somebody reads them."""


@dataclass(frozen=True, slots=True)
class Twice:
    """Twice the stop, and who worked it out."""

    async def ask(self, number: int, stop: int, _scanner: LogScanner, report: Report) -> tuple[int, int, int]:
        report(stop)
        return number, 2 * stop, os.getpid()


@dataclass(frozen=True, slots=True)
class Refusing:
    async def ask(self, number: int, _stop: int, _scanner: LogScanner, _report: Report) -> None:
        raise FatalError(f"partition {number} is not for you")


@dataclass(frozen=True, slots=True)
class Dying:
    async def ask(self, _number: int, _stop: int, _scanner: LogScanner, _report: Report) -> None:
        os._exit(9)


@dataclass(frozen=True, slots=True)
class Copious:
    async def ask(self, _number: int, _stop: int, _scanner: LogScanner, _report: Report) -> bytes:
        return bytes(MUCH)


@dataclass(frozen=True, slots=True)
class Endless:
    async def ask(self, _number: int, _stop: int, _scanner: LogScanner, report: Report) -> None:
        while True:
            report(0)
            await asyncio.sleep(0.01)


@dataclass(frozen=True, slots=True)
class Torn:
    """Of the first partition the number; killed in the middle of the next answer, if nobody reads it for a second."""

    async def ask(self, number: int, _stop: int, _scanner: LogScanner, _report: Report) -> int | bytes:
        if number == 0:
            return number
        signal.alarm(1)
        return bytes(MUCH)


@dataclass(frozen=True, slots=True)
class Memory:
    """How often its process looks for cycles, and how many heaps its threads make."""

    async def ask(
        self, _number: int, _stop: int, _scanner: LogScanner, _report: Report
    ) -> tuple[tuple[int, int, int], int]:
        return gc.get_threshold(), heaps()
