"""The HTTP frame: problems, limits, headers, health, keys and freshness, over a real application."""

from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Annotated, Literal

import httpx
import pytest
from fastapi import APIRouter, Depends, FastAPI
from prometheus_client import CollectorRegistry, Counter
from pydantic import BaseModel, ConfigDict, Field, field_validator

from shared.processing.ports import TransientError
from shared.web.app import Readiness, build_app
from shared.web.freshness import Freshness, PartitionProgress
from shared.web.keys import KeyRing, Principal, requires
from shared.web.problems import Problem

CANARY = "zhang.wei.canary@example.com"


class Body(BaseModel):
    model_config = ConfigDict(extra="forbid")
    kind: Literal["a", "b"] = "a"
    count: Annotated[int, Field(ge=1)] = 1
    word: str = ""

    @field_validator("word")
    @classmethod
    def _no_at(cls, word: str) -> str:
        if "@" in word:
            raise ValueError(f"{word} is an address")
        return word


router = APIRouter()


@router.post("/things")
async def take(body: Body, who: Annotated[Principal, Depends(requires("emit"))]) -> dict[str, str]:
    return {"kind": body.kind, "by": who.name}


@router.get("/refused")
async def refused() -> None:
    raise Problem(409, "Already there", "Another content has this id.", [{"field": "id", "reason": "is taken"}])


@router.get("/crash")
async def crash() -> None:
    raise RuntimeError(CANARY)


@router.get("/away")
async def away() -> None:
    raise TransientError("reading: AutoReconnect")


@router.post("/uploads/one")
async def upload(body: dict[str, str]) -> int:
    return len(body["text"])


class State:
    ready = Readiness(False, "starting")


@pytest.fixture
def app(tmp_path: Path) -> FastAPI:
    registry = CollectorRegistry()
    Counter("guanxi_things", "Things.", registry=registry).inc(3)
    ring = KeyRing(tmp_path / "keys.json")
    return build_app(
        "Try",
        "intake",
        ring,
        lambda: State.ready,
        [router],
        registry,
        body_limit=1_000,
        body_limits={"/uploads": 5_000},
    )


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        yield client


def key(app: FastAPI, *scopes: str) -> dict[str, str]:
    ring: KeyRing = app.state.ring
    return {"authorization": f"Bearer {ring.create('till', scopes)[0]}"}


async def test_without_a_key_401_without_the_scope_403_with_it_200(app: FastAPI, client: httpx.AsyncClient) -> None:
    nobody = await client.post("/things", json={})
    assert (nobody.status_code, nobody.headers["www-authenticate"]) == (401, "Bearer")
    reader = await client.post("/things", json={}, headers=key(app, "read"))
    assert (reader.status_code, reader.json()["detail"]) == (403, "The scope emit is required.")
    emitter = await client.post("/things", json={}, headers=key(app, "emit"))
    assert emitter.json() == {"kind": "a", "by": "till"}


@pytest.mark.parametrize(
    ("body", "errors"),
    [
        ({"count": 0}, [{"field": "count", "reason": "Input should be greater than or equal to 1"}]),
        ({"kind": CANARY}, [{"field": "kind", "reason": "Input should be 'a' or 'b'"}]),
        ({"word": CANARY}, [{"field": "word", "reason": "value error"}]),
        ({CANARY: 1}, [{"field": "?", "reason": "is not known here"}]),
        ({"surprise": CANARY}, [{"field": "surprise", "reason": "is not known here"}]),
        (
            [CANARY],
            [{"field": "", "reason": "Input should be a valid dictionary or object to extract fields from"}],
        ),
    ],
)
async def test_reasons_name_the_field_and_never_the_value(
    app: FastAPI, client: httpx.AsyncClient, body: object, errors: list[dict[str, str]]
) -> None:
    answer = await client.post("/things", json=body, headers=key(app, "emit"))
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["errors"] == errors
    assert CANARY not in answer.text


async def test_a_broken_file_of_keys_lets_nobody_in_and_says_so(
    app: FastAPI, client: httpx.AsyncClient, tmp_path: Path
) -> None:
    emitter = key(app, "emit")
    (tmp_path / "keys.json").write_text("[")
    answer = await client.post("/things", json={}, headers=emitter)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")
    assert answer.json()["detail"] == "The keys of this service cannot be read."
    assert str(tmp_path) not in answer.text


async def test_broken_json_is_a_problem_too(app: FastAPI, client: httpx.AsyncClient) -> None:
    headers = {**key(app, "emit"), "content-type": "application/json"}
    answer = await client.post("/things", content=b'{"word": "' + CANARY.encode(), headers=headers)
    assert answer.status_code == 422
    assert CANARY not in answer.text


async def test_problems_crashes_and_unknown_paths_have_one_form(client: httpx.AsyncClient) -> None:
    for path, status in (("/refused", 409), ("/crash", 500), ("/nowhere", 404)):
        answer = await client.get(path)
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["status"] == answer.status_code == status
        assert CANARY not in answer.text
    body = (await client.get("/refused")).json()
    assert body["errors"] == [{"field": "id", "reason": "is taken"}]
    assert (await client.put("/things")).headers["allow"] == "POST"


async def test_what_is_away_for_a_moment_says_when_to_come_back(client: httpx.AsyncClient) -> None:
    answer = await client.get("/away")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")


async def test_too_large_is_refused_announced_or_not(app: FastAPI, client: httpx.AsyncClient) -> None:
    headers = {**key(app, "emit"), "content-type": "application/json"}

    async def dribble() -> AsyncIterator[bytes]:
        for _ in range(20):
            yield b" " * 100

    announced = await client.post("/things", content=b" " * 1_001, headers=headers)
    dribbled = await client.post("/things", content=dribble(), headers=headers)
    assert announced.status_code == dribbled.status_code == 413
    assert dribbled.json()["detail"] == "The body may have at most 1000 bytes."
    assert (await client.post("/uploads/one", json={"text": "x" * 4_000})).json() == 4_000


async def test_every_answer_carries_the_security_headers(client: httpx.AsyncClient) -> None:
    for path in ("/health/live", "/nowhere", "/refused", "/openapi.json"):
        headers = (await client.get(path)).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == "no-store"
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert (await client.get("/docs")).status_code == 404


async def test_ready_is_not_alive(client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    assert (await client.get("/health/live")).status_code == 200
    waiting = await client.get("/health/ready")
    assert (waiting.status_code, waiting.json()["reason"]) == (503, "starting")
    monkeypatch.setattr(State, "ready", Readiness(True, "consuming"))
    assert (await client.get("/health/ready")).status_code == 200


async def test_metrics_are_in_prometheus_form(client: httpx.AsyncClient) -> None:
    answer = await client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    assert "guanxi_things_total 3.0" in answer.text


async def test_freshness_is_the_least_over_what_the_answer_rests_on() -> None:
    async def read() -> Mapping[int, PartitionProgress]:
        return {0: PartitionProgress(1_000, 0.5), 1: PartitionProgress(61_000, 0.0)}

    async def nothing() -> Mapping[int, PartitionProgress]:
        return {}

    freshness = Freshness(read)
    assert await freshness.of(1) == {"as_of": "1970-01-01T00:01:01.000Z", "behind_seconds": 0.0}
    assert await freshness.of(None) == {"as_of": "1970-01-01T00:00:01.000Z", "behind_seconds": 0.5}
    unknown = {"as_of": None, "behind_seconds": None}
    assert await freshness.of(7) == unknown == await Freshness(nothing).of(None)
