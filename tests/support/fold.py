"""What the log says, told by a plain loop that shares nothing with the engine but the events' decoding and the domain."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from shared.clock import Instant, to_rfc3339
from shared.events.catalog import topic as catalogue_topic
from shared.events.codec import UndecodableEvent, decode
from shared.events.customers import (
    ClockTicked,
    CustomerErased,
    CustomerResumeRequested,
    HistoryBegan,
    HistoryEnded,
    RulesActivated,
)
from shared.events.envelope import Event
from shared.events.segments import CustomerForgotten
from shared.processing.domain import Domain
from shared.processing.records import Record

CUSTOMERS = "guanxi.customers.v1"


@dataclass
class Person:
    """One customer as the log has made it. `said`: what was emitted, as the fields that matter of its events."""

    id: str
    state: Any
    at: Instant = 0
    wake: Instant | None = None
    sequence: int = 0
    erased: bool = False
    history: int | None = None
    mark: str | None = None
    known: set[tuple[str, str]] = field(default_factory=set)
    applied: dict[str, int] = field(default_factory=dict)
    positions: dict[str, int] = field(default_factory=dict)
    waiting: list[tuple[Record, Instant]] | None = None
    said: list[dict[str, Any]] = field(default_factory=list)


class Fold:
    """One partition number of one service's inputs, the whole logs at hand."""

    def __init__(self, domain: Domain[Any]) -> None:
        self.domain = domain
        self.people: dict[str, Person] = {}
        self.unreadable: list[tuple[str, int]] = []
        self.now: Instant = 0
        self._ordered: list[Row] = []
        self._row = 0
        self.bracket: int | None = None
        self.history_now: Instant = 0

    def run(self, logs: Mapping[str, Sequence[Record]]) -> "Fold":
        self._ordered = ordered(logs)
        for row, (time, _, _, record, event) in enumerate(self._ordered):
            self._row = row
            self._record(time, record, event)
        self._everybody()
        return self

    def _activated(self, record: Record, event: Event, data: RulesActivated) -> None:
        """All before is told again under the new version alone; what that makes another is said, as the next number."""
        if not hasattr(self.domain, "written") or data.number <= self.domain.written.number:
            return
        self._everybody()
        other = Fold(self.domain.succeeded_by(data))
        for time, _, _, earlier, told in self._ordered[: self._row + 1]:
            other._record(time, earlier, told)
        other._everybody()
        for key, person in other.people.items():
            self._change_over(other.domain, self.people[key], person, record, event)
        self.domain, self.people = other.domain, other.people

    def _change_over(self, domain: Any, before: Person, after: Person, record: Record, event: Event) -> None:
        after.sequence, after.said = before.sequence, before.said
        after.at = max(before.at, after.at)
        after.positions = {
            **before.positions,
            f"{catalogue_topic(record.topic).short}:{record.partition}": record.offset,
        }
        if after.erased:
            return
        until = self.history_now if after.history is not None and after.history == self.bracket else self.now
        at = max(after.at, until)
        told = domain.difference(before.state, after.state, at, f"rules version {event.data.number}")
        if told is not None:
            after.at = at
            self._say(after, [told], at, event.id, after.mark if after.history is not None else None)

    def _record(self, time: Instant, record: Record, event: Event | None) -> None:
        mark = mark_of(event)
        ours = record.topic == CUSTOMERS
        bracket = event is not None and isinstance(event.data, HistoryBegan | HistoryEnded) and ours
        if bracket:
            self._everybody()
        self.now = max(self.now, time)
        if event is not None and bracket:
            self.bracket, self.history_now = (record.offset, 0) if isinstance(event.data, HistoryBegan) else (None, 0)
        elif self.bracket is not None and mark is not None:
            self.history_now = max(self.history_now, logical(event, record))
        if event is not None and isinstance(event.data, RulesActivated):
            self._activated(record, event, event.data)
        if event is not None and isinstance(event.data, ClockTicked | HistoryBegan | HistoryEnded | RulesActivated):
            return
        owner = (record.key or b"").decode(errors="replace")
        if len(owner) != 36 or (event is not None and event.subject != owner):
            self.unreadable.append((record.topic, record.offset))
            return
        self._of_customer(owner, record, event, mark)

    def _everybody(self) -> None:
        for person in self.people.values():
            self._fire(person)

    def _until(self, person: Person) -> Instant:
        if person.history is not None and person.history == self.bracket:
            return self.history_now
        return self.now

    def _of_customer(self, owner: str, record: Record, event: Event | None, mark: str | None) -> None:
        first = owner not in self.people
        person = self.people.setdefault(owner, Person(owner, self.domain.initial(owner)))
        self._fire(person)
        data = event.data if event else None
        resumes = isinstance(data, CustomerResumeRequested) and data.service == self.domain.service
        if resumes and person.waiting is not None:
            self._resume(person)
        person.positions[f"{catalogue_topic(record.topic).short}:{record.partition}"] = record.offset
        if first and mark is not None:
            person.history = self.bracket
        elif mark is None or person.history != self.bracket:
            person.history = None
        self._fire(person)
        if person.waiting is not None and not isinstance(data, CustomerErased):
            person.waiting.append((record, self._until(person)))
        else:
            self._admit(person, record, event, self._until(person))

    def _resume(self, person: Person) -> None:
        waiting, person.waiting = person.waiting or [], None
        person.wake = self.domain.wake_at(person.state)
        for record, until in waiting:
            self._fire(person, until)
            if person.waiting is not None:
                person.waiting.append((record, until))
            else:
                self._admit(person, record, read(record), until)

    def _admit(self, person: Person, record: Record, event: Event | None, until: Instant) -> None:
        if event is None:
            if not person.erased:
                self._park(person, record, until)
            return
        if self._known(person, event):
            return
        gap = event.number is not None and event.number != person.applied.get(event.source, 0) + 1
        if gap and not person.erased:
            self._park(person, record, until)
        elif self._told(person, record, event):
            self._remember(person, event)
        else:
            self._park(person, record, until)

    def _known(self, person: Person, event: Event) -> bool:
        if event.number is not None:
            return event.number <= person.applied.get(event.source, 0)
        return (event.source, event.id) in person.known

    def _remember(self, person: Person, event: Event) -> None:
        if event.number is not None:
            person.applied[event.source] = event.number
        else:
            person.known.add((event.source, event.id))

    def _told(self, person: Person, record: Record, event: Event) -> bool:
        """False: the domain raised."""
        if person.erased:
            return True
        if isinstance(event.data, CustomerResumeRequested):
            person.mark = mark_of(event)
            return True
        try:
            self._decide(person, record, event)
        except Exception:
            return isinstance(event.data, CustomerErased)
        return True

    def _decide(self, person: Person, record: Record, event: Event) -> None:
        at = max(person.at, logical(event, record))
        decision = self.domain.on_event(person.state, event, at)
        wake = self.domain.wake_at(decision.state)
        person.state, person.wake, person.at, person.mark = decision.state, wake, at, mark_of(event)
        events = list(decision.events)
        if isinstance(event.data, CustomerErased):
            events.append(CustomerForgotten(customer_id=person.id, receipt_id=event.data.receipt_id))
        self._say(person, events, at, event.id, mark_of(event))
        if isinstance(event.data, CustomerErased):
            person.state, person.wake, person.erased, person.waiting = None, None, True, None
            person.history = person.mark = None

    def _fire(self, person: Person, until: Instant | None = None) -> None:
        if person.history != self.bracket:
            person.history = None
        limit = self._until(person) if until is None else until
        while person.waiting is None and not person.erased and person.wake is not None and person.wake <= limit:
            due, at = person.wake, max(person.at, person.wake)
            try:
                decision = self.domain.on_time(person.state, at)
                wake = self.domain.wake_at(decision.state)
            except Exception:
                person.waiting, person.wake = [], None
                return
            person.state, person.wake, person.at = decision.state, wake, at
            mark = person.mark if person.history is not None else None
            self._say(person, decision.events, at, f"timer:{self.domain.service}:{person.id}:{due}", mark)

    def _park(self, person: Person, record: Record, until: Instant) -> None:
        person.waiting, person.wake = [(record, until)], None

    def _say(self, person: Person, events: Sequence[Any], at: Instant, cause: str, mark: str | None) -> None:
        for data in events:
            person.sequence += 1
            person.said.append(
                {
                    "sequence": f"{person.sequence:020d}",
                    "type": data.event_type,
                    "time": to_rfc3339(at),
                    "causationid": cause,
                    "mark": mark,
                    "inputs": ",".join(f"{key}:{offset}" for key, offset in sorted(person.positions.items())),
                    "data": data.model_dump(mode="json", exclude_none=True),
                }
            )


Row = tuple[Instant, int, int, Record, Event | None]


def ordered(logs: Mapping[str, Sequence[Record]]) -> list[Row]:
    """By (input's time, topic, offset)."""
    rows: list[Row] = []
    for rank, topic in enumerate(sorted(logs)):
        seen = 0
        for record in logs[topic]:
            event = read(record)
            seen = max(seen, logical(event, record))
            rows.append((seen, rank, record.offset, record, event))
    return sorted(rows, key=lambda row: row[:3])


def read(record: Record) -> Event | None:
    try:
        return decode(record.value or b"")
    except UndecodableEvent:
        return None


def logical(event: Event | None, record: Record) -> Instant:
    return 0 if event is None else min(event.recorded_at, record.timestamp)


def mark_of(event: Event | None) -> str | None:
    if event is None:
        return None
    return "history" if event.history else "replay" if event.replay else None
