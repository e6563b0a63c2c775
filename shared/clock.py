"""Instants: whole milliseconds since 1970-01-01T00:00:00Z, the one form in which engine and domains compute."""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

Instant = int
"""UTC milliseconds since the epoch. Kafka's record timestamps have the same unit, so nothing is ever rounded."""

Clock = Callable[[], Instant]

SECOND: int = 1_000
MINUTE: int = 60 * SECOND
HOUR: int = 60 * MINUTE
DAY: int = 24 * HOUR

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_BARE_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - the offset is written by hand, at half the cost
_MILLISECOND = timedelta(milliseconds=1)


def wall_clock() -> Instant:
    """The machine's time. Only the rim calls it: workers, intake, command lines."""
    return time.time_ns() // 1_000_000


def to_instant(moment: datetime) -> Instant:
    """Truncates below the millisecond (towards the past). The datetime must know its offset, else TypeError."""
    return (moment - _EPOCH) // _MILLISECOND


def to_datetime(instant: Instant) -> datetime:
    return _EPOCH + timedelta(milliseconds=instant)


def to_rfc3339(instant: Instant) -> str:
    """`2026-11-23T19:54:52.120Z`: always milliseconds, always Z, so that texts sort as instants do."""
    return (_BARE_EPOCH + instant * _MILLISECOND).isoformat(timespec="milliseconds") + "Z"


def from_rfc3339(text: str) -> Instant:
    """Raises ValueError where the text has no offset or is no RFC 3339 date-time."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError("an offset (Z or +08:00) is required")
    return to_instant(moment)
