"""Thresholds proposed from how customers stand today: quantiles, and the file with them put in, its comments kept. Pure."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from decimal import Decimal
from difflib import unified_diff
from itertools import pairwise
from typing import Any, Self

import yaml

COUNTED = ("count", "points", "distinct_days", "total")
"""Kinds of metrics whose values are whole numbers."""
AMOUNTS = ("sum",)
DIGITS = 2
"""Significant digits of a proposed amount, so that people can remember it."""

_SENTENCE = re.compile(r"\s*(?P<metric>\w+)\s*(?P<operator>>=|>)\s*(?P<bound>\d+(?:\.\d+)?)\s*")

SHARED = "its threshold stands for another case, too; write each out to calibrate it"

Values = Mapping[str, Sequence[float]]
"""Per metric, what it is for every customer for whom it is above zero."""


@dataclass(frozen=True, slots=True)
class Threshold:
    """One sentence `metric >= bound` that alone decides a case. `start`, `end`: where the bound stands in the text.

    `leave`: the same of the case's lower threshold, where it has one. `shared`: an alias lets it decide elsewhere, too.
    """

    dimension: str
    value: str
    metric: str
    operator: str
    bound: Decimal
    start: int
    end: int
    leave: "Threshold | None" = None
    shared: bool = False


@dataclass(frozen=True, slots=True)
class Proposal:
    """`share_before`, `share_after`: of the `customers` for whom the metric is above zero, how many reach the threshold."""

    threshold: Threshold
    bound: Decimal
    customers: int
    share_before: float
    share_after: float


@dataclass(frozen=True, slots=True)
class Calibration:
    """What is proposed for a file, and what is not and why."""

    name: str
    before: str
    after: str
    proposals: Sequence[Proposal]
    left: Sequence[str]

    @classmethod
    def of(cls, name: str, text: str, judged: Sequence[Threshold], values: Values, shares: Sequence[float]) -> Self:
        proposals, left = proposed(judged, values, shares, whole_numbers(text))
        return cls(name, text, rewritten(text, proposals), proposals, left)

    @property
    def difference(self) -> str:
        old, new = self.before.splitlines(keepends=True), self.after.splitlines(keepends=True)
        return "".join(unified_diff(old, new, self.name, f"{self.name} (proposed)"))

    def remarks(self) -> Iterator[str]:
        for one in self.proposals:
            case = one.threshold
            yield (
                f"{case.dimension}.{case.value}: {case.metric} {case.operator} {case.bound:f} holds for "
                f"{one.share_before:.1%}, {one.bound:f} for {one.share_after:.1%} of {one.customers:,} customers with any"
            )
        yield from self.left
        if not self.proposals:
            yield "nothing to propose"

    def to_data(self) -> dict[str, Any]:
        proposals = [
            {
                "dimension": one.threshold.dimension,
                "value": one.threshold.value,
                "metric": one.threshold.metric,
                "before": f"{one.threshold.bound:f}",
                "after": f"{one.bound:f}",
                "customers": one.customers,
                "share_before": round(one.share_before, 6),
                "share_after": round(one.share_after, 6),
            }
            for one in self.proposals
        ]
        return {"file": self.name, "proposals": proposals, "not_proposed": list(self.left), "diff": self.difference}


def thresholds(text: str) -> list[Threshold]:
    """Those that calibration can judge: a number that a count or an amount must reach, above zero."""
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    sections = _members(root)
    counted = {name for name, body in _members(sections.get("metrics")).items() if _kind(body)}
    uses = Counter(_places(root))
    found: list[Threshold] = []
    for dimension, body in _members(sections.get("dimensions")).items():
        for case in getattr(_members(body).get("cases"), "value", ()):
            parts = _members(case)
            one = _threshold(dimension, parts, counted, "when", text) or _threshold(
                dimension, parts, counted, "enter", text
            )
            found += [] if one is None else [replace(one, shared=_shared(parts, uses))]
    return found


def whole_numbers(text: str) -> set[str]:
    """Metrics whose values are."""
    metrics = _members(_members(yaml.compose(text, Loader=yaml.SafeLoader)).get("metrics"))
    return {name for name, body in metrics.items() if _kind(body) in COUNTED}


def proposed(
    found: Sequence[Threshold], values: Values, shares: Sequence[float], counts: Set[str]
) -> tuple[list[Proposal], list[str]]:
    """The first case of each dimension is to hold for the first share of the customers, and so on; and what is not proposed, why.

    `counts`: metrics whose values are whole numbers.
    """
    proposals: list[Proposal] = []
    remarks: list[str] = []
    for dimension in dict.fromkeys(one.dimension for one in found):
        cases = [one for one in found if one.dimension == dimension]
        wanted: dict[int, Proposal] = {}
        for index, (case, share) in enumerate(zip(cases, shares, strict=False)):
            measured = sorted(values.get(case.metric, ()))
            if case.shared:
                remarks.append(f"{dimension}.{case.value}: {SHARED}")
            elif measured:
                wanted[index] = _proposal(case, measured, share, case.metric in counts)
            else:
                remarks.append(f"{dimension}.{case.value}: no customer has any {case.metric}")
        clash = _clash(cases, wanted)
        if clash is not None:
            remarks.append(clash)
        else:
            proposals += [one for one in wanted.values() if one.bound != one.threshold.bound]
    return proposals, remarks


def rewritten(text: str, proposals: Sequence[Proposal]) -> str:
    """The same text with other numbers; from the end, so that earlier places stay where they are."""
    edits: list[tuple[int, int, str]] = []
    for one in proposals:
        edits.append((one.threshold.start, one.threshold.end, f"{one.bound:f}"))
        if (leave := one.threshold.leave) is not None:
            lower = rounded(one.bound * leave.bound / one.threshold.bound)
            edits.append((leave.start, leave.end, f"{lower:f}"))
    for start, end, number in sorted(edits, reverse=True):
        text = text[:start] + number + text[end:]
    return text


def rounded(amount: Decimal) -> Decimal:
    """To `DIGITS` significant digits; whole from there on."""
    if amount == 0:
        return amount
    step = Decimal(1).scaleb(amount.adjusted() - DIGITS + 1)
    return Decimal(f"{(amount / step).quantize(Decimal(1)) * step:f}")


def share_of(measured: Sequence[float], operator: str, bound: Decimal) -> float:
    limit = float(bound)
    return sum(value > limit if operator == ">" else value >= limit for value in measured) / len(measured)


def _proposal(case: Threshold, measured: Sequence[float], share: float, whole: bool) -> Proposal:
    place = max(0, len(measured) - max(1, round(share * len(measured))))
    quantile = Decimal(str(measured[place]))
    bound = max(Decimal(1), quantile.quantize(Decimal(1))) if whole else rounded(quantile)
    if case.operator == ">" and whole:
        bound -= 1
    before, after = (share_of(measured, case.operator, limit) for limit in (case.bound, bound))
    return Proposal(case, bound, len(measured), before, after)


def _clash(cases: Sequence[Threshold], wanted: Mapping[int, Proposal]) -> str | None:
    """Cases of one metric must fall from the top, or the lower one could never hold."""
    bounds = [wanted[index].bound if index in wanted else case.bound for index, case in enumerate(cases)]
    for (upper, high), (lower, low) in pairwise(zip(cases, bounds, strict=True)):
        if upper.metric == lower.metric and high <= low:
            return (
                f"{upper.dimension}: {upper.value} at {high:f} would leave nothing to {lower.value} at {low:f}; "
                "give each case a share of its own, as --top 20% --top 50%"
            )
    return None


def _threshold(dimension: str, parts: Mapping[str, Any], counted: set[str], key: str, text: str) -> Threshold | None:
    sentence = _alone(parts.get(key))
    value = getattr(parts.get("value"), "value", "")
    if sentence is None:
        return None
    start = sentence.start_mark.index
    found = _SENTENCE.search(text, start, sentence.end_mark.index)
    whole = _SENTENCE.fullmatch(sentence.value)
    if found is None or whole is None or whole["metric"] not in counted or not Decimal(whole["bound"]):
        return None
    leave = _threshold(dimension, parts, counted, "leave", text) if key == "enter" else None
    if leave is not None and leave.metric != whole["metric"]:
        leave = None
    place = found.span("bound")
    return Threshold(dimension, value, whole["metric"], whole["operator"], Decimal(whole["bound"]), *place, leave=leave)


def _places(node: Any) -> Iterator[int]:
    """Where every scalar stands, once for each place that it stands for."""
    if isinstance(node, yaml.ScalarNode):
        yield node.start_mark.index
    elif isinstance(node, yaml.SequenceNode | yaml.MappingNode):
        for below in node.value:
            for one in below if isinstance(below, tuple) else (below,):
                yield from _places(one)


def _shared(case: Mapping[str, Any], uses: Mapping[int, int]) -> bool:
    return any(uses[place] > 1 for key in ("when", "enter", "leave") for place in _places(case.get(key)))


def _alone(node: Any) -> Any:
    """The one sentence, written alone or as a list of one."""
    if isinstance(node, yaml.SequenceNode):
        node = node.value[0] if len(node.value) == 1 else None
    return node if isinstance(node, yaml.ScalarNode) else None


def _kind(body: Any) -> str | None:
    return next((kind for kind in _members(body) if kind in (*COUNTED, *AMOUNTS)), None)


def _members(node: Any) -> dict[str, Any]:
    return {key.value: body for key, body in _pairs(node)}


def _pairs(node: Any) -> Iterator[tuple[Any, Any]]:
    if isinstance(node, yaml.MappingNode):
        yield from node.value
