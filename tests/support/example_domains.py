"""Three small domains in the places of the real ones. Each keeps a trail: a chain of all that it was told, in order, so
that whatever is lost, doubled, reordered or told at another instant shows in its state for ever."""

from collections.abc import Mapping
from hashlib import blake2b
from typing import Any
from uuid import NAMESPACE_OID, uuid5

from shared.clock import HOUR, Instant, to_datetime
from shared.events.customers import (
    CaseActedOn,
    ContactMade,
    FeedbackReceived,
    InquiryReceived,
    PurchaseMade,
    RulesActivated,
    SurveyAnswered,
)
from shared.events.envelope import Data, Event
from shared.events.feedback import CaseDeadlineMissed, CaseOpened, CaseResolved
from shared.events.fields import Model
from shared.events.followups import FollowupCompleted, FollowupDue, FollowupMissed, FollowupScheduled
from shared.events.segments import SegmentsChanged
from shared.processing.domain import Decision

WINDOW = 6 * HOUR
DUE_AFTER = 2 * HOUR
MISSED_AFTER = 5 * HOUR
CASE_DEADLINE = 3 * HOUR
POISON = "poison"
"""A survey of this name makes a domain raise until it is mended."""


class Poisoned(Exception):
    """What a domain with a mistake in it raises."""


class Book(Model):
    """`leaves`: when purchases leave the window. `open`: (id, due, deadline) of open tasks, (id, 0, deadline) of cases."""

    customer_id: str = ""
    trail: str = ""
    told: int = 0
    leaves: tuple[Instant, ...] = ()
    open: tuple[tuple[str, Instant, Instant], ...] = ()


def next_trail(trail: str, word: str) -> str:
    return blake2b(f"{trail}|{word}".encode(), digest_size=6).hexdigest()


def told(state: Book, word: str) -> Book:
    return state.model_copy(update={"trail": next_trail(state.trail, word), "told": state.told + 1})


class ExampleDomain:
    """What the three have in common: the trail, and breaking on poison unless `mended`."""

    service = ""
    state_type = Book

    def __init__(self, mended: bool = False, unit: Instant = HOUR) -> None:
        """`unit`: what an hour of the constants above lasts, so that a simulation need not wait for days."""
        self.mended = mended
        self.unit = unit

    def lasts(self, time: Instant) -> Instant:
        return time * self.unit // HOUR

    def initial(self, customer_id: str) -> Book:
        return Book(customer_id=customer_id)

    def on_event(self, state: Book, event: Event, at: Instant) -> Decision[Book]:
        if isinstance(event.data, SurveyAnswered) and event.data.survey == POISON and not self.mended:
            raise Poisoned
        return self.decide(told(state, f"{event.source}/{event.id}@{at}"), event, at)

    def on_time(self, state: Book, at: Instant) -> Decision[Book]:
        return self.at_last(told(state, f"timer@{at}"), at)

    def wake_at(self, state: Book) -> Instant | None:
        return min([*state.leaves, *(due or deadline for _, due, deadline in state.open)], default=None)

    def view(self, state: Book) -> Mapping[str, Any]:
        return {"told": state.told}

    def decide(self, state: Book, event: Event, at: Instant) -> Decision[Book]:
        raise NotImplementedError

    def at_last(self, state: Book, at: Instant) -> Decision[Book]:
        raise NotImplementedError


def activated(number: int, hours: int) -> RulesActivated:
    """Rules of `Counts`: how many hours its window lasts."""
    return RulesActivated(number=number, rules=str(hours), digest=f"digest of {hours}")


