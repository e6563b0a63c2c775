"""The reads that the chronicle feeds, over a real store: as known, as true, sizes, flows, the feed, erasure."""

import uuid
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from httpx import ASGITransport, AsyncClient

from services.segmentation.chronicle.as_of import runs
from shared.clock import DAY, HOUR, to_rfc3339
from shared.web.keys import KeyRing
from tests.support.happenings import START, customer, happened, tick
from tests.support.segmentation_reads import ReadWorld, open_read_world

pytestmark = pytest.mark.real

ANNE, BEA, CARL = customer(1), customer(2), customer(3)


class Client:
    def __init__(self, http: AsyncClient) -> None:
        self._http = http

    async def get(self, path: str, status: int = 200, **query: Any) -> dict[str, Any]:
        answer = await self._http.get(
            f"/v1{path}", params={k.rstrip("_"): v for k, v in query.items() if v is not None}
        )
        assert answer.status_code == status, answer.text
        found: dict[str, Any] = answer.json()
        return found


@pytest.fixture
async def world(mongo: str) -> AsyncIterator[ReadWorld]:
    async with AsyncExitStack() as stack:
        yield await open_read_world(mongo, f"contract_{uuid.uuid4().hex[:12]}", stack)


@pytest.fixture
async def client(world: ReadWorld, tmp_path: Path) -> AsyncIterator[Client]:
    ring = KeyRing(tmp_path / "keys.json")
    key, _ = ring.create("test", ["read"])
    transport = ASGITransport(app=world.app(ring))
    async with AsyncClient(
        transport=transport, base_url="http://test", headers={"Authorization": f"Bearer {key}"}
    ) as http:
        yield Client(http)


def bought(who: str, name: str, at: int, amount: str = "400", recorded: int | None = None) -> Any:
    return happened(
        who, "purchase.made", name, at, recorded, order_id=name, amount={"amount": amount, "currency": "CNY"}
    )


def story() -> list[Any]:
    """Anne buys twice, and a third purchase of day 3 is heard of on day 10; Bea is known only; Carl buys and is erased."""
    return [
        bought(ANNE, "a1", START + DAY),
        happened(BEA, "customer.registered", "b1", START + DAY, facets={"region": "east", "interests": ["tea", "go"]}),
        bought(CARL, "c1", START + 2 * DAY, "7000"),
        bought(ANNE, "a2", START + 5 * DAY),
        bought(ANNE, "a3", START + 3 * DAY, recorded=START + 10 * DAY),
        tick(0, START + 20 * DAY),
        tick(1, START + 20 * DAY),
    ]


async def test_what_was_known_then_and_what_was_true_then(world: ReadWorld, client: Client) -> None:
    world.world.append(*story())
    await world.work()
    day = {n: to_rfc3339(START + n * DAY) for n in range(21)}
    path = f"/customers/{ANNE}/segments"

    def spend(answer: dict[str, Any]) -> Any:
        return answer["memberships"]["purchase_frequency"]["value"]

    assert spend(await client.get(path)) == "medium"
    assert spend(await client.get(path, known_at=day[6])) == "low", "the late purchase was not known yet"
    assert spend(await client.get(path, at=day[6])) == "medium", "it had been made by then"
    assert spend(await client.get(path, at=day[4])) == "low"
    assert spend(await client.get(path, known_at=day[11])) == "medium"
    await client.get(path, 404, known_at=to_rfc3339(START))
    await client.get(path, 422, known_at=day[6], at=day[6])
    await client.get(path, 422, at=to_rfc3339(START + 30 * DAY))
    await client.get(path, 422, at="2026-01-06T00:00:00")
    before = await client.get(path, at=to_rfc3339(START))
    assert before["memberships"] == {}, "nothing had happened yet"


async def test_of_who_objects_now_no_profile_of_the_past_is_made(world: ReadWorld, client: Client) -> None:
    world.world.append(*story(), happened(ANNE, "customer.objected", "no", START + 21 * DAY))
    await world.work()
    answer = await client.get(f"/customers/{ANNE}/segments", at=to_rfc3339(START + 6 * DAY))
    assert (answer["memberships"], answer["composites"], answer["objected"]) == ({}, [], True)


async def test_what_was_known_then_says_since_when_and_why(world: ReadWorld, client: Client) -> None:
    world.world.append(*story())
    await world.work()
    answer = await client.get(f"/customers/{ANNE}/segments", known_at=to_rfc3339(START + 6 * DAY))
    frequency = answer["memberships"]["purchase_frequency"]
    assert (frequency["value"], frequency["since"]) == ("low", to_rfc3339(START + DAY))
    assert frequency["because"]["events"] == ["a1"]
    assert all(m["since"] is not None for m in answer["memberships"].values())
    assert answer["behind_seconds"] == 0.0


