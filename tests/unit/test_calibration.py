"""Calibration proposes what it says it proposes, changes numbers only, and never the file that it was given."""

from decimal import Decimal
from difflib import ndiff

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from services.segmentation.language.program import compile_rules
from services.segmentation.questions.calibration import Calibration, rounded, thresholds
from services.segmentation.questions.calibration_question import Measured, probing
from services.segmentation.rules import load_rates, parse_rules
from services.segmentation.state import CustomerState
from shared.processing.memory import MemoryScanner
from shared.processing.records import TopicPartition
from tests.bench.stage import sample
from tests.support.segmentation_drive import CONFIG, standard_domain
from tests.support.small_world import SmallWorld

STANDARD = (CONFIG / "segmentation.yaml").read_text("utf-8")
RATES = CONFIG / "exchange_rates.yaml"
SPEND = [float(n) for n in range(1, 1001)]


def calibrated(text: str, shares: list[float], values: dict[str, list[float]], dimension: str) -> Calibration:
    judged = [one for one in thresholds(text) if one.dimension == dimension]
    return Calibration.of("rules.yaml", text, judged, values, shares)


def test_only_what_is_above_zero_and_no_time_is_judged() -> None:
    found = {(one.dimension, one.value) for one in thresholds(STANDARD)}
    assert {("spend_level", "high"), ("spend_level", "medium"), ("purchase_frequency", "low")} <= found
    assert ("spend_level", "low") not in found
    assert not {dimension for dimension, _ in found} & {"lifecycle", "status"}


def test_the_first_share_is_of_the_first_case_and_so_on() -> None:
    found = calibrated(STANDARD, [0.2, 0.5], {"spend_in_year": SPEND}, "spend_level")
    assert [(one.threshold.value, one.bound) for one in found.proposals] == [
        ("high", Decimal(800)),
        ("medium", Decimal(500)),
    ]
    assert [round(one.share_after, 2) for one in found.proposals] == [0.2, 0.5]
    assert [one.share_before for one in found.proposals] == [0.0, 0.001]


def test_what_would_leave_nothing_to_the_next_case_is_not_proposed() -> None:
    found = calibrated(STANDARD, [0.2], {"spend_in_year": SPEND}, "spend_level")
    assert found.proposals == []
    assert found.difference == ""
    assert "high at 800 would leave nothing to medium at 1000" in found.left[0]


def test_where_nobody_has_any_nothing_is_proposed() -> None:
    found = calibrated(STANDARD, [0.2], {"spend_in_year": []}, "spend_level")
    assert (found.proposals, found.left) == ([], ["spend_level.high: no customer has any spend_in_year"])


def test_the_proposed_file_differs_in_those_numbers_and_is_still_right() -> None:
    found = calibrated(STANDARD, [0.2, 0.5], {"spend_in_year": SPEND}, "spend_level")
    changed = [line for line in ndiff(STANDARD.splitlines(), found.after.splitlines()) if line[0] in "+-"]
    assert changed == [
        "-       - {value: high, when: spend_in_year >= 5000}",
        "+       - {value: high, when: spend_in_year >= 800}",
        "-       - {value: medium, when: spend_in_year >= 1000}",
        "+       - {value: medium, when: spend_in_year >= 500}",
    ]
    compile_rules(parse_rules(found.after, "proposed"), load_rates(RATES))
    assert "+      - {value: high, when: spend_in_year >= 800}" in found.difference


def test_a_count_stays_whole_and_a_lower_threshold_keeps_its_distance() -> None:
    text = """
metrics: {orders: {count: purchases}}
dimensions:
  loyal:
    cases:
      - value: "yes"   # who comes often
        enter: [orders >= 10]
        leave: orders >= 8
"""
    found = calibrated(text, [0.5], {"orders": [1.0, 2.0, 20.0, 40.0]}, "loyal")
    body = yaml.safe_load(found.after)["dimensions"]["loyal"]["cases"][0]
    assert body == {"value": "yes", "enter": ["orders >= 20"], "leave": "orders >= 16"}
    assert "# who comes often" in found.after


