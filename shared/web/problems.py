"""RFC 9457 problems: every refusal says what was wrong and where, and never repeats a value that was sent."""

import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import Any, TypedDict

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

MEDIA_TYPE = "application/problem+json"
ERRORS_SHOWN = 100

_CONSTRAINTS = frozenset(
    """
    gt ge lt le multiple_of min_length max_length actual_length field_type expected pattern class_name
    max_digits decimal_places whole_digits expected_tags class tz_expected discriminator
    """.split()  # noqa: SIM905 - read as a word list
)
"""Context of a pydantic error that comes from our own models; any other context may hold what the client sent."""
_PLAIN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}")
_HIDING = {"union_tag_invalid": "is none of the known kinds", "extra_forbidden": "is not known here"}

log = logging.getLogger(__name__)


class FieldError(TypedDict):
    """`field` is a path with dots, `reason` a sentence that quotes nothing of what was sent."""

    field: str
    reason: str


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
    shown = [_field_error(e, within) for e in list(errors)[:ERRORS_SHOWN]]
    return Problem(422, "Invalid content", "One or more fields are not as they must be.", shown)


def respond(problem: Problem) -> JSONResponse:
    headers = dict(problem.headers or {})
    return JSONResponse(problem.body(), problem.status, media_type=MEDIA_TYPE, headers=headers)


def install(app: FastAPI) -> None:
    """Every error of `app` leaves as a problem, those of the framework too."""
    app.add_exception_handler(HTTPException, _on_http)
    app.add_exception_handler(RequestValidationError, _on_invalid)
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


async def _on_crash(_request: Request, _error: Exception) -> JSONResponse:
    return respond(
        Problem(500, "Internal error", "The request failed here; it is safe to send it again with the same id.")
    )


def _field_error(error: Mapping[str, Any], within: tuple[str, ...]) -> FieldError:
    path = tuple(error["loc"])
    path = path[len(within) :] if path[: len(within)] == within else path
    return {"field": ".".join(map(_name, path)) or "body", "reason": _reason(error)}


def _name(part: Any) -> str:
    """A key that the client made up may itself be personal."""
    return str(part) if isinstance(part, int) or _PLAIN_NAME.fullmatch(str(part)) else "?"


def _reason(error: Mapping[str, Any]) -> str:
    kind = str(error["type"])
    if kind in _HIDING:
        return _HIDING[kind]
    if set(error.get("ctx", {})) <= _CONSTRAINTS:
        return str(error["msg"])
    return kind.replace("_", " ")
