"""Checks a JSON value against a JSON schema: just the keywords that our models produce, and a loud stop at any other."""

import re
from collections.abc import Callable, Iterator, Mapping
from datetime import date, datetime
from functools import partial
from typing import Any

Schema = Mapping[str, Any]

_TYPES: dict[str, Callable[[Any], bool]] = {
    "object": lambda v: isinstance(v, dict),
    "array": lambda v: isinstance(v, list),
    "string": lambda v: isinstance(v, str),
    "integer": lambda v: isinstance(v, int) and not isinstance(v, bool),
    "number": lambda v: isinstance(v, int | float) and not isinstance(v, bool),
    "boolean": lambda v: isinstance(v, bool),
    "null": lambda v: v is None,
}
_LIMITS: dict[str, Callable[[Any, Any], bool]] = {
    "const": lambda v, limit: v == limit,
    "enum": lambda v, limit: v in limit,
    "pattern": lambda v, limit: not isinstance(v, str) or re.search(limit, v) is not None,
    "minimum": lambda v, limit: not isinstance(v, int | float) or v >= limit,
    "maximum": lambda v, limit: not isinstance(v, int | float) or v <= limit,
    "minLength": lambda v, limit: not isinstance(v, str) or len(v) >= limit,
    "maxLength": lambda v, limit: not isinstance(v, str) or len(v) <= limit,
    "minItems": lambda v, limit: not isinstance(v, list) or len(v) >= limit,
    "minProperties": lambda v, limit: not isinstance(v, dict) or len(v) >= limit,
    "format": lambda v, limit: not isinstance(v, str) or _has_format(v, limit),
    "type": lambda v, limit: _TYPES[limit](v),
}
_NESTED = {"$ref", "anyOf", "allOf", "oneOf", "properties", "patternProperties", "propertyNames", "required", "items",
           "additionalProperties"}  # fmt: skip
_NOTES = {"title", "description", "default", "examples", "$defs", "$schema"}


def violations(schema: Schema, root: Schema, value: Any, path: str = "$") -> Iterator[str]:
    """Paths and keywords, never values. `root` is what `$ref` points into. KeyError for a keyword that is not known here."""
    for keyword, limit in schema.items():
        if keyword in _LIMITS:
            if not _LIMITS[keyword](value, limit):
                yield f"{path}: {keyword}"
        elif keyword in _NESTED:
            yield from _nested(keyword, schema, root, value, path)
        elif keyword not in _NOTES:
            raise KeyError(keyword)


def _nested(keyword: str, schema: Schema, root: Schema, value: Any, path: str) -> Iterator[str]:
    limit = schema[keyword]
    if keyword == "$ref":
        yield from violations(resolve(limit, root), root, value, path)
    elif keyword in ("anyOf", "oneOf", "allOf"):
        yield from _combined(keyword, limit, root, value, path)
    elif keyword == "items" and isinstance(value, list):
        for index, item in enumerate(value):
            yield from violations(limit, root, item, f"{path}[{index}]")
    elif isinstance(value, dict):
        yield from _of_object(keyword, schema, root, value, path)


def _combined(keyword: str, schemas: list[Schema], root: Schema, value: Any, path: str) -> Iterator[str]:
    each = [list(violations(schema, root, value, path)) for schema in schemas]
    fitting = sum(not found for found in each)
    if keyword == "allOf":
        yield from (what for found in each for what in found)
    elif fitting == 0 or (keyword == "oneOf" and fitting > 1):
        yield f"{path}: {keyword}"


def _of_object(keyword: str, schema: Schema, root: Schema, value: dict[str, Any], path: str) -> Iterator[str]:
    declared = schema.get("properties", {})
    if keyword == "required":
        yield from (f"{path}.{name}: required" for name in schema["required"] if name not in value)
    elif keyword == "properties":
        for name in declared.keys() & value.keys():
            yield from violations(declared[name], root, value[name], f"{path}.{name}")
    elif keyword == "propertyNames":
        yield from (v for name in value for v in violations(schema[keyword], root, name, f"{path} (a name)"))
    elif keyword == "patternProperties":
        for pattern, below in schema[keyword].items():
            for name in filter(partial(re.search, pattern), value):
                yield from violations(below, root, value[name], f"{path}.*")
    elif keyword == "additionalProperties":
        yield from _additional(schema, root, value, path)


def _additional(schema: Schema, root: Schema, value: dict[str, Any], path: str) -> Iterator[str]:
    """What neither `properties` nor `patternProperties` speak of."""
    patterns, below = schema.get("patternProperties", {}), schema["additionalProperties"]
    for name in value.keys() - schema.get("properties", {}).keys():
        if not any(re.search(pattern, name) for pattern in patterns):
            yield from [f"{path}: additionalProperties"] if below is False else []
            yield from violations(below, root, value[name], f"{path}.*") if isinstance(below, Mapping) else ()


def resolve(reference: str, root: Schema) -> Any:
    """`#/components/schemas/Money`; KeyError where it points at nothing."""
    node: Any = root
    for part in reference.removeprefix("#/").split("/"):
        node = node[part]
    return node


def _has_format(text: str, format_: str) -> bool:
    try:
        if format_ == "date-time":
            return datetime.fromisoformat(text).tzinfo is not None
        if format_ == "date":
            return bool(date.fromisoformat(text))
    except ValueError:
        return False
    if format_ == "uuid":
        return re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", text) is not None
    raise KeyError(format_)
