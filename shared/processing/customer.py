"""One customer within one batch: the document before, the state as it moves on, and the document to write."""

from base64 import urlsafe_b64encode
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from hashlib import blake2b
from typing import Any, Generic, TypeVar

from shared.clock import DAY, Instant
from shared.events.customers import CustomerErased, CustomerResumeRequested
from shared.events.envelope import Data, Event
from shared.events.segments import CustomerForgotten
from shared.processing.arrivals import Arrival, position_key
from shared.processing.document import Document, Entry, Parked, Waiting
from shared.processing.domain import Decision, Domain, S, version_of
from shared.processing.emission import Cause, timer_cause, write
from shared.processing.outbox import Covered, pending
from shared.processing.partition_time import PartitionTime
from shared.processing.ports import FatalError

A = TypeVar("A")

RECENT_COUNT = 64
"""How many un-numbered events a customer's document remembers against duplicates that a producer made."""
RECENT_AGE = 1 * DAY
TIMERS_AT_ONCE = 10_000
"""More timers than this of one customer in one go are a domain that does not move its `wake_at`."""
PARKED_LIMIT = 1_000


class DomainFault(Exception):
    """The domain raised, or broke its contract. The message is the kind of the fault, never a value."""


class ParkingFull(FatalError):
    """A parked customer's list is full; the partition must stop."""

    def __init__(self, service: str) -> None:
        super().__init__(
            f"{PARKED_LIMIT} records wait for one parked customer of {service}: `guanxi parked list {service}` says whose and why. "
            "Mend what makes it fail and start again: then they are applied before the next one"
        )


