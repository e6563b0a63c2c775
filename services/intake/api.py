"""All of intake's routes as one application."""

from collections.abc import Callable
from typing import Any

from fastapi import APIRouter, FastAPI
from prometheus_client import CollectorRegistry

from services.intake import customers_api, events_api, imports_api, rules_api, subscriptions_api
from services.intake.answering import answer_refusals
from services.intake.customers_api import CustomerDesk
from services.intake.events_api import EventDoor
from services.intake.imports import Imports
from services.intake.limits import LIMITS
from services.intake.rules_api import RulesDesk
from services.intake.subscriptions_desk import SubscriptionDesk
from shared.web.app import Readiness, build_app
from shared.web.keys import KeyRing


def build(
    door: EventDoor,
    desk: CustomerDesk,
    imports: Imports,
    rules: RulesDesk,
    subscriptions: SubscriptionDesk,
    ring: KeyRing,
    ready: Callable[[], Readiness],
    registry: CollectorRegistry,
) -> FastAPI:
    routers: list[APIRouter] = [
        customers_api.build_router(desk),
        customers_api.receipts_router(desk),
        imports_api.build_router(imports),
        rules_api.build_router(rules),
        subscriptions_api.build_router(subscriptions),
    ]
    limits = {"/v1/imports/": LIMITS.import_body}
    app = build_app(
        "Guanxi intake", "intake", ring, ready, routers, registry, body_limit=LIMITS.body, body_limits=limits
    )
    answer_refusals(app)
    app.router.routes.insert(0, door.route())
    _describe(app)
    return app


def _describe(app: FastAPI) -> None:
    """Adds the hand-written route to the generated document, once it is asked for."""
    generated = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = generated()
            components = document.setdefault("components", {}).setdefault("schemas", {})
            document["paths"].update(events_api.openapi_paths(components))
            app.openapi_schema = document
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]
