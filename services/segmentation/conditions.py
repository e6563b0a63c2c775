"""Conditions as compiled: whether they hold at a moment, and no sooner than when that turns if nothing happens."""

from collections.abc import Callable, Sequence
from decimal import Decimal
from operator import eq, ge, gt, le, lt
from typing import Any, Protocol

from services.segmentation.explanation import Explanation
from services.segmentation.measures.facts import FOREVER, Moment
from services.segmentation.measures.metrics import ORDERING, Compare, Metric, Turns
from services.segmentation.measures.money import number_of
from services.segmentation.measures.recorder import composite_key, dimension_key
from shared.clock import Instant
from shared.events.segments import Membership

COMPARISONS: dict[str, Compare] = {">=": ge, "<=": le, ">": gt, "<": lt, "=": eq}
Holds = Callable[[Moment], bool]


class Condition(Protocol):
    text: str
    moves: bool
    """Whether time alone can turn it."""
    may_open: bool
    """Whether time alone can ever make it hold; `may_close`: no longer hold."""
    may_close: bool
    searches: bool
    """Looking ahead goes step by step instead of straight to the instant."""
    reads: frozenset[str]
    """Keys of all that it rests on: streams, facets, dimensions, composites."""

    @property
    def holds(self) -> Holds: ...

    @property
    def turns(self) -> Turns:
        """After the moment; it may still be the same then, but surely is until then. It is looked for only before `before`."""

    def explain(self, to: Explanation, moment: Moment, /) -> None: ...


class Against:
    """A metric against a fixed threshold, or against `bound` times another metric."""

    def __init__(
        self, text: str, metric: Metric, compare: Compare, bound: Any, times: Metric | None, reads: frozenset[str]
    ) -> None:
        self.text, self.metric, self.times, self.reads = text, metric, times, reads
        self.moves = metric.moves or (times is not None and times.moves)
        self.searches = metric.steps or (times is not None and times.moves)
        self._compare, self._bound = compare, bound
        self._upwards = compare in (ge, gt)
        self._shown = metric.shown(bound) if metric.unit in ("number", "time") else shown_values(bound)
        either = (times is not None and times.moves) or compare not in ORDERING
        self.may_open = self.moves and (either or metric.opens(self._upwards))
        self.may_close = self.moves and (either or metric.opens(not self._upwards))
        self.holds: Holds = _against(metric, compare, bound) if times is None else self._holds
        self.turns: Turns = self._turns if self.searches or times is not None else metric.turning(compare, bound)

    def _turns(self, moment: Moment, before: Instant) -> Instant:
        if self.times is not None and self.times.moves:
            return self._turns_by_steps(moment, before, self.times)
        if self._upwards and self.metric.steps and self.metric.falls(moment) and not self.holds(moment):
            return FOREVER
        return self.metric.crossing(moment, self._compare, self.threshold(moment), before)

    def _turns_by_steps(self, moment: Moment, before: Instant, times: Metric) -> Instant:
        """Between two steps of the threshold it is as fixed as any other."""
        now = self.holds(moment)
        while True:
            step = times.step(moment)
            crossing = self.metric.crossing(moment, self._compare, self.threshold(moment), min(step, before))
            if crossing < step or step >= before:
                return min(crossing, step)
            moment = moment.later(step)
            if self.holds(moment) != now:
                return step

    def threshold(self, moment: Moment) -> Any:
        return self._bound if self.times is None else (moment[self.times] or 0) * self._bound

    def _holds(self, moment: Moment) -> bool:
        value = moment[self.metric]
        return value is not None and bool(self._compare(value, self.threshold(moment)))

    def explain(self, to: Explanation, moment: Moment) -> None:
        if self.times is None:
            to.measure(self.metric, moment, self._shown)
        else:
            to.measure(self.metric, moment, self.metric.shown(self.threshold(moment)))
            to.measure(self.times, moment, None)


def _against(metric: Metric, compare: Compare, bound: Any) -> Holds:
    """A closure, because this is asked more often than anything else."""
    if not metric.absent:
        return lambda moment: compare(moment[metric], bound)

    def holds(moment: Moment) -> bool:
        value = moment[metric]
        return value is not None and compare(value, bound)

    return holds


def among(value: Any, wanted: frozenset[str]) -> bool:
    """A text that is one of these, or a list that has one of them."""
    return value in wanted if isinstance(value, str) else not wanted.isdisjoint(value or ())


def none_of(value: Any, unwanted: frozenset[str]) -> bool:
    return not among(value, unwanted)


def numeric(compare: Compare) -> Compare:
    """For values that are texts: what is no number fulfils nothing."""

    def compares(value: Any, bound: Any) -> bool:
        number = number_of(value) if isinstance(value, str) else None
        return number is not None and compare(number, bound)

    return compares


def shown_values(bound: Any) -> str:
    return ", ".join(sorted(bound)) if isinstance(bound, frozenset) else f"{Decimal(bound):f}"


class _Standing:
    """Of what time alone does not turn before something is published."""

    moves = searches = may_open = may_close = False

    def turns(self, _moment: Moment, _before: Instant) -> Instant:
        return FOREVER


