"""Looking for cycles seldom must not mean never: what does form cycles is still freed."""

import gc
import weakref
from collections.abc import Iterator

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
