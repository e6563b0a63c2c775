"""Rules compiled once: names resolved, sentences parsed, dimensions in the order of the file."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from difflib import get_close_matches
from string import Formatter
from typing import Any

from services.segmentation import rules as written
from services.segmentation.dimensions import COMPARISONS, Against, Case, Condition, Dimension, Is
from services.segmentation.metrics import Compare, Count, MedianGap, Metric, NetSpend, Number, Since
from services.segmentation.money import Rates
from services.segmentation.reasons import Reasons
from services.segmentation.rules import Rules
from services.segmentation.scores import Score, Total
from services.segmentation.spans import parse_span

_SENTENCE = re.compile(
    r"(?P<left>\w+) *(?P<operator>>=|<=|>|<|=) *(?:(?P<factor>\d+(?:\.\d+)?) *\* *)?(?P<right>[\w.]+)"
)
_STEP = re.compile(r"(?P<operator>>=|<=|>|<|=) *(?P<right>[\w.]+)")


@dataclass(frozen=True, slots=True)
class Program:
    rules: Rules
    rates: Rates
    dimensions: tuple[tuple[Dimension, Reasons], ...]


class Misfit(Exception):
    """What does not fit together, and at which path of the rules."""

    def __init__(self, path: str, message: str) -> None:
        super().__init__(f"{path}: {message}")
        self.path, self.message = path, message


def compile_rules(rules: Rules, rates: Rates) -> Program:
    """Raises RulesError with file, line, path and the nearest right spelling."""
    try:
        return _compiled(rules, rates)
    except Misfit as misfit:
        raise rules.error(misfit.path, misfit.message) from None


def _compiled(rules: Rules, rates: Rates) -> Program:
    if rules.base_currency != rates.base:
        raise Misfit("base_currency", f"the rules count in {rules.base_currency}, the exchange rates in {rates.base}")
    metrics: dict[str, Metric] = {}
    for name, rule in rules.metrics.items():
        metrics[name] = _metric(name, rule, metrics, rates)
    dimensions: dict[str, Dimension] = {}
    for name, dimension in rules.dimensions.items():
        if name in metrics:
            raise Misfit(f"dimensions.{name}", "a metric has this name already")
        dimensions[name] = _dimension(name, dimension, metrics, dimensions)
    reasons = [_reasons(dimension, rules.dimensions[name].shown, metrics) for name, dimension in dimensions.items()]
    return Program(rules, rates, tuple(zip(dimensions.values(), reasons, strict=True)))


def _metric(name: str, rule: written.MetricRule, known: Mapping[str, Metric], rates: Rates) -> Metric:
    match rule:
        case written.CountOf():
            return Count(name, rule.within)
        case written.SumOf():
            return NetSpend(name, rule.within, rates)
        case written.SinceFirst():
            return Since(name, first=True)
        case written.SinceLast():
            return Since(name, first=False)
        case written.MedianGapOf():
            return MedianGap(name, rule.within, rule.at_least, rule.at_most, rule.otherwise)
        case written.ScoreOf():
            return _score(name, rule, known)
        case _:
            return Total(name, [_scored(f"metrics.{name}.total", part, known) for part in rule.total])


def _score(name: str, rule: written.ScoreOf, known: Mapping[str, Metric]) -> Score:
    of = _named(f"metrics.{name}.score", rule.score, known)
    steps = [_step(f"metrics.{name}.steps", text, of, points) for text, points in rule.steps.items()]
    return Score(name, of, steps, rule.otherwise)


def _step(path: str, text: str, of: Metric, points: int) -> tuple[Compare, Number, int]:
    found = _STEP.fullmatch(text.strip())
    if found is None:
        raise Misfit(path, f"{text!r}: expected an operator and a threshold, as '>= 12' or '< 30d'")
    return _comparison(path, found["operator"], of), _fixed(path, found["right"], of), points


def _scored(path: str, name: str, known: Mapping[str, Metric]) -> Score:
    metric = _named(path, name, known)
    if not isinstance(metric, Score):
        raise Misfit(path, f"{name!r} is no score")
    return metric


def _dimension(
    name: str, rule: written.DimensionRule, metrics: Mapping[str, Metric], earlier: Mapping[str, Dimension]
) -> Dimension:
    cases = []
    for number, case in enumerate(rule.cases):
        path = f"dimensions.{name}.cases[{number}].when"
        conditions = tuple(_condition(path, text, metrics, earlier) for text in case.when)
        cases.append(Case(case.value, conditions))
    return Dimension(name, cases, rule.otherwise)


def _reasons(dimension: Dimension, template: str | None, metrics: Mapping[str, Metric]) -> Reasons:
    if template is None:
        return Reasons(dimension)
    path = f"dimensions.{dimension.name}.shown"
    try:
        names = [name for _, name, _, _ in Formatter().parse(template) if name is not None]
    except ValueError:
        raise Misfit(path, "expected text with metrics in braces, as 'R{recency}'") from None
    return Reasons(dimension, template, [_named(path, name, metrics) for name in names])


def _condition(path: str, text: str, metrics: Mapping[str, Metric], earlier: Mapping[str, Dimension]) -> Condition:
    found = _SENTENCE.fullmatch(text.strip())
    if found is None:
        raise Misfit(path, f"{text!r}: expected `metric operator threshold`, as 'spend_in_year >= 5000'")
    left, right = found["left"], found["right"]
    if left in earlier:
        return _is(path, found, earlier[left])
    metric = _named(path, left, {**metrics, **earlier})
    compare = _comparison(path, found["operator"], metric)
    if right in metrics:
        return Against(text, metric, compare, _factor(found["factor"]), _still(path, metrics[right]))
    if found["factor"] is not None:
        raise Misfit(path, f"{text!r}: {_unknown(right, metrics)}")
    return Against(text, metric, compare, _fixed(path, right, metric))


def _is(path: str, found: re.Match[str], dimension: Dimension) -> Is:
    value = found["right"]
    if found["operator"] != "=" or found["factor"] is not None:
        raise Misfit(path, f"{found[0]!r}: a dimension can only be compared with =")
    if value not in dimension.values:
        raise Misfit(path, f"{found[0]!r}: {_unknown(value, dimension.values)}")
    return Is(found[0], dimension, value)


def _named(path: str, name: str, known: Mapping[str, Any]) -> Any:
    if name not in known:
        raise Misfit(path, f"{_unknown(name, known)}; what is named must stand further up")
    return known[name]


def _unknown(name: str, known: Iterable[str]) -> str:
    near = get_close_matches(name, list(known), n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(sorted(known))}"
    return f"{name!r} is not known; {hint}"


def _comparison(path: str, operator: str, metric: Metric) -> Compare:
    if operator == "=" and isinstance(metric, Since | MedianGap):
        raise Misfit(path, f"{metric.name} is a time; it can be compared with >=, >, < and <= only")
    return COMPARISONS[operator]


def _fixed(path: str, text: str, metric: Metric) -> Number:
    """A span for a metric that is a time, else a plain number."""
    if isinstance(metric, Since | MedianGap):
        span = parse_span(text)
        if span is None:
            raise Misfit(path, f"{text!r}: {metric.name} is a time; expected a span such as 30d")
        return span
    if re.fullmatch(r"\d+(\.\d+)?", text) is None:
        raise Misfit(path, f"{text!r}: expected a number for {metric.name}")
    return int(text) if text.isdigit() else Decimal(text)


def _factor(text: str | None) -> Number:
    if text is None:
        return 1
    return int(text) if text.isdigit() else Decimal(text)


def _still(path: str, metric: Metric) -> Metric:
    if metric.moves:
        raise Misfit(path, f"{metric.name} changes with time, so it cannot be a threshold")
    return metric
