"""The published JSON Schema is that of the language as it is, and says of files what the language says."""

from pathlib import Path
from typing import Any

import pytest

from services.segmentation.language.schema import schema, write
from services.segmentation.language.source import read_yaml
from services.segmentation.rules import RulesError, parse_rules
from tests.support.json_schema import violations
from tests.support.segmentation_drive import CONFIG

PUBLISHED = CONFIG / "segmentation.schema.json"
FILES = sorted([CONFIG / "segmentation.yaml", *CONFIG.glob("packs/*.yaml")])
STANDARD = (CONFIG / "segmentation.yaml").read_text("utf-8")


def broken(text: str) -> list[str]:
    document: Any = read_yaml(text, "a file")[0]
    whole = schema()
    return list(violations(whole, whole, document))


def test_what_is_published_is_current() -> None:
    command = "python -m services.segmentation.language.schema > deploy/config/segmentation.schema.json"
    assert PUBLISHED.read_text("utf-8") == write(), command


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_every_file_fits_and_tells_editors_where_its_schema_is(file: Path) -> None:
    text = file.read_text("utf-8")
    assert broken(text) == []
    (named,) = [line for line in text.splitlines() if "yaml-language-server" in line]
    assert (file.parent / named.partition("$schema=")[2]).resolve() == PUBLISHED.resolve()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("within: 365d", "within: a year"),
        ("{count: purchases}", "{number: purchases}"),
        ("otherwise: dormant", "otherwize: dormant"),
        ("at_least: 30%", "at_least: 0.3"),
        ("orders: 512", "orders: none"),
        ("{any: [", "{some: ["),
        ("  purchase_frequency:", "  Purchase Frequency:"),
        ("when: rfm >= 8", "when: []"),
        ("base_currency: CNY\n", ""),
    ],
)
def test_what_the_language_refuses_by_its_form_the_schema_refuses(old: str, new: str) -> None:
    assert old in STANDARD
    text = STANDARD.replace(old, new, 1)
    with pytest.raises(RulesError):
        parse_rules(text, "a file")
    assert broken(text) != []
