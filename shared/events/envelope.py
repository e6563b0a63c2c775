"""The CloudEvents 1.0 envelope (structured mode) with the attributes that Guanxi adds."""

from typing import ClassVar

from pydantic import Field, SerializeAsAny

from shared.clock import Instant, to_instant
from shared.events.fields import Model, UtcDateTime

SEQUENCE_DIGITS = 20


class Data(Model):
    """The domain content of one event type. `event_type` is its full name with the version."""

    event_type: ClassVar[str]


class Event(Model):
    """One CloudEvent. `time`: when it happened. `recordedtime`: when intake took it in, or our service decided it."""

    specversion: str = "1.0"
    id: str
    source: str
    type: str
    time: UtcDateTime
    recordedtime: UtcDateTime
    subject: str | None = None
    partitionkey: str | None = None
    sequence: str | None = None
    causationid: str | None = None
    correlationid: str | None = None
    traceparent: str | None = None
    dataschema: str | None = None
    datacontenttype: str | None = None
    history: bool | None = None
    replay: bool | None = None
    inputs: str | None = None
    data: SerializeAsAny[Data] = Field()

    @property
    def occurred_at(self) -> Instant:
        return to_instant(self.time)

    @property
    def recorded_at(self) -> Instant:
        return to_instant(self.recordedtime)

    @property
    def number(self) -> int | None:
        """The publisher's number for this customer, 1, 2, 3 …; absent on what intake publishes."""
        return int(self.sequence) if self.sequence is not None else None

    def to_json(self) -> bytes:
        return self.model_dump_json(exclude_none=True).encode()
