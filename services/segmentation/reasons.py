"""Why a dimension has its value: what was measured, against which threshold, from which events, and what has left since."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from services.segmentation.dimensions import Against, Condition, Dimension, Is
from services.segmentation.facts import FOREVER, Moment
from services.segmentation.metrics import Metric, NetSpend, once
from services.segmentation.money import add, subtract
from shared.clock import Instant

Values = dict[str, dict[str, Any]]


class Reasons:
    """Of one dimension. `shown`: a text of {metrics} beside the value, whose change alone is no change."""

    def __init__(self, dimension: Dimension, shown: str | None = None, parts: Sequence[Metric] = ()) -> None:
        self._dimension, self._shown, self._parts = dimension, shown, tuple(parts)
        self.rules = tuple(_rule(dimension, index) for index in range(len(dimension.values)))
        self._known: dict[tuple[tuple[Condition, ...], int], _Asked] = {}
        self._asked = tuple(_Asked(case.conditions) for case in dimension.cases)

    def because(self, moment: Moment, before: str | None, since: Instant | None) -> dict[str, Any]:
        """Why the value is no longer `before`, which began at `since`; both None for the first value.

        What decided are the conditions of the new case where it comes before the old one, else those of the old one
        that hold no longer. The values of the new case (of the last one where none holds) are there in any event.
        """
        index = moment.value(self._dimension)
        asked = self._lost(moment, index, before)
        if asked is None:
            asked = self._asked[min(index, len(self._asked) - 1)]
        values = asked.values(moment)
        if self._shown is not None:
            values["shown"] = {"value": self._shown.format_map({m.name: moment.value(m) for m in self._parts})}
        metrics = asked.metrics(moment)
        return {
            "values": values,
            "events": once([metric.events(moment) for metric in metrics]),
            "expired": () if since is None else once([metric.expired(moment, since) for metric in metrics]),
            "rule": self.rules[index],
        }

    def _lost(self, moment: Moment, index: int, before: str | None) -> "_Asked | None":
        """None where a case above the old one decided, or there was none."""
        old = self._dimension.values.index(before) if before in self._dimension.values else index
        if old >= index:
            return None
        conditions = self._dimension.cases[old].conditions
        if len(conditions) > 1:
            conditions = tuple(condition for condition in conditions if not condition.holds(moment))
        key = (conditions, index)
        if key not in self._known:
            self._known[key] = _Asked(
                (*conditions, *self._dimension.cases[min(index, len(self._asked) - 1)].conditions)
            )
        return self._known[key]


class _Asked:
    """The conditions that decided; where two measure the same, the threshold of the first is shown."""

    def __init__(self, conditions: Sequence[Condition]) -> None:
        self._conditions = tuple(conditions)
        against = [condition for condition in conditions if isinstance(condition, Against)]
        own = [metric for c in against for metric in (c.metric, c.times) if metric is not None]
        self._own = tuple(dict.fromkeys(own))
        self._others = tuple(condition.dimension for condition in conditions if isinstance(condition, Is))

    def values(self, moment: Moment) -> Values:
        values: Values = {}
        for condition in self._conditions:
            if isinstance(condition, Is):
                _explain_other(values, condition, moment)
            elif isinstance(condition, Against):
                _explain(values, condition, moment)
        return values

    def metrics(self, moment: Moment) -> tuple[Metric, ...]:
        if not self._others:
            return self._own
        others = [metric for other in self._others for metric in _deciding(other, moment).metrics(moment)]
        return tuple(dict.fromkeys((*self._own, *others)))


def remarks(spend: NetSpend, moment: Moment) -> dict[str, dict[str, str]]:
    """Per currency: what has no rate and is left out of the money, and refunds beyond what was bought."""
    found: dict[str, dict[str, str]] = {}
    first, after = spend.rates.first, -FOREVER if spend.within is None else moment.at - spend.within
    for time, _, _, parts, _ in moment.facts.recorded:
        for currency, bought, back in parts:
            if (back != "0" or first.get(currency, FOREVER) > time) and time > after:
                net = subtract(Decimal(bought), Decimal(back))
                if net < 0:
                    _tally(found, "refunded_beyond", currency, -net)
                elif first.get(currency, FOREVER) > time:
                    _tally(found, "unconverted", currency, net)
    return found


def _tally(found: dict[str, dict[str, str]], remark: str, currency: str, amount: Decimal) -> None:
    had = found.setdefault(remark, {}).get(currency, "0")
    found[remark][currency] = f"{add(Decimal(had), amount):f}"


def _deciding(dimension: Dimension, moment: Moment) -> _Asked:
    index = min(moment.value(dimension), len(dimension.cases) - 1)
    return _Asked(dimension.cases[index].conditions)


def _explain_other(values: Values, condition: Is, moment: Moment) -> None:
    dimension = condition.dimension
    found = dimension.values[moment.value(dimension)]
    values.setdefault(dimension.name, {"value": found, "threshold": condition.value})
    for name, against in _deciding(dimension, moment).values(moment).items():
        values.setdefault(name, against)


def _explain(values: Values, condition: Against, moment: Moment) -> None:
    metric = condition.metric
    if metric.name not in values:
        threshold = metric.shown(condition.threshold(moment))
        values[metric.name] = {"value": _shown(metric, moment), "threshold": threshold}
        _remark(values, metric, moment)
    parts = metric.parts if condition.times is None else (*metric.parts, condition.times)
    for part in parts:
        if part.name not in values:
            values[part.name] = {"value": _shown(part, moment)}
            _remark(values, part, moment)


def _shown(metric: Metric, moment: Moment) -> Any:
    value = moment.value(metric)
    return None if value is None else metric.shown(value)


def _remark(values: Values, metric: Metric, moment: Moment) -> None:
    if isinstance(metric, NetSpend):
        for name, amounts in remarks(metric, moment).items():
            values[name] = {"value": amounts}


def _rule(dimension: Dimension, index: int) -> str:
    if index == len(dimension.cases):
        return f"{dimension.name}: otherwise {dimension.values[index]}"
    conditions = " and ".join(condition.text for condition in dimension.cases[index].conditions)
    return f"{dimension.name}: {dimension.values[index]} when {conditions}"
