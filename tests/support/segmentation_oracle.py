"""Segmentation once more, slow and plain: at every instant that could matter, everything is worked out from all events.

It shares no code with services/segmentation and reads no rules file: what rules mean is given as plain functions
(`Meaning`); those of the standard rules are in segmentation_standard.py. An instant is UTC milliseconds.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from tests.support.segmentation_facts import Fact, Known, known
from tests.support.segmentation_measures import Measure

Value = str | tuple[str, ...] | None
COMPOSITES = "composites"


@dataclass(frozen=True, slots=True)
class Look:
    """One customer at one instant. `before`: what was published; `after`: what is by now, dimension by dimension.

    `ever`: every value of a dimension that was published up to and with this look.
    """

    known: Known
    at: int
    measures: Mapping[str, Measure]
    before: Mapping[str, Value]
    after: dict[str, Value]
    ever: set[tuple[str, Value]]

    def __getitem__(self, measure: str) -> object:
        return self.measures[measure].value

    def stated(self, facet: str) -> Value:
        return self.known.stated.get(facet, (None, ""))[0]


@dataclass(frozen=True)
class Meaning:
    """`spans`: how long after an event anything can change by it, given all that is known.

    `facets`: the dimensions that only repeat a facet. `hold`: minimum dwell per dimension.
    """

    spans: Callable[[Known], set[int]]
    measures: Callable[[Known, int], dict[str, Measure]]
    dimensions: Mapping[str, Callable[[Look], Value]]
    facets: Mapping[str, str] = field(default_factory=dict)
    composites: Mapping[str, Callable[[Look], bool]] = field(default_factory=dict)
    hold: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Change:
    """All that changed at one instant, and what was known and measured then. `cause`: None where only time had passed.

    `began`: per dimension since when it was what it no longer is; empty at a first look. `measures` is None where profiling
    is objected to.
    """

    at: int
    moves: dict[str, tuple[Value, Value]]
    memberships: dict[str, Value]
    composites: tuple[str, ...]
    known: Known
    measures: Mapping[str, Measure] | None
    began: Mapping[str, int]
    cause: Fact | None


def history(meaning: Meaning, facts: Sequence[Fact], end: int) -> list[Change]:
    """Every change of one customer up to `end`: timers due first, then each event is one evaluation, in log order."""
    walk = _Walk(meaning)
    for number, fact in enumerate(facts, 1):
        walk.pass_time(fact.at)
        if fact.kind == "erased":
            return walk.changes
        walk.learn(known(facts[:number]))
        walk.look(fact.at, fact)
    walk.pass_time(end)
    return walk.changes


class _Walk:
    """`composites` is None before the first evaluation, and while profiling is objected to. `since`: per dimension the last
    published change; `began`: the last look at which it became what it is."""

    def __init__(self, meaning: Meaning) -> None:
        self.meaning = meaning
        self.known: Known | None = None
        self.candidates: list[int] = []
        self.at = 0
        self.published: dict[str, Value] = {}
        self.composites: tuple[str, ...] | None = None
        self.since: dict[str, int] = {}
        self.began: dict[str, int] = {}
        self.ever: set[tuple[str, Value]] = set()
        self.changes: list[Change] = []

    def learn(self, everything: Known) -> None:
        self.known = everything
        spans = self.meaning.spans(everything)
        self.candidates = sorted({instant + span for instant in everything.instants() for span in spans})

    def pass_time(self, until: int) -> None:
        """Every instant at which time alone could change something, one after the other."""
        for instant in self._instants(until):
            self.look(instant, None)

    def _instants(self, until: int) -> Iterator[int]:
        """A change begins a dwell, whose end is an instant to look at, too."""
        coming = iter([instant for instant in self.candidates if self.at < instant <= until])
        instant = next(coming, None)
        while True:
            dwells = [self.since[d] + span for d, span in self.meaning.hold.items() if d in self.since]
            ends = [end for end in dwells if self.at < end <= until]
            soonest = min([*ends, *([] if instant is None else [instant])], default=None)
            if soonest is None:
                return
            if soonest == instant:
                instant = next(coming, None)
            yield soonest

    def look(self, at: int, cause: Fact | None) -> None:
        assert self.known is not None
        self.at = at
        if self.known.objects:
            self._conclude(at, {}, None, None, cause)
            self.since.clear()
            self.began.clear()
            return
        look = Look(self.known, at, self.meaning.measures(self.known, at), dict(self.published), {}, self.ever)
        for name in self.meaning.dimensions:
            value = self._dwelling(name, look)
            look.after[name] = value
            self.ever.add((name, value))
        holding = tuple(sorted(name for name, holds in self.meaning.composites.items() if holds(look)))
        after = {name: value for name, value in look.after.items() if value is not None}
        self._conclude(at, after, holding, look.measures, cause)

    def _dwelling(self, name: str, look: Look) -> Value:
        hold = self.meaning.hold.get(name, 0)
        if name in self.since and look.at < self.since[name] + hold:
            return self.published.get(name)
        return self.meaning.dimensions[name](look)

    def _conclude(
        self,
        at: int,
        after: dict[str, Value],
        holding: tuple[str, ...] | None,
        measures: Mapping[str, Measure] | None,
        cause: Fact | None,
    ) -> None:
        names = {**self.published, **after}
        moves = {d: (self.published.get(d), after.get(d)) for d in names if self.published.get(d) != after.get(d)}
        if (self.composites or ()) != (holding or ()):
            was = None if self.composites is None else self.composites
            moves[COMPOSITES] = (was, holding)
        if moves:
            assert self.known is not None
            began = dict(self.began)
            self.changes.append(Change(at, moves, after, holding or (), self.known, measures, began, cause))
            self.since |= dict.fromkeys(moves, at)
        # At a first look everything begins, though what is in no value, or in an empty list, is not told.
        first = self.composites is None and holding is not None
        self.began |= dict.fromkeys((*self.meaning.dimensions, COMPOSITES) if first else moves, at)
        self.published, self.composites = after, holding
