"""Dimensions as compiled cases: which value holds at an instant, until when, and why."""

from collections.abc import Sequence
from dataclasses import dataclass
from operator import ge, gt, le, lt
from typing import Any, Protocol

from services.segmentation.facts import Facts
from services.segmentation.metrics import Compare, Metric, NetSpend, Number, once
from shared.clock import Instant

Explained = dict[str, dict[str, Any]]


class Condition(Protocol):
    text: str

    def holds(self, facts: Facts, at: Instant) -> bool: ...

    def crossing(self, facts: Facts, at: Instant) -> Instant | None:
        """The first instant after `at` at which it no longer holds, or begins to."""

    def metrics(self, facts: Facts, at: Instant) -> tuple[Metric, ...]:
        """What `explain` is about."""

    def explain(self, facts: Facts, at: Instant) -> Explained:
        """The measured value and the threshold, per name."""


class Against:
    """A metric against a fixed threshold, or against `factor` times a metric that time does not move."""

    def __init__(self, text: str, metric: Metric, compare: Compare, bound: Number, times: Metric | None = None) -> None:
        self.text = text
        self._metrics: tuple[Metric, ...] = (metric,) if times is None else (metric, times)
        self._metric, self._compare, self._bound, self._times = metric, compare, bound, times

    def holds(self, facts: Facts, at: Instant) -> bool:
        value = self._metric.at(facts, at)
        return value is not None and self._compare(value, self._threshold(facts, at))

    def crossing(self, facts: Facts, at: Instant) -> Instant | None:
        return self._metric.crossing(facts, at, self._compare, self._threshold(facts, at))

    def metrics(self, _facts: Facts, _at: Instant) -> tuple[Metric, ...]:
        return self._metrics

    def explain(self, facts: Facts, at: Instant) -> Explained:
        value, threshold = self._metric.at(facts, at), self._threshold(facts, at)
        shown = self._metric.shown
        against = {"value": None if value is None else shown(value), "threshold": shown(threshold)}
        explained = {self._metric.name: against}
        others = self._metric.parts if self._times is None else (*self._metric.parts, self._times)
        for part in others:
            _explain_part(explained, part, facts, at)
        return explained | _remarks(self._metrics, facts, at)

    def _threshold(self, facts: Facts, at: Instant) -> Any:
        return self._bound if self._times is None else (self._times.at(facts, at) or 0) * self._bound


class Is:
    """Another dimension's value at the same instant."""

    def __init__(self, text: str, dimension: "Dimension", value: str) -> None:
        self.text, self._dimension, self._value = text, dimension, value

    def holds(self, facts: Facts, at: Instant) -> bool:
        return self._dimension.value_at(facts, at) == self._value

    def crossing(self, facts: Facts, at: Instant) -> Instant | None:
        return self._dimension.next_change(facts, at)

    def metrics(self, facts: Facts, at: Instant) -> tuple[Metric, ...]:
        conditions = self._dimension.conditions_of(self._dimension.decide(facts, at))
        return tuple(metric for condition in conditions for metric in condition.metrics(facts, at))

    def explain(self, facts: Facts, at: Instant) -> Explained:
        dimension = self._dimension
        index = dimension.decide(facts, at)
        explained = {dimension.name: {"value": dimension.values[index], "threshold": self._value}}
        return explained | explain_all(dimension.conditions_of(index), facts, at)


@dataclass(frozen=True, slots=True)
class Case:
    value: str
    conditions: tuple[Condition, ...]


