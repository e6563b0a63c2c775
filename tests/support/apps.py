"""Every service's HTTP application with its real routes and its real keys, without servers behind it."""

from collections.abc import Iterator, Mapping
from contextlib import AsyncExitStack
from importlib import import_module
from pathlib import Path
from typing import Any

from fastapi import APIRouter, FastAPI
from motor.motor_asyncio import AsyncIOMotorClient
from prometheus_client import CollectorRegistry

from services.intake import api as intake_api
from services.intake.customers_api import CustomerDesk
from services.intake.events_api import EventDoor
from services.intake.imports import Imports
from services.intake.rules_api import RulesDesk
from services.intake.subscriptions_desk import SubscriptionDesk
from services.segmentation.webhooks import api as deliver_api
from services.segmentation.webhooks.board import Board
from shared.clock import wall_clock
from shared.processing.connections import Kafka
from shared.processing.memory_versions import MemoryVersions
from shared.processing.mongo import Collection, Documents
from shared.processing.service import Premises
from shared.settings import Settings
from shared.web.app import Readiness, build_app
from shared.web.freshness import Freshness, PartitionProgress
from shared.web.keys import KeyRing


def build(service: str, keys_file: Path) -> FastAPI:
    """Handlers that are let through find no store or no parts behind them and fail: that is how one sees they were."""
    ring, registry = KeyRing(keys_file), CollectorRegistry()
    makers = {"intake": _intake, "webhooks": _webhooks}
    return makers[service](ring, registry) if service in makers else _reader(service, ring, registry)


def _ready() -> Readiness:
    return Readiness(True, "working")


async def _progress() -> Mapping[int, PartitionProgress]:
    return {}


def _reader(service: str, ring: KeyRing, registry: CollectorRegistry) -> FastAPI:
    whole = import_module(f"services.{service}.bootstrap").SERVICE
    client: AsyncIOMotorClient[Any] = AsyncIOMotorClient()
    client.close()
    closed = client["closed"]
    settings = Settings()
    premises = Premises(
        settings,
        Documents(closed, "documents"),
        lambda name: Collection(closed, name),
        Freshness(_progress),
        Kafka(settings, service, AsyncExitStack()),
        lambda: False,
        MemoryVersions(),
    )
    return build_app(service, service, ring, _ready, [whole.build_router(premises)], registry)


def _webhooks(ring: KeyRing, registry: CollectorRegistry) -> FastAPI:
    nothing: Any = None
    return build_app("webhooks", "webhooks", ring, _ready, [deliver_api.build_router(Board(), nothing)], registry)


def _intake(ring: KeyRing, registry: CollectorRegistry) -> FastAPI:
    nothing: Any = None
    door = EventDoor(nothing, nothing, wall_clock, lambda _what, _count: None)
    desk = CustomerDesk(nothing, nothing, nothing, nothing, nothing, wall_clock)
    imports = Imports(nothing, nothing, nothing, nothing, wall_clock)
    rules = RulesDesk(nothing, nothing, wall_clock)
    subscriptions = SubscriptionDesk(nothing, nothing, nothing, wall_clock, private=False)
    return intake_api.build(door, desk, imports, rules, subscriptions, ring, _ready, registry)


def routes(app: FastAPI) -> set[tuple[str, str]]:
    """(method, path) of everything that the application answers, shown in its document or not."""
    return {found for found in _walk(app.routes, "") if found[0] != "HEAD"}


def _walk(found: Any, prefix: str) -> Iterator[tuple[str, str]]:
    for route in found:
        inner = getattr(route, "original_router", None)
        if isinstance(inner, APIRouter):
            yield from _walk(inner.routes, prefix)
        else:
            yield from ((method, prefix + route.path) for method in route.methods)
