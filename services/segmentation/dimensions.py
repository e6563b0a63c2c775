"""Dimensions as compiled: which value holds at a moment, until when, and why."""

from collections.abc import Sequence
from typing import Protocol

from services.segmentation.conditions import Condition
from services.segmentation.explanation import Explanation
from services.segmentation.measures.facts import FOREVER, Moment
from services.segmentation.measures.metrics import Metric
from services.segmentation.measures.recorder import dimension_key, facet_key
from services.segmentation.measures.spend import Shares, Spread
from shared.clock import Instant
from shared.events.segments import Membership


class Dimension(Protocol):
    name: str
    key: str
    """What it is called among all that others rest on."""
    values: tuple[str, ...]
    """All that it can have, in the order of the cases; empty where only the facts know."""
    hold_for: int
    """Milliseconds after a change in which nothing is published."""
    moves: bool
    searches: bool
    reads: frozenset[str]

    def at(self, moment: Moment, present: Membership, /) -> Membership:
        """The value at the moment, where `present` is the published one."""

    def next_change(self, moment: Moment, present: Membership, before: Instant, /) -> Instant:
        """The first instant after the moment at which time alone leaves `present`, which holds at it; where that is not
        before `before`, one that is not either and up to which `present` surely stays. FOREVER: it never leaves."""

    def explain(self, to: Explanation, moment: Moment, /) -> None:
        """Why its published value holds."""

    def explain_change(self, to: Explanation, moment: Moment, before: Membership, /) -> None:
        """Why it is no longer `before`, which it was up to this moment."""

    def decided(self, to: Explanation, moment: Moment, before: Membership, now: Membership, /) -> str:
        """Why it is no longer `before` but `now`: the rule; what was measured goes to the explanation."""

    def sentences(self) -> tuple[str, ...]:
        """The rules as people read them."""


class Case:
    """`leave`: what keeps a customer in who is there already."""

    def __init__(self, value: str, enter: Condition, leave: Condition | None = None) -> None:
        self.value, self.enter, self.leave = value, enter, leave
        self.enters = enter.holds
        both = (enter,) if leave is None else (enter, leave)
        self.moves = any(condition.moves for condition in both)
        self.searches = any(condition.searches for condition in both)
        self.reads = frozenset[str]().union(*(condition.reads for condition in both))

    def holds(self, moment: Moment, present: Membership) -> bool:
        if self.enters(moment):
            return True
        return self.leave is not None and present == self.value and self.leave.holds(moment)

    def way(self, moment: Moment) -> Condition:
        """Which of the two decides that it holds."""
        return self.enter if self.leave is None or self.enters(moment) else self.leave

    def explain_loss(self, to: Explanation, moment: Moment) -> None:
        """What of it holds no longer."""
        for lost in (self.enter,) if self.leave is None else (self.leave, self.enter):
            for condition in getattr(lost, "parts", (lost,)):
                if condition is lost or not condition.holds(moment):
                    condition.explain(to, moment)

    def closes(self, moment: Moment, present: Membership, before: Instant) -> Instant:
        """While it holds: no sooner than when it does no longer."""
        if self.leave is None or present != self.value:
            return self.enter.turns(moment, before) if self.enter.may_close else FOREVER
        closes = 0
        for way in (self.enter, self.leave):
            if way.holds(moment):
                closes = max(closes, way.turns(moment, before) if way.may_close else FOREVER)
        return closes


class First:
    """Which case is the first that holds, where it does not matter what is present."""

    def __init__(self, cases: Sequence[Case]) -> None:
        self._tests = tuple(case.enters for case in cases)

    def at(self, moment: Moment) -> int:
        index = 0
        for holds in self._tests:
            if holds(moment):
                break
            index += 1
        return index


