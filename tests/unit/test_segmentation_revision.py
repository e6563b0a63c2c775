"""What differs between two rules files, and what that can touch."""

import pytest

from services.segmentation.language.program import compile_rules
from services.segmentation.language.revision import Written, differences, dimensions_of, restricted, touched
from services.segmentation.rules import load_rates, parse_rules
from tests.support.segmentation_drive import CONFIG

STANDARD = (CONFIG / "segmentation.yaml").read_text("utf-8")


def edited(old: str, new: str) -> str:
    assert old in STANDARD
    return STANDARD.replace(old, new, 1)


def told(after: str) -> list[tuple[str, str, str | None, str | None]]:
    found = differences(Written(STANDARD), Written(after))
    return [(d.path, d.what, d.before, d.after) for d in found]


def test_a_threshold_is_told_as_it_was_written() -> None:
    assert told(edited("spend_in_year >= 5000}", "spend_in_year >= 6000}")) == [
        ("dimensions.spend_level.cases.high.when", "changed", "spend_in_year >= 5000", "spend_in_year >= 6000")
    ]


def test_a_window_is_told_in_days() -> None:
    found = told(
        edited("spend_in_year: {sum: purchases, within: 365d}", "spend_in_year: {sum: purchases, within: 90d}")
    )
    assert found == [("metrics.spend_in_year.within", "changed", "365d", "90d")]


def test_comments_spaces_and_ways_of_writing_are_no_difference() -> None:
    assert told("# hello\n" + edited("when: rfm >= 12}", 'when: ["rfm >= 12"]}')) == []


def test_an_order_of_cases_that_changed_is_told() -> None:
    text = edited("      - {value: high, when: rfm >= 12}\n      - {value: medium, when: rfm >= 8}\n", "")
    text = text.replace(
        "      - {value: none, when: purchases_in_year = 0}\n",
        "      - {value: none, when: purchases_in_year = 0}\n      - {value: medium, when: rfm >= 8}\n"
        "      - {value: high, when: rfm >= 12}\n",
    )
    assert told(text) == [("dimensions.value.cases.order", "changed", "none, high, medium", "none, medium, high")]


def test_what_is_new_and_what_is_gone_is_told_whole() -> None:
    text = edited(
        "dimensions:\n",
        "dimensions:\n  buyer:\n    cases: [{value: once, when: purchases_ever = 1}]\n    otherwise: other\n\n",
    )
    assert [(path, what) for path, what, _, _ in told(text)] == [("dimensions.buyer", "added")]
    back = differences(Written(text), Written(STANDARD))
    assert [(d.path, d.what, d.after) for d in back] == [("dimensions.buyer", "removed", None)]


def test_entries_of_a_stream_are_told_one_by_one() -> None:
    line = "    - {on: inquiry.received, points: 3}\n"
    assert told(edited(line, "")) == [("streams.touches[2]", "removed", "{on: inquiry.received, points: 3}", None)]
    assert told(edited(line, line.replace("3", "4"))) == [("streams.touches[2].points", "changed", "3", "4")]
    assert told(edited('promoter: ">= 9", passive', 'promoter: ">= 8", passive')) == [
        ("streams.opinions.nps.as.promoter", "changed", ">= 9", ">= 8")
    ]


def affected(after: str) -> set[str]:
    before, written = Written(STANDARD), Written(after)
    names = touched(before, written)
    return {*dimensions_of(before, names), *dimensions_of(written, names)}


def test_a_threshold_touches_its_dimension_and_what_rests_on_it() -> None:
    assert affected(edited("spend_in_year >= 5000}", "spend_in_year >= 6000}")) == {"spend_level"}
    assert {"lifecycle", "status"} <= affected(edited("since_last_purchase >= 2 *", "since_last_purchase >= 3 *"))


def test_a_metric_touches_whatever_is_made_of_it() -> None:
    found = affected(edited("within: 365d, at_least: 15d", "within: 365d, at_least: 20d"))
    assert {"lifecycle", "status"} <= found
    assert "spend_level" not in found


def test_a_note_touches_nobody_and_a_limit_everybody() -> None:
    assert affected(edited("How often the customer buys", "How often they buy")) == set()
    assert {"spend_level", "lifecycle", "value"} <= affected(edited("orders: 512", "orders: 2"))


@pytest.mark.parametrize("name", ["spend_level", "status", "value"])
def test_what_is_restricted_still_compiles_and_is_smaller(name: str) -> None:
    rules = parse_rules(STANDARD, "standard")
    less = restricted(rules, Written(STANDARD), {name})
    program = compile_rules(less, load_rates(CONFIG / "exchange_rates.yaml"))
    names = [dimension.name for dimension, _ in program.dimensions]
    assert name in names
    assert len(names) < len(rules.dimensions)
