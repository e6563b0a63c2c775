"""The AsyncAPI 3 document of all that is published, made from the catalogue: `python -m shared.events.asyncapi`."""

import json
import sys
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaMode, models_json_schema

from shared.clock import HOUR
from shared.events.catalog import FOLLOWERS, KEPT, TOPICS, Topic, group_of
from shared.events.codec import CONTENT_TYPE, data_types, short_name
from shared.events.envelope import Data, Event

VERSION = "3.0.0"
BINDING = "0.5.0"
_SCHEMAS = "#/components/schemas/{model}"
_CUSTOMER_KEY = {"type": "string", "format": "uuid", "description": "The customer's id: the unit of order."}
_SUBSCRIPTION_KEY = {"type": "string", "format": "uuid", "description": "The subscription's id."}


def document() -> dict[str, Any]:
    """Deterministic, so that the committed copy can be held against it."""
    return {
        "asyncapi": VERSION,
        "info": _info(),
        "defaultContentType": CONTENT_TYPE,
        "servers": {"kafka": _server()},
        "channels": {topic.name: _channel(topic) for topic in TOPICS},
        "operations": {name: operation for topic in TOPICS for name, operation in _operations(topic).items()},
        "components": {"messages": _messages(), "schemas": _schemas()},
    }


def _info() -> dict[str, Any]:
    promise = (
        "An accepted event is never lost and takes effect once; one customer's events take effect in order. A record may be "
        "delivered more than once: drop it by `source` and `id`, or by `sequence`, which counts 1, 2, 3 … per customer on "
        "each stream of segmentation, followup and feedback. Ignore fields that you do not know."
    )
    return {"title": "Guanxi", "version": "1.0.0", "description": promise}


def _server() -> dict[str, Any]:
    bootstrap = {"description": "GUANXI_KAFKA_BOOTSTRAP", "default": "127.0.0.1:9092"}
    return {"host": "{bootstrap}", "protocol": "kafka", "variables": {"bootstrap": bootstrap}}


def _channel(topic: Topic) -> dict[str, Any]:
    configuration = {"cleanup.policy": [topic.cleanup], "retention.ms": topic.retention}
    binding = {"partitions": topic.partitions, "topicConfiguration": configuration, "bindingVersion": BINDING}
    return {
        "address": topic.name,
        "description": _described(topic),
        "messages": {short_name(data.event_type): {"$ref": _message_ref(data)} for data in topic.types},
        "bindings": {"kafka": binding},
    }


def _described(topic: Topic) -> str:
    """Dead letters have no types: what they hold could not be read."""
    if not topic.types:
        return (
            "Records that could not be read: original key, bytes and headers, and the headers reason, error, "
            "original-topic, original-partition, original-offset and failed-at. What would be too large for a message with "
            "these stays where it came from: then there is neither key nor value, and left-out says how many bytes they are."
        )
    if topic.cleanup == "compact":
        return "Keeps the newest record of each customer; an erased customer's key ends with a tombstone."
    return (
        "Keeps every record for good."
        if topic.retention == KEPT
        else f"Keeps records for {topic.retention // HOUR} hours."
    )


def _operations(topic: Topic) -> dict[str, Any]:
    sending = {f"{service}.sends.{topic.short}": _operation(topic, "send") for service in topic.producers}
    receiving = {
        f"{service}.receives.{topic.short}": _receiving(topic, group_of(service)) for service in topic.consumers
    }
    following = {
        f"{follower.service}.{follower.name}.receives.{topic.short}": _receiving(topic, follower.group)
        for follower in FOLLOWERS
        if topic in follower.topics
    }
    return sending | receiving | following


def _receiving(topic: Topic, named: str) -> dict[str, Any]:
    group = {"type": "string", "enum": [named]}
    return _operation(topic, "receive") | {"bindings": {"kafka": {"groupId": group, "bindingVersion": BINDING}}}


def _operation(topic: Topic, action: str) -> dict[str, Any]:
    return {"action": action, "channel": {"$ref": f"#/channels/{topic.name}"}}


def _messages() -> dict[str, Any]:
    return {short_name(name): _message(data) for name, data in sorted(data_types().items())}


def _message(data: type[Data]) -> dict[str, Any]:
    headers = {"type": "object", "properties": {"content-type": {"const": CONTENT_TYPE}}, "required": ["content-type"]}
    binding: dict[str, Any] = {"bindingVersion": BINDING}
    if "customer_id" in data.model_fields:
        binding["key"] = _CUSTOMER_KEY
    elif "subscription_id" in data.model_fields:
        binding["key"] = _SUBSCRIPTION_KEY
    return {
        "name": data.event_type,
        "contentType": CONTENT_TYPE,
        "headers": headers,
        "payload": _payload(data),
        "bindings": {"kafka": binding},
    }


def _payload(data: type[Data]) -> dict[str, Any]:
    own = {"type": {"const": data.event_type}, "data": {"$ref": _SCHEMAS.format(model=data.__name__)}}
    envelope = {"$ref": _SCHEMAS.format(model=Event.__name__)}
    return {"allOf": [envelope, {"type": "object", "properties": own, "required": list(own)}]}


def _message_ref(data: type[Data]) -> str:
    return f"#/components/messages/{short_name(data.event_type)}"


class _Untitled(GenerateJsonSchema):
    """A title that only repeats the field's name helps nobody."""

    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ARG002 - pydantic's signature
        return False


def _schemas() -> dict[str, Any]:
    """As written, not as read: times and money are texts on the wire."""
    models: list[tuple[type[BaseModel], JsonSchemaMode]] = [(Event, "serialization")]
    models += [(data, "serialization") for _, data in sorted(data_types().items())]
    _, definitions = models_json_schema(models, by_alias=True, ref_template=_SCHEMAS, schema_generator=_Untitled)
    found: dict[str, Any] = definitions["$defs"]
    return dict(sorted(found.items()))


def write() -> str:
    return json.dumps(document(), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    sys.stdout.write(write())
