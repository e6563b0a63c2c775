"""How a rebuild and the workers agree: one control document that asks for a pause, one progress document per partition that answers."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from shared.clock import SECOND, Instant
from shared.processing.records import Committed

FRESH = 5 * SECOND
"""A progress document older than this is most likely of a worker that is gone: good enough for people, not for a rebuild."""
Folded = Mapping[int, Mapping[str, Committed]]
"""Per partition and topic: from where what a collection holds goes on."""

PAUSE_LASTS = 60 * SECOND
"""A pause that nobody renews ends by itself: a rebuild that died must not stop the service."""


@dataclass(frozen=True, slots=True)
class Progress:
    """What the owner of a partition last said. `behind` in seconds, `lag` in records, `written_at` by its wall clock.

    `keeps`: the pause that it holds still for, by that pause's `until`; 0: it works.
    """

    partition: int
    worker: str
    time: Instant
    behind: float
    lag: int
    keeps: Instant
    written_at: Instant


def behind_now(progress: Progress, now: Instant) -> float:
    """Seconds. Where its owner has said nothing for a while, nobody knows that nothing waits: then its silence counts."""
    silent = now - progress.written_at
    return progress.behind if silent < FRESH else progress.behind + silent / SECOND


@dataclass(frozen=True, slots=True)
class Pause:
    """Asked for until an instant of the wall clock; `collection` is where the documents are now."""

    until: Instant
    collection: str

    def holds(self, now: Instant) -> bool:
        return now < self.until


class ControlStore(Protocol):
    async def pause(self) -> Pause: ...

    async def ask_pause(self, until: Instant) -> None: ...

    async def switch(self, collection: str, folded: Folded) -> None:
        """From now on `collection` is the live one, and the pause is over."""

    async def folded(self) -> Folded:
        """Of the live collection, as of the switch. Nothing where there was none yet."""

    async def report(self, progress: list[Progress]) -> None: ...

    async def progress(self) -> list[Progress]: ...
