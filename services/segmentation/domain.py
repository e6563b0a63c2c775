"""The segmentation of one customer: facts in, memberships out, each change at its instant with its reasons."""

from collections.abc import Mapping
from typing import Any

from services.segmentation.facts import FOREVER, Facts, Moment
from services.segmentation.orders import Book, book_of, with_purchase, with_refund
from services.segmentation.program import Program
from services.segmentation.state import CustomerState
from shared.clock import Instant
from shared.events.customers import (
    CustomerErased,
    CustomerObjected,
    CustomerObjectionWithdrawn,
    PurchaseMade,
    PurchaseRefunded,
)
from shared.events.envelope import Event
from shared.events.segments import Membership, SegmentsChanged
from shared.processing.domain import Decision

Segments = dict[str, tuple[str, Instant, Instant | None]]
Changes = dict[str, tuple[str | None, str | None]]
OBJECTION = "objection to profiling"


class SegmentationDomain:
    """One evaluation per event that could matter and per instant at which time alone changes a value."""

    service = "segmentation"
    state_type = CustomerState
    latest_topic = "guanxi.segments.latest.v1"
    """Compacted: every `segments.changed` goes there too, with the same bytes."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self._dimensions = program.dimensions
        # The search of those that rest on scores goes step by step: what the others find first shortens it.
        self._ahead = [d for d, _ in program.dimensions if not d.searches] + [
            d for d, _ in program.dimensions if d.searches
        ]
        self._version = program.rules.version
        self._limits = program.rules.limits

    def initial(self, customer_id: str) -> CustomerState:
        return CustomerState(customer_id=customer_id)

    def on_event(self, state: CustomerState, event: Event, at: Instant) -> Decision[CustomerState]:
        match event.data:
            case PurchaseMade() | PurchaseRefunded():
                return self._evaluated(state, self._booked(state, event, at), at)
            case CustomerObjected():
                return self._objected(state, event.id, at)
            case CustomerObjectionWithdrawn():
                return self._evaluated(state.model_copy(update={"objected": False}), book_of(state), at)
            case CustomerErased():
                return Decision(state)
        return Decision(state) if state.segments else self._evaluated(state, book_of(state), at)

    def on_time(self, state: CustomerState, at: Instant) -> Decision[CustomerState]:
        return self._evaluated(state, book_of(state), at, only_due=True)

    def wake_at(self, state: CustomerState) -> Instant | None:
        return state.next_at

    def view(self, state: CustomerState) -> Mapping[str, Any]:
        return {"memberships": {name: value for name, (value, _, _) in state.segments.items()}}

    def because(self, state: CustomerState, at: Instant) -> dict[str, dict[str, Any]]:
        """Per dimension, why its value is what it is at `at`: values, thresholds and the events that count."""
        moment = Moment(Facts(book_of(state)), at)
        return {
            d.name: reasons.because(moment, None, None) for d, reasons in self._dimensions if d.name in state.segments
        }

    def forecast(self, state: CustomerState, at: Instant) -> dict[str, tuple[Instant, Membership]]:
        """Per dimension when it changes next if nothing happens after `at`, and to what; without those that never do."""
        found: dict[str, tuple[Instant, Membership]] = {}
        while (wake := self.wake_at(state)) is not None:
            decision = self.on_time(state, max(wake, at))
            for event in decision.events:
                assert isinstance(event, SegmentsChanged)  # noqa: S101 - segmentation says nothing else
                for change in event.changes:
                    found.setdefault(change.dimension, (wake, change.to))
            state = decision.state
        return found

    def difference(
        self, before: CustomerState | None, after: CustomerState, at: Instant, reason: str
    ) -> SegmentsChanged | None:
        """What to publish where a customer's state is replaced by one that was made under these rules; None: nothing."""
        had = {} if before is None else before.segments
        why, changes = self.because(after, at), []
        for name in {**had, **after.segments}:
            was, now = had.get(name, (None,))[0], after.segments.get(name, (None,))[0]
            if was != now:
                because = why.get(name, {"rule": ""})
                because = {**because, "rule": f"{reason}: {because['rule']}".removesuffix(": ")}
                changes.append({"dimension": name, "from": was, "to": now, "because": because})
        return self._event(after, changes, after.segments) if changes else None

    def _booked(self, state: CustomerState, event: Event, at: Instant) -> Book:
        """A purchase that arrives late counts from when it happened; one from the future, from now."""
        data, time = event.data, min(event.occurred_at, at)
        rates, limit = self.program.rates, self._limits.orders
        if isinstance(data, PurchaseMade):
            return with_purchase(book_of(state), rates, limit, time, event.id, data.order_id, data.amount)
        assert isinstance(data, PurchaseRefunded)  # noqa: S101 - the only other event that is booked
        return with_refund(book_of(state), rates, limit, time, event.id, data.order_id, data.amount)

    def _evaluated(
        self, state: CustomerState, book: Book, at: Instant, only_due: bool = False
    ) -> Decision[CustomerState]:
        """`only_due`: nothing but time has passed, so that what surely still holds is not worked out again."""
        update: dict[str, Any] = {"orders": book.orders, "refunds": book.refunds, "folded": book.folded}
        if state.objected:
            return Decision(state.model_copy(update=update))
        moment, segments, changes = Moment(Facts(book), at), dict(state.segments), []
        due = _due(segments, at) if only_due else None
        for dimension, reasons in self._dimensions:
            name = dimension.name
            if due is None or name in due:
                value, had = dimension.values[moment.value(dimension)], segments.get(name)
                if had is None or had[0] != value:
                    before, since = (None, None) if had is None else had[:2]
                    because = reasons.because(moment, before, since)
                    changes.append({"dimension": name, "from": before, "to": value, "because": because})
                    segments[name] = (value, at, None)
        update["next_at"] = self._look_ahead(segments, due, moment)
        update["segments"] = segments
        if not changes:
            return Decision(state.model_copy(update=update))
        return self._changed(state, at, changes, update)

    def _look_ahead(self, segments: Segments, due: set[str] | None, moment: Moment) -> Instant | None:
        """Notes in `segments` up to when each dimension surely stays; the soonest of these."""
        soonest = FOREVER
        for dimension in self._ahead:
            value, since, until = segments[dimension.name]
            if due is None or dimension.name in due:
                found = dimension.next_change(moment, soonest if dimension.searches else FOREVER)
                until = None if found == FOREVER else found
                segments[dimension.name] = (value, since, until)
            if until is not None and until < soonest:
                soonest = until
        return None if soonest == FOREVER else soonest

    def _objected(self, state: CustomerState, event_id: str, at: Instant) -> Decision[CustomerState]:
        update: dict[str, Any] = {"objected": True, "next_at": None, "segments": {}}
        because = {"events": (event_id,), "rule": OBJECTION}
        changes = [
            {"dimension": name, "from": value, "to": None, "because": because}
            for name, (value, _, _) in state.segments.items()
        ]
        if not changes:
            return Decision(state.model_copy(update=update))
        return self._changed(state, at, changes, update)

    def _changed(
        self, state: CustomerState, at: Instant, changes: list[dict[str, Any]], update: dict[str, Any]
    ) -> Decision[CustomerState]:
        if self._limits.history:
            moved: Changes = {change["dimension"]: (change["from"], change["to"]) for change in changes}
            update["recent"] = (*state.recent[1 - self._limits.history :], (at, moved))
        return Decision(state.model_copy(update=update), (self._event(state, changes, update["segments"]),))

    def _event(self, state: CustomerState, changes: list[dict[str, Any]], segments: Segments) -> SegmentsChanged:
        return SegmentsChanged.model_validate(
            {
                "customer_id": state.customer_id,
                "changes": changes,
                "memberships": {name: segment[0] for name, segment in segments.items()},
                "rules_version": self._version,
            }
        )


def _due(segments: Segments, at: Instant) -> set[str]:
    return {name for name, (_, _, until) in segments.items() if until is not None and until <= at}