FIRST = activated(1, WINDOW // HOUR)


class Counts(ExampleDomain):
    """In the place of segmentation: how many purchases the window holds. Other versions have other windows."""

    service = "segmentation"

    def __init__(self, mended: bool = False, unit: Instant = HOUR, written: RulesActivated = FIRST) -> None:
        super().__init__(mended, unit)
        self.written = written
        self._window = self.lasts(int(written.rules) * HOUR)

    def succeeded_by(self, written: RulesActivated) -> "Counts":
        return Counts(self.mended, self.unit, written)

    def difference(self, before: Book | None, after: Book, at: Instant, reason: str) -> SegmentsChanged | None:
        """Also where only the trail differs: every customer that was told anything at another instant."""
        if before is not None and (before.trail, before.leaves) == (after.trail, after.leaves):
            return None
        return self._change(after, reason)

    def decide(self, state: Book, event: Event, at: Instant) -> Decision[Book]:
        if not isinstance(event.data, PurchaseMade) or (leaves := event.occurred_at + self._window) <= at:
            return Decision(state)
        return self._changed(state.model_copy(update={"leaves": tuple(sorted([*state.leaves, leaves]))}))

    def at_last(self, state: Book, at: Instant) -> Decision[Book]:
        return self._changed(state.model_copy(update={"leaves": tuple(leaf for leaf in state.leaves if leaf > at)}))

    def _changed(self, state: Book) -> Decision[Book]:
        return Decision(state, (self._change(state, "told"),))

    def _change(self, state: Book, reason: str) -> SegmentsChanged:
        memberships = {"count": str(len(state.leaves)), "trail": state.trail, "reason": reason}
        version = str(self.written.number)
        return SegmentsChanged(
            customer_id=state.customer_id, changes=(), memberships=memberships, rules_version=version
        )


class Tasks(ExampleDomain):
    """In the place of follow-up: a task per inquiry and per opened case, due once, missed unless completed."""

    service = "followup"

    def decide(self, state: Book, event: Event, at: Instant) -> Decision[Book]:
        match event.data:
            case InquiryReceived() | CaseOpened() if not event.history:
                task = (str(uuid5(NAMESPACE_OID, event.id)), at + self.lasts(DUE_AFTER), at + self.lasts(MISSED_AFTER))
                scheduled = FollowupScheduled(**self._names(state, task[0]), due_at=to_datetime(task[1]))
                return Decision(state.model_copy(update={"open": (*state.open, task)}), (scheduled,))
            case ContactMade():
                done = tuple(FollowupCompleted(**self._names(state, name)) for name, _, _ in state.open)
                return Decision(state.model_copy(update={"open": ()}), done)
        return Decision(state)

    def at_last(self, state: Book, at: Instant) -> Decision[Book]:
        events: list[Data] = []
        still: list[tuple[str, Instant, Instant]] = []
        for name, due, deadline in state.open:
            if due and due <= at:
                events.append(FollowupDue(**self._names(state, name)))
            if deadline <= at:
                events.append(FollowupMissed(**self._names(state, name)))
            else:
                still.append((name, 0 if due <= at else due, deadline))
        return Decision(state.model_copy(update={"open": tuple(still)}), tuple(events))

    def _names(self, state: Book, task_id: str) -> dict[str, Any]:
        return {"customer_id": state.customer_id, "task_id": task_id, "playbook": "example"}


class Cases(ExampleDomain):
    """In the place of feedback: a case per complaint with one deadline."""

    service = "feedback"

    def decide(self, state: Book, event: Event, at: Instant) -> Decision[Book]:
        match event.data:
            case FeedbackReceived(kind="complaint") if not event.history:
                case_id = str(uuid5(NAMESPACE_OID, event.id))
                opened = (*state.open, (case_id, 0, at + self.lasts(CASE_DEADLINE)))
                return Decision(state.model_copy(update={"open": opened}), (CaseOpened(**self._names(state, case_id)),))
            case CaseActedOn(action="resolve"):
                done = tuple(CaseResolved(**self._names(state, name)) for name, _, _ in state.open)
                return Decision(state.model_copy(update={"open": ()}), done)
        return Decision(state)

    def at_last(self, state: Book, at: Instant) -> Decision[Book]:
        late = [name for name, _, deadline in state.open if deadline <= at]
        events = tuple(CaseDeadlineMissed(**self._names(state, name), reason="resolve") for name in late)
        return Decision(state.model_copy(update={"open": tuple(c for c in state.open if c[2] > at)}), events)

    def _names(self, state: Book, case_id: str) -> dict[str, Any]:
        return {"customer_id": state.customer_id, "case_id": case_id, "kind": "complaint", "severity": "normal"}


EXAMPLES: tuple[type[ExampleDomain], ...] = (Counts, Tasks, Cases)
