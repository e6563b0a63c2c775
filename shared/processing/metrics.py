"""What an operator watches of a worker. Names are declared once, here; labels never carry a customer."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from shared.clock import SECOND, Instant
from shared.processing.batch import Outcome

Count = Literal[
    "events",
    "duplicates",
    "emitted",
    "republished",
    "parked",
    "dead_letters",
    "timers",
    "conflicts",
    "impatient",
    "ticks_asked",
    "given_up",
]

_BATCH_BUCKETS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5)
_LATE_BUCKETS = (0.01, 0.05, 0.1, 0.25, 0.5, 1, 2, 5, 30, 300)


@dataclass(frozen=True, slots=True)
class EngineMetrics:
    """Counters of one worker process; `lag` and `behind` are per input partition."""

    counts: Counter
    batch_seconds: Histogram
    timers_late_seconds: Histogram
    lag_events: Gauge
    behind_seconds: Gauge
    armed_timers: Gauge

    def add(self, outcome: Outcome, events: int = 0, timers: int = 0) -> None:
        """What was written and published."""
        self.count("events", events)
        self.count("timers", timers)
        self.count("duplicates", outcome.duplicates)
        self.count("emitted", len(outcome.emitted))
        self.count("republished", len(outcome.republished))
        self.count("dead_letters", len(outcome.dead))
        self.count("parked", outcome.parked)
        self.count("given_up", outcome.given_up)

    def late(self, fired: Iterable[Instant], now: Instant) -> None:
        """`fired`: the instants at which timers were due that fired now."""
        for due in fired:
            self.timers_late_seconds.observe(max(0, now - due) / SECOND)

    def count(self, what: Count, amount: int = 1) -> None:
        if amount:
            self.counts.labels(what).inc(amount)


def engine_metrics(registry: CollectorRegistry) -> EngineMetrics:
    return EngineMetrics(
        Counter("guanxi_engine", "What the engine did, by kind", ["kind"], registry=registry),
        Histogram("guanxi_batch_seconds", "From decoded to committed", buckets=_BATCH_BUCKETS, registry=registry),
        Histogram(
            "guanxi_timers_late_seconds", "Wall clock past the due instant", buckets=_LATE_BUCKETS, registry=registry
        ),
        Gauge("guanxi_lag_events", "Records not yet applied", ["input"], registry=registry),
        Gauge("guanxi_behind_seconds", "Age of the oldest record not yet applied", ["partition"], registry=registry),
        Gauge("guanxi_armed_timers", "Timers within the horizon held in memory", registry=registry),
    )
