"""How fast a log was worked off, and what it cost: by the wall clock, and in processor time, which neighbours disturb less."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

ENDED = "Z"
"""The kernel's word for a process that has ended and whom nobody has waited for."""


class Sight(NamedTuple):
    """What was seen at one moment. `at`: monotonic seconds; `processor`: seconds that the watched processes have used."""

    at: float
    committed: int
    processor: float = 0.0


class Pace(NamedTuple):
    """`rate`: events per second. `processor`: microseconds of processor time per event, of the worker processes alone."""

    rate: float
    processor: float


def pace(seen: Sequence[Sight], before: int = 0) -> Pace:
    """From the last moment at which no more than `before` was committed to the moment all was: start-up is left out."""
    begun = max((sight for sight in seen if sight.committed <= before), default=seen[0])
    ended = seen[-1]
    events = ended.committed - begun.committed
    return Pace(events / max(ended.at - begun.at, 0.001), (ended.processor - begun.processor) * 1e6 / max(events, 1))


def processor_seconds(pids: Iterable[int]) -> float:
    """RuntimeError where one of our own has ended: nobody should wait for what it will never do."""
    return sum(map(_processor_seconds, pids))


def _processor_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    if fields[0] == ENDED:
        raise RuntimeError(f"process {pid} has ended; what it said last stands above")
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
