"""Under rules drawn at random, looking ahead overlooks nothing: the same changes as from looking at every half day."""

from operator import eq
from random import Random
from typing import Any

import pytest

from services.segmentation.measures.facts import Facts, Moment, Standing, record_of
from services.segmentation.measures.metrics import Newest, crossing_by_steps
from services.segmentation.measures.windows import Window
from services.segmentation.state import CustomerState
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


class Stuck(Newest):
    """Its next step is always now."""

    def at(self, _moment: Moment) -> None:
        return None

    def step(self, moment: Moment) -> int:
        return moment.at


def test_a_search_that_does_not_get_on_ends() -> None:
    """Such a customer is parked; a worker that searched on would never be heard of again."""
    moment = Moment(Facts(record_of(CustomerState(customer_id="c")), {}), Standing({}, set(), {}), T0)
    stuck = Stuck("stuck", "surveys", Window(DAY), ())
    with pytest.raises(ValueError, match="not after its moment"):
        crossing_by_steps(stuck, moment, eq, "10", T0 + DAY)
