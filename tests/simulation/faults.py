"""What may go wrong at a port call, and who decides that it does: chance with a seed, or a script."""

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

Fault = Literal["error", "lost", "late", "crash_before", "crash_after", "crash_late", "stall"]
"""error: nothing happened. lost: it happened, wholly or in part, and the answer did not come. late: no answer, and it happens
later. crash_*: the process is gone before, after, or while what it asked for is still under way. stall: the process stands
still until the group has given its partitions away, then goes on as if nothing had been."""

READS: tuple[Fault, ...] = ("error", "crash_before", "stall")
POSSIBLE: Mapping[str, tuple[Fault, ...]] = {
    "fetch": READS,
    "committed": READS,
    "load": READS,
    "due": READS,
    "unsent": READS,
    "read": READS,
    "range": READS,
    "parked": READS,
    "ids": READS,
    "versions": READS,
    "note": ("error", "lost", "crash_before", "crash_after", "crash_late", "stall"),
    "save": ("error", "lost", "crash_before", "crash_after", "crash_late", "stall"),
    "publish": ("error", "lost", "crash_before", "crash_after", "crash_late", "stall"),
    "commit": ("error", "lost", "late", "crash_before", "crash_after", "crash_late", "stall"),
    "clear_unsent": ("error", "lost", "crash_before", "crash_after", "crash_late", "stall"),
}


class Faults(Protocol):
    def at(self, process: str, call: str) -> Fault | None:
        """Asked once per port call, in order."""

    def heal(self) -> None:
        """From now on nothing goes wrong."""

    def lands_now(self) -> bool | None:
        """Whether what is late lands before the call that was asked about last; None: chance says when."""


class Chance:
    """Each call fails with probability `share`; the kinds are as likely as each other."""

    def __init__(self, chance: random.Random, share: float) -> None:
        self._chance = chance
        self._share = share
        self.count = 0

    def at(self, process: str, call: str) -> Fault | None:
        if self._chance.random() >= self._share:
            return None
        self.count += 1
        return self._chance.choice(POSSIBLE[call])

    def heal(self) -> None:
        self._share = 0.0

    def lands_now(self) -> None:
        return None


@dataclass
class Script:
    """Faults at the given numbers of calls; `calls` tells afterwards which call each number was. What comes late lands just
    before the call numbered `lands` (None: by chance)."""

    faults: Mapping[int, Fault]
    calls: list[str] = field(default_factory=list)
    healed: bool = False
    lands: int | None = None

    def at(self, process: str, call: str) -> Fault | None:
        if self.healed:
            return None
        self.calls.append(call)
        fault = self.faults.get(len(self.calls) - 1)
        return fault if fault in POSSIBLE[call] else None

    def heal(self) -> None:
        self.healed = True

    def lands_now(self) -> bool | None:
        return None if self.lands is None else len(self.calls) > self.lands
