"""Bodies of routes that FastAPI validates, held to the limits of events before anybody looks at what they mean."""

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute

from services.intake import limits, shapes
from services.intake.answering import problem
from services.intake.refusal import Refusal


class LimitedRoute(APIRoute):
    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def limited(request: Request) -> Response:
            return await handle(_Limited(request.scope, request.receive))

        return limited


class _Limited(Request):
    async def json(self) -> Any:
        """Raises Problem: anything else than an HTTPException would be answered without its reason."""
        try:
            document = shapes.parse(await self.body())
            limits.check(document)
        except Refusal as refusal:
            raise problem(refusal) from None
        return document
