"""Drives the segmentation domain over one customer's facts as the engine does: timers due first, then the event."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from services.segmentation.domain import SegmentationDomain
from services.segmentation.language.program import compile_rules
from services.segmentation.processor import build_domain
from services.segmentation.rules import load_rates, load_rules
from services.segmentation.state import CustomerState
from shared.clock import to_datetime
from shared.events.codec import data_types
from shared.events.envelope import Data, Event
from shared.events.segments import SegmentsChanged
from tests.support.segmentation_facts import Fact

CONFIG = Path(__file__).parents[2] / "deploy" / "config"
FOREVER = 2**62
CUSTOMER = "0b7c9f0e-6f0a-4a53-9f5e-0c1c5a2b7d11"
KINDS = {
    "purchase": "purchase.made",
    "refund": "purchase.refunded",
    "objected": "customer.objected",
    "withdrawn": "customer.objection_withdrawn",
    "corrected": "customer.corrected",
    "erased": "customer.erased",
    "registered": "customer.registered",
    "other": "customer.registered",
}

Said = list[tuple[int, SegmentsChanged]]
"""What was published, and at which instants."""


def standard_domain() -> SegmentationDomain:
    return build_domain(CONFIG)


def domain_of(rules: Path) -> SegmentationDomain:
    """Under other rules, and the standard exchange rates."""
    return SegmentationDomain(compile_rules(load_rules(rules), load_rates(CONFIG / "exchange_rates.yaml")))


def event_of(fact: Fact, customer_id: str = CUSTOMER) -> Event:
    data = data_of(fact, customer_id)
    return Event(
        id=fact.id,
        source="test",
        type=data.event_type,
        time=to_datetime(fact.time),
        recordedtime=to_datetime(fact.at),
        subject=customer_id,
        data=data,
    )


def data_of(fact: Fact, customer_id: str = CUSTOMER) -> Data:
    said = {"customer_id": customer_id, **fact.said}
    if fact.kind in ("purchase", "refund"):
        said["amount"] = {"amount": fact.amount, "currency": fact.currency}
    if fact.order_id is not None:
        said["order_id"] = fact.order_id
    kind = KINDS.get(fact.kind, fact.kind)
    return data_types()[f"guanxi.{kind}.v1"].model_validate(said)


@dataclass
class Drive:
    """`wakes` counts timers fired; `idle` those of them that changed nothing. `erased`: the engine asks no more."""

    domain: SegmentationDomain
    state: CustomerState
    wakes: int = 0
    idle: int = 0
    erased: bool = False

    def apply(self, fact: Fact) -> Iterator[tuple[int, SegmentsChanged]]:
        yield from self.until(fact.at)
        if self.erased:
            return
        decision = self.domain.on_event(self.state, event_of(fact, self.state.customer_id), fact.at)
        self._keep(decision.state)
        self.erased = fact.kind == "erased"
        yield from ((fact.at, event) for event in decision.events if isinstance(event, SegmentsChanged))

    def until(self, instant: int) -> Iterator[tuple[int, SegmentsChanged]]:
        while not self.erased and (wake := self.domain.wake_at(self.state)) is not None and wake <= instant:
            decision = self.domain.on_time(self.state, wake)
            self.wakes, self.idle = self.wakes + 1, self.idle + (not decision.events)
            self._keep(decision.state)
            assert (self.domain.wake_at(self.state) or FOREVER) > wake, "a timer must move on"
            yield from ((wake, event) for event in decision.events if isinstance(event, SegmentsChanged))

    def _keep(self, state: CustomerState) -> None:
        """What is kept between decisions is JSON text."""
        self.state = CustomerState.model_validate_json(state.model_dump_json(exclude_defaults=True))
        assert self.state == state


def driven(domain: SegmentationDomain, facts: Sequence[Fact], end: int) -> tuple[Said, Drive]:
    drive = Drive(domain, domain.initial(CUSTOMER))
    changes = [change for fact in facts for change in drive.apply(fact)]
    return changes + list(drive.until(end)), drive
