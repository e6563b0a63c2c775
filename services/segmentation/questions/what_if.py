"""Two versions of the rules over one customer's life at once: every move under each, and what they amount to. Pure."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, NamedTuple

from pydantic import Field

from services.segmentation.domain import SegmentationDomain
from services.segmentation.language.revision import COMPOSITE
from services.segmentation.state import CustomerState
from shared.clock import DAY, Instant, to_rfc3339
from shared.events.envelope import Data, Event
from shared.events.fields import Model
from shared.events.segments import SegmentsChanged
from shared.processing.domain import EMPTY_VIEW, Decision

FLAPPING_WINDOW = 30 * DAY
EXAMPLES = 3
"""Customers shown per move, and the most restless ones per dimension."""

Value = str | None
Side = int
ACTIVE, CANDIDATE = 0, 1


class Move(NamedTuple):
    """`side`: under which of the two. A composite's values are `in` and None."""

    at: Instant
    side: Side
    dimension: str
    before: Value
    after: Value


class Both(Model):
    """Lives in memory only: nothing of it is written with the document."""

    active: CustomerState = Field(exclude=True)
    candidate: CustomerState = Field(exclude=True)
    moves: tuple[Move, ...] = Field(default=(), exclude=True)


class BothDomain:
    """The two domains side by side, so that a record is read, decoded and fenced once. Says nothing to the world."""

    service = "segmentation"
    state_type = Both

    def __init__(self, active: SegmentationDomain, candidate: SegmentationDomain) -> None:
        self._active, self._candidate = active, candidate

    def initial(self, customer_id: str) -> Both:
        return Both(active=self._active.initial(customer_id), candidate=self._candidate.initial(customer_id))

    def on_event(self, state: Both, event: Event, at: Instant) -> Decision[Both]:
        active = self._active.on_event(state.active, event, at)
        return _joined(state, active, self._candidate.on_event(state.candidate, event, at), at)

    def on_time(self, state: Both, at: Instant) -> Decision[Both]:
        active, candidate = Decision(state.active), Decision(state.candidate)
        if _is_due(self._active.wake_at(state.active), at):
            active = self._active.on_time(state.active, at)
        if _is_due(self._candidate.wake_at(state.candidate), at):
            candidate = self._candidate.on_time(state.candidate, at)
        return _joined(state, active, candidate, at)

    def wake_at(self, state: Both) -> Instant | None:
        active, candidate = self._active.wake_at(state.active), self._candidate.wake_at(state.candidate)
        if active is None or candidate is None:
            return candidate if active is None else active
        return min(active, candidate)

    def view(self, _state: Both) -> Mapping[str, Any]:
        return EMPTY_VIEW

    def because(self, state: Both, at: Instant) -> dict[str, dict[str, Any]]:
        """Of the candidate."""
        return self._candidate.because(state.candidate, at)


def _is_due(wake_at: Instant | None, at: Instant) -> bool:
    return wake_at is not None and wake_at <= at


def _joined(
    state: Both, active: Decision[CustomerState], candidate: Decision[CustomerState], at: Instant
) -> Decision[Both]:
    if active.state is state.active and candidate.state is state.candidate:
        return Decision(state)
    moves = (*_moves(at, ACTIVE, active.events), *_moves(at, CANDIDATE, candidate.events))
    return Decision(Both.model_construct(active=active.state, candidate=candidate.state, moves=(*state.moves, *moves)))


def _moves(at: Instant, side: Side, events: Iterable[Data]) -> Iterator[Move]:
    for event in events:
        for change in event.changes if isinstance(event, SegmentsChanged) else ():
            if change.dimension != "composites":
                yield Move(at, side, change.dimension, _text(change.from_), _text(change.to))
                continue
            before, after = set(change.from_ or ()), set(change.to or ())
            for name in sorted(before ^ after):
                was, is_ = ("in", None) if name in before else (None, "in")
                yield Move(at, side, COMPOSITE + name, was, is_)


def _text(value: Any) -> Value:
    return value if value is None or isinstance(value, str) else f"[{', '.join(value)}]"


class Example(NamedTuple):
    customer_id: str
    since: Instant
    because: dict[str, Any] | None


@dataclass(slots=True)
class Dimension:
    """What both versions make of one dimension, counted. Keys: (from, to), (side, value), (month, side), month."""

    moves: Counter[tuple[Value, Value]] = field(default_factory=Counter)
    sizes: Counter[tuple[Side, Value]] = field(default_factory=Counter)
    changes: Counter[tuple[str, Side]] = field(default_factory=Counter)
    parted: Counter[str] = field(default_factory=Counter)
    flapping: Counter[Side] = field(default_factory=Counter)
    restless: list[tuple[int, str]] = field(default_factory=list)
    examples: dict[tuple[Value, Value], list[Example]] = field(default_factory=dict)

    def merge(self, other: "Dimension") -> None:
        for name in ("moves", "sizes", "changes", "parted", "flapping"):
            getattr(self, name).update(getattr(other, name))
        self.restless = _most(self.restless + other.restless)
        for move, found in other.examples.items():
            self.examples[move] = sorted(self.examples.get(move, []) + found)[:EXAMPLES]


