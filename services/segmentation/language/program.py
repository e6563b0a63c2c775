"""Rules compiled once: names resolved, sentences parsed, dimensions in the order of the file."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from string import Formatter

from services.segmentation.composites import Composite
from services.segmentation.dimensions import Case, Cases, Dimension, Facet, Listed, Reasons, Shown
from services.segmentation.language import grammar
from services.segmentation.language.measuring import Measures, metrics_of
from services.segmentation.language.misfits import Misfit, named
from services.segmentation.language.sentences import Scope, all_of, facet_name
from services.segmentation.measures.metrics import Collected, Metric
from services.segmentation.measures.money import Rates
from services.segmentation.measures.recorder import Recorder, stream_key
from services.segmentation.measures.spend import Shares
from services.segmentation.measures.streams import Stream
from services.segmentation.rules import Rules

RESERVED = ("composites", "purchases")


@dataclass(frozen=True, slots=True)
class Program:
    """`mixed`: streams that orders are part of, and an order's points there. `latched`: per dimension, what is remembered."""

    rules: Rules
    rates: Rates
    dimensions: tuple[tuple[Dimension, Reasons], ...]
    composites: tuple[Composite, ...]
    recorder: Recorder
    mixed: Mapping[str, int]
    latched: Mapping[str, frozenset[str]]
    straight: tuple[tuple[int, Dimension], ...]
    """With their places, those that time or the end of a dwell can change and whose next change is found at once."""
    searching: tuple[tuple[int, Dimension], ...]
    """Those whose next change is found step by step."""
    searching_names: frozenset[str]
    timed: frozenset[str]
    """Those that time can change, be it by the end of a dwell or through others that they rest on."""
    places: Mapping[str, int]
    resting: Mapping[str, frozenset[int]]
    """By key of what is read (stream, facet, dimension), the places of what rests on it; the composites' is the last."""


def compile_rules(rules: Rules, rates: Rates) -> Program:
    """Raises RulesError with file, line, path and the nearest right spelling."""
    try:
        return _compiled(rules, rates)
    except Misfit as misfit:
        raise rules.error(misfit.path, misfit.message) from None


def _compiled(rules: Rules, rates: Rates) -> Program:
    if rules.base_currency != rates.base:
        raise Misfit("base_currency", f"the rules count in {rules.base_currency}, the exchange rates in {rates.base}")
    _distinct(rules)
    measures = metrics_of(rules, rates)
    scope = Scope(measures.metrics, measures.labels)
    _add_dimensions(rules, scope)
    _add_composites(rules, scope)
    return Program(
        rules,
        rates,
        tuple((dimension, Reasons(dimension)) for dimension in scope.dimensions.values()),
        tuple(scope.composites.values()),
        _recorder(rules, rates, measures, scope),
        measures.mixed,
        {name: frozenset(values) for name, values in scope.latched.items()},
        tuple((i, d) for i, d in enumerate(scope.dimensions.values()) if (d.moves or d.hold_for) and not d.searches),
        tuple((i, d) for i, d in enumerate(scope.dimensions.values()) if d.searches),
        frozenset(d.name for d in scope.dimensions.values() if d.searches),
        _timed(scope.dimensions.values()),
        {name: index for index, name in enumerate(scope.dimensions)},
        _resting(scope),
    )


def _timed(dimensions: Iterable[Dimension]) -> frozenset[str]:
    found: dict[str, str] = {}
    for dimension in dimensions:
        if dimension.moves or dimension.hold_for or not dimension.reads.isdisjoint(found):
            found[dimension.key] = dimension.name
    return frozenset(found.values())


def _resting(scope: Scope) -> dict[str, frozenset[int]]:
    places: dict[str, set[int]] = {}
    reads = [dimension.reads for dimension in scope.dimensions.values()]
    reads.append(frozenset[str]().union(*(composite.reads for composite in scope.composites.values())))
    for index, keys in enumerate(reads):
        for key in keys:
            places.setdefault(key, set()).add(index)
    return {key: frozenset(found) for key, found in places.items()}