class OfFacet(_Standing):
    """A facet as it is stated."""

    def __init__(self, text: str, facet: str, compare: Compare, bound: Any, key: str) -> None:
        self.text, self._facet, self._compare, self._bound = text, facet, compare, bound
        self.reads = frozenset((key,))

    def holds(self, moment: Moment) -> bool:
        return self._compare(moment.facts.record.facets.get(self._facet, (None,))[0], self._bound)

    def explain(self, to: Explanation, moment: Moment) -> None:
        to.facet(self._facet, moment, shown_values(self._bound))


class Explains(Protocol):
    name: str

    def explain(self, to: Explanation, moment: Moment, /) -> None: ...


class Decides(Explains, Protocol):
    def explain_change(self, to: Explanation, moment: Moment, before: Membership, /) -> None: ...


class OfDimension(_Standing):
    """The published value of a dimension, or what it is about to be published with in this evaluation."""

    def __init__(self, text: str, dimension: Decides, compare: Compare, values: frozenset[str]) -> None:
        self.text, self._dimension, self._shown = text, dimension, shown_values(values)
        self.reads = frozenset((dimension_key(dimension.name),))
        name = dimension.name
        self.holds: Holds = lambda moment: compare(moment.standing.value(name), values)

    def explain(self, to: Explanation, moment: Moment) -> None:
        name, before = self._dimension.name, moment.standing.before
        to.value(name, moment.standing.value(name), self._shown)
        if name in before:
            self._dimension.explain_change(to, moment, before[name])
        else:
            self._dimension.explain(to, moment)


class Ever(_Standing):
    """Whether a dimension was ever published with one of these values; the present evaluation included."""

    def __init__(self, text: str, dimension: Decides, values: frozenset[str]) -> None:
        self.text, self._dimension, self._name, self._values = text, dimension, dimension.name, values
        self.reads = frozenset((dimension_key(dimension.name),))

    def holds(self, moment: Moment) -> bool:
        return among(moment.standing.ever.get(self._name, ()), self._values)

    def explain(self, to: Explanation, moment: Moment) -> None:
        """What was remembered long ago has had its reasons then."""
        name, before = self._name, moment.standing.before
        values = [v for v in moment.standing.ever.get(name, ()) if v in self._values]
        to.value(f"ever {name}", ", ".join(values) or None, shown_values(self._values))
        if name in before and among(moment.standing.value(name), self._values):
            self._dimension.explain_change(to, moment, before[name])


class OfComposite(_Standing):
    def __init__(self, text: str, composite: Explains) -> None:
        self.text, self._composite = text, composite
        self.reads = frozenset((composite_key(composite.name),))

    def holds(self, moment: Moment) -> bool:
        return self._composite.name in moment.standing.composites

    def explain(self, to: Explanation, moment: Moment) -> None:
        to.value(self._composite.name, "yes" if self.holds(moment) else "no", "yes")
        self._composite.explain(to, moment)


class _Joined:
    """Several conditions as one."""

    def __init__(self, text: str, parts: Sequence[Condition]) -> None:
        self.text, self.parts = text, tuple(parts)
        self.moves = any(part.moves for part in parts)
        self.may_open = any(part.may_open for part in parts)
        self.may_close = any(part.may_close for part in parts)
        self.searches = any(part.searches for part in parts)
        self.reads = frozenset[str]().union(*(part.reads for part in parts))
        self._tests = tuple(part.holds for part in parts)

    def explain(self, to: Explanation, moment: Moment) -> None:
        for part in self.parts:
            part.explain(to, moment)

    def first_of(self, holds: bool, moment: Moment, before: Instant) -> Instant:
        """When the first turns of those that hold, or do not."""
        first = FOREVER
        for part in self.parts:
            if part.moves and part.holds(moment) == holds:
                first = min(first, part.turns(moment, min(first, before)))
        return first

    def last_of(self, holds: bool, moment: Moment, before: Instant) -> Instant:
        """When the last turns of those that hold, or do not."""
        last = 0
        for part in self.parts:
            if part.holds(moment) == holds:
                last = max(last, part.turns(moment, before)) if part.moves else FOREVER
                if last >= before:
                    break
        return last


class AllHold(_Joined):
    def holds(self, moment: Moment) -> bool:
        for test in self._tests:  # noqa: SIM110 - a loop costs half of what a generator does, and this is asked often
            if not test(moment):
                return False
        return True

    def turns(self, moment: Moment, before: Instant) -> Instant:
        if self.holds(moment):
            return self.first_of(True, moment, before)
        return self.last_of(False, moment, before)


class AnyHolds(_Joined):
    def holds(self, moment: Moment) -> bool:
        for test in self._tests:  # noqa: SIM110 - as above
            if test(moment):
                return True
        return False

    def turns(self, moment: Moment, before: Instant) -> Instant:
        if self.holds(moment):
            return self.last_of(True, moment, before)
        return self.first_of(False, moment, before)


class Not:
    def __init__(self, text: str, of: Condition) -> None:
        self.text, self._of = text, of
        self.moves, self.searches, self.reads = of.moves, of.searches, of.reads
        self.may_open, self.may_close = of.may_close, of.may_open

    def holds(self, moment: Moment) -> bool:
        return not self._of.holds(moment)

    def turns(self, moment: Moment, before: Instant) -> Instant:
        return self._of.turns(moment, before)

    def explain(self, to: Explanation, moment: Moment) -> None:
        self._of.explain(to, moment)


def joined(conditions: Sequence[Condition]) -> Condition:
    """All of them as one."""
    if len(conditions) == 1:
        return conditions[0]
    return AllHold(" and ".join(condition.text for condition in conditions), conditions)
