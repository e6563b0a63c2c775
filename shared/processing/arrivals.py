"""A record of the log once it is decoded: whose it is, when it was, and whether it can be applied at all."""

import re
from dataclasses import dataclass, field
from functools import cache

from shared.clock import Instant
from shared.events.catalog import CUSTOMERS
from shared.events.catalog import topic as catalogue_topic
from shared.events.codec import UndecodableEvent, decode
from shared.events.customers import ClockTicked, HistoryBegan, HistoryEnded, RulesActivated
from shared.events.envelope import Event
from shared.processing.records import Record

_CUSTOMER_ID = re.compile(rb"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
TIME_MARKS = (ClockTicked, HistoryBegan, HistoryEnded)
OF_NOBODY = (*TIME_MARKS, RulesActivated)
"""What stands in a partition without a key, because it concerns no customer."""


@dataclass(slots=True)
class Arrival:
    """`customer_id` None: a mark of time, or nothing usable. `time` is its input's time at this record, set by the merge."""

    record: Record
    event: Event | None
    customer_id: str | None
    error: str | None = None
    time: Instant = 0
    late: bool = False
    """Something that should have come after it went before: patience had run out."""
    logical_time: Instant = field(init=False)
    """min(recordedtime, append time); 0 (moves nothing) where the record cannot be read."""

    def __post_init__(self) -> None:
        self.logical_time = min(self.event.recorded_at, self.record.timestamp) if self.event else 0

    @property
    def input(self) -> str:
        """As documents name it in `positions`."""
        return position_key(self.record.topic, self.record.partition)

    @property
    def position(self) -> str:
        return f"{self.input}:{self.record.offset}"

    @property
    def is_mark(self) -> bool:
        """A tick or a bracket."""
        return self.event is not None and isinstance(self.event.data, TIME_MARKS)

    @property
    def tells_time_only(self) -> bool:
        """A tick; also a bracket that a neighbour passes on, for only the customers' own stream opens and closes one."""
        if self.event is None:
            return False
        return isinstance(self.event.data, ClockTicked) or (self.is_mark and self.record.topic != CUSTOMERS.name)

    @property
    def mark(self) -> str | None:
        """`history` or `replay` where it was imported with its own times, else None."""
        if self.event is None:
            return None
        return "history" if self.event.history else "replay" if self.event.replay else None


@cache
def position_key(topic: str, partition: int) -> str:
    """`customers:0` for partition 0 of `guanxi.customers.v1`."""
    return f"{_short_name(topic)}:{partition}"


def _short_name(topic: str) -> str:
    try:
        return catalogue_topic(topic).short
    except KeyError:
        return topic


def arrive(record: Record) -> Arrival:
    """Decodes once. A record that cannot be read keeps its key's customer, if the key is one, and the reason."""
    owner = _key_owner(record.key)
    try:
        event = decode(record.value or b"")
    except UndecodableEvent as error:
        return Arrival(record, None, owner, str(error))
    if isinstance(event.data, OF_NOBODY):
        return Arrival(record, event, None)
    if event.subject != owner or owner is None:
        return Arrival(record, None, None, "the key is not the event's subject")
    return Arrival(record, event, owner)


def _key_owner(key: bytes | None) -> str | None:
    return key.decode() if key is not None and _CUSTOMER_ID.fullmatch(key) else None
