"""Follow-up's routes over a real store, filled with documents as the domain leaves them."""

import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client import CollectorRegistry

from services.followup.api import Reads, build_router
from services.followup.state import Task
from services.followup.store import INDEXES, FollowupQueries
from shared.clock import DAY, HOUR, MINUTE
from shared.events import customers as c
from shared.processing.document import Document
from shared.processing.mongo import Documents, MongoStore, connect, ensure_collection
from shared.processing.mongo_store import ENGINE_INDEXES
from shared.web.app import Readiness, build_app
from shared.web.freshness import Freshness, PartitionProgress
from shared.web.keys import KeyRing
from tests.unit.followup_story import CUSTOMER, DOMAIN, Story, at, frequency, local

pytestmark = pytest.mark.real

MONDAY = at("11-23 10:00")
NOW = MONDAY + 4 * HOUR
INQUIRY = c.InquiryReceived(customer_id=CUSTOMER)


def customer(number: int) -> str:
    return f"00000000-0000-4000-8000-{number:012d}"


def told(number: int, owner: str | None = "li") -> Story:
    """Every third has a regular contact ahead, every third an inquiry that waits, every third one that was missed."""
    story = Story()
    story.send(MONDAY - DAY, c.CustomerRegistered(customer_id=CUSTOMER, owner=owner))
    if number % 3 == 0:
        story.send(MONDAY - 3 * DAY, c.ContactMade(customer_id=CUSTOMER, by="li"))
        story.send(MONDAY + number * MINUTE, frequency("high"))
    elif number % 3 == 1:
        story.send(NOW - (30 - number) * MINUTE, INQUIRY)
    else:
        story.send(MONDAY + number * MINUTE, INQUIRY)
    story.until(NOW)
    return story


def document(number: int, story: Story) -> Document:
    def own(tasks: tuple[Task, ...]) -> tuple[Task, ...]:
        return tuple(task.model_copy(update={"id": f"{task.id[:-4]}{number:04d}"}) for task in tasks)

    kept = story.state
    state = kept.model_copy(
        update={"customer_id": customer(number), "open": own(kept.open), "closed": own(kept.closed)}
    )
    text = state.model_dump_json(exclude_defaults=True)
    return Document(customer(number), rev=1, partition=number % 12, state=text, view=dict(DOMAIN.view(state)))


@pytest.fixture
async def documents(mongo: str) -> AsyncIterator[Documents]:
    client = connect(mongo)
    name = f"followup_{uuid.uuid4().hex[:12]}"
    await ensure_collection(client[name], "customers", (*ENGINE_INDEXES, *INDEXES))
    await ensure_collection(client[name], "sessions", ())
    store = MongoStore(client, client[name], "customers", group_commit=False)
    filled = [document(number, told(number, "li" if number < 24 else None)) for number in range(30)]
    assert await store.save([*filled, Document(customer(99), rev=1, erased=True)])
    yield Documents(client[name], "customers")
    await store.close()
    await client.drop_database(name)
    client.close()


