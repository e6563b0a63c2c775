"""Holds records of the log against the committed AsyncAPI document: what is promised is what is sent."""

import json
from pathlib import Path
from typing import Any

from tests.support.json_schema import resolve, violations

COMMITTED = Path(__file__).parent.parent.parent / "deploy" / "asyncapi.json"


def committed() -> dict[str, Any]:
    document: dict[str, Any] = json.loads(COMMITTED.read_text("utf-8"))
    return document


def faults(
    document: dict[str, Any],
    topic: str,
    key: bytes | None,
    value: bytes | None,
    headers: dict[str, bytes] | None = None,
) -> list[str]:
    """What is wrong with one record, without its values; empty when all is as the document says.

    Dead letters hold what no document can describe, so only their headers are looked at.
    """
    channel = document["channels"].get(topic)
    if channel is None:
        return [f"{topic}: no such channel"]
    if not channel["messages"]:
        return [f"header {name} is missing" for name in ("reason", "original-topic") if name not in (headers or {})]
    if value is None:
        compacted = "compact" in channel["bindings"]["kafka"]["topicConfiguration"]["cleanup.policy"]
        return [] if compacted else ["a tombstone on a topic that is not compacted"]
    return _of_event(document, channel, key, json.loads(value), headers)


def _of_event(
    document: dict[str, Any], channel: dict[str, Any], key: bytes | None, event: Any, headers: dict[str, bytes] | None
) -> list[str]:
    messages = [resolve(message["$ref"], document) for message in channel["messages"].values()]
    message = next((m for m in messages if m["name"] == event.get("type")), None)
    if message is None:
        return [f"{event.get('type')} is not declared here"]
    found = list(violations(message["payload"], document, event))
    key_schema = message["bindings"]["kafka"].get("key")
    text = key.decode() if key is not None else None
    found += (
        violations(key_schema, document, text, "key") if key_schema else ["key: none expected"] * (text is not None)
    )
    if key_schema and text != event["data"].get("customer_id", event["data"].get("subscription_id")):
        found.append("key: is not the customer")
    if headers is not None:
        given = {name: content.decode(errors="replace") for name, content in headers.items()}
        found += violations(message["headers"], document, given, "headers")
    return found
