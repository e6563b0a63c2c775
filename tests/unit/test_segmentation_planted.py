"""Each planted defect of segmentation must be caught by the oracle, on made-up histories; else the net has a hole."""

from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, settings

from tests.support.segmentation_agreement import Tally, agree
from tests.support.segmentation_defects import DEFECTS
from tests.support.segmentation_drive import CONFIG, domain_of
from tests.support.segmentation_dwelling import DWELLING, RULES
from tests.support.segmentation_facts import Fact
from tests.support.segmentation_histories import YEAR, histories
from tests.support.segmentation_oracle import Meaning
from tests.support.segmentation_standard import STANDARD

TRIED = 500
UNDER: Sequence[tuple[Meaning, Path]] = ((STANDARD, CONFIG / "segmentation.yaml"), (DWELLING, RULES))


@cache
def lives() -> list[list[Fact]]:
    """The same ones in every run of the same tests: Hypothesis draws from the constants of all modules imported so far, too,
    so there are many more than one run needs."""
    drawn: list[list[Fact]] = []

    @settings(
        max_examples=TRIED,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
        deadline=None,
    )
    @given(histories(40))
    def draw(facts: list[Fact]) -> None:
        drawn.append(facts)

    draw()
    return drawn


def first_disagreement() -> str | None:
    """Of the code as it now is; the rules are compiled anew, for what is planted may sit there."""
    domains = [(meaning, domain_of(rules)) for meaning, rules in UNDER]
    for number, facts in enumerate(lives()):
        for meaning, domain in domains:
            try:
                agree(meaning, domain, facts, facts[-1].at + 4 * YEAR, Tally())
            except Exception as error:
                return f"history {number}: {type(error).__name__}"
    return None


def test_nothing_is_caught_where_nothing_is_planted() -> None:
    assert first_disagreement() is None


def test_every_planted_defect_is_caught(closing_line: Callable[[str], None]) -> None:
    caught: dict[str, str | None] = {}
    for defect in DEFECTS:
        with defect.planted():
            caught[defect.name] = first_disagreement()
    for name, how in caught.items():
        print(f"{name}: {how or f'NOT CAUGHT in {TRIED} histories'}")
    closing_line(f"planted in segmentation: caught {sum(map(bool, caught.values()))} / planted {len(caught)}")
    assert all(caught.values()), [name for name, how in caught.items() if how is None]
