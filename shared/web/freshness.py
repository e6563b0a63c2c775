"""How fresh an answer is: the log's time that was applied, and how far that is behind."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TypedDict

from shared.clock import Instant, to_rfc3339


@dataclass(frozen=True, slots=True)
class PartitionProgress:
    """`time`: the partition's time, up to which all is applied. `behind_seconds`: age of the oldest other record."""

    time: Instant
    behind_seconds: float


class AsOf(TypedDict):
    """Both None where nothing is known yet: an honest null instead of a fresh-looking zero."""

    as_of: str | None
    behind_seconds: float | None


Read = Callable[[], Awaitable[Mapping[int, PartitionProgress]]]


class Freshness:
    """Spread into an answer: `{"members": …, **await freshness.of(None)}`."""

    def __init__(self, read: Read) -> None:
        self._read = read

    async def of(self, partition: int | None) -> AsOf:
        """Of one partition (a customer's); None: the least over all that have seen a record, for answers about many."""
        progress = await self._read()
        numbers = progress.keys() if partition is None else progress.keys() & {partition}
        chosen = [progress[number] for number in numbers if progress[number].time]
        if not chosen:
            return {"as_of": None, "behind_seconds": None}
        behind = max(p.behind_seconds for p in chosen)
        return {"as_of": to_rfc3339(min(p.time for p in chosen)), "behind_seconds": behind}
