"""Questions to the whole log that need no log: other processes must be able to import them."""

import os
from dataclasses import dataclass

from services.segmentation.questions.sweep import Report
from shared.processing.ports import FatalError, LogScanner


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