class Customer(Generic[S]):
    """Applies records and timers to one document. Nothing here is written or published: `finish` gives the new document."""

    def __init__(self, domain: Domain[S], document: Document, state: S | None, silent: bool = False) -> None:
        self._domain = domain
        self._silent = silent
        self._version = version_of(domain)
        self.before = document
        self.document = document
        """`before` until the first change, then a copy of our own (`_touch`)."""
        self._state = state
        self.emitted: list[Entry] = []
        self.by_timer = False
        self.faulted = False
        self.given_up = 0

    @property
    def state(self) -> S:
        if self._state is None:
            text = self.document.state
            self._state = (
                self._domain.initial(self.document.id)
                if text is None
                else self._domain.state_type.model_validate_json(text)
            )
        return self._state

    @property
    def kept_state(self) -> S | None:
        """The decoded state for the cache; None where it was never needed or is gone."""
        return self._state

    def apply(self, arrival: Arrival, time: PartitionTime) -> bool:
        """One record that the fence lets pass, in log order. False: its number or its id was seen before."""
        self._touch()
        first = not self.document.positions
        self._leave_bracket(time)
        self._fire(time.until(self.document.history), arrival.position)
        self._advance(arrival)
        self._enter_time(arrival, time, first)
        return self._admit(arrival, time.until(self.document.history), arrival.position)

    def resume(self, waiting: list[tuple[Arrival, Instant]], position: str) -> None:
        """Applies what waited as if the customer had never been parked; parks it again where it still cannot be."""
        self._touch()
        self.document.parked = None
        self._tried(self._arm, self.document.at)
        for arrival, partition_time in waiting:
            self._admit(arrival, partition_time, position)

    def fire(self, time: PartitionTime) -> None:
        """All timers that the partition's time has reached, caused by no record of this customer."""
        self._touch()
        self._leave_bracket(time)
        self._fire(time.until(self.document.history), "")

    def _fire(self, until: Instant, position: str) -> None:
        """Each timer at its own instant and as a step of its own: one that fails parks, those before it have happened.
        `position` is empty where no record of this customer causes it."""
        for _ in range(TIMERS_AT_ONCE):
            due = self.document.wake_at
            if due is None or due > until or self.document.parked is not None or self.document.erased:
                return
            self._tried(partial(self._fire_one, due, position), due)
        self._park("timers do not move on", self.document.at)

    def _fire_one(self, due: Instant, position: str) -> None:
        at = max(self.document.at, due)
        cause = timer_cause(self._domain.service, self.document.id, due, self._timer_mark(), position)
        decision = self._ask(lambda: self._domain.on_time(self.state, at))
        self._take(decision, at, cause)
        if self.document.wake_at is not None and self.document.wake_at <= due:
            raise DomainFault("timers do not move on")
        self.by_timer = self.by_timer or (not position and bool(decision.events))

    def _timer_mark(self) -> str | None:
        """Never the mark of the record that happens to come next: how batches are cut must not show."""
        return self.document.mark if self.document.history is not None else None

    def finish(self, covered: Covered) -> Document:
        """The document to write: what is covered leaves the outbox, what was emitted enters it."""
        kept = tuple(entry for entry in self.document.outbox if pending(self.before, entry, covered))
        state = self._state
        text = state.model_dump_json(exclude_defaults=True) if state is not None else self.document.state
        erased = self.document.erased
        view = {} if erased else self._view()
        return self.document.replaced(
            rev=self.before.rev + 1,
            outbox=kept + tuple(self.emitted),
            unsent=self.by_timer or (self.before.unsent and any(not entry.position for entry in kept)),
            state=None if erased else text,
            view=view,
        )

    def _view(self) -> dict[str, Any]:
        """As it was where the state was never needed; a domain that cannot say it parks, and the old one stands."""
        state = self._state
        if state is None:
            return self.document.view
        try:
            return dict(self._ask(lambda: self._domain.view(state)))
        except DomainFault as fault:
            self._park(str(fault), self.document.at)
            return self.document.view

    def fenced(self, arrival: Arrival) -> bool:
        """Whether this very record was applied before."""
        record = arrival.record
        return self.document.positions.get(position_key(record.topic, record.partition), -1) >= record.offset

    def _touch(self) -> None:
        if self.document is self.before:
            self.document = self.before.copied()

    def _advance(self, arrival: Arrival) -> None:
        record = arrival.record
        positions = {**self.document.positions, position_key(record.topic, record.partition): record.offset}
        self.document.positions, self.document.partition = positions, record.partition
        ahead = self.document.at > arrival.time
        self.document.disordered = self.document.disordered or arrival.late or ahead

    def _enter_time(self, arrival: Arrival, time: PartitionTime, first: bool) -> None:
        """Who is first seen inside a history bracket follows its time, until the bracket ends or the present speaks."""
        if first and arrival.mark is not None:
            self.document.history = time.bracket
        elif arrival.mark is None:
            self.document.history = None

    def _leave_bracket(self, time: PartitionTime) -> None:
        if self.document.history is not None and time.has_ended(self.document.history):
            self.document.history = None

    def _wait(self, arrival: Arrival, until: Instant) -> None:
        parked = self.document.parked
        assert parked is not None  # noqa: S101 - the callers' condition, said for the type checker
        if len(parked.waiting) >= PARKED_LIMIT:
            raise ParkingFull(self._domain.service)
        waiting = Waiting(arrival.record.topic, arrival.record.offset, until)
        self.document.parked = replace(parked, waiting=(*parked.waiting, waiting))
        self.document.wake_at = None

    def _admit(self, arrival: Arrival, until: Instant, position: str) -> bool:
        """Timers, then duplicates out, then the record; whatever fails parks the customer and this record waits."""
        self._fire(until, position)
        if self.document.parked is not None and not _is_erasure(arrival):
            self._wait(arrival, until)
            return True
        if arrival.event is not None and self._duplicate(arrival.event):
            return False
        since = max(self.document.at, arrival.logical_time)
        if not self._tried(partial(self._decide, arrival, position), since):
            self._wait(arrival, until)
        return True

    def _tried(self, step: Callable[[], None], since: Instant) -> bool:
        """All of the step, or nothing of it and the customer parked."""
        snapshot = (self.document.copied(), self._state, len(self.emitted))
        try:
            step()
        except DomainFault as fault:
            self.document, self._state, emitted = snapshot
            del self.emitted[emitted:]
            self._park(str(fault), since)
            return False
        return True

    def _arm(self) -> None:
        self.document.wake_at = self._ask(lambda: self._domain.wake_at(self.state))

    def _decide(self, arrival: Arrival, position: str) -> None:
        event = arrival.event
        if event is None:
            if self.document.erased:
                return
            raise DomainFault(f"undecodable: {arrival.error}")
        self._number(event)
        if self.document.erased:
            return
        cause = Cause(position, event.id, event.correlationid or event.id, arrival.mark)
        self.document.mark = arrival.mark
        at = max(self.document.at, arrival.logical_time)
        if isinstance(event.data, CustomerErased):
            self._erase(event, event.data, at, cause)
        elif not isinstance(event.data, CustomerResumeRequested):
            self._take(self._ask(lambda: self._domain.on_event(self.state, event, at)), at, cause)

    def _erase(self, event: Event, erased: CustomerErased, at: Instant, cause: Cause) -> None:
        """Keeps what fences and numbers need, so that nothing comes back and numbering goes on. A domain that raises
        has nothing more to say; the person's right does not wait for its repair."""
        with suppress(DomainFault):
            self._take(self._ask(lambda: self._domain.on_event(self.state, event, at)), at, cause)
        answer = CustomerForgotten(customer_id=self.document.id, receipt_id=erased.receipt_id)
        self._emit((answer,), at, cause)
        self._state = None
        self.document = self.document.replaced(
            at=at, erased=True, state=None, wake_at=None, parked=None, history=None, mark=None, recent=()
        )

    def _ask(self, question: Callable[[], A]) -> A:
        if self.document.version != self._version:
            raise FatalError(
                f"a state of version {self.document.version} would be decided by version {self._version}: stop every "
                f"worker of {self._domain.service}, start one, and run `guanxi verify {self._domain.service}`"
            )
        try:
            return question()
        except Exception as error:
            raise DomainFault(f"{type(error).__name__} in {_place(error)}") from error

    def _take(self, decision: Decision[S], at: Instant, cause: Cause) -> None:
        self._state = decision.state
        self.given_up += decision.given_up
        self.document.at, self.document.wake_at = at, self._wake_at(decision.state)
        self._emit(decision.events, at, cause)

    def _wake_at(self, state: S) -> Instant | None:
        return self._ask(lambda: self._domain.wake_at(state))

    def _emit(self, events: tuple[Data, ...], at: Instant, cause: Cause) -> None:
        if self._silent:
            self.document.sequence += len(events)
            return
        if not events:
            return
        inputs = ",".join(f"{key}:{offset}" for key, offset in sorted(self.document.positions.items()))
        number = self.document.sequence
        for data in events:
            number += 1
            text = write(self._domain.service, self.document.id, number, data, at, cause, inputs)
            self.emitted.append(Entry(cause.position, text))
        self.document.sequence = number

    def _duplicate(self, event: Event) -> bool:
        if event.number is not None:
            return self.document.applied.get(event.source, 0) >= event.number
        if not self.document.recent:
            return False
        own = digest(event)
        return any(known == own for known, _ in self.document.recent)

    def _number(self, event: Event) -> None:
        """Remembers the event against repeats; a gap in a numbered source is a fault, for something is missing.
        Not of an erased customer, which may have been parked: what waited is gone for good, as it must be."""
        if event.number is None:
            return self._remember(event)
        expected = self.document.applied.get(event.source, 0) + 1
        if event.number != expected and not self.document.erased:
            raise DomainFault(f"gap in {event.source}: expected {expected}, got {event.number}")
        self.document.applied = {**self.document.applied, event.source: event.number}
        return None

    def _remember(self, event: Event) -> None:
        now = event.recorded_at
        young = [pair for pair in self.document.recent if now - pair[1] <= RECENT_AGE]
        self.document.recent = (*young, (digest(event), now))[-RECENT_COUNT:]

    def _park(self, error: str, since: Instant) -> None:
        self.document.parked, self.document.wake_at = Parked(error, since), None
        self.faulted = True


def digest(event: Event) -> str:
    """64 bits of an un-numbered event's identity (source and id), enough among the few that a document remembers."""
    return urlsafe_b64encode(blake2b(f"{event.source}\0{event.id}".encode(), digest_size=8).digest())[:11].decode()


def _is_erasure(arrival: Arrival) -> bool:
    return arrival.event is not None and isinstance(arrival.event.data, CustomerErased)


def _place(error: BaseException) -> str:
    """File and line where it was raised; messages are left out because they may quote a customer."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return "unknown"
    return f"{trace.tb_frame.f_code.co_filename.rsplit('/', 1)[-1]}:{trace.tb_lineno}"


def read_state(domain: Domain[Any], document: Document) -> Any:
    """The state in a document, or the initial one."""
    return Customer(domain, document, None).state
