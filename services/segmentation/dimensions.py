"""Dimensions as compiled cases: which value holds at a moment, and until when."""

from collections.abc import Callable, Sequence
from operator import eq, ge, gt, le, lt
from typing import Any, Protocol

from services.segmentation.facts import FOREVER, Moment
from services.segmentation.metrics import Compare, Metric, Number, Since
from services.segmentation.scores import Score, Total
from shared.clock import Instant

COMPARISONS: dict[str, Compare] = {">=": ge, "<=": le, ">": gt, "<": lt, "=": eq}


Holds = Callable[[Moment], bool]


class Condition(Protocol):
    text: str
    searches: bool
    """Looking ahead goes step by step instead of straight to the instant."""

    @property
    def holds(self) -> Holds: ...

    def crossing(self, moment: Moment, before: Instant, /) -> Instant:
        """The first instant after the moment at which it may no longer hold, or begin to; exact enough to look again then.

        Whatever is not before `before` may be left out.
        """

    def opens(self, falling: bool, /) -> bool:
        """Whether time alone can make it hold; `falling`: where no amount is negative."""


class Against:
    """A metric against a fixed threshold, or against `bound` times a metric that time does not move."""

    def __init__(self, text: str, metric: Metric, compare: Compare, bound: Number, times: Metric | None = None) -> None:
        self.text, self.metric, self.times = text, metric, times
        self.searches = isinstance(metric, Score | Total)
        self._compare, self._bound = compare, bound
        self.holds: Holds = _against(metric, compare, bound) if times is None else self._holds

    def crossing(self, moment: Moment, before: Instant) -> Instant:
        return self.metric.crossing(moment, self._compare, self.threshold(moment), before)

    def opens(self, falling: bool) -> bool:
        upwards = self._compare in (ge, gt)
        if isinstance(self.metric, Since):
            return upwards
        return self.metric.moves and not (upwards and self.metric.falls(falling))

    def threshold(self, moment: Moment) -> Any:
        return self._bound if self.times is None else (moment.value(self.times) or 0) * self._bound

    def _holds(self, moment: Moment) -> bool:
        value = moment.value(self.metric)
        return value is not None and bool(self._compare(value, self.threshold(moment)))


def _against(metric: Metric, compare: Compare, bound: Number) -> Holds:
    """A closure, because this is asked more often than anything else."""

    def holds(moment: Moment) -> bool:
        known = moment.known
        value = known[metric] if metric in known else moment.value(metric)
        return value is not None and compare(value, bound)

    return holds


class Is:
    """Another dimension's value at the same moment."""

    def __init__(self, text: str, dimension: "Dimension", value: str) -> None:
        self.text, self.dimension, self.value = text, dimension, value
        self.searches = dimension.searches

    def holds(self, moment: Moment) -> bool:
        index: int = moment.value(self.dimension)
        return self.dimension.values[index] == self.value

    def crossing(self, moment: Moment, before: Instant) -> Instant:
        return self.dimension.next_change(moment, before)

    def opens(self, _falling: bool) -> bool:
        return True


class Case:
    def __init__(self, value: str, conditions: Sequence[Condition]) -> None:
        self.value, self.conditions = value, tuple(conditions)
        self.holds: Holds = conditions[0].holds if len(conditions) == 1 else self._all_hold

    def _all_hold(self, moment: Moment) -> bool:
        return all(condition.holds(moment) for condition in self.conditions)

    def may_open(self, falling: bool) -> bool:
        """Of a single condition this is certain; of several, some may hold already."""
        return len(self.conditions) > 1 or self.conditions[0].opens(falling)

    def opens(self, moment: Moment, before: Instant) -> Instant:
        """While it does not hold: when all that fails now may hold, which is no sooner than each of it does."""
        falling, opens = moment.facts.falling, 0
        for condition in self.conditions:
            if not condition.holds(moment):
                opens = max(opens, condition.crossing(moment, before)) if condition.opens(falling) else FOREVER
                if opens >= before:
                    return FOREVER
        return opens

    def closes(self, moment: Moment, before: Instant) -> Instant:
        """While it holds: when any condition may fail."""
        for condition in self.conditions:
            if (crossing := condition.crossing(moment, before)) < before:
                before = crossing
        return before


class Dimension:
    """`values[i]` is what case i gives; the last one holds where no case does."""

    def __init__(self, name: str, cases: Sequence[Case], otherwise: str) -> None:
        self.name, self.cases = name, tuple(cases)
        self.values = (*(case.value for case in cases), otherwise)
        self.searches = any(c.searches for case in cases for c in case.conditions)
        self._tests = tuple(case.holds for case in cases)
        self._openers = {
            falling: [[c for c in self.cases[:index] if c.may_open(falling)] for index in range(len(self.values))]
            for falling in (False, True)
        }

    def at(self, moment: Moment) -> int:
        """The index of the first case whose conditions all hold."""
        index = 0
        for holds in self._tests:
            if holds(moment):
                break
            index += 1
        return index

    def next_change(self, moment: Moment, before: Instant) -> Instant:
        """The first instant after the moment at which time alone changes the value; `before` where that is no sooner."""
        found, looked = moment.ahead.get(self, (0, 0))
        if looked < before and found == looked:
            found = self._next_change(moment, before)
            moment.ahead[self] = (found, before)
        return min(found, before)

    def _next_change(self, moment: Moment, before: Instant) -> Instant:
        index: int = moment.value(self)
        value, falling = self.values[index], moment.facts.falling
        while True:
            soonest = before
            for case in self._openers[falling][index]:
                if (opens := case.opens(moment, soonest)) < soonest:
                    soonest = opens
            if index < len(self.cases):
                soonest = self.cases[index].closes(moment, soonest)
            if soonest >= before:
                return before
            moment = moment.later(soonest)
            index = moment.value(self)
            if self.values[index] != value:
                return soonest
