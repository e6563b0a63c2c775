"""What time alone does: nothing that ends is overlooked, and the change says what expired."""

import pytest

from shared.clock import DAY
from shared.events.segments import Because, SegmentsChanged
from tests.support.segmentation_drive import driven
from tests.unit.segmentation_story import T0, bought, course, rules, said

STREAMS = """
streams:
  opinions: [{on: survey.answered, value: nps, as: {promoter: ">= 9", passive: ">= 7", detractor: ">= 0"}}]
  touches: [{on: visit.held, points: 5}]
"""


def last(found: list[tuple[int, SegmentsChanged]], dimension: str) -> Because:
    return [c.because for _, event in found for c in event.changes if c.dimension == dimension][-1]


def test_a_dwell_ends_also_where_no_window_moves_the_dimension() -> None:
    domain = rules("""
metrics: {ever: {count: purchases}}
dimensions:
  buyer: {hold_for: 10d, cases: [{value: "yes", when: ever >= 1}], otherwise: "no"}
  gold: {hold_for: 10d, cases: [{value: "yes", when: facet.custom.tier = gold}], otherwise: "no"}
  both: {hold_for: 10d, cases: [{value: "yes", when: [buyer = yes, gold = yes]}], otherwise: "no"}
""")
    facts = [said("registered", 0), bought(1, "1"), said("corrected", 2, changes={"custom.tier": {"to": "gold"}})]
    found, drive = driven(domain, facts, T0 + 300 * DAY)
    assert [course(found, name) for name in ("buyer", "gold", "both")] == [[(0, "no"), (10, "yes")]] * 3
    assert drive.idle == 0


def test_a_dwell_in_no_value_ends_too() -> None:
    domain = rules("dimensions: {gold: {hold_for: 10d, cases: [{value: 'yes', when: facet.custom.tier = gold}]}}")
    tiers = [(1, "gold"), (2, "silver"), (12, "gold")]
    facts = [said("corrected", day, changes={"custom.tier": {"to": tier}}) for day, tier in tiers]
    found, drive = driven(domain, facts, T0 + 300 * DAY)
    assert course(found, "gold") == [(1, "yes"), (11, None), (21, "yes")]
    assert drive.idle == 0


def test_a_label_that_is_not_the_newest_ends_with_its_window() -> None:
    domain = rules(
        STREAMS
        + """
metrics: {opinion: {newest: opinions, within: 180d}}
dimensions:
  unhappy: {cases: [{value: "yes", when: opinion != promoter}], otherwise: "no"}
"""
    )
    found, drive = driven(domain, [said("survey.answered", 0, survey="s", nps=3)], T0 + 400 * DAY)
    assert course(found, "unhappy") == [(0, "yes"), (180, "no")]
    assert domain.because(drive.state, T0 + 400 * DAY).keys() == {"unhappy"}


def test_a_change_by_time_names_what_expired_where_there_was_no_value_before() -> None:
    domain = rules(
        STREAMS
        + """
metrics: {points: {points: touches, within: 30d}}
dimensions:
  quiet: {cases: [{value: "yes", when: points < 5}]}
  calm: {cases: [{value: "yes", when: quiet = yes}]}
"""
    )
    facts = [said("visit.held", 0, "old"), said("visit.held", 3, "late", late=1), said("visit.held", 4, "new")]
    found, _ = driven(domain, facts, T0 + 90 * DAY)
    for dimension in ("quiet", "calm"):
        assert course(found, dimension) == [(34, "yes")]
        assert last(found, dimension).expired == ("old", "late", "new")


BELOW = (
    STREAMS
    + """
metrics:
  points: {points: touches, within: 30d}
  ever: {count: purchases}
  year: {count: purchases, within: 365d}
dimensions:
  base: {cases: [{value: warm, when: points >= 5}, {value: buyer, when: ever >= 1}], otherwise: none}
  top: {cases: [{value: "yes", when: base = warm}], otherwise: "no"}
  twice:
    cases:
      - {value: good, when: year >= 9}
      - {value: fair, when: year >= 8}
      - {value: good, when: points >= 5}
      - {value: poor, when: ever >= 1}
    otherwise: none
composites:
  touched: {when: base = warm}
  cooled: {when: ever base in buyer}
"""
)


@pytest.mark.parametrize("dimension", ["top", "composites", "twice"])
def test_a_change_by_time_names_what_expired_below(dimension: str) -> None:
    found, _ = driven(rules(BELOW), [bought(0, "1", "p"), said("visit.held", 1, "v")], T0 + 40 * DAY)
    because = last(found, dimension)
    assert because.expired == ("v",)
    assert because.events == ("p",)
    assert because.values["points"].value == 0


def test_what_is_remembered_from_now_on_says_why() -> None:
    alone = BELOW.replace("  touched: {when: base = warm}\n", "")
    found, _ = driven(rules(alone), [said("visit.held", 0, "v"), bought(1, "1", "p")], T0 + 40 * DAY)
    assert course(found, "composites") == [(30, ("cooled",))]
    assert (last(found, "composites").events, last(found, "composites").expired) == (("p",), ("v",))