@dataclass(slots=True)
class Tally:
    """Of some customers; tallies of others are added. `moved`: per customer, by dimension, from and to. `parked`: at
    these the domain raised."""

    customers: int = 0
    records: int = 0
    parked: int = 0
    moved: dict[str, dict[str, tuple[Value, Value]]] = field(default_factory=dict)
    dimensions: dict[str, Dimension] = field(default_factory=dict)

    def merge(self, other: "Tally") -> None:
        self.customers += other.customers
        self.records += other.records
        self.parked += other.parked
        self.moved |= other.moved
        for name, dimension in other.dimensions.items():
            self.dimensions.setdefault(name, Dimension()).merge(dimension)


@dataclass(frozen=True, slots=True)
class Asked:
    """`dimensions`: those that may differ. `since`: history before it is not counted. `flapping`: more moves of one
    dimension than this within 30 days."""

    dimensions: tuple[str, ...]
    since: Instant = 0
    flapping: int = 3


def count(tally: Tally, asked: Asked, domain: BothDomain, customer_id: str, state: Both, at: Instant) -> None:
    """Adds one customer, as it is at `at`."""
    tally.customers += 1
    lives = _lives(state.moves)
    moved: dict[str, tuple[Value, Value]] = {}
    for name in asked.dimensions:
        life = lives.get(name, ())
        present = _present(life)
        dimension = tally.dimensions.setdefault(name, Dimension())
        for side, value in enumerate(present):
            dimension.sizes[side, value] += 1
        _count_history(dimension, asked, customer_id, life)
        if present[ACTIVE] != present[CANDIDATE]:
            moved[name] = present
            dimension.moves[present] += 1
    if moved:
        tally.moved[customer_id] = moved
        _show(tally, domain, customer_id, state, at, moved, lives)


def _lives(moves: Iterable[Move]) -> dict[str, list[Move]]:
    lives: dict[str, list[Move]] = {}
    for move in moves:
        lives.setdefault(move.dimension, []).append(move)
    return lives


def _present(life: Iterable[Move]) -> tuple[Value, Value]:
    values: list[Value] = [None, None]
    for move in life:
        values[move.side] = move.after
    return values[ACTIVE], values[CANDIDATE]


def _count_history(dimension: Dimension, asked: Asked, customer_id: str, life: Sequence[Move]) -> None:
    for move in life:
        if move.at >= asked.since:
            dimension.changes[_month(move.at), move.side] += 1
    for month in _partings(life, asked.since):
        dimension.parted[month] += 1
    for side in (ACTIVE, CANDIDATE):
        # To be in no segment yet is no restlessness: the first value is not counted.
        times = [m.at for m in [m for m in life if m.side == side][1:] if m.at >= asked.since]
        most = most_within(times, FLAPPING_WINDOW)
        if most > asked.flapping:
            dimension.flapping[side] += 1
            if side == CANDIDATE:
                dimension.restless = _most([*dimension.restless, (most, customer_id)])


def _partings(life: Sequence[Move], since: Instant) -> Iterator[str]:
    """The months in which the two begin to differ; what both change at one instant counts together."""
    values: list[Value] = [None, None]
    for at, together in groupby(life, key=lambda move: move.at):
        differed = values[ACTIVE] != values[CANDIDATE]
        for move in together:
            values[move.side] = move.after
        if values[ACTIVE] != values[CANDIDATE] and not differed and at >= since:
            yield _month(at)


def most_within(times: Sequence[Instant], span: int) -> int:
    """The most of these ascending times that lie within any half-open window of this span."""
    most, first = 0, 0
    for index, time in enumerate(times):
        while times[first] <= time - span:
            first += 1
        most = max(most, index - first + 1)
    return most


def _most(restless: list[tuple[int, str]]) -> list[tuple[int, str]]:
    return sorted(restless, key=lambda one: (-one[0], one[1]))[:EXAMPLES]


def _show(
    tally: Tally,
    domain: BothDomain,
    customer_id: str,
    state: Both,
    at: Instant,
    moved: Mapping[str, tuple[Value, Value]],
    lives: Mapping[str, Sequence[Move]],
) -> None:
    """The reasons of those customers that are examples: the first by id, whoever counts them in whatever order."""
    because: dict[str, dict[str, Any]] | None = None
    for name, move in moved.items():
        known = tally.dimensions[name].examples.setdefault(move, [])
        if len(known) < EXAMPLES or customer_id < known[-1].customer_id:
            because = domain.because(state, at) if because is None else because
            since = max((m.at for m in lives[name] if m.side == CANDIDATE), default=at)
            known.append(Example(customer_id, since, because.get(name)))
            tally.dimensions[name].examples[move] = sorted(known, key=lambda one: one.customer_id)[:EXAMPLES]


def _month(at: Instant) -> str:
    return to_rfc3339(at)[:7]
