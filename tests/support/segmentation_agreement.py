"""Whether segmentation and the oracle agree on one customer: values, instants, order, reasons, and what is forecast."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from services.segmentation.domain import SegmentationDomain
from shared.events.segments import Because, SegmentChange, SegmentsChanged
from tests.support.segmentation_drive import CUSTOMER, Drive
from tests.support.segmentation_facts import Fact, known
from tests.support.segmentation_measures import Measure
from tests.support.segmentation_oracle import COMPOSITES, Change, Meaning, Value, history

UNITS = {"d": 86_400_000, "h": 3_600_000, "m": 60_000, "s": 1_000}


@dataclass
class Tally:
    """`moved`: the dimensions of which some change was compared."""

    histories: int = 0
    events: int = 0
    changes: int = 0
    wakes: int = 0
    moved: set[str] = field(default_factory=set)

    def add(self, drive: Drive, facts: Sequence[Fact], expected: Sequence[Change]) -> None:
        self.histories += 1
        self.events += len(facts)
        self.wakes += drive.wakes
        self.changes += sum(len(change.moves) for change in expected)
        self.moved |= {name for change in expected for name in change.moves}

    def __str__(self) -> str:
        wakes = self.wakes / max(self.events, 1)
        return f"{self.histories} histories, {self.changes} changes compared, {wakes:.2f} wake-ups per event, none idle"


def agree(meaning: Meaning, domain: SegmentationDomain, facts: Sequence[Fact], end: int, tally: Tally) -> None:
    """Raises AssertionError where they differ."""
    drive = Drive(domain, domain.initial(CUSTOMER))
    found = [change for fact in facts for change in drive.apply(fact)]
    foretold = {} if drive.erased else domain.forecast(drive.state, facts[-1].at)
    explained = {} if drive.erased else domain.because(drive.state, facts[-1].at)
    found += drive.until(end)
    expected = history(meaning, facts, end)
    assert [_told(at, event) for at, event in found] == [_foreseen(change) for change in expected]
    assert drive.idle == 0, "a timer fired although nothing changed"
    for (_, event), change in zip(found, expected, strict=True):
        for one in event.changes:
            reasons_agree(meaning, one, change)
    assert foretold == _to_come(expected, facts[-1].at)
    told = {} if drive.erased else next((c.memberships for c in expected[::-1] if c.at <= facts[-1].at), {})
    assert explained.keys() - {COMPOSITES} == told.keys()
    _explained(meaning, explained, facts)
    tally.add(drive, facts, expected)


def _explained(meaning: Meaning, explained: Mapping[str, Mapping[str, Any]], facts: Sequence[Fact]) -> None:
    """What is said of the present without any change: measured values, and the events that they were made of."""
    everything = known(facts)
    measures = meaning.measures(everything, facts[-1].at)
    for dimension, because in explained.items():
        named = {name: measures[name] for name in because["values"] if name in measures}
        for name, measure in named.items():
            assert as_measured(measure, because["values"][name]["value"]) == measure.value, (dimension, name)
        made_of = {i for measure in named.values() for i in measure.ids}
        stated = {i for _, i in everything.stated.values()}
        assert made_of <= set(because["events"]) <= made_of | stated, (dimension, because)
        assert not because["expired"], (dimension, because)


def _to_come(expected: Sequence[Change], after: int) -> dict[str, tuple[int, Value]]:
    """Per dimension the next change if nothing happens any more."""
    coming: dict[str, tuple[int, Value]] = {}
    for change in expected:
        if change.at > after:
            for dimension, (_, to) in change.moves.items():
                coming.setdefault(dimension, (change.at, to))
    return coming


def _told(at: int, event: SegmentsChanged) -> tuple[Any, ...]:
    moves = {change.dimension: (change.from_, change.to) for change in event.changes}
    assert len(moves) == len(event.changes), "one dimension, two changes"
    return at, moves, dict(event.memberships), tuple(event.composites)


def _foreseen(change: Change) -> tuple[Any, ...]:
    return change.at, change.moves, change.memberships, change.composites


def reasons_agree(meaning: Meaning, change: SegmentChange, truth: Change) -> None:
    because = change.because
    assert because.rule, change
    if truth.measures is None:
        assert truth.cause is not None
        assert because.rule == "objection to profiling"
        assert because.events == (truth.cause.id,), change
    elif change.dimension in meaning.facets:
        _facet_agrees(meaning.facets[change.dimension], because, truth)
    else:
        _measures_agree(meaning, change, truth)


def _facet_agrees(facet: str, because: Because, truth: Change) -> None:
    """The event that stated it, or took it away; a first value may have been stated long before."""
    assert because.events == (truth.known.stated[facet][1],), (facet, because, truth)
    assert because.expired == ()


def _measures_agree(meaning: Meaning, change: SegmentChange, truth: Change) -> None:
    """The values are the measured ones, the events are those they were made of, and what left since is named."""
    because, measures = change.because, truth.measures
    assert measures is not None
    named = {name: measures[name] for name in because.values if name in measures}
    assert named or change.dimension == COMPOSITES, change
    for name, measure in named.items():
        assert as_measured(measure, because.values[name].value) == measure.value, (name, change, measure)
    made_of = {i for measure in named.values() for i in measure.ids}
    facets = {name.removeprefix("facet.") for name in because.values}
    stated = {event_id for facet, (_, event_id) in truth.known.stated.items() if facet in facets}
    assert set(because.events) == made_of | stated, (change, made_of)
    assert len(set(because.events)) == len(because.events)
    began = truth.began.get(change.dimension)
    left = set() if began is None else {i for m in named.values() for i in m.left(began, truth.at)}
    assert set(because.expired) == left, (change, left)
    again = recomputed(meaning, because.events, truth)
    assert {name: again[name].value for name in named} == {name: measure.value for name, measure in named.items()}
    if truth.cause is None and not meaning.hold:
        assert any(_moved(name, measure, truth.at) for name, measure in named.items()), ("no cause named", change)


def recomputed(meaning: Meaning, ids: Iterable[str], truth: Change) -> Mapping[str, Measure]:
    """What is measured where nothing but these events ever happened."""
    chosen = set(ids)
    return meaning.measures(known([fact for fact in truth.known.facts if fact.id in chosen]), truth.at)


def _moved(name: str, measure: Measure, at: int) -> bool:
    """By time alone, and at this very instant: it grows, or something left its window."""
    return name.startswith("since_") or any(
        entry.at + within == at for entries, within in measure.windows for entry in entries
    )


def as_measured(measure: Measure, value: Any) -> Any:
    """What is written as text, as the oracle has it: spans in milliseconds, amounts exact."""
    if isinstance(measure.value, dict):
        return {category: Fraction(net) for category, net in value.items() if Fraction(net)}
    if isinstance(measure.value, int | Fraction) and isinstance(value, str):
        return span(value) if value[-1] in UNITS else Fraction(value)
    return tuple(value) if isinstance(value, list) else value


def span(text: str) -> Fraction:
    """`1d2h3m4.5s` in milliseconds."""
    total, number = Fraction(0), ""
    for letter in text:
        if letter in UNITS:
            total, number = total + Fraction(number) * UNITS[letter], ""
        else:
            number += letter
    assert not number, text
    return total
