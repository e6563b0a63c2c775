"""Feedback's rules file: what is refused, and that the refusal names file, place and expectation."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from services.feedback.rules import load_rules
from shared.clock import HOUR
from shared.config_files import ConfigError
from tests.unit.feedback_cases import CONFIG

SHIPPED = CONFIG / "feedback.yaml"


def changed(path: Path, **parts: Any) -> Path:
    document = yaml.safe_load(SHIPPED.read_text("utf-8")) | parts
    path.write_text(yaml.safe_dump(document), "utf-8")
    return path


def test_the_shipped_service_levels_are_those_promised() -> None:
    rules = load_rules(SHIPPED)
    hours = {
        name: (level.allowed("acknowledge") // HOUR, level.allowed("resolve") // HOUR)
        for name, level in rules.severities.items()
    }
    assert hours == {"low": (24, 120), "normal": (8, 72), "high": (4, 24), "critical": (1, 8)}


WORDS = {"en": "a", "zh": "b"}
LEVEL = {"acknowledge": 1, "resolve": 2, "label": WORDS}
LABELS: dict[str, Any] = yaml.safe_load(SHIPPED.read_text("utf-8"))["labels"]


def without(labels: dict[str, Any], name: str) -> dict[str, Any]:
    return {one: label for one, label in labels.items() if one != name}


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        (
            {"severities": {"low": LEVEL}},
            "severities: expected exactly the names that exist; missing or unknown: critical, high, normal",
        ),
        ({"severities": {"low": LEVEL | {"resolve": 0}}}, "severities.low.resolve: Input should be greater than 0"),
        ({"opens_case": ["rumour"]}, "opens_case.0: Input should be"),
        ({"escalation": []}, "escalation: "),
        ({"closed_cases_kept": 0}, "closed_cases_kept: "),
        ({"mood": 1}, "mood: Extra inputs are not permitted"),
        ({"raise_severity": [{"to": "high"}]}, "either composite or dimension is expected"),
        ({"raise_severity": [{"dimension": "value", "to": "high"}]}, "in: the values of the dimension are expected"),
        ({"survey": {"requested": True, "confirms_from": 2, "reopens_to": 2}}, "reopens_to below confirms_from"),
        (
            {"labels": LABELS | {"states": {}}},
            "labels.states: expected exactly the names that exist; missing or unknown: ",
        ),
        (
            {"labels": LABELS | {"reasons": without(LABELS["reasons"], "no_answer")}},
            "labels.reasons: expected exactly the names that exist; missing or unknown: no_answer",
        ),
        ({"labels": LABELS | {"steps": without(LABELS["steps"], "note")}}, "labels.steps: expected exactly"),
        ({"labels": LABELS | {"steps": LABELS["steps"] | {"danced": WORDS}}}, "labels.steps.danced"),
        ({"labels": LABELS | {"reasons": LABELS["reasons"] | {"tired": WORDS}}}, "labels.reasons.tired"),
        ({"labels": without(LABELS, "reasons")}, "labels.reasons: Field required"),
        ({"labels": LABELS | {"kinds": {"complaint": WORDS | {"zh": ""}}}}, "labels.kinds.complaint.zh: "),
        ({"labels": LABELS | {"kinds": {"complaint": WORDS | {"en": ""}}}}, "labels.kinds.complaint.en: "),
        ({"opens_case": ["praise"]}, "labels.kinds: expected exactly the names that exist; missing or unknown: praise"),
    ],
)
def test_a_wrong_file_is_refused_with_place_and_expectation(
    tmp_path: Path, parts: dict[str, Any], expected: str
) -> None:
    path = changed(tmp_path / "feedback.yaml", **parts)
    with pytest.raises(ConfigError) as refused:
        load_rules(path)
    assert str(refused.value).startswith(f"{path}: ")
    assert expected in str(refused.value)


def test_what_is_no_yaml_or_no_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "broken.yaml").write_text("a: [", "utf-8")
    for name in ("broken.yaml", "missing.yaml"):
        with pytest.raises(ConfigError, match=name):
            load_rules(tmp_path / name)
