"""Looking for cycles seldom must not mean never: what does form cycles is still freed."""

import gc
import platform
import subprocess
import sys
import weakref
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.processing.garbage import THRESHOLDS, collect_seldom


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    thresholds = gc.get_threshold()
    yield
    gc.unfreeze()
    gc.set_threshold(*thresholds)


class Knot:
    def __init__(self) -> None:
        self.itself = self


def test_cycles_are_still_freed_and_what_was_there_before_is_left_alone() -> None:
    collect_seldom()
    known = weakref.ref(Knot())
    assert gc.get_freeze_count() > 1_000
    kept = [[n] for n in range(3 * THRESHOLDS[0])]
    assert known() is None
    assert len(kept) == 3 * THRESHOLDS[0]


ROOT = Path(__file__).parent.parent.parent
HEAPS = """
import sys
from shared.processing.garbage import one_arena
from tests.support.heaps import heaps
if sys.argv[1] == "one" and not one_arena():
    sys.exit(77)
print(heaps())
"""


def heaps_with(arenas: str) -> int:
    command = [sys.executable, "-c", HEAPS, arenas]
    return int(subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=120).stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="skipped, because only glibc has arenas to count")
def test_threads_allocate_from_one_arena() -> None:
    assert heaps_with("one") == 1 < heaps_with("many")
