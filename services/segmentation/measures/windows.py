"""Windows of time: (now - within, now - until], so that an entry at p leaves at exactly p + within."""

from bisect import bisect_right
from collections.abc import Sequence
from typing import NamedTuple

from services.segmentation.measures.facts import FOREVER
from shared.clock import Instant


class Window(NamedTuple):
    """Milliseconds; `within` None: all that ever was."""

    within: int | None
    until: int = 0


def reached(instants: Sequence[Instant], instant: Instant) -> int:
    """How many of them (ascending) are not after the instant: so many lie behind a window that begins, or ends, there."""
    return bisect_right(instants, instant)


def bounds(window: Window, instants: Sequence[Instant], at: Instant) -> tuple[int, int]:
    """Entries with low <= index < high are inside at that instant, which no entry is after."""
    within, until = window
    low = 0 if within is None else reached(instants, at - within)
    return low, reached(instants, at - until) if until else len(instants)


def next_step(window: Window, instants: Sequence[Instant], at: Instant) -> Instant:
    """The first instant after `at` at which an entry leaves, or comes in."""
    within, until = window
    if within is None:
        return FOREVER
    low, high = bounds(window, instants, at)
    count = len(instants)
    leaves = instants[low] + within if low < count else FOREVER
    enters = instants[high] + until if high < count else FOREVER
    return min(leaves, enters)


def left(window: Window, instants: Sequence[Instant], since: Instant, at: Instant) -> tuple[int, int]:
    """The range of what left the window in (since, at], at most one length of the window back."""
    within = window.within
    if within is None:
        return 0, 0
    return reached(instants, max(since, at - within) - within), reached(instants, at - within)
