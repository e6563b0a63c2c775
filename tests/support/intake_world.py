"""Intakes with their real routes over a real store, in one process, writing one log in memory. Several may share a store."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from uuid import uuid4

import httpx
from prometheus_client import CollectorRegistry

from services.intake import api
from services.intake.batches import Batch
from services.intake.checking import Checker
from services.intake.customers_api import CustomerDesk
from services.intake.entries import EntryWriter
from services.intake.events_api import EventDoor
from services.intake.identities import Identities, KnownKeys
from services.intake.imports import Imports
from services.intake.processor import Intake
from services.intake.publishing import Publisher
from services.intake.registers import ImportRegister, KeyRegister, ReceiptRegister, RuleRegister
from services.intake.rules import Rules
from services.intake.rules_api import RulesDesk
from services.intake.store import IntakeStore
from services.intake.subscriptions_desk import SubscriptionDesk
from services.intake.subscriptions_register import SubscriptionRegister
from shared.clock import wall_clock
from shared.ending import together
from shared.events.catalog import CUSTOMERS, TOPICS
from shared.events.codec import short_name
from shared.privacy import BlindIndex, SubscriptionSeal, Vault
from shared.processing.memory import MemoryLog, MemoryWriter
from shared.processing.records import TopicPartition
from shared.web.app import Readiness
from shared.web.keys import KeyRing

KEY, PEPPER = b"k" * 32, b"p" * 32
SCOPES = ("admin", "emit", "staff", "read", "unseal")


def log_in_memory() -> MemoryLog:
    return MemoryLog({topic.name: topic.partitions for topic in TOPICS}, wall_clock)


class IntakeWorld:
    """One intake, alive inside `async with`."""

    def __init__(self, database: Any, log: MemoryLog, room: Path, rules: Rules | None = None) -> None:
        self.log = log
        self.store = IntakeStore(database)
        self.known = KnownKeys()
        self.vault = Vault(KEY, KeyRegister(self.store.database))
        writer = MemoryWriter(log)
        self.publisher = Publisher(self.store, writer, lambda _count: None)
        identities = Identities(self.store, self.known, self.publisher.jobs.keys)
        entries = EntryWriter(self.store, identities, self.known, self.vault)
        self.intake = Intake(self.store, self.publisher, entries, self.known, self.vault, wall_clock)
        self._checker = Checker(rules or Rules(), BlindIndex(PEPPER))
        self._ring = KeyRing(room / f"keys-{uuid4().hex}.json")
        headers = {"authorization": f"Bearer {self._ring.create('trial', SCOPES)[0]}"}
        transport = httpx.ASGITransport(app=self._app(writer), raise_app_exceptions=False)
        self.http = httpx.AsyncClient(transport=transport, base_url="http://test", headers=headers, timeout=60)
        self.working: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        await self.store.ensure()
        self.working = asyncio.create_task(self._run())
        while not self.intake.ready:  # noqa: ASYNC110 - a moment at the start of a test
            await asyncio.sleep(0.01)
        return self

    async def __aexit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        assert self.working is not None
        alive = not self.working.done()
        self.working.cancel()
        await asyncio.gather(self.working, return_exceptions=True)
        await self.http.aclose()
        assert alive, "the intake ended by itself"

    async def ask(self, method: str, path: str, body: Any = None, status: int | None = None, **headers: str) -> Any:
        """The answer's document; `status` is what it must have been answered with."""
        content = body if body is None or isinstance(body, bytes) else json.dumps(body, ensure_ascii=False).encode()
        headers = {"content-type": "application/json", **headers}
        response = await self.http.request(method, path, content=content, headers=headers)
        assert status is None or response.status_code == status, response.text
        return response.json()

    async def registered(self, **fields: Any) -> str:
        return str((await self.ask("POST", "/v1/customers", fields, 201))["customer_id"])

    async def shown(self, customer_id: str) -> dict[str, Any]:
        return dict(await self.ask("GET", f"/v1/customers/{customer_id}", status=200))

    def meanwhile(self, act: Callable[[], Awaitable[Any]]) -> None:
        """Once: after the next batch has been decided and written down, and before anything is claimed."""
        begin = self.store.begin

        async def interrupted(batch: Batch) -> None:
            self.store.begin = begin  # type: ignore[method-assign]
            await begin(batch)
            await act()

        self.store.begin = interrupted  # type: ignore[method-assign]

    def records(self) -> list[dict[str, Any]]:
        """Of all customers; those of one stand in their order."""
        places = [TopicPartition(CUSTOMERS.name, number) for number in range(CUSTOMERS.partitions)]
        return [json.loads(r.value or b"") for place in places for r in self.log.read(place, 0, 100_000)]

    def kinds(self) -> list[str]:
        return [short_name(record["type"]) for record in self.records()]

    async def _run(self) -> None:
        await together(self.publisher.run(), self.intake.run())

    def _app(self, writer: MemoryWriter) -> Any:
        database = self.store.database
        register = SubscriptionRegister(database)
        return api.build(
            EventDoor(self.intake, self._checker, wall_clock, lambda _what, _count: None),
            CustomerDesk(self.intake, self._checker, self.store, ReceiptRegister(database), self.vault, wall_clock),
            Imports(ImportRegister(database), self.store, self.intake, self._checker, wall_clock),
            RulesDesk(RuleRegister(database), self.intake, wall_clock),
            SubscriptionDesk(register, writer, SubscriptionSeal(KEY), wall_clock, private=False),
            self._ring,
            lambda: Readiness(True, "accepting"),
            CollectorRegistry(),
        )
