"""Mistakes that segmentation could make, each put into the running code for a while: proof that the oracle would notice."""

from collections.abc import Sequence
from typing import Any

from services.segmentation.dimensions import Case
from services.segmentation.domain import SegmentationDomain
from services.segmentation.evaluation import Evaluation
from services.segmentation.explanation import Explanation
from services.segmentation.language import measuring
from services.segmentation.measures import recorder
from services.segmentation.measures.recorder import NOTHING, Recorder
from services.segmentation.measures.streams import Stream
from shared.clock import to_datetime, wall_clock
from shared.events.customers import CustomerCorrected
from shared.processing.domain import Decision
from tests.simulation.planted import Defect, swapped


def off_by(milliseconds: int) -> Any:
    """Every window of this code is so much longer."""

    def make(window: Any) -> Any:
        return lambda within, until=0: window(within and within + milliseconds, until)

    return make


def at_its_own_time(with_refund: Any) -> Any:
    """As if no refund ever had an order."""

    def booked(book: Any, rates: Any, limits: Any, at: int, event_id: str, _order_id: str | None, money: Any) -> Any:
        return with_refund(book, rates, limits, at, event_id, None, money)

    return booked


def never_matched_later(with_purchase: Any) -> Any:
    """A refund that came before its purchase stays alone."""

    def booked(book: Any, *rest: Any) -> Any:
        after = with_purchase(book._replace(refunds=()), *rest)
        return after._replace(refunds=book.refunds)

    return booked


def at_its_first_seen(with_purchase: Any) -> Any:
    """An earlier part of an order that comes late does not move it."""

    def booked(book: Any, rates: Any, limits: Any, at: int, event_id: str, order_id: str | None, *rest: Any) -> Any:
        known = next((order[0] for order in book.orders if order[2] == order_id and order_id is not None), at)
        return with_purchase(book, rates, limits, max(at, known), event_id, order_id, *rest)

    return booked


def without_the_late(take: Any) -> Any:
    def taken(self: Recorder, record: Any, event: Any, at: int) -> Any:
        return (record, NOTHING) if event.occurred_at < at else take(self, record, event, at)

    return taken


def when_it_arrives(take: Any) -> Any:
    """Late events count from when they arrive."""

    def taken(self: Recorder, record: Any, event: Any, at: int) -> Any:
        return take(self, record, event.model_copy(update={"time": to_datetime(at)}), at)

    return taken


def from_the_future(take: Any) -> Any:
    """What is dated later than it came counts from then."""

    def taken(self: Recorder, record: Any, event: Any, at: int) -> Any:
        return take(self, record, event, max(at, event.occurred_at))

    return taken


def by_the_wall(judge: Any) -> Any:
    """Whoever dwells does so until the machine's clock says that it is enough."""

    def judged(self: Evaluation, dimension: Any, reasons: Any) -> bool:
        changed: bool = judge(self, dimension, reasons)
        if changed and dimension.hold_for:
            self.held = {**self.held, dimension.name: wall_clock() + dimension.hold_for}
        return changed

    return judged


def until_something_happens(until: Any) -> Any:
    """The end of a dwell is not waited for: the next event finds it over."""

    def _until(self: Evaluation, dimension: Any, segment: Any, before: int) -> Any:
        held, self.held = self.held, {}
        if held.get(dimension.name, 0) > self._at:
            self.standing.segments[dimension.name] = (*segment[:2], None)
            found = None
        else:
            found = until(self, dimension, segment, before)
        self.held = held
        return found

    return _until


def forgetful(remember: Any) -> Any:
    """`ever` knows what is, not what was."""

    def remembered(self: Evaluation, name: str, value: Any) -> None:
        self.standing.ever = {other: seen for other, seen in self.standing.ever.items() if other != name}
        remember(self, name, value)

    return remembered


def without_reason(_because: Any) -> Any:
    return lambda *_: {"rule": "as it is"}


def lacking(part: str) -> Any:
    def make(because: Any) -> Any:
        return lambda self, *rest: {**because(self, *rest), part: ()}

    return make


def all_but_one(because: Any) -> Any:
    """The oldest event that counted is not named."""

    def _because(self: Explanation, *rest: Any) -> Any:
        found = because(self, *rest)
        return {**found, "events": found["events"][1:]}

    return _because


def never_asleep(_look_ahead: Any) -> Any:
    return lambda _self: None


def in_the_log(_with_entry: Any) -> Any:
    """Entries stay in the order in which they came."""
    return lambda self, entries, entry, at: self.pruned((*entries, entry), at)


def without_corrections(stated: Any) -> Any:
    return lambda data, wanted: {} if isinstance(data, CustomerCorrected) else stated(data, wanted)


def deaf_while_objected(on_event: Any) -> Any:
    def heard(self: SegmentationDomain, state: Any, event: Any, at: int) -> Any:
        decision = on_event(self, state, event, at)
        kept = state.objected and decision.state.objected
        return Decision(state) if kept else decision

    return heard


def one_threshold(_holds: Any) -> Any:
    """Who is in a value leaves it where others enter."""
    return lambda self, moment, _present: self.enter.holds(moment)


def of_the_whole_order(weigh: Any) -> Any:
    """The order's category wins over its items'."""

    def _weighed(purchase: Any) -> Any:
        return weigh(purchase.model_copy(update={"items": ()}))

    return _weighed


DEFECTS: Sequence[Defect] = (
    Defect("window ends an instant late", swapped(measuring, "Window", off_by(1))),
    Defect("window ends an instant early", swapped(measuring, "Window", off_by(-1))),
    Defect("refund counted at its own time though matched", swapped(recorder, "with_refund", at_its_own_time)),
    Defect("refund before its purchase never matched", swapped(recorder, "with_purchase", never_matched_later)),
    Defect("order counted at the part that came first", swapped(recorder, "with_purchase", at_its_first_seen)),
    Defect("late event ignored", swapped(Recorder, "take", without_the_late)),
    Defect("late event counted at its arrival", swapped(Recorder, "take", when_it_arrives)),
    Defect("event from the future counted from then", swapped(Recorder, "take", from_the_future)),
    Defect("dwell measured by the wall clock", swapped(Evaluation, "_judge", by_the_wall)),
    Defect("end of a dwell noticed at the next event", swapped(Evaluation, "_until", until_something_happens)),
    Defect("ever forgets what was", swapped(Evaluation, "_remember", forgetful)),
    Defect("change published without its reason", swapped(Explanation, "because", without_reason)),
    Defect("reason without its events", swapped(Explanation, "because", lacking("events"))),
    Defect("reason without what expired", swapped(Explanation, "because", lacking("expired"))),
    Defect("reason without its oldest event", swapped(Explanation, "because", all_but_one)),
    Defect("time alone changes nothing", swapped(Evaluation, "look_ahead", never_asleep)),
    Defect("newest by arrival", swapped(Stream, "with_entry", in_the_log)),
    Defect("corrections of facets ignored", swapped(recorder, "stated", without_corrections)),
    Defect("facts lost during an objection", swapped(SegmentationDomain, "on_event", deaf_while_objected)),
    Defect("leave ignored", swapped(Case, "holds", one_threshold)),
    Defect("items' categories ignored", swapped(recorder, "weighed", of_the_whole_order)),
)
