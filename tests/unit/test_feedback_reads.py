"""Feedback's routes over a real store, filled with documents as the domain leaves them."""

import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client import CollectorRegistry

from services.feedback.api import build_router
from services.feedback.case import State
from services.feedback.reasons import REASONS
from services.feedback.rules import load_rules
from services.feedback.store import INDEXES, FeedbackQueries
from shared.clock import DAY, HOUR, to_rfc3339
from shared.processing.document import Document
from shared.processing.mongo import Documents, MongoStore, connect, ensure_collection
from shared.processing.mongo_store import ENGINE_INDEXES
from shared.web.app import Readiness, build_app
from shared.web.freshness import Freshness, PartitionProgress
from shared.web.keys import KeyRing
from tests.unit.feedback_cases import CONFIG, MONDAY, Story, domain

pytestmark = pytest.mark.real

COUNT = 12
FRESH = {"as_of": to_rfc3339(MONDAY), "behind_seconds": 0.5}


def customer(number: int) -> str:
    return f"00000000-0000-4000-8000-{number:012d}"


def told(number: int) -> Story:
    """Two cases each, a day apart per customer; the first is assigned, every third of these resolved and reopened."""
    story = Story(customer(number))
    opened_at = MONDAY + number * DAY
    first = story.complain(opened_at, id=f"first-{number}")
    story.act(opened_at + HOUR, first, "assign", to="bo" if number % 2 else "anna")
    if number % 3 == 0:
        story.act(opened_at + 2 * HOUR, first, "resolve", cause="carrier")
        story.answer(opened_at + 3 * HOUR, first, 2)
    story.complain(opened_at + 4 * HOUR, kind="suggestion", severity="low", id=f"second-{number}")
    return story


STORIES = {number: told(number) for number in range(COUNT)}


def document(number: int) -> Document:
    state = STORIES[number].state
    text = state.model_dump_json(exclude_defaults=True)
    return Document(customer(number), rev=1, partition=number % 12, state=text, view=dict(domain().view(state)))


@pytest.fixture
async def documents(mongo: str) -> AsyncIterator[Documents]:
    client = connect(mongo)
    name = f"feedback_{uuid.uuid4().hex[:12]}"
    await ensure_collection(client[name], "customers", (*ENGINE_INDEXES, *INDEXES))
    await ensure_collection(client[name], "sessions", ())
    store = MongoStore(client, client[name], "customers", group_commit=False)
    quiet = Document(customer(900), rev=1, state="{}")
    erased = Document(customer(901), rev=1, erased=True)
    await store.save([*(document(number) for number in STORIES), quiet, erased])
    yield Documents(client[name], "customers")
    await store.close()
    await client.drop_database(name)
    client.close()


