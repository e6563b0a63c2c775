"""The shapes in which events arrive (JSON, array, NDJSON, CloudEvents structured, binary, batch), brought into one."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, NoReturn

from services.intake.limits import LIMITS, Limits
from services.intake.refusal import Refusal

CLOUD_EVENT = "application/cloudevents+json"
CLOUD_BATCH = "application/cloudevents-batch+json"
NDJSON = ("application/x-ndjson", "application/ndjson", "application/jsonl")
_CARRIED = ("id", "source", "type", "time")


@dataclass(frozen=True, slots=True)
class Arrived:
    """Documents in the shape of `POST /v1/events`, in order. A Refusal stands where a single one could not be read."""

    documents: list[Any]
    many: bool


def read(body: bytes, headers: Mapping[str, str], limits: Limits = LIMITS) -> Arrived:
    """Raises Refusal: 400 where nothing can be read, 413 for too many events, 415 for another content type."""
    kind = headers.get("content-type", "application/json").partition(";")[0].strip().lower()
    if kind == CLOUD_BATCH:
        return _many([_guarded(_from_cloud, item) for item in _array(parse(body))], limits)
    if kind == CLOUD_EVENT:
        return Arrived([_from_cloud(_object(parse(body)))], many=False)
    if kind in NDJSON:
        lines = (line for line in body.split(b"\n") if line.strip())
        return _many([_guarded(parse, line) for line in lines], limits)
    if "ce-type" in headers or "ce-specversion" in headers:
        return Arrived([_from_cloud(_from_headers(headers, body))], many=False)
    if kind != "application/json":
        raise Refusal(415, "Unknown content type", "Send application/json, application/x-ndjson or CloudEvents.")
    document = parse(body)
    return _many(document, limits) if isinstance(document, list) else Arrived([_object(document)], many=False)


def parse(text: bytes) -> Any:
    """Numbers with a point become Decimal: an amount is never a float, not even on its way in. Refusal 400."""
    try:
        return json.loads(text, parse_float=Decimal, parse_constant=_no_number)
    except (ValueError, RecursionError, ArithmeticError):
        raise Refusal(400, "Not JSON", "The body could not be read as JSON in UTF-8.") from None


def _no_number(_text: str) -> NoReturn:
    raise ValueError("NaN and Infinity are no JSON")


def _many(documents: list[Any], limits: Limits) -> Arrived:
    if len(documents) > limits.batch:
        raise Refusal(413, "Too many events", f"At most {limits.batch} events in one request.")
    return Arrived(documents, many=True)


def _guarded(reader: Any, item: Any) -> Any:
    try:
        return reader(item)
    except Refusal as refusal:
        return refusal


def _array(document: Any) -> list[Any]:
    if not isinstance(document, list):
        raise Refusal(400, "Not a batch", "A CloudEvents batch is a JSON array.")
    return document


def _object(document: Any) -> dict[str, Any]:
    if not isinstance(document, dict):
        raise Refusal(400, "Not an event", "A JSON object or an array of objects is expected.")
    return document


def _from_headers(headers: Mapping[str, str], body: bytes) -> dict[str, Any]:
    event: dict[str, Any] = {name[3:]: value for name, value in headers.items() if name.startswith("ce-")}
    event["data"] = parse(body)
    return event


def _from_cloud(event: Any) -> dict[str, Any]:
    """The customer is `data.customer`, or the id in `subject` (as in our own events, whose data names it too)."""
    event = _object(event)
    missing = [name for name in ("specversion", "id", "source", "type") if not event.get(name)]
    if missing:
        raise Refusal(422, "Invalid content", errors=[(name, "is required in a CloudEvent") for name in missing])
    data = dict(_object(event.get("data")))
    named = data.pop("customer_id", None) or event.get("subject")
    customer = data.pop("customer", None) or ({"id": named} if named else {})
    document = {name: event[name] for name in _CARRIED if name in event}
    return {**document, "customer": customer, "data": data}
