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


HEAPS = """
import ctypes, sys, threading
from shared.processing.garbage import one_arena
if sys.argv[1] == "one" and not one_arena():
    sys.exit(77)
kept = []
threads = [threading.Thread(target=lambda: kept.extend(bytearray(10_000) for _ in range(100))) for _ in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
libc = ctypes.CDLL(None)
libc.fopen.restype = ctypes.c_void_p
file = ctypes.c_void_p(libc.fopen(sys.argv[2].encode(), b"w"))
libc.malloc_info(0, file)
libc.fclose(file)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="skipped, because only glibc has arenas to count")
def test_threads_allocate_from_one_arena(tmp_path: Path) -> None:
    heaps = {}
    for arenas in ("many", "one"):
        told = tmp_path / arenas
        subprocess.run([sys.executable, "-c", HEAPS, arenas, str(told)], check=True, timeout=120)
        heaps[arenas] = told.read_text().count("<heap nr=")
    assert heaps["one"] == 1 < heaps["many"]
