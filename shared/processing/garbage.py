"""A worker's heap is tens of thousands of documents: how often Python looks for cycles there, and where threads allocate."""

import ctypes
import gc

THRESHOLDS = (10_000, 20, 50)
"""Looking through the whole heap took an eighth of a worker's processor time, and stopped it for 100 ms and more each time."""

_ARENA_MAX = -8


def prepare_heap() -> None:
    """Of a process that works on customers; before its first thread, and after its imports."""
    one_arena()
    collect_seldom()


def collect_seldom() -> None:
    """What is there already (modules, models, rules) stays for good and is never looked through again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*THRESHOLDS)


def one_arena() -> bool:
    """The driver decodes in threads, for each of which the C library would keep memory of its own: a sixth of a worker's.

    Before the first thread starts. False where the C library is not glibc (its mallopt(3), M_ARENA_MAX).
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and mallopt(_ARENA_MAX, 1) == 1