@pytest.fixture
async def http(documents: Documents, tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    async def progress() -> dict[int, PartitionProgress]:
        return {number: PartitionProgress(MONDAY, 0.5) for number in range(12)}

    ring = KeyRing(tmp_path / "keys.json")
    key, _ = ring.create("tests", ["read"])
    rules = load_rules(CONFIG / "feedback.yaml")
    router = build_router(FeedbackQueries(documents), Freshness(progress), rules)
    app = build_app("t", "feedback", ring, lambda: Readiness(True, "working"), [router], CollectorRegistry())
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(
        transport=transport, base_url="http://feedback", headers={"authorization": f"Bearer {key}"}
    ) as client:
        yield client


async def got(http: httpx.AsyncClient, path: str, **query: Any) -> dict[str, Any]:
    answer = await http.get(path, params=query)
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    if "service-levels" not in path:
        assert {name: body[name] for name in FRESH} == FRESH
    return body


def expected(state: State | None = None, assignee: str | None = None) -> list[str]:
    cases = [case for story in STORIES.values() for case in story.state.cases]
    return [c.case_id for c in cases if state in (None, c.state) and assignee in (None, c.assignee)]


@pytest.mark.parametrize(
    ("state", "assignee"),
    [(None, None), ("received", None), ("reopened", None), (None, "bo"), ("reopened", "anna"), ("closed", None)],
)
async def test_pages_hold_every_case_once(http: httpx.AsyncClient, state: State | None, assignee: str | None) -> None:
    wanted = {name: value for name, value in (("state", state), ("assignee", assignee)) if value}
    found: list[str] = []
    cursor: dict[str, str] = {}
    for _ in range(COUNT + 1):
        page = await got(http, "/v1/cases", **wanted, **cursor, limit=3)
        assert len(page["cases"]) <= 4, "a page holds whole customers"
        found += [case["case_id"] for case in page["cases"]]
        if page["next_cursor"] is None:
            break
        cursor = {"cursor": page["next_cursor"]}
    assert page["next_cursor"] is None
    assert found == expected(state, assignee)


async def test_a_case_is_shown_with_timeline_and_ledger(http: httpx.AsyncClient) -> None:
    case = STORIES[3].state.cases[0]
    body = await got(http, f"/v1/cases/{case.case_id}")
    assert (body["customer_id"], body["state"], body["csat"], body["cause"]) == (customer(3), "reopened", 2, "carrier")
    assert [step["what"] for step in body["timeline"]] == [step.what for step in case.steps]
    assert body["timeline"][0] == {
        "at": to_rfc3339(MONDAY + 3 * DAY), "what": "opened", "by": None, "detail": None, "event_id": "first-3",
    }  # fmt: skip
    acknowledge, resolve, again = body["deadlines"]
    assert (acknowledge["name"], acknowledge["hours_used"], acknowledge["ended_at"]) == (
        "acknowledge", 2.0, to_rfc3339(MONDAY + 3 * DAY + 2 * HOUR),
    )  # fmt: skip
    assert (resolve["hours_allowed"], resolve["running"], resolve["reopening"]) == (72.0, False, 0)
    assert (again["reopening"], again["running"], again["ledger"][0]["reason"]) == (1, True, "reopened")
    assert again["due_at"] == body["next_at"] == again["ledger"][0]["due_at"]


async def test_a_customers_cases(http: httpx.AsyncClient) -> None:
    body = await got(http, f"/v1/customers/{customer(5)}/cases")
    assert [case["case_id"] for case in body["cases"]] == [case.case_id for case in STORIES[5].state.cases]
    assert (await got(http, f"/v1/customers/{customer(900)}/cases"))["cases"] == []


@pytest.mark.parametrize("number", [901, 999])
async def test_nobody_and_the_forgotten_are_unknown(http: httpx.AsyncClient, number: int) -> None:
    assert (await http.get(f"/v1/customers/{customer(number)}/cases")).status_code == 404


async def test_statistics_count_what_was_opened_in_the_range(http: httpx.AsyncClient) -> None:
    start, end = MONDAY + 2 * DAY, MONDAY + 5 * DAY + 1 * HOUR
    query = {"from": to_rfc3339(start), "to": to_rfc3339(end)}
    body = await got(http, "/v1/statistics", **query, by="assignee")
    assert body["total"]["opened"] == 7
    assert {group["value"]: group["opened"] for group in body["groups"]} == {None: 3, "bo": 2, "anna": 2}
    bo = next(group for group in body["groups"] if group["value"] == "bo")
    assert (bo["reopened"], bo["mean_csat"], bo["open"]) == (1, 2.0, 2)
    assert bo["deadlines"]["acknowledge"] == {"kept": 1, "missed": 0, "running": 1}
    everything = {"from": to_rfc3339(MONDAY), "to": to_rfc3339(MONDAY + 400 * DAY)}
    causes = (await got(http, "/v1/statistics", **everything, by="cause"))["groups"]
    assert {group["value"]: group["opened"] for group in causes} == {None: 20, "carrier": 4}
    assert (await got(http, "/v1/statistics", **everything, by="category"))["groups"][0]["value"] == "delivery"


@pytest.mark.parametrize(
    ("path", "query", "status"),
    [
        ("/v1/cases/nowhere", {}, 404),
        ("/v1/cases", {"state": "lost"}, 422),
        ("/v1/cases", {"limit": 201}, 422),
        ("/v1/cases", {"cursor": "x"}, 422),
        ("/v1/customers/nobody/cases", {}, 422),
        ("/v1/statistics", {}, 422),
        ("/v1/statistics", {"from": "2026-11-02T00:00:00Z", "to": "2026-11-02T00:00:00Z"}, 422),
        ("/v1/statistics", {"from": "2026-11-02T00:00:00", "to": "2026-11-03T00:00:00Z"}, 422),
        ("/v1/statistics", {"from": "2026-11-02T00:00:00Z", "to": "2026-11-03T00:00:00Z", "by": "mood"}, 422),
    ],
)
async def test_what_cannot_be_answered_is_a_problem(
    http: httpx.AsyncClient, path: str, query: dict[str, Any], status: int
) -> None:
    answer = await http.get(path, params=query)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"


async def test_reading_needs_a_key(http: httpx.AsyncClient) -> None:
    for path in (
        "/v1/cases",
        "/v1/cases/x",
        f"/v1/customers/{customer(1)}/cases",
        "/v1/statistics",
        "/v1/service-levels",
    ):
        assert (await http.get(path, headers={"authorization": ""})).status_code == 401


async def test_service_levels_say_hours_and_words(http: httpx.AsyncClient) -> None:
    levels = await got(http, "/v1/service-levels")
    assert levels["severities"]["high"] == {"acknowledge": 4.0, "resolve": 24.0, "label": {"en": "High", "zh": "高"}}
    assert levels["labels"]["states"]["waiting"] == {"en": "Waiting", "zh": "等待中"}
    assert levels["labels"]["reasons"]["no_answer"] == {"en": "the customer did not answer", "zh": "客户未回复"}
    assert set(levels["labels"]["reasons"]) == set(REASONS)


async def test_the_view_is_indexed(documents: Documents) -> None:
    indexed = await documents._collection.index_information()
    assert {index.name for index in INDEXES} <= set(indexed)