def test_a_tiny_amount_is_no_threshold_that_holds_for_everybody() -> None:
    text = "metrics: {m: {sum: purchases}}\ndimensions: {d: {cases: [{value: a, when: m >= 123}]}}\n"
    (one,) = calibrated(text, [0.5], {"m": [0.001, 0.002, 0.004, 0.0041]}, "d").proposals
    assert (one.bound, one.share_after) == (Decimal("0.004"), 0.5)


@pytest.mark.parametrize("again", ["*s", "{all: [*s]}"])
def test_what_is_written_once_for_several_cases_is_left_and_said(again: str) -> None:
    text = f"""
metrics: {{m: {{sum: purchases}}}}
dimensions:
  one: {{cases: [{{value: a, when: &s m >= 100}}, {{value: b, when: m >= 10}}]}}
  two: {{cases: [{{value: c, when: {again}}}]}}
  three: {{cases: [&case {{value: d, enter: m >= 30, leave: m >= 20}}]}}
  four: {{cases: [{{<<: *case, value: e}}]}}
"""
    values = {"m": [float(n) for n in range(1, 101)]}
    judged = thresholds(text)
    found = Calibration.of("rules.yaml", text, judged, values, [0.2, 0.5])
    assert [(one.threshold.value, one.bound) for one in found.proposals] == [("b", Decimal(51))]
    assert "one.a: its threshold stands for another case, too; write each out to calibrate it" in found.left
    assert "three.d: its threshold stands for another case, too; write each out to calibrate it" in found.left
    assert yaml.safe_load(found.after)["dimensions"]["one"]["cases"][1]["when"] == "m >= 51"


@given(st.lists(st.floats(0.01, 1e9), min_size=1, max_size=200), st.floats(0.01, 0.99))
def test_a_proposed_amount_is_short_and_holds_for_about_its_share(values: list[float], share: float) -> None:
    text = "metrics: {m: {sum: purchases}}\ndimensions: {d: {cases: [{value: a, when: m >= 123}]}}\n"
    for one in calibrated(text, [share], {"m": values}, "d").proposals:
        assert len(one.bound.normalize().as_tuple().digits) <= 2
        near = [value for value in values if abs(Decimal(value) - one.bound) <= one.bound / 10]
        wanted = max(1, round(share * len(values)))
        reached = sum(value >= float(one.bound) for value in values)
        assert abs(reached - wanted) <= len(near) + sum(value == values[0] for value in values)


@pytest.mark.parametrize(
    ("amount", "shown"),
    [("4983.27", "5000"), ("0.126", "0.13"), ("87", "87"), ("10440", "10000"), ("0.00417", "0.0042")],
)
def test_amounts_are_rounded_to_what_people_remember(amount: str, shown: str) -> None:
    assert f"{rounded(Decimal(amount)):f}" == shown


async def test_what_is_measured_is_what_the_rules_measure() -> None:
    """Every customer's value is that which its own segments are explained with."""
    domain = standard_domain()
    world = SmallWorld(domain, 2)
    world.append(*(message._replace(partition=None) for message in sample(1)[:300]))
    await world.drain()
    metrics = ("spend_in_year", "purchases_in_year")
    question = Measured(probing(STANDARD, metrics), metrics, RATES)
    found: dict[str, list[float]] = {metric: [] for metric in metrics}
    for number in range(2):
        stop = world.log.end(TopicPartition(world.inputs[0], number))
        for metric, values in (await question.ask(number, stop, MemoryScanner(world.log), lambda _n: None)).items():
            found[metric] += values
    for dimension, metric in (("spend_level", metrics[0]), ("purchase_frequency", metrics[1])):
        told = []
        for document in world.documents().values():
            state = CustomerState.model_validate_json(document.state or "")
            told.append(float(domain.because(state, document.at)[dimension]["values"][metric]["value"]))
        assert sorted(found[metric]) == sorted(value for value in told if value > 0)
        assert found[metric]
