"""Says what is wrong with a document without repeating anything of it: for problems, dead letters and logs."""

import re
from collections.abc import Iterable, Mapping
from typing import Any, TypedDict

SHOWN = 100

_CONSTRAINTS = frozenset(
    """
    gt ge lt le multiple_of min_length max_length actual_length field_type expected pattern class_name max_digits
    decimal_places whole_digits expected_tags class tz_expected discriminator
    """.split()  # noqa: SIM905 - read as a word list
)
"""Context of a pydantic error that comes from our own models; any other context may hold what was sent."""
_PLAIN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,63}")
_HIDING = {"union_tag_invalid": "is none of the known kinds", "extra_forbidden": "is not known here"}


class FieldError(TypedDict):
    """`field` is a path with dots, `reason` a sentence that quotes nothing of what was sent."""

    field: str
    reason: str


def field_errors(errors: Iterable[Mapping[str, Any]], within: tuple[str, ...] = ()) -> list[FieldError]:
    """From pydantic's `ValidationError.errors()`, at most SHOWN; `within` is left off the front of the paths."""
    return [_field_error(error, within) for error in list(errors)[:SHOWN]]


def _field_error(error: Mapping[str, Any], within: tuple[str, ...]) -> FieldError:
    path = tuple(error["loc"])
    path = path[len(within) :] if path[: len(within)] == within else path
    return {"field": ".".join(map(_name, path)), "reason": _reason(error)}


def _name(part: Any) -> str:
    """A key that the sender made up may itself be personal."""
    return str(part) if isinstance(part, int) or _PLAIN_NAME.fullmatch(str(part)) else "?"


def _reason(error: Mapping[str, Any]) -> str:
    kind = str(error["type"])
    if kind in _HIDING:
        return _HIDING[kind]
    if set(error.get("ctx", {})) <= _CONSTRAINTS:
        return str(error["msg"])
    return kind.replace("_", " ")
