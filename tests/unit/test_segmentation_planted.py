"""Each planted defect of segmentation must be caught by the oracle, on made-up histories; else the net has a hole."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tests.support.segmentation_agreement import Tally, agree
from tests.support.segmentation_defects import DEFECTS
from tests.support.segmentation_drive import CONFIG, domain_of
from tests.support.segmentation_dwelling import DWELLING, RULES
from tests.support.segmentation_facts import Fact
from tests.support.segmentation_histories import YEAR
from tests.support.segmentation_lives import lives
from tests.support.segmentation_oracle import Meaning
from tests.support.segmentation_standard import STANDARD

TRIED = 500
"""Of 250 that other seeds drew, the defect that is hardest to catch showed in 15."""
MISFIT = (AttributeError, NameError, TypeError)
"""What a defect raises that no longer fits the code into which it is put: then nothing was planted, and nothing caught."""
UNDER: Sequence[tuple[Meaning, Path]] = ((STANDARD, CONFIG / "segmentation.yaml"), (DWELLING, RULES))


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> list[list[Fact]]:
    return lives(TRIED, tmp_path_factory.mktemp("lives") / "lives")


def first_disagreement(drawn: list[list[Fact]]) -> str | None:
    """Of the code as it now is; the rules are compiled anew, for what is planted may sit there."""
    domains = [(meaning, domain_of(rules)) for meaning, rules in UNDER]
    for number, facts in enumerate(drawn):
        for meaning, domain in domains:
            try:
                agree(meaning, domain, facts, facts[-1].at + 4 * YEAR, Tally())
            except MISFIT:
                raise
            except Exception as error:
                return f"history {number}: {type(error).__name__}"
    return None


def test_nothing_is_caught_where_nothing_is_planted(drawn: list[list[Fact]]) -> None:
    assert first_disagreement(drawn) is None


def test_every_planted_defect_is_caught(drawn: list[list[Fact]], closing_line: Callable[[str], None]) -> None:
    caught: dict[str, str | None] = {}
    for defect in DEFECTS:
        with defect.planted():
            caught[defect.name] = first_disagreement(drawn)
    for name, how in caught.items():
        print(f"{name}: {how or f'NOT CAUGHT in {TRIED} histories'}")
    closing_line(f"planted in segmentation: caught {sum(map(bool, caught.values()))} / planted {len(caught)}")
    assert all(caught.values()), [name for name, how in caught.items() if how is None]
