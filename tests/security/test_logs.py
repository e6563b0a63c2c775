"""Personal data never reaches a log or an answer, at DEBUG, over a real server, whatever goes wrong."""

import ast
import asyncio
import io
import json
import logging
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Annotated

import httpx
import pytest
from fastapi import APIRouter
from prometheus_client import CollectorRegistry
from pydantic import BaseModel, field_validator

from shared.clock import from_rfc3339
from shared.events.codec import UndecodableEvent, decode
from shared.privacy import normalise_email, normalise_phone
from shared.telemetry import ALLOWED, configure_logging
from shared.web.app import Readiness, build_app
from shared.web.keys import KeyRing
from shared.web.server import listen, port_of, serve_on

ROOT = Path(__file__).parent.parent.parent
CANARIES = ("Zhang Wei-Canary", "zw.canary@example.com", "13800138000", "+86 138 0013 8000", "canary street 8")

log = logging.getLogger("services.trial")
router = APIRouter()


class Contact(BaseModel):
    name: str
    phone: Annotated[str, "normalised"]
    at: str = "2026-01-01T00:00:00Z"

    @field_validator("phone")
    @classmethod
    def _normalised(cls, phone: str) -> str:
        return normalise_phone(phone)


@router.post("/contacts")
async def take(contact: Contact) -> dict[str, str]:
    log.debug("contact taken", extra={"name_given": contact.name, "phone": contact.phone})
    return {"phone": "kept"}


@router.post("/crash")
async def crash(contact: dict[str, str]) -> None:
    raise RuntimeError(f"cannot keep {contact}")


@router.post("/chained")
async def chained(contact: dict[str, str]) -> None:
    try:
        from_rfc3339(contact["name"])
    except ValueError:
        normalise_email(contact["name"])


@pytest.fixture(scope="module")
def stream() -> Iterator[io.StringIO]:
    root, before = logging.getLogger(), logging.getLogger().handlers[:]
    stream = io.StringIO()
    configure_logging("intake", "DEBUG", stream)
    yield stream
    root.handlers[:] = before
    for package in ("shared", "services", "deploy"):
        logging.getLogger(package).setLevel(logging.NOTSET)


@pytest.fixture(scope="module")
async def client(stream: io.StringIO, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[httpx.AsyncClient]:
    ring = KeyRing(tmp_path_factory.mktemp("keys") / "keys.json")
    app = build_app("Try", "intake", ring, lambda: Readiness(True, ""), [router], CollectorRegistry())
    bound = listen("127.0.0.1", 0)
    serving = asyncio.create_task(serve_on(app, bound))
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port_of(bound)}") as client:
        yield client
    serving.cancel()
    await asyncio.gather(serving, return_exceptions=True)


BODIES = [
    json.dumps({"name": CANARIES[0], "phone": CANARIES[1], "at": CANARIES[4]}),
    json.dumps({"name": {"first": CANARIES[0]}, "phone": [CANARIES[2]]}),
    json.dumps({CANARIES[1]: CANARIES[0]}),
    json.dumps({"name": CANARIES[0], "phone": CANARIES[2], CANARIES[4]: 1}),
    json.dumps([CANARIES]),
    json.dumps(CANARIES[0]),
    f'{{"name": "{CANARIES[0]}", "phone": {CANARIES[2]}, ',
    f"{CANARIES[0]} {CANARIES[1]}",
]


@pytest.mark.parametrize("path", ["/contacts", "/crash", "/chained"])
@pytest.mark.parametrize("body", BODIES)
async def test_no_canary_comes_back_or_is_logged(
    client: httpx.AsyncClient, stream: io.StringIO, path: str, body: str
) -> None:
    headers = {"content-type": "application/json", "x-name": "canary-header", "authorization": f"Bearer {CANARIES[2]}"}
    answer = await client.post(path, content=body, headers=headers)
    await client.post(f"/{CANARIES[2]}?phone={CANARIES[2]}", content=body, headers=headers)
    log.debug("the stream is heard")
    logged = stream.getvalue()
    assert "the stream is heard" in logged
    assert all(json.loads(line) for line in logged.splitlines())
    for canary in (*CANARIES, "canary-header"):
        assert canary not in answer.text
        assert canary not in logged


async def test_a_crash_is_logged_with_its_place(client: httpx.AsyncClient, stream: io.StringIO) -> None:
    answer = await client.post("/crash", json={"name": CANARIES[0]})
    assert answer.status_code == 500
    shown = [json.loads(line)["exception"] for line in stream.getvalue().splitlines() if "exception" in line]
    assert any(e["type"] == "RuntimeError" and any("crash" in place for place in e["at"]) for e in shown)


def test_what_cannot_be_decoded_is_said_without_what_it_holds() -> None:
    for canary in CANARIES:
        document = {"id": canary, "type": "guanxi.purchase.made.v1", canary: canary, "data": {"amount": canary}}
        with pytest.raises(UndecodableEvent) as caught:
            decode(json.dumps(document).encode())
        assert canary not in str(caught.value)


def extras() -> Iterator[tuple[str, str]]:
    for package in ("shared", "services", "deploy"):
        for file in sorted((ROOT / package).rglob("*.py")):
            for node in ast.walk(ast.parse(file.read_text("utf-8"))):
                if isinstance(node, ast.keyword) and node.arg == "extra" and isinstance(node.value, ast.Dict):
                    for key in node.value.keys:
                        yield f"{file.relative_to(ROOT)}:{node.value.lineno}", str(getattr(key, "value", key))


def test_our_own_log_lines_use_known_names_only() -> None:
    """Another name is redacted: harmless, but then nobody should write it."""
    found = list(extras())
    assert len(found) > 5
    assert [(place, name) for place, name in found if name not in ALLOWED] == []
