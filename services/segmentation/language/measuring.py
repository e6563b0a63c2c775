"""Metrics of the rules, compiled."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from services.segmentation.language import grammar
from services.segmentation.language.grammar import EntryRule, MetricRule
from services.segmentation.language.misfits import Misfit, named
from services.segmentation.language.sentences import step
from services.segmentation.language.streaming import fits_of
from services.segmentation.measures.facts import PURCHASES
from services.segmentation.measures.gaps import MedianGap, Since
from services.segmentation.measures.metrics import Collected, Count, DistinctDays, Metric, Newest, Points
from services.segmentation.measures.money import Rates
from services.segmentation.measures.recorder import stream_key
from services.segmentation.measures.scores import Score, Total
from services.segmentation.measures.spend import NetSpend, Shares, StreamSum
from services.segmentation.measures.streams import Fit
from services.segmentation.measures.windows import Window
from services.segmentation.rules import Rules
from shared.events.envelope import Data


@dataclass
class Measures:
    """`fits`: per stream and kind of event. `mixed`: streams that orders are part of, and an order's points there.
    `horizons`: per stream twice its longest window, so that reasons can name what has left; None: for ever.
    `labels`: per metric of a newest value, the names that its stream gives. `entries`: per stream as they are written."""

    rates: Rates
    metrics: dict[str, Metric] = field(default_factory=dict)
    fits: dict[str, Mapping[type[Data], Sequence[Fit]]] = field(default_factory=dict)
    mixed: dict[str, int] = field(default_factory=dict)
    horizons: dict[str, int | None] = field(default_factory=dict)
    labels: dict[str, frozenset[str]] = field(default_factory=dict)
    entries: Mapping[str, Sequence[EntryRule]] = field(default_factory=dict)


def metrics_of(rules: Rules, rates: Rates) -> Measures:
    found = Measures(rates, entries=rules.streams)
    for name, entries in rules.streams.items():
        if name == PURCHASES:
            raise Misfit("streams.purchases", "orders are always there under this name; choose another")
        found.fits[name], points = fits_of(f"streams.{name}", entries)
        if points is not None:
            found.mixed[name] = points
    for name, rule in rules.metrics.items():
        found.metrics[name] = _metric(f"metrics.{name}", name, rule, found, frozenset(rules.metrics))
        if isinstance(rule, grammar.NewestOf):
            entries = rules.streams.get(rule.newest, ())
            if entries and all(entry.as_ for entry in entries):
                found.labels[name] = frozenset(label for entry in entries for label in entry.as_)
    return found


def _metric(path: str, name: str, rule: MetricRule, found: Measures, later: frozenset[str]) -> Metric:
    match rule:
        case grammar.ScoreOf():
            of = named(f"{path}.score", rule.score, found.metrics, later)
            steps = [step(f"{path}.steps.{text}", text, of, points) for text, points in rule.steps.items()]
            return Score(name, of, steps, rule.otherwise)
        case grammar.TotalOf():
            return Total(name, [_scored(f"{path}.total", part, found.metrics, later) for part in rule.total])
        case grammar.ShareOf():
            window = _window(rule)
            return Shares(name, PURCHASES, window, frozenset((PURCHASES,)), found.rates)
        case grammar.SinceFirst():
            return Since(name, *_stream(f"{path}.since_first", rule.since_first, None, found), first=True)
        case grammar.SinceLast():
            return Since(name, *_stream(f"{path}.since_last", rule.since_last, None, found), first=False)
        case grammar.MedianGapOf():
            stream, reads = _stream(f"{path}.median_gap", rule.median_gap, None, found)
            return MedianGap(name, stream, reads, rule.within, (rule.at_least, rule.at_most), rule.otherwise)
        case _:
            return _of_window(path, name, rule, found)


def _of_window(path: str, name: str, rule: grammar.OfWindow, found: Measures) -> Metric:
    window = _window(rule)
    match rule:
        case grammar.CountOf():
            stream, reads = _stream(f"{path}.count", rule.count, window.within, found)
            return Count(name, stream, window, reads)
        case grammar.SumOf():
            stream, reads = _stream(f"{path}.sum", rule.sum, window.within, found)
            if stream == PURCHASES:
                return NetSpend(name, stream, window, reads, found.rates)
            _keeping(f"{path}.sum", stream, found)
            return StreamSum(name, stream, window, reads)
        case grammar.PointsOf():
            valued = _valued(f"{path}.points", rule.points, window, found)
            if not any(entry.points for entry in found.entries[rule.points]):
                raise Misfit(f"{path}.points", f"no entry of {rule.points!r} has `points`")
            return Points(name, *valued)
        case grammar.DistinctDays():
            stream, reads = _stream(f"{path}.distinct_days", rule.distinct_days, window.within, found)
            return DistinctDays(name, stream, window, reads)
        case grammar.NewestOf():
            valued = _valued(f"{path}.newest", rule.newest, window, found)
            _keeping(f"{path}.newest", rule.newest, found)
            return Newest(name, *valued)
        case grammar.CollectedOf():
            valued = _valued(f"{path}.collected", rule.collected, window, found)
            _keeping(f"{path}.collected", rule.collected, found)
            return Collected(name, *valued)
    raise AssertionError(rule)


def _valued(path: str, name: str, window: Window, found: Measures) -> tuple[str, Window, frozenset[str]]:
    """Of a stream whose entries have points and values, which orders alone have not."""
    if name == PURCHASES:
        raise Misfit(path, "orders have neither points nor values of their own; expected a stream that gives them")
    stream, reads = _stream(path, name, window.within, found)
    return stream, window, reads


def _keeping(path: str, name: str, found: Measures) -> None:
    if all(entry.value is None for entry in found.entries[name]):
        instead = "; for the money of orders expected `sum: purchases`" if name in found.mixed else ""
        raise Misfit(path, f"no entry of {name!r} keeps a `value`{instead}")


def _stream(path: str, name: str, within: int | None, found: Measures) -> tuple[str, frozenset[str]]:
    """The stream, and the keys of what it is made of; notes how far back it is looked."""
    named(path, name, {**found.fits, PURCHASES: None})
    had = found.horizons.get(name, 0)
    found.horizons[name] = None if within is None or had is None else max(had, 2 * within)
    keys = {stream_key(name)} | ({PURCHASES} if name in found.mixed else set())
    return name, frozenset(keys)


def _window(rule: grammar.OfWindow) -> Window:
    return Window(rule.within, rule.until or 0)


def _scored(path: str, name: str, known: Mapping[str, Metric], later: frozenset[str]) -> Score:
    metric = named(path, name, known, later)
    if not isinstance(metric, Score):
        raise Misfit(path, f"{name!r} is no score")
    return metric
