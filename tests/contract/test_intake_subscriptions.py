"""Subscriptions through intake's own routes and a real store: numbered, said in order, their secrets sealed."""

import json
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from prometheus_client import CollectorRegistry

from services.intake.store import IntakeStore
from services.intake.subscriptions_api import build_router
from services.intake.subscriptions_desk import SubscriptionDesk
from services.intake.subscriptions_register import SubscriptionRegister
from shared.clock import HOUR, Instant
from shared.events import subscriptions as s
from shared.events.catalog import PARTITIONS, SUBSCRIPTIONS
from shared.events.codec import decode
from shared.events.envelope import Event
from shared.privacy import BrokenSeal, SubscriptionSeal
from shared.processing.memory import MemoryLog, MemoryWriter
from shared.processing.mongo import connect
from shared.processing.ports import TransientError
from shared.processing.records import Message, TopicPartition
from shared.web.app import Readiness, build_app
from shared.web.keys import KeyRing

pytestmark = pytest.mark.real

URL = "https://example.com/hook"
SEAL = SubscriptionSeal(b"k" * 32)


class Desk:
    """Intake's desk over a real store and a log in memory, at a clock that stands."""

    def __init__(self, database: Any, keys: Path) -> None:
        self.now: Instant = 1_700_000_000_000
        self.log = MemoryLog({SUBSCRIPTIONS.name: PARTITIONS}, lambda: self.now)
        self.writer = Refusing(self.log)
        self.register = SubscriptionRegister(database)
        self.desk = SubscriptionDesk(self.register, self.writer, SEAL, lambda: self.now, private=False)
        ring = KeyRing(keys)
        self.app = build_app(
            "Try", "intake", ring, lambda: Readiness(True, ""), [build_router(self.desk)], CollectorRegistry()
        )
        self.headers = {"authorization": f"Bearer {ring.create('trial', ['admin'])[0]}"}

    async def ask(self, method: str, path: str = "", body: Any = None, **headers: str) -> httpx.Response:
        transport = httpx.ASGITransport(app=self.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            url = f"/v1/subscriptions{path}"
            return await client.request(method, url, json=body, headers={**self.headers, **headers})

    def values(self) -> list[bytes]:
        places = [TopicPartition(SUBSCRIPTIONS.name, number) for number in range(PARTITIONS)]
        return [record.value or b"" for place in places for record in self.log.read(place, 0, 100)]

    def events(self) -> list[Event]:
        return [decode(value) for value in self.values()]


class Refusing(MemoryWriter):
    """As Kafka is while it does not answer."""

    refuses = False

    async def publish(self, messages: Sequence[Message]) -> list[tuple[int, int]]:
        if self.refuses:
            raise TransientError("not acknowledged")
        return await super().publish(messages)


@pytest.fixture
async def desk(mongo: str, tmp_path: Path) -> AsyncIterator[Desk]:
    client = connect(mongo)
    name = f"subscriptions_{uuid4().hex[:12]}"
    await IntakeStore(client[name]).ensure()
    yield Desk(client[name], tmp_path / "keys.json")
    await client.drop_database(name)
    client.close()


async def test_a_life_is_numbered_and_its_secret_shown_once(desk: Desk) -> None:
    made = (await desk.ask("POST", body={"url": URL, "dimensions": ["value"]})).json()
    path = f"/{made['id']}"
    assert made["secret"].startswith("whsec_")
    assert (await desk.ask("PATCH", path, {"paused": True})).json()["paused"]
    rotated = (await desk.ask("PATCH", path, {"rotate_secret": True})).json()
    assert (await desk.ask("POST", f"{path}/replay", {"after_sequence": 3})).status_code == 202
    shown = await desk.ask("GET", path)
    assert (await desk.ask("GET")).json() == {"subscriptions": [shown.json()]}
    assert (await desk.ask("DELETE", path)).status_code == 204
    assert (await desk.ask("GET", path)).status_code == 410
    assert (await desk.ask("GET")).json() == {"subscriptions": []}
    kinds = [(event.number, type(event.data)) for event in desk.events()]
    assert kinds == [
        (1, s.SubscriptionCreated),
        (2, s.SubscriptionChanged),
        (3, s.SubscriptionChanged),
        (4, s.SubscriptionReplayRequested),
        (5, s.SubscriptionDeleted),
    ]
    assert rotated["secret"] != made["secret"]
    assert "secret" not in shown.json()
    assert len(shown.json()["secrets"]) == 2


async def test_secrets_are_sealed_for_their_subscription_alone_wherever_they_are_kept(desk: Desk, mongo: str) -> None:
    first = (await desk.ask("POST", body={"url": URL})).json()
    second = (await desk.ask("POST", body={"url": URL})).json()
    kept = [found.model_dump_json() for found in await desk.register.living()]
    for text in (*kept, *(value.decode() for value in desk.values())):
        assert first["secret"] not in text
        assert first["secret"].removeprefix("whsec_") not in text
    data = next(event.data for event in desk.events() if event.partitionkey == first["id"])
    assert isinstance(data, s.SubscriptionCreated)
    assert SEAL.open_(first["id"], data.secrets[0].sealed) == first["secret"]
    with pytest.raises(BrokenSeal):
        SEAL.open_(second["id"], data.secrets[0].sealed)
    with pytest.raises(BrokenSeal):
        SubscriptionSeal(b"q" * 32).open_(first["id"], data.secrets[0].sealed)


async def test_an_old_secret_signs_for_a_day_more(desk: Desk) -> None:
    path = f"/{(await desk.ask('POST', body={'url': URL})).json()['id']}"
    await desk.ask("PATCH", path, {"rotate_secret": True})
    desk.now += 25 * HOUR
    shown = (await desk.ask("PATCH", path, {"rotate_secret": True})).json()
    assert [secret["signs_until"] is None for secret in shown["secrets"]] == [True, False]
    for _ in range(3):
        assert (await desk.ask("PATCH", path, {"rotate_secret": True})).status_code == 200
    assert (await desk.ask("PATCH", path, {"rotate_secret": True})).status_code == 409


async def test_a_repetition_under_the_same_key_is_the_same_subscription(desk: Desk) -> None:
    first = await desk.ask("POST", body={"url": URL}, **{"idempotency-key": "one"})
    again = await desk.ask("POST", body={"url": URL}, **{"idempotency-key": "one"})
    other = await desk.ask("POST", body={"url": URL + "2"}, **{"idempotency-key": "one"})
    assert (first.json(), again.status_code, other.status_code) == (again.json(), 201, 422)
    assert len(desk.events()) == 1


async def test_what_kafka_did_not_take_is_said_later_in_order_and_once(desk: Desk) -> None:
    path = f"/{(await desk.ask('POST', body={'url': URL})).json()['id']}"
    desk.writer.refuses = True
    assert (await desk.ask("PATCH", path, {"paused": True})).status_code == 503
    assert (await desk.ask("PATCH", path, {"paused": False})).status_code == 503
    assert len(desk.events()) == 1
    desk.writer.refuses = False
    (left,) = await desk.register.unsent()
    await desk.desk.send(left)
    assert [event.number for event in desk.events()] == [1, 2, 3]
    assert await desk.register.unsent() == []
    await desk.ask("PATCH", path, {"description": "4"})
    assert [event.number for event in desk.events()] == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("", {"url": "http://example.com/"}),
        ("", {"url": "https://10.0.0.1/canary"}),
        ("", {"url": URL, "dimensions": ["No Such"]}),
        ("", {"url": URL, "secret": "mine"}),
        ("/{id}/replay", {}),
        ("/{id}/replay", {"after_sequence": 1, "since": "2026-11-01T00:00:00Z"}),
        ("/{id}/replay", {"since": "2026-11-01"}),
    ],
)
async def test_what_is_not_right_is_refused_by_field(desk: Desk, path: str, body: Any) -> None:
    known = (await desk.ask("POST", body={"url": URL})).json()["id"]
    answer = await desk.ask("POST", path.format(id=known), body)
    assert (answer.status_code, "errors" in answer.json()) == (422, True)
    assert "canary" not in answer.text
    assert len(desk.events()) == 1


async def test_there_is_an_end_to_subscriptions(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.intake.subscriptions_desk.MOST", 2)
    for _ in range(2):
        await desk.ask("POST", body={"url": URL})
    assert (await desk.ask("POST", body={"url": URL})).status_code == 409
    assert json.loads((await desk.ask("GET", f"/{uuid4()}")).text)["status"] == 404