class Cases:
    """The first case that holds, from the top, else `otherwise`."""

    def __init__(
        self, name: str, cases: Sequence[Case], otherwise: str | None, hold_for: int = 0, shown: "Shown | None" = None
    ) -> None:
        self.key = dimension_key(name)
        self.name, self.cases, self.otherwise, self.hold_for = name, tuple(cases), otherwise, hold_for
        self.values = tuple(v for v in (*(case.value for case in cases), otherwise) if v is not None)
        self.moves = any(case.moves for case in cases)
        self.searches = any(case.searches for case in cases)
        self.reads = frozenset[str]().union(*(case.reads for case in cases))
        self._shown = shown
        self._outcomes = (*(case.value for case in cases), otherwise)
        self._first = None if any(case.leave is not None for case in cases) else First(cases)
        self._places: dict[Membership, int] = {}
        for index, case in enumerate(cases):
            self._places.setdefault(case.value, index)
        self._rules = tuple(self._rule(index) for index in range(len(cases) + 1))
        self._openers = [self._may_open(index) for index in range(len(self._outcomes))]

    def _may_open(self, index: int) -> tuple[Condition, ...]:
        """What may bring in a case above this one. A case of the same value changes nothing."""
        above, value = self.cases[:index], self._outcomes[index]
        return tuple(case.enter for case in above if case.enter.may_open and case.value != value)

    def at(self, moment: Moment, present: Membership) -> Membership:
        first = self._first
        return self._outcomes[moment[first] if first is not None else self._index(moment, present)]

    def _index(self, moment: Moment, present: Membership) -> int:
        """Of the case that decides; one more than there are where none holds."""
        if self._first is not None:
            first: int = moment[self._first]
            return first
        index = 0
        for case in self.cases:
            if case.holds(moment, present):
                break
            index += 1
        return index

    def next_change(self, moment: Moment, present: Membership, before: Instant) -> Instant:
        first = self._first
        index = moment[first] if first is not None else self._index(moment, present)
        while True:
            soonest = FOREVER
            for opener in self._openers[index]:
                turns = opener.turns(moment, min(soonest, before))
                if turns < soonest:
                    soonest = turns
            if index < len(self.cases):
                turns = self.cases[index].closes(moment, present, min(soonest, before))
                if turns < soonest:
                    soonest = turns
            if soonest >= before:
                return soonest
            moment = moment.later(soonest)
            index = self._index(moment, present)
            if self._outcomes[index] != present:
                return soonest

    def explain(self, to: Explanation, moment: Moment) -> None:
        """While it is held for a while, none of its cases may hold."""
        present = moment.standing.value(self.name)
        index = self._index(moment, present)
        if self._outcomes[index] != present:
            index = self._places.get(present, len(self.cases))
        self._way(index, moment).explain(to, moment)

    def explain_change(self, to: Explanation, moment: Moment, before: Membership) -> None:
        """What decided are the conditions of the new case (the last one's where none holds), and of the old one those that
        hold no longer. Which it was is not known where several have its value: then all of them that may have been."""
        index = self._index(moment, before)
        for case in self.cases[:index]:
            if case.value == before:
                case.explain_loss(to, moment)
        self._way(index, moment).explain(to, moment)

    def decided(self, to: Explanation, moment: Moment, before: Membership, now: Membership) -> str:
        index = self._index(moment, before)
        way = self._way(index, moment)
        if now == before:
            way.explain(to, moment)
        else:
            self.explain_change(to, moment, before)
        if self._shown is not None:
            to.value("shown", self._shown.at(moment))
        stays = index < len(self.cases) and way is not self.cases[index].enter
        return self._rule(index, entered=False) if stays else self._rules[index]

    def _way(self, index: int, moment: Moment) -> Condition:
        """The condition that decides for this outcome."""
        return self.cases[index].way(moment) if index < len(self.cases) else self.cases[-1].enter

    def sentences(self) -> tuple[str, ...]:
        count = len(self.cases) + (self.otherwise is not None)
        stay = [f"{self.name}: {case.value} stays while {case.leave.text}" for case in self.cases if case.leave]
        return (*(self._rule(index) for index in range(count)), *stay)

    def _rule(self, index: int, entered: bool = True) -> str:
        if index == len(self.cases):
            return f"{self.name}: otherwise {self.otherwise or 'in no value'}"
        case = self.cases[index]
        if not entered and case.leave is not None:
            return f"{self.name}: {case.value} stays while {case.leave.text}"
        return f"{self.name}: {case.value} when {case.enter.text}"