@pytest.mark.parametrize("limit", [1, 7, 19, 20, 1000])
async def test_members_page_by_page_each_once(world: ReadWorld, client: Client, limit: int) -> None:
    """Twenty customers spread over the ids; the tenth buys twelve times; the last is erased meanwhile."""
    people = [f"{number * 0x0C000000:08x}-0000-4000-8000-00000000abcd" for number in range(20)]
    world.world.append(*(bought(who, f"p{n}", START + n * HOUR) for n, who in enumerate(people)))
    world.world.append(*(bought(people[9], f"more{n}", START + DAY + n * HOUR) for n in range(11)))
    await world.work()
    seen: list[str] = []
    after = None
    for turn in range(25):
        page = await client.get("/segments/purchase_frequency/low", limit=limit, after=after)
        assert len(page["members"]) <= limit
        seen += [member["customer_id"] for member in page["members"]]
        assert all(member["since"] for member in page["members"])
        if turn == 0:
            world.world.append(happened(people[19], "customer.erased", "gone", START + 2 * DAY, receipt_id="r"))
            await world.work()
        after = page["next"]
        if after is None:
            break
    gone = {people[9]} if limit >= 19 else {people[9], people[19]}
    assert seen == [who for who in people if who not in gone]


async def test_members_of_a_list_value_and_of_a_composite(world: ReadWorld, client: Client) -> None:
    stated = {"interests": ["tea", "go"], "region": "east/north"}
    world.world.append(happened(BEA, "customer.registered", "b", START, facets=stated))
    world.world.append(*(bought(BEA, f"b{n}", START + n * 20 * DAY, "900") for n in range(12)))
    await world.work()
    for path in ("interests/go", "interests/tea", "region/east/north", "composites/vip"):
        page = await client.get(f"/segments/{path}")
        assert [member["customer_id"] for member in page["members"]] == [BEA], path
    assert (await client.get("/segments/interests/chess"))["members"] == []


async def test_a_row_whose_customer_has_left_is_passed_over(world: ReadWorld, client: Client) -> None:
    """As a process leaves it that wrote long after another had taken its place."""
    world.world.append(*story())
    await world.work()
    stale = {"_id": "x", "segment": "lifecycle=churned", "customer": ANNE, "partition": 0, "sequence": 1}
    await world.database["members"].insert_one(stale)
    assert (await client.get("/segments/lifecycle/churned"))["members"] == []
    page = await client.get("/segments/purchase_frequency/medium")
    assert [member["customer_id"] for member in page["members"]] == [ANNE]


async def test_every_change_newest_first_page_by_page(world: ReadWorld, client: Client) -> None:
    world.world.append(*story())
    await world.work()
    whole = (await client.get(f"/customers/{ANNE}/segments/history"))["changes"]
    assert [c["sequence"] for c in whole] == list(range(len(whole), 0, -1))
    assert [c["at"] for c in whole] == sorted((c["at"] for c in whole), reverse=True)
    frequencies = [m["to"] for c in whole for m in c["changes"] if m["dimension"] == "purchase_frequency"]
    assert frequencies == ["medium", "low"]
    assert whole[0]["changes"][0]["because"]["rule"]
    paged: list[Any] = []
    before = None
    while True:
        page = await client.get(f"/customers/{ANNE}/segments/history", limit=1, before=before)
        paged += page["changes"]
        before = page["next"]
        if before is None:
            break
    assert paged == whole


async def test_sizes_are_a_count_over_the_documents_and_the_sum_of_all_flows(world: ReadWorld, client: Client) -> None:
    world.world.append(*story())
    await world.work()
    await agree(world, client)
    assert (await client.get("/segments"))["dimensions"]["region"] == {"east": 1}
    world.world.append(
        happened(CARL, "customer.erased", "gone", START + 21 * DAY, receipt_id="r"),
        happened(BEA, "customer.objected", "no", START + 21 * DAY),
        tick(0, START + 22 * DAY),
        tick(1, START + 22 * DAY),
    )
    await world.work()
    await agree(world, client)
    assert (await client.get("/segments"))["dimensions"]["region"] == {}


async def agree(world: ReadWorld, client: Client) -> None:
    answer = await client.get("/segments")
    shown = {**answer["dimensions"], "composites": answer["composites"]}
    counted = world.counted()
    assert {name: {v: n for v, n in values.items() if n} for name, values in shown.items() if any(values.values())} == {
        name: dict(values) for name, values in counted.items() if values
    }
    flows = (await client.get("/segments/flows", from_="2025-12-01", to="2027-01-01"))["flows"]
    summed: dict[str, Counter[str]] = {}
    for name, cells in flows.items():
        for cell in cells:
            for value, sign in ((cell["from"], -1), (cell["to"], 1)):
                if value is not None:
                    summed.setdefault(name, Counter())[value] += sign * cell["count"]
    assert {name: +values for name, values in summed.items() if +values} == {n: v for n, v in counted.items() if v}


