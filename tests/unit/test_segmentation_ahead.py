"""Under rules drawn at random, looking ahead overlooks nothing: the same changes as from looking at every half day."""

from random import Random
from typing import Any

from shared.clock import DAY
from shared.events.segments import SegmentsChanged
from tests.support.segmentation_drawn import Grid, drawn_life, drawn_rules, grid
from tests.support.segmentation_drive import driven
from tests.unit.segmentation_story import T0, rules

DRAWN, LIVES = 40, 3


def outline(found: list[tuple[int, SegmentsChanged]]) -> list[tuple[Any, ...]]:
    return [(at, {c.dimension: (c.from_, c.to) for c in event.changes}, event.composites) for at, event in found]


def test_nothing_is_overlooked() -> None:
    for seed in range(DRAWN):
        draw = Random(seed)
        domain = rules(drawn_rules(draw))
        everywhere = Grid(domain.program)
        for _ in range(LIVES):
            life = drawn_life(draw, T0)
            end = life[-1].at + 45 * DAY
            everywhere.points = grid(T0, end)
            found, drive = driven(domain, life, end)
            truth, _ = driven(everywhere, life, end)
            assert outline(found) == outline(truth), (seed, life)
            assert drive.idle == 0, (seed, life)
