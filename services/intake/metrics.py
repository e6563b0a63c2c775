"""What an operator watches of intake. Labels never carry a customer, a source or a value."""

from collections.abc import Callable
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Gauge


@dataclass(frozen=True, slots=True)
class IntakeMetrics:
    events: Counter
    published: Counter
    ticks: Counter

    def count(self, outcome: str, amount: int) -> None:
        if amount:
            self.events.labels(outcome).inc(amount)


def intake_metrics(registry: CollectorRegistry, queued: Callable[[], float]) -> IntakeMetrics:
    waiting = Gauge("guanxi_intake_queued", "Records claimed and not yet acknowledged by Kafka", registry=registry)
    waiting.set_function(queued)
    return IntakeMetrics(
        Counter("guanxi_intake_events", "Events offered, by outcome", ["outcome"], registry=registry),
        Counter("guanxi_intake_published", "Records acknowledged by Kafka", registry=registry),
        Counter("guanxi_intake_ticks", "Ticks appended because a service asked", registry=registry),
    )
