"""The AsyncAPI document: committed, current, sound in itself, and true of every golden sample."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from shared.events.asyncapi import document, write
from shared.events.catalog import FOLLOWERS, TOPICS
from shared.events.codec import HEADERS, data_types
from tests.support.asyncapi_traffic import COMMITTED, committed, faults
from tests.support.json_schema import resolve, violations

GOLDEN = Path(__file__).parent / "golden"
CUSTOMER = "0b7e5c1e-4a55-4c6e-9a0f-6f1f6f2f7d10"
SENT = [(topic.name, data.event_type) for topic in TOPICS for data in topic.types]


def test_the_committed_document_is_current() -> None:
    assert COMMITTED.read_text("utf-8") == write(), "python -m shared.events.asyncapi > deploy/asyncapi.json"


def test_every_reference_points_at_something() -> None:
    whole = document()
    references = list(_references(whole))
    assert len(references) > 100
    for reference in references:
        assert resolve(reference, whole)


def _references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        yield from ([node["$ref"]] if isinstance(node.get("$ref"), str) else [])
        node = list(node.values())
    for inner in node if isinstance(node, list) else []:
        yield from _references(inner)


def test_every_topic_is_a_channel_with_its_operations_and_bindings() -> None:
    whole = document()
    for topic in TOPICS:
        binding = whole["channels"][topic.name]["bindings"]["kafka"]
        assert (binding["partitions"], binding["topicConfiguration"]["retention.ms"]) == (12, topic.retention)
        for service in topic.producers:
            assert whole["operations"][f"{service}.sends.{topic.short}"]["action"] == "send"
        for service in topic.consumers:
            receiving = whole["operations"][f"{service}.receives.{topic.short}"]
            assert receiving["bindings"]["kafka"]["groupId"]["enum"] == [f"guanxi.{service}"]
    for follower in FOLLOWERS:
        for topic in follower.topics:
            receiving = whole["operations"][f"{follower.service}.{follower.name}.receives.{topic.short}"]
            assert receiving["bindings"]["kafka"]["groupId"]["enum"] == [follower.group]
    followed = sum(len(follower.topics) for follower in FOLLOWERS)
    assert len(whole["operations"]) == sum(len(t.producers) + len(t.consumers) for t in TOPICS) + followed


def test_every_type_is_a_message() -> None:
    assert {message["name"] for message in document()["components"]["messages"].values()} == set(data_types())


def record(event_type: str) -> tuple[bytes | None, dict[str, Any]]:
    event = json.loads((GOLDEN / f"{event_type.removeprefix('guanxi.')}.json").read_text())
    key = event["data"].get("customer_id", event["data"].get("subscription_id"))
    return (key.encode() if key is not None else None), event


@pytest.mark.parametrize(("topic", "event_type"), SENT)
def test_every_golden_sample_is_what_the_document_says(topic: str, event_type: str) -> None:
    key, event = record(event_type)
    assert faults(committed(), topic, key, json.dumps(event).encode(), dict(HEADERS)) == []


def _without(event: dict[str, Any], name: str) -> dict[str, Any]:
    return {**event, "data": {key: value for key, value in event["data"].items() if key != name}}


def test_a_record_that_breaks_the_document_is_named() -> None:
    key, event = record("guanxi.purchase.made.v1")
    other = {**event, "data": {**event["data"], "amount": {"amount": 12.5, "currency": "CNY"}}}
    cases = [
        (key, _without(event, "amount"), "$.data.amount: required"),
        (key, other, "$.data.amount.amount: type"),
        (key, {**event, "time": "2026-03-02T09:15:30"}, "$.time: format"),
        (key, {**event, "type": "guanxi.segments.changed.v1"}, "guanxi.segments.changed.v1 is not declared here"),
        (b"5d0f2b1a-93a4-4b1c-8d52-0c8a1b0f9e77", event, "key: is not the customer"),
        (b"13800138000", event, "key: format"),
        (None, event, "key: type"),
    ]
    for one_key, one_event, why in cases:
        assert why in faults(committed(), "guanxi.customers.v1", one_key, json.dumps(one_event).encode())
    value = json.dumps(event).encode()
    assert faults(committed(), "guanxi.customers.v1", key, value, {}) == ["headers.content-type: required"]
    assert faults(committed(), "guanxi.nothing.v1", key, value) == ["guanxi.nothing.v1: no such channel"]
    assert faults(committed(), "guanxi.customers.v1", key, None) == ["a tombstone on a topic that is not compacted"]
    assert faults(committed(), "guanxi.segments.latest.v1", key, None) == []


def test_a_keyword_that_the_checker_does_not_know_stops_it() -> None:
    with pytest.raises(KeyError):
        list(violations({"uniqueItems": True}, {}, []))
