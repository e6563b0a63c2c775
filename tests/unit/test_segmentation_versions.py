"""Rules that succeed each other on the same log: through the engine, with the standard rules and an edited file."""

import hashlib
from pathlib import Path

import pytest

from services.segmentation.processor import build_domain
from services.segmentation.versions import VersionedSegmentation
from shared.clock import DAY
from shared.events.customers import RulesActivated
from shared.processing.ports import FatalError
from tests.support.happenings import START, activation, customer, purchase, tick
from tests.support.small_world import SmallWorld

CONFIG = Path(__file__).parents[2] / "deploy" / "config"
TEXT = (CONFIG / "segmentation.yaml").read_text("utf-8")
ALICE = customer(1)


def version(number: int, text: str) -> RulesActivated:
    return RulesActivated(number=number, rules=text, digest=hashlib.sha256(text.encode()).hexdigest())


def test_a_version_says_its_number_and_what_it_was_made_of() -> None:
    first = build_domain(CONFIG)
    second = first.succeeded_by(version(2, TEXT))

    assert first.written == version(1, TEXT)
    assert second.written.number == 2
    assert second.program.rules.version == "2"
    assert isinstance(second, VersionedSegmentation)


def test_a_text_that_does_not_compile_stops_and_says_where() -> None:
    with pytest.raises(FatalError, match=r"version 2.*nothing was changed"):
        build_domain(CONFIG).succeeded_by(version(2, "dimensions: {}"))


async def test_an_activated_threshold_moves_those_whom_it_touches_and_nobody_else() -> None:
    world = SmallWorld(build_domain(CONFIG), partitions=1)
    stricter = TEXT.replace("spend_in_year > 0", "spend_in_year >= 15")
    assert stricter != TEXT
    bob = customer(2)
    world.append(*(purchase(who, f"{who}1", START) for who in (ALICE, bob)), purchase(bob, "b2", START + DAY))
    world.append(activation(0, START + 2 * DAY, version(2, stricter)), tick(0, START + 3 * DAY))
    await world.drain()

    told = world.said(ALICE)[-1]["data"]
    assert told["rules_version"] == "2"
    assert [(change["dimension"], change.get("from"), change.get("to")) for change in told["changes"]] == [
        ("spend_level", "low", "none")
    ]
    assert told["changes"][0]["because"]["rule"].startswith("rules version 2: ")
    assert world.said(bob)[-1]["data"]["rules_version"] == "1"
    assert (await world.document(bob)).version == 2