def _distinct(rules: Rules) -> None:
    """What a sentence names must be one thing only."""
    taken: dict[str, str] = {}
    groups: dict[str, Iterable[str]] = {
        "metrics": rules.metrics,
        "dimensions": rules.dimensions,
        "composites": rules.composites,
    }
    for group, names in groups.items():
        for name in names:
            if name in RESERVED:
                raise Misfit(f"{group}.{name}", "this name is kept for what is always there; choose another")
            if name in taken:
                raise Misfit(f"{group}.{name}", f"a {taken[name]} has this name already")
            taken[name] = group.removesuffix("s")


def _add_dimensions(rules: Rules, scope: Scope) -> None:
    for name, rule in rules.dimensions.items():
        scope.later = frozenset(rules.dimensions) | frozenset(rules.composites)
        scope.dimensions[name] = _dimension(f"dimensions.{name}", name, rule, scope)


def _dimension(path: str, name: str, rule: grammar.DimensionRule, scope: Scope) -> Dimension:
    match rule:
        case grammar.FacetRule():
            scope.facets.add(facet_name(f"{path}.facet", rule.facet))
            return Facet(name, rule.facet)
        case grammar.ListRule():
            return _listed(path, name, rule, scope)
        case grammar.CasesRule():
            cases = [_case(f"{path}.cases[{index}]", case, scope) for index, case in enumerate(rule.cases)]
            return Cases(name, cases, rule.otherwise, rule.hold_for or 0, _shown(f"{path}.shown", rule.shown, scope))


def _listed(path: str, name: str, rule: grammar.ListRule, scope: Scope) -> Listed:
    metric = named(f"{path}.list", rule.list, scope.metrics)
    if isinstance(metric, Shares) != (rule.at_least is not None) or not isinstance(metric, Shares | Collected):
        raise Misfit(
            f"{path}.list", f"{rule.list!r}: expected a metric `collected`, or `share` with `at_least` beside it"
        )
    return Listed(name, metric, rule.at_least or 0)


def _case(path: str, rule: grammar.CaseRule, scope: Scope) -> Case:
    if rule.when is not None:
        return Case(rule.value, all_of(f"{path}.when", rule.when, scope))
    enter = all_of(f"{path}.enter", rule.enter or (), scope)
    return Case(rule.value, enter, all_of(f"{path}.leave", rule.leave or (), scope))


def _shown(path: str, template: str | None, scope: Scope) -> Shown | None:
    if template is None:
        return None
    try:
        parts = [part[1:] for part in Formatter().parse(template) if part[1] is not None]
    except ValueError:
        raise Misfit(path, "expected text with metrics in braces, as 'R{recency}'") from None
    return Shown(template, [_in_braces(path, name or "", bool(form or turned), scope) for name, form, turned in parts])


def _in_braces(path: str, name: str, formed: bool, scope: Scope) -> Metric:
    metric = named(path, name, scope.metrics)
    if formed:
        raise Misfit(path, f"{name!r} is shown as it is; expected nothing but its name in braces, as '{{{name}}}'")
    if metric.unit in ("shares", "list"):
        raise Misfit(path, f"{name!r} has several values; only one can be shown")
    return metric


def _add_composites(rules: Rules, scope: Scope) -> None:
    scope.later = frozenset(rules.composites)
    for name, rule in rules.composites.items():
        scope.composites[name] = Composite(name, all_of(f"composites.{name}.when", rule.when, scope))


def _recorder(rules: Rules, rates: Rates, measures: Measures, scope: Scope) -> Recorder:
    """Hears what the dimensions and composites rest on; a metric or stream that none of them uses costs nothing."""
    reads = frozenset[str]().union(
        *(d.reads for d in scope.dimensions.values()), *(c.reads for c in scope.composites.values())
    )
    streams = [
        Stream(name, fits, measures.horizons.get(name), rules.limits.events)
        for name, fits in measures.fits.items()
        if stream_key(name) in reads
    ]
    goods = any(isinstance(metric, Shares) for metric in measures.metrics.values())
    return Recorder(rates, rules.limits, streams, "purchases" in reads, goods, sorted(scope.facets))
