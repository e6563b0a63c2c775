"""Composites: named sets of customers by rules over dimensions, facets and metrics."""

from typing import Any

from services.segmentation.conditions import Condition
from services.segmentation.explanation import Explanation
from services.segmentation.measures.facts import FOREVER, Moment
from services.segmentation.measures.recorder import composite_key
from shared.clock import Instant


class Composite:
    def __init__(self, name: str, condition: Condition) -> None:
        self.name, self.condition, self.key = name, condition, composite_key(name)
        self.holds = condition.holds
        self.moves, self.searches, self.reads = condition.moves, condition.searches, condition.reads
        self.rule = f"{name}: when {condition.text}"

    def next_change(self, moment: Moment, before: Instant) -> Instant:
        """The first instant after the moment at which time alone brings in or takes out, or one that is not before `before`."""
        if not self.moves:
            return FOREVER
        now = self.holds(moment)
        while (turns := self.condition.turns(moment, before)) < before:
            moment = moment.later(turns)
            if self.holds(moment) != now:
                break
        return turns

    def explain(self, to: Explanation, moment: Moment) -> None:
        self.condition.explain(to, moment)


def because(changed: list[Composite], moment: Moment, since: Instant | None) -> dict[str, Any]:
    """Why each of these is no longer what it was."""
    to = Explanation()
    for composite in changed:
        to.value(composite.name, "in" if composite.name in moment.standing.composites else "out")
        composite.explain(to, moment)
    return to.because(moment, since, "; ".join(composite.rule for composite in changed))
