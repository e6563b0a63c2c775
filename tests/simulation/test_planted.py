"""Each planted defect must be caught, by chance within 40 seeds or by a world made for it; else the net has a hole."""

import inspect
from collections.abc import Callable
from typing import Any

import pytest

from shared.processing import kafka
from tests.simulation.crowd import spread
from tests.simulation.hunt import TRIED, hunt
from tests.simulation.planted import DEFECTS
from tests.simulation.small import late_marks, late_saves, world

RARE = {"unsent cleared without rev": late_marks, "unsent looked for only on assignment": late_saves}
"""Each takes a call that lands late at just the right moment: faults that are chosen, not awaited."""


def catch(number: int) -> str | None:
    defect = DEFECTS[number]
    if defect.name in RARE:
        return rare(number)
    found = hunt(defect)
    return f"seed {found.seed} ({found.by})" if found else None


def rare(number: int) -> str | None:
    defect = DEFECTS[number]
    with defect.planted():
        for seed, faults, lands in RARE[defect.name](tuple(range(1, 13))):
            result, _ = world(seed, faults, lands=lands)
            if result.problems:
                landed = "" if lands is None else f", landing before call {lands}"
                return f"small world {seed} with {faults}{landed} ({result.problems[0].split(':')[0]})"
    return None


class Asked:
    """Takes what the engine asks of the broker's client."""

    def __init__(self) -> None:
        self.options: dict[str, Any] = {}

    def subscriber(self, *_topics: str, **options: Any) -> None:
        self.options = options


def policy(subscribe: Callable[..., Any]) -> Any:
    asked = Asked()
    given = dict.fromkeys(inspect.signature(subscribe).parameters)
    subscribe(**given | {"broker": asked, "topics": ("t",), "session_timeout_ms": 10_000})
    return asked.options["auto_offset_reset"]


def test_no_position_is_ever_guessed() -> None:
    """`auto.offset.reset=latest`, planted into the source of the subscription, does not go unnoticed either."""
    assert policy(kafka.subscribe) == "none"
    source = inspect.getsource(kafka.subscribe).replace('auto_offset_reset="none"', 'auto_offset_reset="latest"')
    changed: dict[str, Any] = dict(vars(kafka))
    exec(source, changed)
    assert policy(changed["subscribe"]) != "none"


@pytest.mark.timeout(1_800)
def test_every_planted_defect_is_caught() -> None:
    caught = dict(zip((d.name for d in DEFECTS), spread(catch, range(len(DEFECTS))), strict=True))
    caught["auto.offset.reset=latest"] = "the subscription's contract"
    for name, how in caught.items():
        print(f"{name}: {how or f'NOT CAUGHT in {TRIED} seeds'}")
    print(f"caught {sum(how is not None for how in caught.values())} / planted {len(caught)}")
    assert all(caught.values()), [name for name, how in caught.items() if how is None]
