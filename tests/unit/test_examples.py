"""The worked examples: what a downstream system keeps, and that it notices what is missing, repeated or forged."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from deploy.examples import receiver, subscriber
from deploy.examples.memberships import Memberships
from services.segmentation.webhooks.signing import signed
from shared.clock import HOUR, wall_clock

ROOT = Path(__file__).parent.parent.parent
SECRET = "whsec_" + "QUJD" * 8
ANA, BO = "0b7e5c1e-4a55-4c6e-9a0f-6f1f6f2f7d10", "1c7e5c1e-4a55-4c6e-9a0f-6f1f6f2f7d11"


@pytest.fixture
def table(tmp_path: Path) -> Iterator[Memberships]:
    memberships = Memberships(tmp_path / "table.db")
    yield memberships
    memberships.close()


def event(customer: str, number: int, **memberships: Any) -> dict[str, Any]:
    return {
        "id": f"{customer}{number}",
        "subject": customer,
        "sequence": f"{number:020d}",
        "data": {"memberships": memberships},
    }


def test_a_table_is_complete_when_every_number_was_applied_once(table: Memberships) -> None:
    for one in (event(ANA, 1), event(BO, 1), event(ANA, 2, value="high"), event(ANA, 1), event(ANA, 2)):
        assert table.apply(one) == 0
    assert table.of(ANA) == {"value": "high"}
    assert table.proof() == {"customers": 2, "numbers": 3, "applied": 3, "missed": 0}
    assert subscriber.prove(table) == 0


def test_a_gap_is_noticed_and_stays_known_while_the_table_is_right(table: Memberships) -> None:
    table.apply(event(ANA, 1))
    assert table.apply(event(ANA, 4, value="low")) == 2
    assert table.of(ANA) == {"value": "low"}
    assert table.proof() == {"customers": 1, "numbers": 4, "applied": 2, "missed": 2}
    assert subscriber.prove(table) == 1


def test_a_replay_fills_the_gap_and_leaves_the_table_right(table: Memberships) -> None:
    """The past comes again after what is newer, among repeats; each number that was missing counts once."""
    for number, value in ((1, "low"), (4, "high"), (6, "top")):
        table.apply(event(ANA, number, value=value))
    assert table.proof()["missed"] == 3
    for number in (2, 3, 3, 4):
        assert table.apply(event(ANA, number, value="low")) == 0
    assert (table.proof()["missed"], subscriber.prove(table)) == (1, 1)
    for number in (5, 6):
        table.apply(event(ANA, number, value="low"))
    assert table.of(ANA) == {"value": "top"}
    assert table.proof() == {"customers": 1, "numbers": 6, "applied": 6, "missed": 0}
    assert subscriber.prove(table) == 0


def test_composites_are_kept_beside_the_segments(table: Memberships) -> None:
    first, second = event(ANA, 1, value="high"), event(ANA, 3, value="low")
    first["data"]["composites"], second["data"]["composites"] = ["vip", "win_back"], ["win_back"]
    table.apply(first)
    assert table.composites(ANA) == ["vip", "win_back"]
    table.apply(second)
    table.apply(event(ANA, 2, value="high"))
    assert (table.of(ANA), table.composites(ANA)) == ({"value": "low"}, ["win_back"])
    assert table.composites(BO) == []


def test_of_whoever_was_forgotten_nothing_is_owed_any_more(table: Memberships) -> None:
    """What had not been told yet was withdrawn: no replay will bring it."""
    table.apply(event(ANA, 1, value="high"))
    table.apply(event(ANA, 3, value="low"))
    assert table.apply({"id": "x", "subject": ANA, "sequence": "9", "data": {"receipt_id": "r"}}) == 0
    table.apply(event(ANA, 2, value="high"))
    assert (table.of(ANA), table.composites(ANA)) == (None, [])
    assert subscriber.prove(table) == 0


def test_whoever_was_forgotten_is_forgotten_here_and_does_not_come_back(table: Memberships) -> None:
    table.apply(event(ANA, 1, value="high"))
    table.apply({"id": "x", "subject": ANA, "sequence": "2", "data": {"receipt_id": "r"}})
    table.apply(event(ANA, 1, value="high"))
    assert table.of(ANA) is None
    assert subscriber.prove(table) == 0


def test_a_table_outlives_its_process(table: Memberships, tmp_path: Path) -> None:
    table.apply(event(ANA, 1, value="high"))
    again = Memberships(tmp_path / "table.db")
    assert again.apply(event(ANA, 1)) == 0
    assert again.proof() == table.proof()
    again.close()


@pytest.fixture
async def door(table: Memberships) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app=receiver.build(SECRET, table))
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        yield client


async def test_a_receiver_takes_what_is_signed_and_nothing_else(door: httpx.AsyncClient, table: Memberships) -> None:
    body = b'{"id": "1", "subject": "%s", "sequence": "1", "data": {"memberships": {"value": "low"}}}' % ANA.encode()
    headers = dict(signed("1", wall_clock(), body, [SECRET]))
    for wrong in (
        {},
        {**headers, "webhook-id": "2"},
        dict(signed("1", wall_clock(), body, ["whsec_" + "REVG" * 8])),
        dict(signed("1", wall_clock() - HOUR, body, [SECRET])),
    ):
        assert (await door.post("/guanxi", content=body, headers=wrong)).status_code == 401
    assert table.of(ANA) is None
    for _ in range(2):
        assert (await door.post("/guanxi", content=body, headers=headers)).status_code == 204
    assert table.proof()["applied"] == 1


@pytest.mark.parametrize("name", ["subscriber", "receiver", "memberships"])
def test_an_example_fits_on_a_page_and_knows_nothing_of_our_inside(name: str) -> None:
    text = (ROOT / "deploy" / "examples" / f"{name}.py").read_text("utf-8")
    assert len(text.splitlines()) < 80
    assert "from shared" not in text
    assert "from services" not in text
