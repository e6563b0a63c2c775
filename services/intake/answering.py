"""From refusals to problems, from callers to senders: what all of intake's routes share."""

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

from services.intake.checking import Sender
from services.intake.refusal import Refusal, Unavailable
from shared.web.keys import Principal
from shared.web.problems import Problem, invalid, respond

RETRY_AFTER = {"retry-after": "2"}


def problem(refusal: Refusal) -> Problem:
    if refusal.faults:
        return invalid(refusal.faults)
    headers = RETRY_AFTER if isinstance(refusal, Unavailable) else {}
    errors = [{"field": field, "reason": reason} for field, reason in refusal.errors]
    return Problem(refusal.status, refusal.title, refusal.detail, errors, headers)  # type: ignore[arg-type]


def answer_refusals(app: FastAPI) -> None:
    """A refusal that leaves a route is answered as the problem that it is."""
    app.add_exception_handler(Refusal, _on_refusal)


async def _on_refusal(_request: Request, refusal: Exception) -> JSONResponse:
    assert isinstance(refusal, Refusal)  # noqa: S101 - registered for this class only
    return respond(problem(refusal))


def sender_of(principal: Principal) -> Sender:
    return Sender(principal.key_id, principal.name, principal.may("emit"), principal.may("staff"))
