"""What an operator watches of the deliverer. No label names a subscription, a customer or an address."""

from collections.abc import Callable
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_SECONDS = (0.1, 0.25, 0.5, 1, 2.5, 5, 30, 300, 1_800, 7_200, 86_400)


@dataclass(frozen=True, slots=True)
class DeliverMetrics:
    """`attempts` by what became of them, and by status or the reason why there was none; `large`: bodies over 20 kB."""

    attempts: Counter
    large: Counter
    unreadable: Counter
    delay_seconds: Histogram


def deliver_metrics(registry: CollectorRegistry, waiting: Callable[[], int]) -> DeliverMetrics:
    Gauge("guanxi_webhooks_waiting", "Deliveries that wait in this process", registry=registry).set_function(waiting)
    return DeliverMetrics(
        Counter("guanxi_webhook_attempts", "Calls of receivers", ["outcome", "answer"], registry=registry),
        Counter("guanxi_webhook_large", "Deliveries of more than 20 kB, sent whole", registry=registry),
        Counter("guanxi_webhook_unreadable", "Changes that could not be read", registry=registry),
        Histogram(
            "guanxi_webhook_delay_seconds", "From Kafka to the receiver's yes", buckets=_SECONDS, registry=registry
        ),
    )
