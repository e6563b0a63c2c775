"""One evaluation: what a customer's dimensions and composites are at an instant, what changed, and when to look again."""

from collections.abc import Iterable
from typing import Any

from services.segmentation import composites as composing
from services.segmentation.dimensions import Dimension, Reasons
from services.segmentation.language.program import Program
from services.segmentation.measures.facts import FOREVER, Facts, Moment, Standing
from services.segmentation.state import CustomerState, Segment
from shared.clock import Instant
from shared.events.segments import Membership

COMPOSITES = "composites"
"""What the list of composites is called among the changes."""


class Evaluation:
    """Begins with what is published; `judge` what may be another now, then `look_ahead`."""

    def __init__(self, program: Program, state: CustomerState, facts: Facts, at: Instant) -> None:
        self._program, self._at = program, at
        self._composites = state.composites
        names = () if state.composites is None else state.composites[0]
        self.standing = Standing(dict(state.segments), set(names), state.ever)
        self.moment = Moment(facts, self.standing, at)
        self.held = state.held
        self.changes: list[dict[str, Any]] = []
        self._looked: set[int] = set()
        self._keys: set[str] | None = None

    def judge(self, touched: Iterable[str] | None) -> None:
        """`touched`: keys of what an event changed; None: everything is looked at. What time has overtaken always is."""
        program, looked = self._program, self._looked
        if touched is None:
            looked.update(range(len(program.dimensions)))
        else:
            self._overtaken()
            self._keys = set(touched)
            for key in touched:
                looked.update(program.resting.get(key, ()))
        for index, (dimension, reasons) in enumerate(program.dimensions):
            if index in looked and self._judge(dimension, reasons):
                looked.update(program.resting.get(dimension.key, ()))
                if self._keys is not None:
                    self._keys.add(dimension.key)
        if touched is None or len(program.dimensions) in looked:
            self._judge_composites()

    def _overtaken(self) -> None:
        at, places = self._at, self._program.places
        for name, segment in self.standing.segments.items():
            if segment[2] is not None and segment[2] <= at:
                self._looked.add(places[name])
        if self._composites is not None and self._composites[2] is not None and self._composites[2] <= at:
            self._looked.add(len(places))

    def _judge(self, dimension: Dimension, reasons: Reasons) -> bool:
        """Whether the dimension changed."""
        name = dimension.name
        segment = self.standing.segments.get(name)
        present = None if segment is None else segment[0]
        is_held = dimension.hold_for and self.held.get(name, 0) > self._at
        value = present if is_held else dimension.at(self.moment, present)
        if value == present:
            if segment is None:  # in no value, which is to be looked ahead of like any other
                self.standing.segments[name] = (None, self._at, None)
            return False
        since = None if segment is None else segment[1]
        self.standing.segments[name] = (value, self._at, None)
        if dimension.hold_for:
            self.held = {**self.held, name: self._at + dimension.hold_for}
        if name in self._program.latched:
            self._remember(name, value)
        self.standing.before[name] = present
        because = reasons.because(self.moment, present, value, since)
        self.changes.append({"dimension": name, "from": present, "to": value, "because": because})
        return True

    def _remember(self, name: str, value: Membership) -> None:
        latched, ever = self._program.latched[name], self.standing.ever
        for one in (value,) if isinstance(value, str) else value or ():
            if one in latched and one not in ever.get(name, ()):
                ever = self.standing.ever = {**ever, name: (*ever.get(name, ()), one)}

    def _judge_composites(self) -> None:
        self._looked.add(len(self._program.dimensions))
        standing, had, keys = self.standing, self._composites, self._keys
        changed = []
        for composite in self._program.composites:
            if keys is None or composite.moves or not composite.reads.isdisjoint(keys):
                was = composite.name in standing.composites
                if composite.holds(self.moment) != was:
                    (standing.composites.discard if was else standing.composites.add)(composite.name)
                    changed.append(composite)
                    if keys is not None:
                        keys.add(composite.key)
        if had is not None and not changed:
            return
        names = tuple(sorted(standing.composites))
        self._composites = (names, self._at, None)
        if changed:
            because = composing.because(changed, self.moment, None if had is None else had[1])
            old = None if had is None else had[0]
            self.changes.append({"dimension": COMPOSITES, "from": old, "to": names, "because": because})

    def look_ahead(self) -> Instant | None:
        """Notes for what was judged up to when it surely stays; gives the soonest instant at which anything changes.

        The search of what rests on scores goes step by step: what the others find first shortens it. Where it stopped may
        be too early, so it goes on from there once that would be the soonest.
        """
        program, segments = self._program, self.standing.segments
        for index, dimension in program.straight:
            if index in self._looked:
                self._until(dimension, segments[dimension.name], FOREVER)
        searching = program.searching_names
        ends = [s[2] for name, s in segments.items() if s[2] is not None and name not in searching]
        soonest = min(self._composites_until(), *ends, FOREVER)
        for index, dimension in program.searching:
            segment = segments.get(dimension.name)
            if segment is not None and (index in self._looked or (segment[2] or FOREVER) < soonest):
                soonest = self._until(dimension, segment, soonest)
        self.moment.forget()
        return None if soonest == FOREVER else soonest

    def _until(self, dimension: Dimension, segment: Segment, before: Instant) -> Instant:
        """Notes up to when it surely stays; gives when it changes, or `before` where that is no sooner."""
        value, since, _ = segment
        moment, release = self.moment, self.held.get(dimension.name, 0) if dimension.hold_for else 0
        found = None
        if release > self._at:
            moment = moment.later(release)
            found = release if dimension.at(moment, value) != value else None
        if found is None:
            found = dimension.next_change(moment, value, before)
        self.standing.segments[dimension.name] = (value, since, None if found >= FOREVER else found)
        return min(found, before)

    def _composites_until(self) -> Instant:
        if self._composites is None:
            return FOREVER
        names, since, until = self._composites
        if len(self._program.dimensions) in self._looked:
            found = FOREVER
            for composite in self._program.composites:
                if composite.moves:
                    found = min(found, composite.next_change(self.moment, found))
            until = None if found == FOREVER else found
            self._composites = (names, since, until)
        return FOREVER if until is None else until

    def fields(self) -> dict[str, Any]:
        """As `CustomerState` keeps them. Of a dimension in no value something is kept only where time may bring one: since
        when, so that the change can say what expired."""
        timed = self._program.timed
        return {
            "segments": {n: s for n, s in self.standing.segments.items() if s[0] is not None or n in timed},
            "composites": self._composites,
            "held": self.held,
            "ever": self.standing.ever,
        }
