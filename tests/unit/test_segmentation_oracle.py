"""Segmentation agrees with an independent recomputation on values, instants, order and reasons."""

import csv
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.segmentation.domain import SegmentationDomain
from shared.clock import DAY, to_instant
from tests.support.segmentation_agreement import Tally, agree
from tests.support.segmentation_drive import domain_of, driven, standard_domain
from tests.support.segmentation_dwelling import DWELLING, RULES
from tests.support.segmentation_facts import Fact
from tests.support.segmentation_histories import YEAR, histories
from tests.support.segmentation_oracle import COMPOSITES, Meaning, history
from tests.support.segmentation_standard import STANDARD

SAMPLE = Path(__file__).parents[2] / "deploy" / "data" / "cdnow_sample.csv"
HISTORIES = int(os.environ.get("GUANXI_TEST_HISTORIES", "250"))
ENOUGH = 200
"""So many draw every dimension; fewer are for somebody in a hurry."""
AS_DRAWN = settings(
    max_examples=HISTORIES, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)


@pytest.fixture(scope="module")
def domain() -> SegmentationDomain:
    return standard_domain()


@pytest.fixture(scope="module")
def dwelling() -> SegmentationDomain:
    return domain_of(RULES)


@pytest.fixture
def tally(closing_line: Callable[[str], None], request: pytest.FixtureRequest) -> Iterator[Tally]:
    tally = Tally()
    yield tally
    name = request.node.name.removeprefix("test_").replace("_", " ")
    closing_line(f"oracle of segmentation, {name}: {tally}")


def sample() -> dict[str, list[Fact]]:
    """Every customer of the CDNOW sample, registered at the first purchase; equal rows stay apart."""
    customers: dict[str, list[Fact]] = {}
    with SAMPLE.open(newline="") as lines:
        for number, row in enumerate(csv.DictReader(lines)):
            day = datetime.strptime(row["purchased_on"], "%Y-%m-%d").replace(hour=12, tzinfo=UTC)
            at = to_instant(day)
            facts = customers.setdefault(row["customer_id"], [Fact("other", f"r{number}", at, at)])
            facts.append(Fact("purchase", f"p{number}", at, at, currency="USD", amount=row["amount"]))
    return {customer: sorted(facts, key=lambda fact: fact.at) for customer, facts in customers.items()}


def test_the_oracle_knows_every_standard_rule(domain: SegmentationDomain) -> None:
    rules = domain.program.rules
    assert set(rules.dimensions) == set(STANDARD.dimensions)
    assert set(rules.composites) == set(STANDARD.composites)


@settings(max_examples=25)
@given(facts=histories(20), more=st.sets(st.integers(1, 400 * DAY), min_size=10, max_size=30))
def test_the_oracle_looks_at_every_instant_that_matters(facts: list[Fact], more: set[int]) -> None:
    """Looking at others, too, finds nothing more."""
    end = facts[-1].at + 4 * YEAR
    for meaning in (STANDARD, DWELLING):
        closer = replace(meaning, spans=lambda known, meaning=meaning: meaning.spans(known) | more)
        assert _outline(closer, facts, end) == _outline(meaning, facts, end)


def _outline(meaning: Meaning, facts: list[Fact], end: int) -> list[tuple[object, ...]]:
    return [(change.at, change.moves, change.composites) for change in history(meaning, facts, end)]


def test_every_customer_of_the_sample(domain: SegmentationDomain, tally: Tally) -> None:
    end = to_instant(datetime(2000, 1, 1, tzinfo=UTC))
    for facts in sample().values():
        agree(STANDARD, domain, facts, end, tally)
    assert tally.changes > 10_000


def test_made_up_histories(domain: SegmentationDomain, tally: Tally) -> None:
    """Under the standard rules: all dimensions and composites."""

    @AS_DRAWN
    @given(facts=histories())
    def agrees(facts: list[Fact]) -> None:
        agree(STANDARD, domain, facts, facts[-1].at + 4 * YEAR, tally)

    agrees()
    assert HISTORIES < ENOUGH or tally.moved == set(STANDARD.dimensions) | {COMPOSITES}


def test_made_up_histories_under_hysteresis_and_dwell(dwelling: SegmentationDomain, tally: Tally) -> None:
    @AS_DRAWN
    @given(facts=histories())
    def agrees(facts: list[Fact]) -> None:
        agree(DWELLING, dwelling, facts, facts[-1].at + 4 * YEAR, tally)

    agrees()
    assert HISTORIES < ENOUGH or tally.moved == set(DWELLING.dimensions) | {COMPOSITES}


def test_a_dimension_in_no_value_dwells_there_too(dwelling: SegmentationDomain, tally: Tally) -> None:
    """From slow to nothing after 60 days; an answer the day after must wait until five have passed."""
    first, day = 1_153_436_400_001, DAY
    facts = [
        Fact("visit.held", "first", first, first),
        Fact("survey.answered", "late", first + 61 * day, first + 62 * day, said={"survey": "s"}),
    ]
    agree(DWELLING, dwelling, facts, first + 2 * YEAR, tally)
    found, _ = driven(dwelling, facts, first + 2 * YEAR)
    pace = [(at - first, one.to) for at, event in found for one in event.changes if one.dimension == "pace"]
    assert pace[:3] == [(0, "slow"), (60 * day, None), (65 * day, "slow")]
