"""Sentences of the rules, compiled: `metric operator threshold`, `dimension in a, b`, `ever …`, `facet.region = east`."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from services.segmentation.composites import Composite
from services.segmentation.conditions import (
    COMPARISONS,
    Against,
    AllHold,
    AnyHolds,
    Condition,
    Ever,
    Not,
    OfComposite,
    OfDimension,
    OfFacet,
    among,
    joined,
    none_of,
    numeric,
)
from services.segmentation.dimensions import Dimension
from services.segmentation.language import grammar
from services.segmentation.language.misfits import Misfit, named, unknown
from services.segmentation.language.spans import parse_span
from services.segmentation.measures.facets import CUSTOM, KNOWN
from services.segmentation.measures.gaps import Since
from services.segmentation.measures.metrics import Compare, Metric, Newest, Number
from services.segmentation.measures.recorder import facet_key

_SENTENCE = re.compile(
    r"(?P<ever>ever +)?(?P<left>[a-z][\w.\-]*)(?: *(?P<operator>>=|<=|!=|>|<|=)| +(?P<in>in)(?= )) *(?P<right>\S.*)"
)
_THRESHOLD = re.compile(r"(?:(?P<factor>\d+(?:\.\d+)?) *\* *)?(?P<what>-?[\w.]+)")
_STEP = re.compile(r"(?P<operator>>=|<=|>|<|=) *(?P<what>-?[\w.]+)")
_OPERATING = frozenset("<>=!")
_NUMBER = re.compile(r"-?\d+(\.\d+)?")
_WHAT = (
    "expected `metric operator threshold`, as 'spend_in_year >= 5000'; or `dimension in a, b`; or `facet.region = east`"
)


@dataclass
class Scope:
    """What a sentence may name so far. `facets` and `latched` grow as sentences name them."""

    metrics: Mapping[str, Metric]
    labels: Mapping[str, frozenset[str]]
    """Per metric of a newest value the names that its stream gives."""
    dimensions: dict[str, Dimension] = field(default_factory=dict)
    composites: dict[str, Composite] = field(default_factory=dict)
    later: frozenset[str] = frozenset()
    facets: set[str] = field(default_factory=set)
    latched: dict[str, set[str]] = field(default_factory=dict)


def all_of(path: str, rules: Sequence[grammar.When], scope: Scope) -> Condition:
    if len(rules) == 1:
        return condition(path, rules[0], scope)
    return joined([condition(f"{path}[{index}]", rule, scope) for index, rule in enumerate(rules)])


def condition(path: str, rule: grammar.When, scope: Scope) -> Condition:
    match rule:
        case str():
            return _sentence(path, rule, scope)
        case grammar.AllOf():
            parts = [condition(f"{path}.all[{index}]", part, scope) for index, part in enumerate(rule.all)]
            return AllHold(" and ".join(_bracketed(part) for part in parts), parts)
        case grammar.AnyOf():
            parts = [condition(f"{path}.any[{index}]", part, scope) for index, part in enumerate(rule.any)]
            return AnyHolds(" or ".join(_bracketed(part) for part in parts), parts)
        case grammar.NotThat():
            part = condition(f"{path}.not", rule.not_, scope)
            return Not(f"not {_bracketed(part)}", part)


def _bracketed(part: Condition) -> str:
    return f"({part.text})" if isinstance(part, AllHold | AnyHolds) else part.text


def _sentence(path: str, text: str, scope: Scope) -> Condition:
    text = text.strip()
    if text in scope.composites:
        return OfComposite(text, scope.composites[text])
    found = _SENTENCE.fullmatch(text)
    if found is None:
        raise Misfit(path, _no_sentence(text, scope))
    if found["right"][0] in _OPERATING:
        raise Misfit(path, f"{text!r}: expected one of >=, >, =, !=, < and <= between the two")
    left = found["left"]
    if left.startswith("facet."):
        return _of_facet(path, found, scope)
    if left in scope.dimensions:
        return _of_dimension(path, found, scope)
    if left not in scope.metrics:
        known: dict[str, object] = {**scope.metrics, **scope.dimensions}
        named(path, left, known, scope.later)
    if found["ever"]:
        raise Misfit(path, f"{text!r}: `ever` remembers values of a dimension; {left!r} is none")
    return _of_metric(path, found, scope.metrics[left], scope)


def _no_sentence(text: str, scope: Scope) -> str:
    if text.isidentifier() and scope.composites:
        return f"{unknown(text, scope.composites)}; {_WHAT}"
    return f"{text!r}: {_WHAT}"


def _of_metric(path: str, found: re.Match[str], metric: Metric, scope: Scope) -> Condition:
    if metric.unit == "shares":
        raise Misfit(
            path, f"{metric.name} is a share of every category; make it a dimension with `list: {metric.name}`"
        )
    if metric.unit in ("text", "list"):
        compare, bound = _worded(path, found, metric, scope)
        return Against(found[0], metric, compare, bound, None, metric.reads)
    threshold = _THRESHOLD.fullmatch(found["right"])
    if threshold is None or found["in"]:
        raise Misfit(path, f"{found[0]!r}: {_WHAT}")
    compare = comparison(path, found["operator"], metric)
    what, factor = threshold["what"], threshold["factor"]
    if what in scope.metrics:
        return _against_metric(path, found[0], metric, compare, _number(factor or "1"), scope.metrics[what])
    if factor is not None:
        raise Misfit(path, f"{found[0]!r}: {unknown(what, scope.metrics)}")
    return Against(found[0], metric, compare, fixed(path, what, metric), None, metric.reads)


def _against_metric(path: str, text: str, metric: Metric, compare: Compare, factor: Number, times: Metric) -> Condition:
    if times.unit != metric.unit:
        raise Misfit(
            path, f"{text!r}: {metric.name} is a {metric.unit} and {times.name} a {times.unit}: expected two of a kind"
        )
    if isinstance(times, Since):
        raise Misfit(
            path, f"{text!r}: {times.name} changes with every moment, so it cannot be a threshold; put it on the left"
        )
    return Against(text, metric, compare, factor, times, metric.reads | times.reads)


def _worded(path: str, found: re.Match[str], metric: Metric, scope: Scope) -> tuple[Compare, Any]:
    labels = scope.labels.get(metric.name, frozenset()) if isinstance(metric, Newest) else frozenset()
    compare, bound = _of_words(path, found)
    if isinstance(bound, frozenset) and labels:
        for value in sorted(bound - labels):
            raise Misfit(path, f"{found[0]!r}: {unknown(value, labels)}")
    return compare, bound


def _of_words(path: str, found: re.Match[str]) -> tuple[Compare, Any]:
    """A comparison of what is text: with one value, several, or, where it is a number, with a number."""
    operator, right = found["operator"], found["right"].strip()
    if operator in (">=", "<=", ">", "<"):
        if _NUMBER.fullmatch(right) is None:
            raise Misfit(path, f"{found[0]!r}: expected a number after {operator}")
        return numeric(COMPARISONS[operator]), Decimal(right)
    if operator == "=" and _NUMBER.fullmatch(right):
        return numeric(COMPARISONS["="]), Decimal(right)
    return (none_of if operator == "!=" else among), _values(path, found)


def _values(path: str, found: re.Match[str]) -> frozenset[str]:
    right = found["right"].strip()
    values = frozenset(part.strip() for part in right.split(",")) if found["in"] else frozenset((right,))
    if "" in values:
        raise Misfit(path, f"{found[0]!r}: expected values between the commas")
    return values


def _of_facet(path: str, found: re.Match[str], scope: Scope) -> Condition:
    name = facet_name(path, found["left"].removeprefix("facet."))
    if found["ever"]:
        raise Misfit(path, f"{found[0]!r}: `ever` remembers values of a dimension; make the facet one first")
    scope.facets.add(name)
    compare, bound = _of_words(path, found)
    return OfFacet(found[0], name, compare, bound, facet_key(name))


def facet_name(path: str, name: str) -> str:
    if not name.startswith(CUSTOM) and name not in KNOWN:
        raise Misfit(path, f"{unknown(name, KNOWN)}; a company's own field is written `custom.{name}`")
    return name


def _of_dimension(path: str, found: re.Match[str], scope: Scope) -> Condition:
    dimension = scope.dimensions[found["left"]]
    if not found["in"] and found["operator"] not in ("=", "!="):
        raise Misfit(path, f"{found[0]!r}: a dimension can only be compared with =, != and in")
    compare: Compare = none_of if found["operator"] == "!=" else among
    values = _values(path, found)
    for value in sorted(values - {*dimension.values}) if dimension.values else ():
        raise Misfit(path, f"{found[0]!r}: {unknown(value, dimension.values)}")
    if not found["ever"]:
        return OfDimension(found[0], dimension, compare, values)
    if compare is none_of:
        raise Misfit(path, f"{found[0]!r}: expected `ever {dimension.name} in …`; put `not` before it for the contrary")
    scope.latched.setdefault(dimension.name, set()).update(values)
    return Ever(found[0], dimension, values)


def step(path: str, text: str, of: Metric, points: int) -> tuple[Compare, Number, int]:
    """One step of a score."""
    found = _STEP.fullmatch(text.strip())
    if found is None:
        raise Misfit(path, f"{text!r}: expected an operator and a threshold, as '>= 12' or '< 30d'")
    bound = fixed(path, found["what"], of)
    compare = comparison(path, found["operator"], of)
    return (numeric(compare) if of.unit == "text" else compare), bound, points


def ranged(path: str, text: Any) -> tuple[Compare, Decimal] | None:
    """A comparison text such as ">= 3", of numbers; None where it is a plain value."""
    if not isinstance(text, str) or text.strip()[:1] not in _OPERATING:
        return None
    found = _STEP.fullmatch(text.strip())
    if found is None:
        raise Misfit(path, f"{text!r}: expected a comparison, as '>= 3'")
    if _NUMBER.fullmatch(found["what"]) is None:
        raise Misfit(path, f"{text!r}: expected a number after {found['operator']}")
    return COMPARISONS[found["operator"]], Decimal(found["what"])


def comparison(path: str, operator: str, metric: Metric) -> Compare:
    if operator == "!=":
        raise Misfit(path, f"{metric.name} is no text; it can be compared with >=, >, =, < and <= only")
    if operator == "=" and metric.unit == "time":
        raise Misfit(path, f"{metric.name} is a time; it can be compared with >=, >, < and <= only")
    return COMPARISONS[operator]


def fixed(path: str, text: str, metric: Metric) -> Number:
    """A span for a metric that is a time, else a plain number."""
    if metric.unit == "time":
        span = parse_span(text)
        if span is None:
            raise Misfit(path, f"{text!r}: {metric.name} is a time; expected a span such as 30d")
        return span
    if metric.unit not in ("number", "text"):
        raise Misfit(path, f"{metric.name} has several values; only one can be compared with {text!r}")
    if _NUMBER.fullmatch(text) is None:
        raise Misfit(path, f"{text!r}: expected a number for {metric.name}")
    return _number(text)


def _number(text: str) -> Number:
    return int(text) if text.lstrip("-").isdigit() else Decimal(text)
