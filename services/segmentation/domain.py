"""The segmentation of one customer: facts in, memberships out, each change at its instant with its reasons."""

from collections.abc import Mapping
from typing import Any

from services.segmentation.dimensions import Against, Dimension
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
from shared.events.segments import SegmentsChanged
from shared.processing.domain import Decision

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
        # Those that are cheap to look ahead first: what they find shortens the search of the others.
        self._ahead = sorted((dimension for dimension, _ in program.dimensions), key=_cost)
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
        return self._evaluated(state, book_of(state), at)

    def wake_at(self, state: CustomerState) -> Instant | None:
        return state.next_at

    def view(self, state: CustomerState) -> Mapping[str, Any]:
        return {"memberships": {name: value for name, (value, _) in state.segments.items()}}

    def because(self, state: CustomerState, at: Instant) -> dict[str, dict[str, Any]]:
        """Per dimension, why its value is what it is at `at`: values, thresholds and the events that count."""
        moment = Moment(Facts(book_of(state)), at)
        return {
            d.name: reasons.because(moment, None, None) for d, reasons in self._dimensions if d.name in state.segments
        }

    def _booked(self, state: CustomerState, event: Event, at: Instant) -> Book:
        """A purchase that arrives late counts from when it happened; one from the future, from now."""
        data, time = event.data, min(event.occurred_at, at)
        rates, limit = self.program.rates, self._limits.orders
        if isinstance(data, PurchaseMade):
            return with_purchase(book_of(state), rates, limit, time, event.id, data.order_id, data.amount)
        assert isinstance(data, PurchaseRefunded)  # noqa: S101 - the only other event that is booked
        return with_refund(book_of(state), rates, limit, time, event.id, data.order_id, data.amount)

    def _evaluated(self, state: CustomerState, book: Book, at: Instant) -> Decision[CustomerState]:
        update: dict[str, Any] = book._asdict()
        if state.objected:
            return Decision(state.model_copy(update=update))
        moment, segments, changes = Moment(Facts(book), at), state.segments, []
        for dimension, reasons in self._dimensions:
            value, had = dimension.values[moment.value(dimension)], segments.get(dimension.name)
            if had is None or had[0] != value:
                before, since = had or (None, None)
                because = reasons.because(moment, before, since)
                changes.append({"dimension": dimension.name, "from": before, "to": value, "because": because})
        update["next_at"] = self._next_at(moment)
        if not changes:
            return Decision(state.model_copy(update=update))
        segments = segments | {change["dimension"]: (change["to"], at) for change in changes}
        return self._changed(state, at, segments, changes, update)

    def _next_at(self, moment: Moment) -> Instant | None:
        soonest = FOREVER
        for dimension in self._ahead:
            soonest = dimension.next_change(moment, soonest)
        return None if soonest == FOREVER else soonest

    def _objected(self, state: CustomerState, event_id: str, at: Instant) -> Decision[CustomerState]:
        update = {"objected": True, "next_at": None}
        because = {"events": (event_id,), "rule": OBJECTION}
        changes = [
            {"dimension": name, "from": value, "to": None, "because": because}
            for name, (value, _) in state.segments.items()
        ]
        if not changes:
            return Decision(state.model_copy(update=update))
        return self._changed(state, at, {}, changes, update)

    def _changed(
        self,
        state: CustomerState,
        at: Instant,
        segments: dict[str, tuple[str, Instant]],
        changes: list[dict[str, Any]],
        update: dict[str, Any],
    ) -> Decision[CustomerState]:
        moved: Changes = {change["dimension"]: (change["from"], change["to"]) for change in changes}
        recent = (*state.recent, (at, moved))[-self._limits.history :] if self._limits.history else ()
        event = SegmentsChanged.model_validate(
            {
                "customer_id": state.customer_id,
                "changes": changes,
                "memberships": {name: value for name, (value, _) in segments.items()},
                "rules_version": self._version,
            }
        )
        return Decision(state.model_copy(update={**update, "segments": segments, "recent": recent}), (event,))


def _cost(dimension: Dimension) -> int:
    """How many metrics its conditions rest on."""
    conditions = [condition for case in dimension.cases for condition in case.conditions]
    return sum(1 + len(condition.metric.parts) for condition in conditions if isinstance(condition, Against))
