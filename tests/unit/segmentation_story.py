"""Small rules and the lives of customers under them, told in days."""

from typing import Any

from services.segmentation.domain import SegmentationDomain
from services.segmentation.language.program import compile_rules
from services.segmentation.rules import load_rates, parse_rules
from shared.clock import DAY, from_rfc3339
from shared.events.segments import SegmentsChanged
from tests.support.segmentation_drive import CONFIG
from tests.support.segmentation_facts import Fact

T0 = from_rfc3339("2025-03-01T12:00:00Z")
HEAD = "base_currency: CNY\n"


def rules(text: str) -> SegmentationDomain:
    rates = load_rates(CONFIG / "exchange_rates.yaml")
    return SegmentationDomain(compile_rules(parse_rules(HEAD + text, "mine"), rates))


def said(kind: str, day: float, name: str = "", late: float = 0, **data: Any) -> Fact:
    at = T0 + int(day * DAY)
    return Fact(kind, name or f"{kind}-{day}", at - int(late * DAY), at, said=data)


def bought(day: float, amount: str, name: str = "") -> Fact:
    at = T0 + int(day * DAY)
    return Fact("purchase", name or f"p-{day}", at, at, amount=amount)


def course(found: list[tuple[int, SegmentsChanged]], dimension: str) -> list[tuple[float, Any]]:
    """In days, what the dimension became."""
    return [
        ((at - T0) / DAY, change.to) for at, event in found for change in event.changes if change.dimension == dimension
    ]
