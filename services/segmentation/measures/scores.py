"""Metrics made of metrics: points for how another one stands, and their total."""

from collections.abc import Sequence
from operator import ge, gt, le, lt

from services.segmentation.measures.facts import FOREVER, Moment
from services.segmentation.measures.gaps import Since
from services.segmentation.measures.metrics import Compare, Crossing, Metric, Number, crossing_by_steps, once
from shared.clock import Instant

Step = tuple[Compare, Number, int]
"""Comparison, bound, points."""


class Score(Crossing):
    """Points by the first step whose comparison holds for another metric."""

    unit: str = "number"
    moves = True
    steps = True
    absent = remarkable = False

    def __init__(self, name: str, of: Metric, steps: Sequence[Step], otherwise: int) -> None:
        self.name, self._of, self._ladder, self._otherwise = name, of, tuple(steps), otherwise
        self.reads = of.reads
        self.parts: tuple[Metric, ...] = (of, *of.parts)
        points = [points for _, _, points in steps] + [otherwise]
        descends = points == sorted(points, reverse=True)
        self._since = descends and all(compare in (lt, le) for compare, _, _ in steps) and isinstance(of, Since)
        self._upwards = descends and all(compare in (ge, gt) for compare, _, _ in steps)

    def at(self, moment: Moment) -> int:
        value = moment[self._of]
        if value is not None:
            for compare, bound, points in self._ladder:
                if compare(value, bound):
                    return points
        return self._otherwise

    def falls(self, moment: Moment) -> bool:
        return self._since or (self._upwards and self._of.falls(moment))

    def opens(self, _upwards: bool) -> bool:
        return True

    def step(self, moment: Moment) -> Instant:
        value, of, soonest = moment[self._of], self._of, FOREVER
        if value is None:
            return of.step(moment)
        falls = self.falls(moment)
        for compare, bound, _ in self._ladder:
            holds = compare(value, bound)
            if holds or not falls:
                soonest = min(soonest, of.crossing(moment, compare, bound, soonest))
            if holds:
                break
        return soonest

    def crossing(self, moment: Moment, compare: Compare, bound: Number, before: Instant) -> Instant:
        return crossing_by_steps(self, moment, compare, bound, before)

    def shown(self, value: int) -> int:
        return value

    def events(self, moment: Moment) -> tuple[str, ...]:
        return self._of.events(moment)

    def expired(self, moment: Moment, since: Instant) -> tuple[str, ...]:
        return self._of.expired(moment, since)


class Total(Crossing):
    """The sum of scores."""

    unit: str = "number"
    moves = True
    steps = True
    absent = remarkable = False

    def __init__(self, name: str, scores: Sequence[Score]) -> None:
        self.name, self._scores = name, tuple(scores)
        self.parts: tuple[Metric, ...] = tuple(dict.fromkeys(m for s in scores for m in (s, *s.parts)))
        self.reads = frozenset[str]().union(*(score.reads for score in scores))

    def at(self, moment: Moment) -> int:
        return sum([moment[score] for score in self._scores])

    def falls(self, moment: Moment) -> bool:
        return all(score.falls(moment) for score in self._scores)

    def opens(self, _upwards: bool) -> bool:
        return True

    def step(self, moment: Moment) -> Instant:
        return min(score.step(moment) for score in self._scores)

    def crossing(self, moment: Moment, compare: Compare, bound: Number, before: Instant) -> Instant:
        """From step to step of any score; only the scores that step are worked out anew."""
        now = compare(moment[self], bound)
        points: list[int] = [moment[score] for score in self._scores]
        steps = [score.step(moment) for score in self._scores]
        while (soonest := min(steps)) < before:
            moment = moment.later(soonest)
            for index, score in enumerate(self._scores):
                if steps[index] == soonest:
                    points[index], steps[index] = moment[score], score.step(moment)
            if compare(sum(points), bound) != now:
                break
        return soonest

    def shown(self, value: int) -> int:
        return value

    def events(self, moment: Moment) -> tuple[str, ...]:
        return once([score.events(moment) for score in self._scores])

    def expired(self, moment: Moment, since: Instant) -> tuple[str, ...]:
        return once([score.expired(moment, since) for score in self._scores])
