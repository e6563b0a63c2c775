"""Segmentation agrees with an independent recomputation on values, instants, order and reasons."""

import csv
import os
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from services.segmentation.domain import SegmentationDomain
from shared.clock import to_instant
from tests.support.segmentation_agreement import Tally, agree
from tests.support.segmentation_drive import standard_domain
from tests.support.segmentation_facts import Fact
from tests.support.segmentation_histories import YEAR, histories
from tests.support.segmentation_oracle import Meaning
from tests.support.segmentation_standard import STANDARD

SAMPLE = Path(__file__).parents[2] / "deploy" / "data" / "cdnow_sample.csv"
HISTORIES = int(os.environ.get("GUANXI_TEST_HISTORIES", "250"))


@pytest.fixture(scope="module")
def domain() -> SegmentationDomain:
    return standard_domain()


@pytest.fixture(scope="module")
def meaning(domain: SegmentationDomain) -> Meaning:
    rules = domain.program.rules
    composites = getattr(rules, "composites", {})
    return replace(
        STANDARD,
        dimensions={name: STANDARD.dimensions[name] for name in rules.dimensions},
        composites={name: STANDARD.composites[name] for name in composites},
    )


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


def test_every_customer_of_the_sample(domain: SegmentationDomain, meaning: Meaning) -> None:
    end, tally = to_instant(datetime(2000, 1, 1, tzinfo=UTC)), Tally()
    for facts in sample().values():
        agree(meaning, domain, facts, end, tally)
    assert tally.changes > 10_000


@settings(
    max_examples=HISTORIES, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
@given(facts=histories())
def test_made_up_histories(domain: SegmentationDomain, meaning: Meaning, facts: list[Fact]) -> None:
    agree(meaning, domain, facts, facts[-1].at + 4 * YEAR, Tally())