class Dimension:
    """`values[i]` is what case i gives; the last one holds where no case does."""

    def __init__(self, name: str, cases: Sequence[Case], otherwise: str, shown: "Shown | None" = None) -> None:
        self.name, self.cases, self.shown = name, tuple(cases), shown
        self.values = (*(case.value for case in cases), otherwise)
        self._tests = tuple(tuple(condition.holds for condition in case.conditions) for case in cases)
        # While case i holds, only its own conditions and those of the cases before it can change the value.
        self._crossings = tuple(
            tuple(condition.crossing for case in cases[: index + 1] for condition in case.conditions)
            for index in range(len(self.values))
        )

    def decide(self, facts: Facts, at: Instant) -> int:
        """The index of the first case whose conditions all hold."""
        for index, tests in enumerate(self._tests):
            for holds in tests:
                if not holds(facts, at):
                    break
            else:
                return index
        return len(self._tests)

    def value_at(self, facts: Facts, at: Instant) -> str:
        return self.values[self.decide(facts, at)]

    def next_change(self, facts: Facts, at: Instant, before: Instant | None = None) -> Instant | None:
        """The first instant after `at` at which time alone changes the value; `before` where that is no sooner."""
        index = self.decide(facts, at)
        value = self.values[index]
        while True:
            soonest = before
            for crossing in self._crossings[index]:
                instant = crossing(facts, at)
                if instant is not None and (soonest is None or instant < soonest):
                    soonest = instant
            if soonest is None or soonest == before:
                return before
            at, index = soonest, self.decide(facts, soonest)
            if self.values[index] != value:
                return at

    def because(self, facts: Facts, at: Instant, before: str | None, since: Instant | None) -> dict[str, Any]:
        """Why the value is no longer `before`, which began at `since`; both None for the first value.

        What decided are the conditions of the new case where it comes before the old one, else those of the old one
        that hold no longer. The values of the new case (of the last one where none holds) are there in any event.
        """
        index = self.decide(facts, at)
        deciding = self._deciding(facts, at, index, self._rank(before))
        explained = explain_all(deciding, facts, at)
        if self.shown is not None:
            explained["shown"] = {"value": self.shown.text(facts, at)}
        metrics = dict.fromkeys(metric for condition in deciding for metric in condition.metrics(facts, at))
        expired = () if since is None else once(metric.expired(facts, since, at) for metric in metrics)
        events = once(metric.events(facts, at) for metric in metrics)
        return {"values": explained, "events": events, "expired": expired, "rule": self.rule(index)}

    def _deciding(self, facts: Facts, at: Instant, index: int, old: int | None) -> tuple[Condition, ...]:
        lost: tuple[Condition, ...] = ()
        if old is not None and old < index:
            lost = tuple(c for c in self.cases[old].conditions if not c.holds(facts, at))
        return (*lost, *self.conditions_of(index))

    def conditions_of(self, index: int) -> tuple[Condition, ...]:
        """Those of a case; of the last one, which then does not hold, where no case does."""
        return self.cases[min(index, len(self.cases) - 1)].conditions

    def _rank(self, value: str | None) -> int | None:
        return self.values.index(value) if value in self.values else None

    def rule(self, index: int) -> str:
        if index == len(self.cases):
            return f"{self.name}: otherwise {self.values[index]}"
        conditions = " and ".join(condition.text for condition in self.cases[index].conditions)
        return f"{self.name}: {self.values[index]} when {conditions}"


class Shown:
    """A text made of metrics that is shown beside the value; its change alone is no change."""

    def __init__(self, template: str, metrics: Sequence[Metric]) -> None:
        self._template, self._metrics = template, tuple(metrics)

    def text(self, facts: Facts, at: Instant) -> str:
        return self._template.format_map({metric.name: metric.at(facts, at) for metric in self._metrics})


COMPARISONS: dict[str, Compare] = {">=": ge, "<=": le, ">": gt, "<": lt, "=": lambda value, bound: bool(value == bound)}


def explain_all(conditions: Sequence[Condition], facts: Facts, at: Instant) -> Explained:
    """Where two conditions measure the same, the threshold of the first stands."""
    explained: Explained = {}
    for condition in conditions:
        for name, against in condition.explain(facts, at).items():
            explained.setdefault(name, against)
    return explained


def _explain_part(explained: Explained, part: Metric, facts: Facts, at: Instant) -> None:
    value = part.at(facts, at)
    explained[part.name] = {"value": None if value is None else part.shown(value)}
    for inner in part.parts:
        _explain_part(explained, inner, facts, at)


def _remarks(metrics: Sequence[Metric], facts: Facts, at: Instant) -> Explained:
    """What the money leaves out, where money had a part in it."""
    found: Explained = {}
    for metric in metrics:
        remarks = metric.remarks(facts, at) if isinstance(metric, NetSpend) else {}
        found |= {name: {"value": amounts} for name, amounts in remarks.items()}
        found |= _remarks(metric.parts, facts, at)
    return found