async def test_flows_of_a_period_and_a_dimension(world: ReadWorld, client: Client) -> None:
    world.world.append(*story())
    await world.work()
    only = await client.get("/segments/flows", from_="2026-01-11", to="2026-01-12", dimension="purchase_frequency")
    assert only["flows"] == {"purchase_frequency": [{"from": "low", "to": "medium", "count": 1}]}
    both = await client.get("/segments", from_="2026-01-11", to="2026-01-12")
    assert both["flows"]["purchase_frequency"] == only["flows"]["purchase_frequency"]
    assert (await client.get("/segments/flows", from_="2026-01-15", to="2026-01-16"))["flows"] == {}
    await client.get("/segments/flows", 422, from_="2026-01-12", to="2026-01-12")
    await client.get("/segments/flows", 404, from_="2026-01-11", to="2026-01-12", dimension="colour")


async def test_the_feed_gives_every_change_once_and_goes_on_where_it_was(world: ReadWorld, client: Client) -> None:
    world.world.append(*story())
    await world.work()
    seen: list[tuple[str, int]] = []
    cursor = None
    for turn in range(40):
        page = await client.get("/changes", after=cursor, limit=2)
        seen += [(event["subject"], int(event["sequence"])) for event in page["changes"]]
        cursor = page["next"]
        if turn == 3:
            world.world.append(bought(BEA, "b2", START + 21 * DAY), bought(CARL, "c2", START + 21 * DAY))
            await world.work()
        if not page["more"]:
            break
    said = [(event["subject"], int(event["sequence"])) for event in world.world.said()]
    assert sorted(seen) == sorted(said)
    for who in (ANNE, BEA, CARL):
        assert [n for name, n in seen if name == who] == sorted(n for name, n in said if name == who)
    again = await client.get("/changes", after=cursor)
    assert (again["changes"], again["more"]) == ([], False)
    await client.get("/changes", 422, after="nonsense")
    await client.get("/changes", 422, after="WzEsMl0")


async def test_the_feed_of_one_dimension_also_tells_who_is_forgotten(world: ReadWorld, client: Client) -> None:
    world.world.append(*story(), happened(CARL, "customer.erased", "gone", START + 21 * DAY, receipt_id="r"))
    await world.work()
    page = await client.get("/changes", dimension="region", limit=1000)
    kinds = sorted(event["type"] for event in page["changes"])
    assert kinds == ["guanxi.customer.forgotten.v1", "guanxi.segments.changed.v1"]
    assert {event["subject"] for event in page["changes"]} == {BEA, CARL}


async def test_of_the_erased_nothing_is_left_but_that_they_are_forgotten(world: ReadWorld, client: Client) -> None:
    world.world.append(*story(), happened(CARL, "customer.erased", "gone", START + 21 * DAY, receipt_id="r"))
    await world.work()
    for path in ("", "/history"):
        await client.get(f"/customers/{CARL}/segments{path}", 404)
    await client.get(f"/customers/{CARL}/segments", 404, known_at=to_rfc3339(START + 5 * DAY))
    assert await world.database["trail"].count_documents({"customer": CARL}) == 0
    rows = await world.database["changes"].find({"customer": CARL}).to_list(None)
    assert [row.get("forgotten") for row in rows] == [True]


async def test_a_trail_that_is_behind_is_no_answer(world: ReadWorld, client: Client) -> None:
    world.world.append(*story())
    await world.work()
    await world.database["trail"].delete_many({"customer": ANNE, "offsets": {"$size": 1}})
    await world.database["trail"].update_many({"customer": ANNE}, {"$pop": {"offsets": 1}})
    problem = await client.get(f"/customers/{ANNE}/segments", 503, at=to_rfc3339(START + 6 * DAY))
    assert "ask again" in problem["detail"]


async def test_behind_is_who_has_not_followed_to_the_end(world: ReadWorld, client: Client) -> None:
    world.world.append(*story())
    await world.work()
    worker = await world.world.worker()
    world.world.append(bought(ANNE, "a4", START + 25 * DAY))
    await worker.step()
    await worker.step()
    await world.world.retire(worker)
    world.world.clock += HOUR
    answer = await client.get(f"/customers/{ANNE}/segments/history")
    assert answer["behind_seconds"] == pytest.approx(3600, abs=60)
    await world.follow()
    assert (await client.get(f"/customers/{ANNE}/segments/history"))["behind_seconds"] == 0.0


def test_far_records_are_read_apart_and_near_ones_together() -> None:
    assert runs([1, 2, 150, 900, 901]) == [[1, 2, 150], [900, 901]]
    assert runs([]) == []
