"""What a decision says to the world, as an event with its id and its number."""

from hashlib import sha1
from json.encoder import encode_basestring_ascii as quoted
from typing import NamedTuple
from uuid import NAMESPACE_URL, uuid5

from shared.clock import Instant, to_rfc3339
from shared.events.envelope import SEQUENCE_DIGITS, Data

_NAMESPACE = uuid5(NAMESPACE_URL, "https://guanxi.dev/events")
MOMENT_LENGTH = len("2026-01-01T00:00:00.000Z")


class Cause(NamedTuple):
    """The input (or the timer) that a decision followed from. `mark` is `history`, `replay` or None, and is inherited."""

    position: str
    event_id: str
    correlation_id: str | None = None
    mark: str | None = None


def event_id(service: str, customer_id: str, sequence: int) -> str:
    """Deterministic, so that whoever publishes it again publishes the same event.

    The text of uuid5, without the number in between: that took as long as the rest of an event.
    """
    digest = sha1(_NAMESPACE.bytes + f"{service}:{customer_id}:{sequence}".encode(), usedforsecurity=False).hexdigest()
    variant = "89ab"[int(digest[16], 16) & 3]
    return f"{digest[:8]}-{digest[8:12]}-5{digest[13:16]}-{variant}{digest[17:20]}-{digest[20:32]}"


def timer_cause(service: str, customer_id: str, at: Instant, mark: str | None, position: str) -> Cause:
    """`position` is that of the record whose time let the timer fire; empty where it is none of this customer's."""
    return Cause(position, f"timer:{service}:{customer_id}:{at}", None, mark)


def write(service: str, customer_id: str, sequence: int, data: Data, at: Instant, cause: Cause, inputs: str) -> str:
    """The CloudEvent as JSON text. Built by hand: every part but the data and the causes is known to need no escaping."""
    moment = to_rfc3339(at)
    causes = f'"causationid":{quoted(cause.event_id)},'
    if cause.correlation_id is not None:
        causes += f'"correlationid":{quoted(cause.correlation_id)},'
    if cause.mark is not None:
        causes += f'"{cause.mark}":true,'
    return (
        f'{{"specversion":"1.0","id":"{event_id(service, customer_id, sequence)}","source":"guanxi/{service}",'
        f'"type":"{data.event_type}","time":"{moment}","recordedtime":"{moment}","subject":"{customer_id}",'
        f'"partitionkey":"{customer_id}","sequence":"{sequence:0{SEQUENCE_DIGITS}d}",{causes}"inputs":"{inputs}",'
        f'"data":{data.model_dump_json(exclude_none=True)}}}'
    )


def decided_at(text: str) -> str:
    """The instant of an event that `write` has written, as text that sorts as instants do."""
    start = text.index('"time":"') + 8
    return text[start : start + MOMENT_LENGTH]


def write_mark(service: str, data: Data, at: Instant, name: str) -> bytes:
    """A mark of time (tick, bracket) on a partition; it concerns no customer and has no number."""
    moment = to_rfc3339(at)
    identity = uuid5(_NAMESPACE, f"{service}:{name}")
    return (
        f'{{"specversion":"1.0","id":"{identity}","source":"guanxi/{service}","type":"{data.event_type}",'
        f'"time":"{moment}","recordedtime":"{moment}","data":{data.model_dump_json(exclude_none=True)}}}'
    ).encode()
