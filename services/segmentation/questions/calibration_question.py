"""What counts and amounts are for every customer at present, asked of one partition after the other."""

from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import yaml

from services.segmentation.domain import SegmentationDomain
from services.segmentation.language.program import compile_rules
from services.segmentation.language.source import read_yaml
from services.segmentation.questions.sweep import Report, fold, shown_at
from services.segmentation.rules import Rules, load_rates, parse_rules
from services.segmentation.state import CustomerState
from shared.processing.ports import LogScanner

PROBE = "measured_"


def probing(text: str, metrics: tuple[str, ...]) -> Rules:
    """Rules whose only dimensions tell these metrics: so each is measured as the rules themselves measure it."""
    document: dict[str, Any] = {**read_yaml(text, "the rules")[0]}
    document["dimensions"] = {
        f"{PROBE}{n}": {"cases": [{"value": "above", "when": f"{metric} > 0"}], "otherwise": "not above"}
        for n, metric in enumerate(metrics)
    }
    document.pop("composites", None)
    return parse_rules(yaml.safe_dump(document, allow_unicode=True, sort_keys=False), "the probe")


@dataclass(frozen=True, slots=True)
class Measured:
    """The answer: per metric the values above zero."""

    rules: Rules
    metrics: tuple[str, ...]
    rates: Path

    async def ask(self, number: int, stop: int, scanner: LogScanner, report: Report) -> dict[str, list[float]]:
        domain = SegmentationDomain(compile_rules(self.rules, load_rates(self.rates)))
        replay = await fold(domain, number, stop, scanner, report)
        found: dict[str, list[float]] = {metric: [] for metric in self.metrics}
        for document, state in replay.customers():
            if isinstance(state, CustomerState) and not document.erased:
                at = shown_at(document.at, replay.time, domain.wake_at(state))
                self._measure(domain.because(state, at), found)
        return found

    def _measure(self, because: dict[str, dict[str, Any]], found: dict[str, list[float]]) -> None:
        for n, metric in enumerate(self.metrics):
            values = because.get(f"{PROBE}{n}", {}).get("values", {})
            value = Decimal(str(values.get(metric, {}).get("value", 0)))
            if value > 0:
                found[metric].append(float(value))
