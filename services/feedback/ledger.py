"""A deadline as a ledger: which spans of time ran and which stood still, why, and how much business time each used."""

from typing import Literal, Protocol

from shared.clock import Instant
from shared.events.fields import Model

DeadlineName = Literal["acknowledge", "resolve"]

SPANS_KEPT = 60
"""Per deadline. Of older spans only the sum of the time they used is kept."""


class Hours(Protocol):
    """The business hours that hold for one customer. Durations are milliseconds of business time."""

    def add(self, start: Instant, duration: int) -> Instant:
        """The earliest instant at which `duration` (> 0) has passed in business hours."""

    def between(self, start: Instant, end: Instant) -> int: ...


class Span(Model):
    """`running` false: the clock stood still. `reason`: why it began, as a code; of one that stood still, the waiting
    reason. `due_at` is the deadline as it was seen while this span lasted."""

    start: Instant
    end: Instant | None = None
    running: bool = True
    reason: str = ""
    allowed: int = 0
    used: int = 0
    due_at: Instant | None = None


class Deadline(Model):
    """`allowed` in milliseconds of business time. `reopening`: which reopening of the case began it (0: its opening)."""

    name: DeadlineName
    reopening: int = 0
    allowed: int
    spans: tuple[Span, ...] = ()
    used_before: int = 0
    missed_at: Instant | None = None
    ended_at: Instant | None = None

    @property
    def used(self) -> int:
        """Business time used in the spans that have ended."""
        return self.used_before + sum(span.used for span in self.spans)

    @property
    def running(self) -> bool:
        return self.ended_at is None and bool(self.spans) and self.spans[-1].running

    @property
    def due_at(self) -> Instant | None:
        """When it will be missed; None while it stands still, and once it is missed or has ended."""
        if self.ended_at is not None or self.missed_at is not None or not self.spans:
            return None
        return self.spans[-1].due_at

    @property
    def shown_at(self) -> Instant | None:
        """The newest instant for which the deadline was ever set; for people, also after it is over."""
        return next((span.due_at for span in reversed(self.spans) if span.due_at is not None), None)


def start(name: DeadlineName, allowed: int, at: Instant, hours: Hours, *, reason: str, reopening: int = 0) -> Deadline:
    return _open_span(Deadline(name=name, reopening=reopening, allowed=allowed), at, hours, running=True, reason=reason)


def pause(deadline: Deadline, at: Instant, hours: Hours, *, reason: str) -> Deadline:
    return _open_span(_close_span(deadline, at, hours), at, hours, running=False, reason=reason)


def resume(deadline: Deadline, at: Instant, hours: Hours, *, reason: str) -> Deadline:
    return _open_span(_close_span(deadline, at, hours), at, hours, running=True, reason=reason)


def retarget(deadline: Deadline, allowed: int, at: Instant, before: Hours, after: Hours, *, reason: str) -> Deadline:
    """Another allowance or other business hours from now on; what was used until now was used by the hours `before`.

    A clock that stands still goes on standing still, for the reason that it had.
    """
    if deadline.ended_at is not None:
        return deadline
    running = deadline.running
    reason = reason if running else deadline.spans[-1].reason
    closed = _close_span(deadline, at, before).model_copy(update={"allowed": allowed})
    return _open_span(closed, at, after, running=running, reason=reason)


def end(deadline: Deadline, at: Instant, hours: Hours) -> Deadline:
    """What it was for has been done (in time when `missed_at` is empty)."""
    return _close_span(deadline, at, hours).model_copy(update={"ended_at": at})


def miss(deadline: Deadline, at: Instant) -> Deadline:
    """The ledger goes on, so that it shows how late the work was; the deadline cannot be missed again."""
    return deadline.model_copy(update={"missed_at": at})


def _close_span(deadline: Deadline, at: Instant, hours: Hours) -> Deadline:
    last = deadline.spans[-1]
    used = hours.between(last.start, at) if last.running else 0
    kept = (*deadline.spans[:-1], last.model_copy(update={"end": at, "used": used}))
    dropped = kept[: max(0, len(kept) - SPANS_KEPT)]
    used_before = deadline.used_before + sum(span.used for span in dropped)
    return deadline.model_copy(update={"spans": kept[len(dropped) :], "used_before": used_before})


def _open_span(deadline: Deadline, at: Instant, hours: Hours, *, running: bool, reason: str) -> Deadline:
    due_at = _due(deadline, at, hours) if running else None
    span = Span(start=at, running=running, reason=reason, allowed=deadline.allowed, due_at=due_at)
    return deadline.model_copy(update={"spans": (*deadline.spans, span)})


def _due(deadline: Deadline, at: Instant, hours: Hours) -> Instant | None:
    if deadline.missed_at is not None:
        return None
    remaining = deadline.allowed - deadline.used
    return hours.add(at, remaining) if remaining > 0 else at
