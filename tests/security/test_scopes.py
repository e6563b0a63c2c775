"""Who may call what: one table over all routes of all services, every cell tried, whatever is not in it refused."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from shared.web.keys import SCOPES, KeyRing
from tests.support.apps import build, routes

EVERYBODY = {("GET", path) for path in ("/health/live", "/health/ready", "/metrics", "/openapi.json")}
"""Nothing of a customer is in these: operators' probes and the document of the routes."""

READ, EMIT, ADMIN = {"read", "admin"}, {"emit", "admin"}, {"admin"}

TABLE: dict[str, dict[tuple[str, str], set[str]]] = {
    "intake": {
        ("POST", "/v1/events"): {"emit", "staff", "admin"},
        ("POST", "/v1/customers"): EMIT,
        ("GET", "/v1/customers/{customer_id}"): READ,
        ("PATCH", "/v1/customers/{customer_id}"): EMIT,
        ("GET", "/v1/customers/{customer_id}/history"): READ,
        ("PUT", "/v1/customers/{customer_id}/consents/{channel}"): EMIT,
        ("POST", "/v1/customers/{customer_id}/objection"): EMIT,
        ("POST", "/v1/customers/{customer_id}/erasure"): ADMIN,
        ("POST", "/v1/customers/{customer_id}/resume"): ADMIN,
        ("GET", "/v1/erasures/{receipt_id}"): ADMIN,
        ("POST", "/v1/imports"): ADMIN,
        ("GET", "/v1/imports/{import_id}"): ADMIN,
        ("POST", "/v1/imports/{import_id}/rows"): ADMIN,
        ("POST", "/v1/imports/{import_id}/end"): ADMIN,
        ("GET", "/v1/rules"): READ,
        ("GET", "/v1/rules/{number}"): READ,
        ("POST", "/v1/rules"): ADMIN,
        ("POST", "/v1/rules/{number}/activation"): ADMIN,
        ("POST", "/v1/rules/{number}/withdrawal"): ADMIN,
        ("POST", "/v1/subscriptions"): ADMIN,
        ("GET", "/v1/subscriptions"): ADMIN,
        ("GET", "/v1/subscriptions/{subscription_id}"): ADMIN,
        ("PATCH", "/v1/subscriptions/{subscription_id}"): ADMIN,
        ("DELETE", "/v1/subscriptions/{subscription_id}"): ADMIN,
        ("POST", "/v1/subscriptions/{subscription_id}/replay"): ADMIN,
    },
    "segmentation": {
        ("GET", "/v1/customers/{customer_id}/segments"): READ,
        ("GET", "/v1/customers/{customer_id}/segments/history"): READ,
        ("GET", "/v1/segments"): READ,
        ("GET", "/v1/segments/flows"): READ,
        ("GET", "/v1/segments/{dimension}/{value:path}"): READ,
        ("GET", "/v1/changes"): READ,
        ("GET", "/v1/rules"): READ,
        ("GET", "/v1/rules/{number}"): READ,
    },
    "webhooks": {
        ("GET", "/v1/deliveries"): READ,
    },
    "followup": {
        ("GET", "/v1/customers/{customer_id}/followups"): READ,
        ("GET", "/v1/worklists/{staff}"): READ,
        ("GET", "/v1/followups"): READ,
        ("GET", "/v1/followups/counts"): READ,
        ("GET", "/v1/forecast"): READ,
        ("GET", "/v1/playbooks"): READ,
    },
    "feedback": {
        ("GET", "/v1/cases"): READ,
        ("GET", "/v1/cases/{case_id}"): READ,
        ("GET", "/v1/customers/{customer_id}/cases"): READ,
        ("GET", "/v1/statistics"): READ,
        ("GET", "/v1/service-levels"): READ,
    },
}
CELLS = [(service, *route, allowed) for service, table in TABLE.items() for route, allowed in table.items()]
WITH = dict.fromkeys(("customer_id", "subscription_id"), "0b7e5c1e-4a55-4c6e-9a0f-6f1f6f2f7d10")
CANARY = "13800138000-canary"


@pytest.fixture
def keys_file(tmp_path: Path) -> Path:
    return tmp_path / "keys.json"


@asynccontextmanager
async def calling(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        yield client


def concrete(path: str) -> str:
    return re.sub(r"{(\w+)}", lambda match: WITH.get(match[1], "x"), path)


def bearer(keys_file: Path, *scopes: str) -> dict[str, str]:
    return {"authorization": f"Bearer {KeyRing(keys_file).create('trial', scopes)[0]}"}


@pytest.mark.parametrize("service", TABLE)
def test_the_table_names_every_route_and_no_other(service: str, keys_file: Path) -> None:
    assert routes(build(service, keys_file)) == set(TABLE[service]) | EVERYBODY


@pytest.mark.parametrize(("service", "method", "path", "allowed"), CELLS)
async def test_each_scope_opens_just_what_the_table_says(
    service: str, method: str, path: str, allowed: set[str], keys_file: Path
) -> None:
    async with calling(build(service, keys_file)) as client:
        opened = set()
        for scope in SCOPES:
            answer = await client.request(method, concrete(path), json={}, headers=bearer(keys_file, scope))
            assert answer.status_code != 401
            opened |= {scope} if answer.status_code != 403 else set()
    assert opened == allowed


@pytest.mark.parametrize(("service", "method", "path", "allowed"), CELLS)
async def test_without_a_valid_key_nothing_opens(
    service: str, method: str, path: str, allowed: set[str], keys_file: Path
) -> None:
    ring = KeyRing(keys_file)
    key, record = ring.create("gone", ["admin", "emit", "read", "staff", "unseal"])
    ring.revoke(record.id)
    async with calling(build(service, keys_file)) as client:
        for given in ({}, {"authorization": f"Bearer {key}"}, {"authorization": f"Basic {key}"}, {"x-api-key": key}):
            answer = await client.request(method, concrete(path), json={}, headers=given)
            assert (answer.status_code, answer.headers.get("www-authenticate")) == (401, "Bearer")
        assert (await client.request(method, f"{concrete(path)}?key={key}", json={})).status_code == 401


@pytest.mark.parametrize("service", TABLE)
async def test_everybody_may_probe(service: str, keys_file: Path) -> None:
    async with calling(build(service, keys_file)) as client:
        for method, path in EVERYBODY:
            assert (await client.request(method, path)).status_code == 200
        document = (await client.get("/openapi.json")).json()
        assert {path.replace(":path}", "}") for _, path in TABLE[service]} <= set(document["paths"])


@pytest.mark.parametrize(("service", "method", "path", "allowed"), CELLS)
async def test_no_answer_repeats_what_was_sent(
    service: str, method: str, path: str, allowed: set[str], keys_file: Path
) -> None:
    body = {CANARY: CANARY, "type": CANARY, "name": {CANARY: CANARY}, "import_id": [CANARY], "consent": CANARY}
    place = re.sub(r"{\w+}", CANARY, path)
    headers = bearer(keys_file, "admin", "unseal")
    async with calling(build(service, keys_file)) as client:
        for url in (
            place,
            f"{concrete(path)}?cursor={CANARY}&state={CANARY}&from={CANARY}&limit={CANARY}&hold={CANARY}",
        ):
            answer = await client.request(method, url, json=body, headers=headers)
            assert CANARY not in answer.text
            assert CANARY not in str(answer.headers)