class Shown:
    """A text of metrics beside the value, whose change alone is no change."""

    def __init__(self, template: str, metrics: Sequence[Metric]) -> None:
        self._template, self._metrics = template, tuple(metrics)

    def at(self, moment: Moment) -> str:
        """`-` where there is no value."""
        values = {metric.name: moment[metric] for metric in self._metrics}
        shown = {m.name: "-" if values[m.name] is None else m.shown(values[m.name]) for m in self._metrics}
        return self._template.format_map(shown)


class Facet:
    """As stated of the customer."""

    values: tuple[str, ...] = ()
    hold_for = 0
    moves = searches = False

    def __init__(self, name: str, facet: str) -> None:
        self.name, self._facet, self.key = name, facet, dimension_key(name)
        self.reads = frozenset((facet_key(facet),))

    def at(self, moment: Moment, _present: Membership) -> Membership:
        return moment.facts.record.facets.get(self._facet, (None,))[0]

    def next_change(self, _moment: Moment, _present: Membership, _before: Instant) -> Instant:
        return FOREVER

    def explain(self, to: Explanation, moment: Moment) -> None:
        to.facet(self._facet, moment)

    def explain_change(self, to: Explanation, moment: Moment, _before: Membership) -> None:
        self.explain(to, moment)

    def decided(self, to: Explanation, moment: Moment, _before: Membership, _now: Membership) -> str:
        self.explain(to, moment)
        return f"{self.name}: as stated"

    def sentences(self) -> tuple[str, ...]:
        return (f"{self.name}: {self._facet} as stated",)


class Listed:
    """All values of a metric that has several; of shares those that reach `at_least` thousandths of a percent."""

    values: tuple[str, ...] = ()
    hold_for = 0
    moves = searches = True

    def __init__(self, name: str, metric: Metric, at_least: int) -> None:
        self.name, self._metric, self._at_least, self.key = name, metric, at_least, dimension_key(name)
        self.reads = metric.reads
        self.moves = self.searches = metric.moves

    def at(self, moment: Moment, _present: Membership) -> Membership:
        value = moment[self._metric]
        found: tuple[str, ...] = value.at_least(self._at_least) if isinstance(value, Spread) else value
        return found

    def next_change(self, moment: Moment, present: Membership, before: Instant) -> Instant:
        if not self.moves:
            return FOREVER
        while (step := self._metric.step(moment)) < before:
            moment = moment.later(step)
            if self.at(moment, present) != present:
                break
        return step

    def explain(self, to: Explanation, moment: Moment) -> None:
        to.measure(self._metric, moment, self._threshold)

    def explain_change(self, to: Explanation, moment: Moment, _before: Membership) -> None:
        self.explain(to, moment)

    def decided(self, to: Explanation, moment: Moment, _before: Membership, _now: Membership) -> str:
        self.explain(to, moment)
        return self.sentences()[0]

    @property
    def _threshold(self) -> str | None:
        return f"{self._at_least / 1000:g}%" if isinstance(self._metric, Shares) else None

    def sentences(self) -> tuple[str, ...]:
        if self._threshold is None:
            return (f"{self.name}: all of {self._metric.name}",)
        return (f"{self.name}: what has at least {self._threshold} of {self._metric.name}",)


class Reasons:
    """Why a dimension has its value."""

    def __init__(self, dimension: Dimension) -> None:
        self._dimension = dimension
        self.rules = dimension.sentences()

    def because(self, moment: Moment, before: Membership, now: Membership, since: Instant | None) -> dict[str, object]:
        """Why it is `now` and no longer `before`, which began at `since` (None: there was none)."""
        to = Explanation()
        rule = self._dimension.decided(to, moment, before, now)
        return to.because(moment, since, rule)
