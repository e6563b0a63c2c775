"""What may become of a shipped event type: the rule set, and the schemas that were shipped.

`python -m tests.contract.evolution` ships: it writes the schemas of new types and of compatible additions, nothing else.
"""

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shared.events.codec import data_types
from shared.events.envelope import Data, Event

SHIPPED = Path(__file__).parent / "schemas"
ENVELOPE = "envelope"
LOWER_BOUNDS = ("minimum", "exclusiveMinimum", "minLength", "minItems")
UPPER_BOUNDS = ("maximum", "exclusiveMaximum", "maxLength", "maxItems")
EXACT = ("pattern", "format", "multipleOf")


@dataclass(frozen=True)
class Place:
    """One field, wherever it is nested. `kinds`: the JSON types that it takes; `limits`: its constraints by kind."""

    required: bool
    kinds: frozenset[str]
    values: frozenset[str] | None
    limits: tuple[tuple[str, Any], ...]


def schema_of(model: type[Data] | type[Event]) -> dict[str, Any]:
    return model.model_json_schema(by_alias=True)


def breaches(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """Why `new` must be a new version; empty when whoever wrote or reads the old one is served by the new one."""
    before, after = dict(_places(old, old, "")), dict(_places(new, new, ""))
    found = [f"{path}: removed" for path in before if path not in after]
    for path, place in before.items():
        if path in after:
            found += [f"{path}: {what}" for what in _differences(place, after[path])]
    return found + [
        f"{path}: newly required" for path in after if path not in before and _demanded(path, before, after)
    ]


def _demanded(path: str, before: dict[str, Place], after: dict[str, Place]) -> bool:
    """A required part of something that is itself new and optional asks nothing of anybody."""
    parent = path.rpartition(".")[0]
    return after[path].required and (not parent or parent in before)


def _differences(old: Place, new: Place) -> Iterator[str]:
    if new.kinds != old.kinds:
        yield f"was {_words(old.kinds)}, is {_words(new.kinds)}"
    if new.required and not old.required:
        yield "newly required"
    if new.values is not None and (old.values is None or not old.values <= new.values):
        yield "takes fewer values"
    if _narrowed(dict(old.limits), dict(new.limits)):
        yield "its limits are narrower"


def _narrowed(old: dict[str, Any], new: dict[str, Any]) -> bool:
    below = any(key in new and (key not in old or new[key] > old[key]) for key in LOWER_BOUNDS)
    above = any(key in new and (key not in old or new[key] < old[key]) for key in UPPER_BOUNDS)
    return below or above or any(key in new and new[key] != old.get(key) for key in EXACT)


def _words(kinds: frozenset[str]) -> str:
    return " or ".join(sorted(kinds)) or "anything"


def _places(node: dict[str, Any], root: dict[str, Any], path: str) -> Iterator[tuple[str, Place]]:
    for variant in _variants(node, root):
        required = set(variant.get("required", ()))
        for name, below in variant.get("properties", {}).items():
            yield from _place(below, root, f"{path}.{name}".lstrip("."), name in required)
        if isinstance(variant.get("additionalProperties"), dict):
            yield from _place(variant["additionalProperties"], root, f"{path}.*".lstrip("."), False)
        if isinstance(variant.get("items"), dict):
            yield from _place(variant["items"], root, f"{path}[]", False)


def _place(node: dict[str, Any], root: dict[str, Any], path: str, required: bool) -> Iterator[tuple[str, Place]]:
    variants = list(_variants(node, root))
    kinds = frozenset(str(variant["type"]) for variant in variants if "type" in variant)
    values = {json.dumps(value) for variant in variants for value in _enumerated(variant)}
    limits = {
        key: variant[key] for variant in variants for key in (*LOWER_BOUNDS, *UPPER_BOUNDS, *EXACT) if key in variant
    }
    yield path, Place(required, kinds, frozenset(values) or None, tuple(sorted(limits.items())))
    yield from _places(node, root, path)


def _enumerated(variant: dict[str, Any]) -> list[Any]:
    return [variant["const"]] if "const" in variant else list(variant.get("enum", ()))


def _variants(node: dict[str, Any], root: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if "$ref" in node:
        yield from _variants(root["$defs"][node["$ref"].rpartition("/")[2]], root)
    elif "anyOf" in node:
        for variant in node["anyOf"]:
            yield from _variants(variant, root)
    else:
        yield node


def current() -> dict[str, dict[str, Any]]:
    """The schemas of now, by the name of the file in which they are shipped."""
    types = {name.removeprefix("guanxi."): schema_of(data) for name, data in data_types().items()}
    return {ENVELOPE: schema_of(Event), **types}


def shipped() -> dict[str, dict[str, Any]]:
    return {file.stem: json.loads(file.read_text("utf-8")) for file in SHIPPED.glob("*.json")}


def ship() -> list[str]:
    """Writes what may be written; returns the breaches that keep the rest from being shipped."""
    found, before = [], shipped()
    for name, schema in current().items():
        wrong = breaches(before[name], schema) if name in before else []
        found += [f"{name}: {what}" for what in wrong]
        if not wrong:
            text = json.dumps(schema, indent=1, sort_keys=True, ensure_ascii=False)
            (SHIPPED / f"{name}.json").write_text(text + "\n", "utf-8")
    return found


if __name__ == "__main__":
    sys.exit("\n".join(ship()) or 0)