@pytest.fixture
async def http(documents: Documents, tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    async def read() -> dict[int, PartitionProgress]:
        return {0: PartitionProgress(NOW, 0.5), 1: PartitionProgress(NOW + HOUR, 0.0)}

    ring = KeyRing(tmp_path / "keys.json")
    key, _ = ring.create("test", ["read"])
    queries = FollowupQueries(documents, DOMAIN.section)
    router = build_router(Reads(queries, Freshness(read), DOMAIN.rules, DOMAIN.calendar, lambda: NOW))
    app = build_app("Guanxi", "followup", ring, lambda: Readiness(True, ""), [router], CollectorRegistry())
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(
        transport=transport, base_url="http://test", headers={"authorization": f"Bearer {key}"}
    ) as client:
        yield client


async def got(http: httpx.AsyncClient, path: str, status: int = 200, **params: Any) -> Any:
    answer = await http.get(path, params=params)
    assert answer.status_code == status, answer.text
    return answer.json()


async def every(http: httpx.AsyncClient, path: str, **params: Any) -> list[dict[str, Any]]:
    """All pages; the cursor of each leads to the next without a gap or a repeat."""
    found: list[dict[str, Any]] = []
    cursor: dict[str, Any] = {}
    while True:
        page = await got(http, path, **params, **cursor)
        found += page["followups"]
        if page["next_cursor"] is None:
            return found
        assert page["followups"], "an empty page that is not the last"
        cursor = {"cursor": page["next_cursor"]}


async def test_a_customers_followups_open_first_then_the_newest_closed(http: httpx.AsyncClient) -> None:
    body = await got(http, f"/v1/customers/{customer(2)}/followups")
    [missed] = body["followups"]
    assert (missed["state"], missed["assignee"], missed["customer_id"]) == ("missed", "supervisors", customer(2))
    assert missed["closed_reason"] == {"code": "deadline_passed", "en": "the deadline passed", "zh": "已超过期限"}
    assert missed["label"]["zh"] == "询价后首次联系"
    assert missed["content"]["en"].startswith("Thank the customer")
    assert body["last_contact_at"] is None
    assert (body["as_of"], body["behind_seconds"]) == (None, None), (
        "of this customer's partition, which nobody reported"
    )
    contacted = await got(http, f"/v1/customers/{customer(0)}/followups")
    assert contacted["last_contact_at"] == "2026-11-20T02:00:00.000Z"
    assert contacted["as_of"] == "2026-11-23T06:00:00.000Z"


@pytest.mark.parametrize("number", [98, 99])
async def test_nobody_and_the_forgotten_are_unknown(http: httpx.AsyncClient, number: int) -> None:
    assert (await got(http, f"/v1/customers/{customer(number)}/followups", 404))["title"] == "Unknown customer"


async def test_a_worklist_shows_what_is_due_by_deadline_and_then_what_comes(http: httpx.AsyncClient) -> None:
    listed = await every(http, "/v1/worklists/li")
    due = [one for one in listed if one["section"] == "due"]
    soon = [one for one in listed if one["section"] != "due"]
    assert listed == due + soon
    assert [one["customer_id"] for one in due] == [customer(number) for number in (1, 4, 7, 10, 13, 16, 19, 22)]
    assert {one["playbook"] for one in soon} == {"regular_contact"}
    assert [one["due_at"] for one in soon] == sorted(one["due_at"] for one in soon)
    assert len(soon) == 8
    assert await every(http, "/v1/worklists/li", **{"from": "2026-11-29"}) == due, "another week has another soon"


async def test_pages_of_every_size_give_the_same_worklist(http: httpx.AsyncClient) -> None:
    whole = await every(http, "/v1/worklists/li")
    for size in (1, 3, 8, 15, 16, 17):
        assert await every(http, "/v1/worklists/li", limit=size) == whole


async def test_escalated_tasks_are_on_the_supervisors_list(http: httpx.AsyncClient) -> None:
    listed = await every(http, "/v1/worklists/supervisors")
    assert {one["section"] for one in listed} == {"escalated"}
    assert len(listed) == 10


async def test_nobodys_customers_are_the_default_queues(http: httpx.AsyncClient) -> None:
    assert len(await every(http, "/v1/worklists/sales")) == 4
    assert await every(http, "/v1/worklists/nobody") == []


@pytest.mark.parametrize("state", ["scheduled", "due", "missed", None])
async def test_lists_by_state_in_pages(http: httpx.AsyncClient, state: str | None) -> None:
    wanted = {} if state is None else {"state": state}
    whole = await every(http, "/v1/followups", **wanted)
    assert len(whole) == (10 if state else 30)
    assert {one["state"] for one in whole} == ({state} if state else {"scheduled", "due", "missed"})
    for size in (1, 4, 10):
        assert await every(http, "/v1/followups", limit=size, **wanted) == whole
    assert await every(http, "/v1/followups", state="completed") == []


async def test_counts_and_the_load_ahead(http: httpx.AsyncClient) -> None:
    counts = await got(http, "/v1/followups/counts")
    assert counts["customers"] == {"scheduled": 10, "due": 10, "completed": 0, "missed": 10, "cancelled": 0}
    forecast = await got(http, "/v1/forecast", days=5)
    assert forecast["due"]["playbooks"] == {"first_contact": 10, "promised_contact": 0, "regular_contact": 0}
    assert [(day["section"], day["total"]) for day in forecast["days"]] == [
        ("2026-11-23", 0),
        ("2026-11-24", 0),
        ("2026-11-25", 0),
        ("2026-11-26", 0),
        ("2026-11-27", 10),
    ]
    later = await got(http, "/v1/forecast", **{"from": "2026-11-27", "days": 1})
    assert [(day["section"], day["total"]) for day in later["days"]] == [("2026-11-27", 10)]
    assert local(told(0).open("regular_contact").due_at) == "11-27 10:00"


async def test_the_playbooks_are_shown_with_their_texts(http: httpx.AsyncClient) -> None:
    body = await got(http, "/v1/playbooks")
    assert body["playbooks"]["regular_contact"]["every_days"] == {"high": 7, "medium": 30, "low": 90}
    assert all(text["en"] and text["zh"] for text in body["contents"].values())
    assert body["states"]["missed"] == {"en": "Missed", "zh": "已超期"}
    assert body["sections"]["escalated"] == {"en": "Escalated", "zh": "已升级"}
    assert body["reasons"]["skipped"] == {"en": "skipped", "zh": "已跳过"}


@pytest.mark.parametrize(
    "path",
    [
        "/v1/worklists/li?cursor=nonsense",
        "/v1/worklists/li?cursor=WzFd",
        "/v1/followups?cursor=x",
        "/v1/followups?state=lost",
        "/v1/forecast?days=0",
        "/v1/forecast?from=yesterday",
        "/v1/worklists/li?from=9999-12-31",
        "/v1/followups?limit=100000",
        "/v1/customers/x/followups",
    ],
)
async def test_wrong_questions_are_refused_as_problems(http: httpx.AsyncClient, path: str) -> None:
    answer = await http.get(path)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["errors"]


async def test_without_a_key_nothing_is_shown(http: httpx.AsyncClient) -> None:
    for path in ("/v1/followups", "/v1/worklists/li", "/v1/forecast", "/v1/playbooks", "/v1/followups/counts"):
        assert (await http.get(path, headers={"authorization": ""})).status_code == 401


async def test_what_is_asked_uses_the_indexes(documents: Documents) -> None:
    collection = documents._collection
    for wanted in ({"view.work": "due/li"}, {"view.load": "due/first_contact"}, {"view.states": "due"}):
        plan = str(await collection.find(wanted).sort("_id", 1).explain())
        assert "IXSCAN" in plan, wanted
