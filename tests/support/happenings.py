"""Records as intake appends them, made short: who, what, when."""

import json
from typing import Any

from shared.clock import Instant, from_rfc3339, to_rfc3339
from shared.events.catalog import CUSTOMERS
from shared.events.codec import HEADERS
from shared.events.customers import RulesActivated
from shared.processing.records import Message

START: Instant = from_rfc3339("2026-01-01T00:00:00Z")


def customer(number: int) -> str:
    return f"00000000-0000-4000-8000-{number:012d}"


def happened(
    who: str,
    what: str,
    name: str,
    at: Instant,
    recorded: Instant | None = None,
    mark: str | None = None,
    version: int = 1,
    **data: Any,
) -> Message:
    """`name` is the event's id; the key is the customer, so murmur2 chooses the partition."""
    event = envelope(what, name, at, at if recorded is None else recorded, {"customer_id": who, **data})
    event |= {"subject": who, "partitionkey": who, "type": f"guanxi.{what}.v{version}"}
    if mark is not None:
        event[mark] = True
    return Message(CUSTOMERS.name, who.encode(), json.dumps(event).encode(), HEADERS)


def of_time(what: str, partition: int, at: Instant, mark: str | None = None, **data: Any) -> Message:
    """A tick or a bracket on one partition of the customers' topic."""
    event = envelope(what, f"{what}-{partition}-{at}", at, at, data)
    if mark is not None:
        event[mark] = True
    return Message(CUSTOMERS.name, None, json.dumps(event).encode(), HEADERS, partition)


def tick(partition: int, at: Instant, mark: str | None = None) -> Message:
    return of_time("clock.ticked", partition, at, mark)


def activation(partition: int, at: Instant, written: RulesActivated) -> Message:
    """The record at which a partition changes over to other rules."""
    name = f"rules-{written.number}-{partition}"
    event = envelope("rules.activated", name, at, at, written.model_dump())
    return Message(CUSTOMERS.name, None, json.dumps(event).encode(), HEADERS, partition)


def purchase(who: str, name: str, at: Instant, **extra: Any) -> Message:
    return happened(who, "purchase.made", name, at, amount={"amount": "10", "currency": "CNY"}, **extra)


def poison(who: str, name: str, at: Instant, **extra: Any) -> Message:
    return happened(who, "survey.answered", name, at, survey="poison", **extra)


def resume(who: str, name: str, at: Instant, service: str) -> Message:
    return happened(who, "customer.resume_requested", name, at, service=service)


def envelope(what: str, name: str, at: Instant, recorded: Instant, data: dict[str, Any]) -> dict[str, Any]:
    return {
        "specversion": "1.0",
        "id": name,
        "source": "guanxi/intake",
        "type": f"guanxi.{what}.v1",
        "time": to_rfc3339(at),
        "recordedtime": to_rfc3339(recorded),
        "data": data,
    }
