"""The rules file: what is wrong in it is named by file, path and expectation."""

from pathlib import Path

import pytest
import yaml

from services.segmentation.language.source import read_yaml
from services.segmentation.processor import build_domain
from services.segmentation.rules import Rules, RulesError, load_rates, parse_rules
from tests.support.segmentation_drive import CONFIG


@pytest.fixture
def config(tmp_path: Path) -> Path:
    for name in ("segmentation.yaml", "exchange_rates.yaml"):
        (tmp_path / name).write_text((CONFIG / name).read_text("utf-8"), "utf-8")
    return tmp_path


def edited(config: Path, old: str, new: str, name: str = "segmentation.yaml") -> Path:
    text = (config / name).read_text("utf-8")
    assert old in text
    (config / name).write_text(text.replace(old, new, 1), "utf-8")
    return config


WRONG = [
    (
        "when: rfm >= 8",
        "when: rmf >= 8",
        ["dimensions.value.cases[2].when", "'rmf' is not known", "did you mean 'rfm'"],
    ),
    ("when: rfm >= 8", "when: rfm about 8", ["dimensions.value.cases[2].when", "metric operator threshold"]),
    ("lifecycle = churned", "lifecycle = churnt", ["dimensions.status.cases[1].when", "did you mean 'churned'"]),
    ("lifecycle = churned", "lifecycle >= churned", ["a dimension can only be compared with ="]),
    ("since_first_purchase < 30d", "since_first_purchase < 30", ["expected a span such as 30d"]),
    ("since_first_purchase < 30d", "since_first_purchase = 30d", ["is a time", ">=, >, < and <="]),
    ("2 * usual_gap", "2 * spend_in_year", ["since_last_purchase is a time", "expected two of a kind"]),
    ("2 * usual_gap", "2 * since_first_purchase", ["changes with every moment", "put it on the left"]),
    ("2 * usual_gap", "2 * usual_gaps", ["did you mean 'usual_gap'"]),
    ("purchases_in_year >= 12}", "purchases_in_year >= many}", ["expected a number for purchases_in_year"]),
    (
        "count: purchases, within: 365d",
        "count: purchases, within: a year",
        ["metrics.purchases_in_year.within", "365d"],
    ),
    ("{count: purchases}", "{number: purchases}", ["metrics.purchases_ever", "expected one of count, sum"]),
    ("{count: purchases}", "{count: sales}", ["metrics.purchases_ever.count", "purchases"]),
    ("score: since_last_purchase", "score: recency", ["metrics.recency.score", "must stand further up"]),
    ('"< 30d": 5', '"30d": 5', ["metrics.recency.steps", "expected an operator and a threshold"]),
    ("total: [recency,", "total: [usual_gap,", ["'usual_gap' is no score"]),
    ("R{recency}", "R{recent}", ["dimensions.value.shown", "did you mean 'recency'"]),
    ("R{recency}", "R{recency", ["dimensions.value.shown", "metrics in braces"]),
    ("  purchase_frequency:", "  rfm:", ["dimensions.rfm", "a metric has this name already"]),
    ("base_currency: CNY", "base_currency: EUR", ["count in EUR", "CNY"]),
    ("otherwise: dormant", "otherwize: dormant", ["dimensions.status", "otherwise"]),
    ("metrics:", "metrics: [", ["no YAML"]),
]


@pytest.mark.parametrize(("old", "new", "said"), WRONG)
def test_a_wrong_rule_is_named(config: Path, old: str, new: str, said: list[str]) -> None:
    with pytest.raises(RulesError) as caught:
        build_domain(edited(config, old, new))
    message = str(caught.value)
    assert str(config / "segmentation.yaml") in message
    assert [part for part in said if part not in message] == []


def test_a_fault_is_named_with_its_line() -> None:
    text = (CONFIG / "segmentation.yaml").read_text("utf-8")
    number = text.splitlines().index("    otherwise: dormant") + 1
    with pytest.raises(RulesError) as caught:
        parse_rules(text.replace("otherwise: dormant", "otherwize: dormant"), "mine")
    assert f"mine:{number}: dimensions.status.otherwize: not known here; did you mean 'otherwise'?" in str(caught.value)


def test_a_key_given_twice_is_refused() -> None:
    with pytest.raises(RulesError, match="mine:2: no YAML: 'version' is given twice"):
        parse_rules("version: '1'\nversion: '2'\n", "mine")


def test_the_rules_have_a_json_schema_without_what_is_not_written() -> None:
    schema = Rules.model_json_schema()
    assert {"base_currency", "metrics", "dimensions"} <= schema["properties"].keys()
    assert "digest" not in schema["properties"]


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(RulesError, match=r"segmentation\.yaml: No such file"):
        build_domain(tmp_path)


def test_a_rate_that_is_a_float_is_refused(config: Path) -> None:
    edited(config, '"8.28"', "8.28", "exchange_rates.yaml")
    with pytest.raises(RulesError, match=r"rates.USD.1995-01-01: .*decimal in quotes"):
        load_rates(config / "exchange_rates.yaml")


def test_a_companys_own_dimension_needs_no_code(config: Path) -> None:
    path = config / "segmentation.yaml"
    document, _ = read_yaml(path.read_text("utf-8"), "mine")
    document["metrics"]["quarter"] = {"sum": "purchases", "within": "90d"}
    document["dimensions"]["big_quarter"] = {
        "cases": [{"value": "yes", "when": ["quarter > 99.5", "status = new"]}],
        "otherwise": "no",
    }
    path.write_text(yaml.safe_dump(document, allow_unicode=True, sort_keys=False), "utf-8")
    [*_, (dimension, reasons)] = build_domain(config).program.dimensions
    assert dimension.values == ("yes", "no")
    assert reasons.rules[0] == "big_quarter: yes when quarter > 99.5 and status = new"


def test_the_digest_tells_one_file_from_another(config: Path) -> None:
    before = build_domain(config).program.rules.digest
    assert len(before) == 64
    assert build_domain(edited(config, ">= 5000", ">= 6000")).program.rules.digest != before
