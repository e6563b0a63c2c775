"""What-if as a question to one partition after the other: two rules files, folded side by side over its records."""

from dataclasses import dataclass, field
from pathlib import Path

from services.segmentation.domain import SegmentationDomain
from services.segmentation.language.program import compile_rules
from services.segmentation.language.revision import Written, dimensions_of, restricted, touched
from services.segmentation.questions.sweep import Report, fold, shown_at
from services.segmentation.questions.what_if import Asked, Both, BothDomain, Tally, count
from services.segmentation.rules import Rules, load_rates
from shared.clock import Instant
from shared.processing.ports import LogScanner


@dataclass(frozen=True, slots=True)
class WhatIf:
    """`names`: what may mean something else under the candidate; nothing else is worked out."""

    active: Rules
    candidate: Rules
    rates: Path
    since: Instant = 0
    flapping: int = 3
    names: frozenset[str] = field(init=False)
    dimensions: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        before, after = Written(self.active.text), Written(self.candidate.text)
        names = touched(before, after)
        dimensions = dict.fromkeys((*dimensions_of(before, names), *dimensions_of(after, names)))
        object.__setattr__(self, "names", frozenset(names))
        object.__setattr__(self, "dimensions", tuple(dimensions))

    async def ask(self, number: int, stop: int, scanner: LogScanner, report: Report) -> Tally:
        domain = BothDomain(self._domain(self.active), self._domain(self.candidate))
        replay = await fold(domain, number, stop, scanner, report)
        tally = Tally(records=replay.applied)
        asked = Asked(self.dimensions, self.since, self.flapping)
        for document, state in replay.customers():
            tally.parked += document.parked is not None
            if isinstance(state, Both) and not document.erased:
                at = shown_at(document.at, replay.time, domain.wake_at(state))
                count(tally, asked, domain, document.id, state, at)
        return tally

    def _domain(self, rules: Rules) -> SegmentationDomain:
        wanted = restricted(rules, Written(rules.text), self.names)
        return SegmentationDomain(compile_rules(wanted, load_rates(self.rates)))
