"""RFC 9457 problems: every refusal says what was wrong and where, and never repeats a value that was sent."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from shared.events.reasons import FieldError, field_errors
from shared.processing.ports import TransientError

MEDIA_TYPE = "application/problem+json"
RETRY = {"retry-after": "2"}

log = logging.getLogger(__name__)


class Problem(HTTPException):
    """Raised anywhere below a route. Title, detail and reasons must not carry what the client sent."""

    def __init__(
        self,
        status: int,
        title: str,
        detail: str | None = None,
        errors: Sequence[FieldError] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(status_code=status, detail=detail or title, headers=dict(headers or {}))
        self.status = status
        self.title = title
        self.explanation = detail
        self.errors = tuple(errors)

    def body(self) -> dict[str, Any]:
        """The JSON document, also for one item of a list that is answered as a whole."""
        document: dict[str, Any] = {"type": "about:blank", "title": self.title, "status": self.status}
        if self.explanation:
            document["detail"] = self.explanation
        if self.errors:
            document["errors"] = list(self.errors)
        return document


def invalid(errors: Iterable[Mapping[str, Any]], within: tuple[str, ...] = ()) -> Problem:
    """422 from pydantic's `ValidationError.errors()`; `within` is left off the front of the paths."""
    shown = field_errors(errors, within)
    return Problem(422, "Invalid content", "One or more fields are not as they must be.", shown)


def respond(problem: Problem) -> JSONResponse:
    headers = dict(problem.headers or {})
    return JSONResponse(problem.body(), problem.status, media_type=MEDIA_TYPE, headers=headers)


def install(app: FastAPI) -> None:
    """Every error of `app` leaves as a problem, those of the framework too."""
    app.add_exception_handler(HTTPException, _on_http)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(TransientError, _on_absence)
    app.add_exception_handler(Exception, _on_crash)


async def _on_http(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for this class only
    if isinstance(error, Problem):
        return respond(error)
    title = HTTPStatus(error.status_code).phrase
    return respond(Problem(error.status_code, title, headers=error.headers))


async def _on_invalid(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - registered for this class only
    return respond(invalid(error.errors(), ("body",)))


async def _on_absence(_request: Request, error: Exception) -> JSONResponse:
    """The store or the log does not answer: not the client's fault, and soon over."""
    log.warning("a request could not be served", extra={"reason": str(error)})
    return respond(Problem(503, "Not available now", "Something behind this service does not answer.", headers=RETRY))


async def _on_crash(_request: Request, _error: Exception) -> JSONResponse:
    return respond(
        Problem(500, "Internal error", "The request failed here; it is safe to send it again with the same id.")
    )
