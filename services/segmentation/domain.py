"""The segmentation of one customer: facts in, memberships out, each change at its instant with its reasons."""

from collections.abc import Iterable, Mapping
from typing import Any

from services.segmentation import composites as composing
from services.segmentation.evaluation import COMPOSITES, Evaluation
from services.segmentation.explanation import Explanation
from services.segmentation.language.program import Program
from services.segmentation.measures.facts import Facts, Record, record_of
from services.segmentation.state import CustomerState
from shared.clock import Instant
from shared.events.customers import CustomerErased, CustomerObjected, CustomerObjectionWithdrawn
from shared.events.envelope import Event
from shared.events.segments import Membership, SegmentsChanged
from shared.processing.domain import Decision

OBJECTION = "objection to profiling"
Changes = list[dict[str, Any]]


class SegmentationDomain:
    """One evaluation per event that could matter and per instant at which time alone changes a value."""

    service = "segmentation"
    state_type = CustomerState
    latest_topic = "guanxi.segments.latest.v1"
    """Compacted: every `segments.changed` goes there too, with the same bytes."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self._recorder = program.recorder
        self._hears = program.recorder.hears
        self._known: Facts | None = None

    def initial(self, customer_id: str) -> CustomerState:
        return CustomerState(customer_id=customer_id)

    def on_event(self, state: CustomerState, event: Event, at: Instant) -> Decision[CustomerState]:
        """What the rules ask for is kept also of those who object, so that withdrawing restores it."""
        kind = type(event.data)
        if kind is CustomerErased:
            return Decision(state)
        if kind is CustomerObjected:
            return self._objected(state, event.id)
        if kind is CustomerObjectionWithdrawn:
            return self._evaluated(state.model_copy(update={"objected": False}), record_of(state), at, ())
        if kind not in self._hears:
            unseen = state.composites is None and not state.objected
            return self._evaluated(state, record_of(state), at, ()) if unseen else Decision(state)
        record, touched = self._recorder.take(record_of(state), event, at)
        if state.objected:
            return self._decided(state, [], record.fields())
        if not touched and state.composites is not None:
            return Decision(state)
        return self._evaluated(state, record, at, touched)

    def on_time(self, state: CustomerState, at: Instant) -> Decision[CustomerState]:
        return self._evaluated(state, record_of(state), at, ())

    def wake_at(self, state: CustomerState) -> Instant | None:
        return state.next_at

    def view(self, state: CustomerState) -> Mapping[str, Any]:
        """Lists as lists: so the store gives them back, and what is made anew is compared with that."""
        memberships = {n: list(v) if isinstance(v, tuple) else v for n, v in state.memberships().items()}
        view: dict[str, Any] = {"memberships": memberships}
        if state.composites is not None and state.composites[0]:
            view["composites"] = list(state.composites[0])
        return view

    def because(self, state: CustomerState, at: Instant) -> dict[str, dict[str, Any]]:
        """Per dimension, why its value is what it is at `at`: values, thresholds and the events that count."""
        moment = Evaluation(self.program, state, self._facts(record_of(state)), at).moment
        found: dict[str, dict[str, Any]] = {}
        for dimension, reasons in self.program.dimensions:
            value = moment.standing.value(dimension.name)
            if value is None:
                continue
            if dimension.at(moment, value) == value:
                found[dimension.name] = reasons.because(moment, value, value, None)
            else:
                to = Explanation()
                dimension.explain(to, moment)
                found[dimension.name] = to.because(moment, None, f"{dimension.name}: {value} is held for a while")
        if moment.standing.composites:
            named = [c for c in self.program.composites if c.name in moment.standing.composites]
            found[COMPOSITES] = composing.because(named, moment, None)
        return found

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
        had, has = _published(before), _published(after)
        why, changes = self.because(after, at), Changes()
        for name in {**had, **has}:
            was, now = had.get(name), has.get(name)
            if was != now and (name != COMPOSITES or was or now):
                because = why.get(name, {})
                rule = ": ".join(part for part in (reason, because.get("rule")) if part)
                changes.append({"dimension": name, "from": was, "to": now, "because": {**because, "rule": rule}})
        return self._event(after, changes) if changes else None

    def _evaluated(
        self, state: CustomerState, record: Record, at: Instant, touched: Iterable[str]
    ) -> Decision[CustomerState]:
        """Everything is looked at the first time; later what was touched, and what time has overtaken."""
        record = self._recorder.pruned(record, at)
        evaluation = Evaluation(self.program, state, self._facts(record), at)
        evaluation.judge(None if state.composites is None else touched)
        update = {**record.fields(), "next_at": evaluation.look_ahead(), **evaluation.fields()}
        return self._decided(state, evaluation.changes, update)

    def _facts(self, record: Record) -> Facts:
        """Laid out once for timers that come one after another, between which nothing is taken in."""
        known = self._known
        if known is None or known.record != record:
            known = self._known = Facts(record, self.program.mixed)
        return known

    def _objected(self, state: CustomerState, event_id: str) -> Decision[CustomerState]:
        """Everything is withdrawn at once; what `ever` remembers stays."""
        because = {"events": (event_id,), "rule": OBJECTION}
        published = {name: value for name, value in _published(state).items() if value or name != COMPOSITES}
        changes = [{"dimension": n, "from": value, "to": None, "because": because} for n, value in published.items()]
        gone: dict[str, Any] = {"objected": True, "next_at": None, "segments": {}, "composites": None, "held": {}}
        return self._decided(state, changes, gone)

    def _decided(self, state: CustomerState, changes: Changes, update: dict[str, Any]) -> Decision[CustomerState]:
        decided = state.model_copy(update=update)
        events = (self._event(decided, changes),) if changes else ()
        return Decision(decided, events, decided.given_up - state.given_up)

    def _event(self, state: CustomerState, changes: Changes) -> SegmentsChanged:
        return SegmentsChanged.model_validate(
            {
                "customer_id": state.customer_id,
                "changes": changes,
                "memberships": state.memberships(),
                "composites": () if state.composites is None else state.composites[0],
                "rules_version": self.program.rules.version,
            }
        )


def _published(state: CustomerState | None) -> dict[str, Membership]:
    """Memberships, and the list of composites."""
    if state is None or state.composites is None:
        return {}
    return {**state.memberships(), COMPOSITES: state.composites[0]}
