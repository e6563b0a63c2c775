"""Segmentation agrees with an independent recomputation on values, instants, order and reasons."""

import csv
import os
from collections.abc import Iterable
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.segmentation.domain import SegmentationDomain
from services.segmentation.spans import parse_span
from shared.clock import DAY, HOUR, to_instant
from shared.events.segments import SegmentChange, SegmentsChanged
from tests.support.segmentation_drive import driven, standard_domain
from tests.support.segmentation_oracle import Change, Fact, Measures, history

SAMPLE = Path(__file__).parents[2] / "deploy" / "data" / "cdnow_sample.csv"
HISTORIES = int(os.environ.get("GUANXI_TEST_HISTORIES", "250"))
YEAR = 365 * DAY
WINDOWED = {"purchases_in_year": False, "frequency": False, "spend_in_year": True, "monetary": True}
"""Measures of a window, and whether refunds without an order are part of it."""


@pytest.fixture(scope="module")
def domain() -> SegmentationDomain:
    return standard_domain()


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


def agree(domain: SegmentationDomain, facts: list[Fact], end: int) -> int:
    found, drive = driven(domain, facts, end)
    expected = history(facts, end)
    seen = [(at, moves_of(event), dict(event.memberships)) for at, event in found]
    assert seen == [(change.at, change.moves, change.memberships) for change in expected]
    assert drive.idle == 0, "a timer fired although nothing changed"
    since: dict[str, int] = {}
    for (_, event), change in zip(found, expected, strict=True):
        for one in event.changes:
            reasons_agree(one, change, since.get(one.dimension) if one.from_ is not None else None)
            since[one.dimension] = change.at
    return len(found)


def moves_of(event: SegmentsChanged) -> dict[str, tuple[object, object]]:
    return {change.dimension: (change.from_, change.to) for change in event.changes}


def reasons_agree(change: SegmentChange, truth: Change, since: int | None) -> None:
    """The values are the measured ones, the events are those they were made of, and what left since is named."""
    because, measures = change.because, truth.measures
    if measures is None:
        assert because.rule == "objection to profiling"
        return
    named = [name for name in because.values if name in measures.numbers]
    assert named
    for name in named:
        assert as_number(name, because.values[name].value) == measures.numbers[name], (change, measures)
    assert set(because.events) == {i for name in named for i in measures.counted[name]}
    assert len(set(because.events)) == len(because.events)
    assert set(because.expired) == (set() if since is None else left(measures, named, since, truth.at))


def left(measures: Measures, named: Iterable[str], since: int, at: int) -> set[str]:
    windows = [WINDOWED[name] for name in named if name in WINDOWED]
    return {i for refunds in windows for i in measures.between(since - YEAR, at - YEAR, refunds)}


def as_number(name: str, value: object) -> object:
    if isinstance(value, str):
        return Fraction(Decimal(value)) if name == "spend_in_year" else parse_span(value)
    return value


def test_every_customer_of_the_sample(domain: SegmentationDomain) -> None:
    end = to_instant(datetime(2000, 1, 1, tzinfo=UTC))
    changes = sum(agree(domain, facts, end) for facts in sample().values())
    assert changes > 10_000


SPANS = st.sampled_from(
    [0, 1, HOUR, 7 * HOUR, 30 * DAY - 1, YEAR - 1, YEAR, YEAR + 1]
    + [days * DAY for days in (1, 5, 15, 29, 30, 60, 90, 120, 180, 240, 300, 800)]
)
AMOUNTS = st.sampled_from(
    ["0", "0.00", "0.01", "10", "99.90", "300", "1000", "1999.995", "5000", "9876543210987654.3211"]
)
KINDS = st.sampled_from(["purchase"] * 11 + ["refund"] * 6 + ["other", "objected", "withdrawn", "withdrawn"])
STARTS = st.sampled_from(
    ["2003-12-31T23:59:59.999Z", "2004-02-29T12:00:00Z", "2005-07-20T23:00:00Z", "2023-06-01T00:00:00Z"]
)


@st.composite
def histories(draw: st.DrawFn) -> list[Fact]:
    """Late events, ties, equal instants, leap days, long silence, refunds before, after and without their purchase."""
    at = to_instant(datetime.fromisoformat(draw(STARTS)))
    facts = []
    for number in range(draw(st.integers(1, 60))):
        at += draw(st.just(0) | SPANS)
        late = draw(st.sampled_from([0, 0, 0, -1]) | SPANS)
        order = draw(st.sampled_from([None, "o1", "o2", "o3", "o4"]))
        currency = draw(st.sampled_from(["CNY", "CNY", "CNY", "USD", "USD", "XYZ"]))
        facts.append(Fact(draw(KINDS), f"e{number:02d}", at - late, at, order, currency, draw(AMOUNTS)))
    return facts


@settings(
    max_examples=HISTORIES, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
@given(facts=histories())
def test_made_up_histories(domain: SegmentationDomain, facts: list[Fact]) -> None:
    agree(domain, facts, facts[-1].at + 4 * YEAR)
