"""`POST /v1/events`: the hot route. Plain Starlette, because validation and answers are our own anyway."""

from collections.abc import Callable, Sequence
from typing import Any

from fastapi import Request
from fastapi.responses import JSONResponse
from starlette.routing import Route

from services.intake import shapes
from services.intake.answering import problem, sender_of
from services.intake.batches import Accepted
from services.intake.checking import Checker, Sender, Stamp
from services.intake.contracts import accepted_types, submission_model
from services.intake.domain import Offer
from services.intake.processor import Answer, Intake
from services.intake.refusal import Refusal
from shared.clock import Clock
from shared.web.keys import caller
from shared.web.problems import MEDIA_TYPE, Problem

PATH = "/v1/events"
LONGEST_KEY = 256


class EventDoor:
    def __init__(self, intake: Intake, checker: Checker, clock: Clock, count: Callable[[str, int], None]) -> None:
        self._intake = intake
        self._checker = checker
        self._clock = clock
        self._count = count

    def route(self) -> Route:
        return Route(PATH, self.post, methods=["POST"])

    async def post(self, request: Request) -> JSONResponse:
        principal = caller(request)
        if not (principal.may("emit") or principal.may("staff")):
            raise Problem(403, "This key may not do that", "The scope emit is required.")
        body = await request.body()
        arrived = shapes.read(body, request.headers)
        key = _idempotency_key(request)
        answers = await self._answers(arrived.documents, sender_of(principal), key, len(body))
        return _listed(answers) if arrived.many else _single(answers[0])

    async def _answers(self, documents: Sequence[Any], sender: Sender, key: str | None, size: int) -> list[Answer]:
        """Each document is checked by itself; those that hold go in together, in their order."""
        now, count = self._clock(), len(documents)
        checked: list[Offer | Refusal] = [
            self._checked(document, sender, Stamp(now, None, key, index, count, size // max(count, 1)))
            for index, document in enumerate(documents)
        ]
        answers = iter(await self._intake.submit([offer for offer in checked if isinstance(offer, Offer)]))
        results = [result if isinstance(result, Refusal) else next(answers) for result in checked]
        refused = sum(isinstance(result, Refusal) for result in results)
        self._count("accepted", count - refused)
        self._count("refused", refused)
        return results

    def _checked(self, document: Any, sender: Sender, stamp: Stamp) -> Offer | Refusal:
        if isinstance(document, Refusal):
            return document
        try:
            return self._checker.offer(document, sender, stamp)
        except Refusal as refusal:
            return refusal


def _idempotency_key(request: Request) -> str | None:
    """Quoted as the draft standard has it, or bare as most clients send it."""
    given = request.headers.get("idempotency-key")
    if given is None:
        return None
    key = given.strip().strip('"')
    if not 0 < len(key) <= LONGEST_KEY:
        raise Refusal(400, "Bad Idempotency-Key", f"It has 1 to {LONGEST_KEY} characters.")
    return key


def _single(answer: Answer) -> JSONResponse:
    if isinstance(answer, Accepted):
        return JSONResponse(answer.body(), 202)
    raise answer


def _listed(answers: Sequence[Answer]) -> JSONResponse:
    """202 when at least one was accepted (or none was sent); else the status of the first refusal. Items speak for themselves."""
    items = [a.body() if isinstance(a, Accepted) else {"problem": problem(a).body()} for a in answers]
    first = next((a for a in answers if isinstance(a, Refusal)), None)
    if first is None or any(isinstance(a, Accepted) for a in answers):
        return JSONResponse(items, 202)
    return JSONResponse(items, first.status, headers=problem(first).headers)


def openapi_paths(components: dict[str, Any]) -> dict[str, Any]:
    """Written by hand, since FastAPI does not know a plain route; the schemas are those that validate."""
    schemas: dict[str, Any] = {}
    for name in sorted(set(accepted_types().values()), key=lambda data: data.__name__):
        schema = submission_model(name).model_json_schema(ref_template="#/components/schemas/{model}")
        components.update(schema.pop("$defs", {}))
        schema["properties"]["type"] = {"type": "string", "examples": [name.event_type]}
        components[f"{name.__name__}Submission"] = schema
        schemas[name.__name__] = {"$ref": f"#/components/schemas/{name.__name__}Submission"}
    event = {"anyOf": list(schemas.values())}
    components["Event"] = event
    components["Accepted"] = _ACCEPTED
    components["Problem"] = _PROBLEM
    one = {"$ref": "#/components/schemas/Event"}
    many = {"type": "array", "items": one, "maxItems": 1_000}
    cloud = {"type": "object", "required": ["specversion", "id", "source", "type"], "additionalProperties": True}
    operation = {
        "summary": "Take in one event or many",
        "description": "Answers 202 once Kafka has acknowledged. Safe to repeat with the same id or Idempotency-Key.",
        "tags": ["events"],
        "security": [{"HTTPBearer": []}],
        "parameters": [
            {"name": "Idempotency-Key", "in": "header", "required": False, "schema": {"type": "string"}},
        ],
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {"schema": {"anyOf": [one, many]}},
                "application/x-ndjson": {"schema": {"type": "string"}},
                shapes.CLOUD_EVENT: {"schema": cloud},
                shapes.CLOUD_BATCH: {"schema": {"type": "array", "items": cloud}},
            },
        },
        "responses": {
            "202": {
                "description": "Accepted; for many a list in order",
                "content": {"application/json": {"schema": _ANSWER}},
            },
            **{str(status): _REFUSED for status in (400, 401, 403, 409, 410, 413, 415, 422, 503)},
        },
    }
    return {PATH: {"post": operation}}


_ACCEPTED: dict[str, Any] = {
    "type": "object",
    "required": ["event_id", "customer_id", "registered", "position"],
    "properties": {
        "event_id": {"type": "string"},
        "customer_id": {"type": "string", "format": "uuid"},
        "registered": {"type": "boolean"},
        "position": {"type": ["string", "null"], "examples": ["customers:0:1042"]},
    },
}
_PROBLEM: dict[str, Any] = {
    "type": "object",
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"field": {"type": "string"}, "reason": {"type": "string"}},
            },
        },
    },
}
_ITEM = {
    "anyOf": [
        {"$ref": "#/components/schemas/Accepted"},
        {"type": "object", "properties": {"problem": {"$ref": "#/components/schemas/Problem"}}},
    ]
}
_ANSWER = {"anyOf": [{"$ref": "#/components/schemas/Accepted"}, {"type": "array", "items": _ITEM}]}
_REFUSED = {
    "description": "Refused, and why",
    "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
}
