"""How large, how deep and how strange a document may be before anybody looks at what it means."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from services.intake.refusal import Refusal


@dataclass(frozen=True, slots=True)
class Limits:
    """`body` in bytes, `text` in characters, `items` per list or object, `depth` in levels, `batch` in events per request.

    `event`: characters of one event, so that its record stays below what Kafka takes (1 MiB) in any script. `record` and
    `customer`: bytes of a record as written, and of all that is known of one customer: what grows by corrections.
    """

    body: int = 1 << 20
    import_body: int = 8 << 20
    batch: int = 1_000
    text: int = 20_000
    items: int = 1_000
    depth: int = 8
    event: int = 200_000
    record: int = 990_000
    customer: int = 2 << 20


LIMITS = Limits()


def check(document: Any, limits: Limits = LIMITS) -> None:
    """Raises Refusal (422) with the path of the first value that is too long, too deep or no text at all."""
    for path, reason in _faults(document, (), limits):
        raise Refusal.of_field(".".join(path) or "body", reason)


def check_size(document: Any, limits: Limits = LIMITS) -> int:
    """Its characters. Raises Refusal (413). Only asked for what comes in large bodies, because it writes the document out."""
    size = len(json.dumps(document, default=str, ensure_ascii=False))
    if size > limits.event:
        raise too_large("body", f"has more than {limits.event} characters")
    return size


def too_large(field: str, reason: str) -> Refusal:
    return Refusal(413, "Too large", "One event, with what is known of its customer, has a limit.", [(field, reason)])


def _faults(value: Any, path: tuple[str, ...], limits: Limits) -> Iterator[tuple[tuple[str, ...], str]]:
    kind = type(value)
    if kind is str:
        if len(value) > limits.text:
            yield path, f"has more than {limits.text} characters"
        elif not value.isascii() and not _encodable(value):
            yield path, "is no valid Unicode text"
    elif kind is dict or kind is list:
        yield from _faults_within(value, path, limits)
    elif (kind is Decimal and not -30 < value.adjusted() < 30) or (kind is int and not -(10**30) < value < 10**30):
        yield path, "is a number out of all proportion"


def _faults_within(value: Any, path: tuple[str, ...], limits: Limits) -> Iterator[tuple[tuple[str, ...], str]]:
    if len(path) >= limits.depth:
        yield path, f"is nested deeper than {limits.depth} levels"
        return
    if len(value) > limits.items:
        yield path, f"has more than {limits.items} members"
        return
    members = value.items() if type(value) is dict else enumerate(value)
    for name, member in members:
        if type(name) is str and (len(name) > 256 or not _encodable(name)):
            yield (*path, "?"), "has a name that is too long or no valid text"
        kind = type(member)
        if kind is bool or member is None or (kind is str and len(member) <= limits.text and member.isascii()):
            continue
        yield from _faults(member, (*path, str(name)), limits)


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
