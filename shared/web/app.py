"""The frame of every service's HTTP: health, metrics, problems, limits, headers. The service brings the routes."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.responses import JSONResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shared.web.keys import KeyFileError, KeyRing, on_broken_file
from shared.web.problems import Problem, install, respond

MEBIBYTE = 1 << 20

SECURITY_HEADERS = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "cache-control": "no-store",
}
"""Set where the route has not set its own: forms need a wider content policy."""
_RAW_HEADERS = [(name.encode(), value.encode()) for name, value in SECURITY_HEADERS.items()]


@dataclass(frozen=True, slots=True)
class Readiness:
    """Alive is not ready: a worker that waits for its store is alive. `reason` is for operators, without data."""

    ready: bool
    reason: str


def build_app(
    title: str,
    service: str,
    ring: KeyRing,
    ready: Callable[[], Readiness],
    routers: Iterable[APIRouter],
    registry: CollectorRegistry,
    *,
    body_limit: int = MEBIBYTE,
    body_limits: Mapping[str, int] | None = None,
    docs_url: str | None = None,
) -> FastAPI:
    """`body_limit` in bytes; `body_limits` by path prefix where a route takes more (uploads)."""
    app = FastAPI(title=title, docs_url=docs_url, redoc_url=None)
    app.state.ring = ring
    install(app)
    app.add_exception_handler(KeyFileError, on_broken_file)
    app.include_router(_own_routes(service, ready, registry))
    for router in routers:
        app.include_router(router)
    app.add_middleware(BodyLimit, limit=body_limit, limits=body_limits or {})
    app.add_middleware(SecurityHeaders)
    return app


def _own_routes(service: str, ready: Callable[[], Readiness], registry: CollectorRegistry) -> APIRouter:
    router = APIRouter(tags=["operation"])

    @router.get("/health/live")
    async def live() -> dict[str, str]:
        return {"service": service, "status": "alive"}

    @router.get("/health/ready")
    async def readiness() -> JSONResponse:
        now = ready()
        body = {"service": service, "status": "ready" if now.ready else "not ready", "reason": now.reason}
        return JSONResponse(body, 200 if now.ready else 503)

    @router.get("/metrics", include_in_schema=False)
    async def metrics() -> Response:
        return Response(generate_latest(registry), headers={"content-type": CONTENT_TYPE_LATEST})

    return router


class SecurityHeaders:
    """Plain ASGI, because it stands in the way of every answer and must cost nothing."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                given = {name for name, _ in message["headers"]}
                message["headers"] = [*message["headers"], *(pair for pair in _RAW_HEADERS if pair[0] not in given)]
            await send(message)

        await self._app(scope, receive, with_headers)


class BodyLimit:
    """413 before more than the limit has been kept in memory, whatever the client announced."""

    def __init__(self, app: ASGIApp, limit: int, limits: Mapping[str, int]) -> None:
        self._app = app
        self._limit = limit
        self._limits = limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        limit = self._limit_of(scope["path"])
        if _announced(scope) > limit:
            await respond(_too_large(limit))(scope, receive, send)
            return
        await self._app(scope, _counting(receive, limit), send)

    def _limit_of(self, path: str) -> int:
        return max((most for prefix, most in self._limits.items() if path.startswith(prefix)), default=self._limit)


def _announced(scope: Mapping[str, Any]) -> int:
    value = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
    return int(value) if value.isdigit() else 0


def _counting(receive: Receive, limit: int) -> Receive:
    taken = 0

    async def count() -> Message:
        nonlocal taken
        message = await receive()
        taken += len(message.get("body", b""))
        if taken > limit:
            raise _too_large(limit)
        return message

    return count


def _too_large(limit: int) -> Problem:
    return Problem(413, "Too large", f"The body may have at most {limit} bytes.", headers={"connection": "close"})
