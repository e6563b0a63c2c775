"""Decisions per second of the segmentation domain alone over the CDNOW sample: `python -m tests.bench.bench_segmentation_domain`.

Counted are calls of `on_event` and `on_time`, each followed by `wake_at` and `view`, as the engine makes them. Processor time, so that
neighbours on the machine do not count. `--profile` shows where it goes; `--ratios` compares with fewer and with more dimensions.
"""

import cProfile
import csv
import json
import pstats
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from time import process_time

from services.segmentation.domain import SegmentationDomain
from services.segmentation.language.program import compile_rules
from services.segmentation.rules import Rules
from services.segmentation.state import CustomerState
from shared.clock import to_instant
from shared.events.envelope import Event
from tests.support.segmentation_drive import event_of, standard_domain
from tests.support.segmentation_oracle import Fact

SAMPLE = Path(__file__).parents[2] / "deploy" / "data" / "cdnow_sample.csv"
RUNS = 5


@dataclass
class Run:
    events: int = 0
    wakes: int = 0
    idle_wakes: int = 0
    changes: int = 0
    state_bytes: int = 0
    seconds: float = 0.0

    def figures(self) -> dict[str, float]:
        decisions = self.events + self.wakes
        return {
            "events": self.events,
            "decisions_per_second": round(decisions / self.seconds),
            "events_per_second": round(self.events / self.seconds),
            "changes": self.changes,
            "wakes_per_event": round(self.wakes / self.events, 3),
            "idle_wakes": self.idle_wakes,
        }


def sample() -> list[list[tuple[int, Event]]]:
    """Per customer, in order: the registration, then the purchases, at 12:00 UTC of their day."""
    customers: dict[str, list[tuple[int, Event]]] = {}
    with SAMPLE.open(newline="") as lines:
        for number, row in enumerate(csv.DictReader(lines)):
            at = to_instant(datetime.strptime(row["purchased_on"], "%Y-%m-%d").replace(hour=12, tzinfo=UTC))
            customer_id = f"{int(row['customer_id']):08x}-0000-4000-8000-000000000000"
            known = customers.setdefault(
                customer_id, [(at, event_of(Fact("other", f"r{number}", at, at), customer_id))]
            )
            event_id = f"{number:08x}-1111-4111-8111-111111111111"
            fact = Fact("purchase", event_id, at, at, currency="USD", amount=row["amount"])
            known.append((at, event_of(fact, customer_id)))
    return [sorted(events, key=lambda pair: pair[0]) for events in customers.values()]


def decide(domain: SegmentationDomain, customers: list[list[tuple[int, Event]]]) -> tuple[Run, list[CustomerState]]:
    """Every customer's events with the timers between them; time ends with the sample's last day."""
    end = max(events[-1][0] for events in customers)
    run, states = Run(), []
    began = process_time()
    for events in customers:
        state = domain.initial(events[0][1].subject or "")
        for at, event in events:
            state = wake(domain, state, at, run)
            decision = domain.on_event(state, event, at)
            state = decision.state
            domain.wake_at(state)
            domain.view(state)
            run.events += 1
            run.changes += len(decision.events)
        states.append(wake(domain, state, end, run))
    run.seconds = process_time() - began
    return run, states


def wake(domain: SegmentationDomain, state: CustomerState, until: int, run: Run) -> CustomerState:
    while (at := domain.wake_at(state)) is not None and at <= until:
        decision = domain.on_time(state, at)
        state = decision.state
        domain.view(state)
        run.wakes += 1
        run.idle_wakes += not decision.events
        run.changes += len(decision.events)
    return state


FIVE = ("purchase_frequency", "spend_level", "value", "lifecycle", "status")
"""What there was before all other dimensions."""


def fewer(domain: SegmentationDomain) -> SegmentationDomain:
    rules = domain.program.rules
    kept = {name: rules.dimensions[name] for name in FIVE}
    return again(domain, rules.model_copy(update={"dimensions": kept, "composites": {}}))


def doubled(domain: SegmentationDomain) -> SegmentationDomain:
    """Every dimension a second time, under another name, over the same events."""
    rules = domain.program.rules
    twice = rules.dimensions | {f"{name}_again": rule for name, rule in rules.dimensions.items()}
    return again(domain, rules.model_copy(update={"dimensions": twice}))


def again(domain: SegmentationDomain, rules: Rules) -> SegmentationDomain:
    return SegmentationDomain(compile_rules(rules, domain.program.rates))


def compared(domain: SegmentationDomain, customers: list[list[tuple[int, Event]]]) -> dict[str, float]:
    """Ratios of processor time, side by side, so that a busy machine slows all alike."""
    others = {"five": fewer(domain), "all": domain, "twice": doubled(domain)}
    spent: dict[str, list[float]] = {name: [] for name in others}
    for _ in range(RUNS):
        for name, other in others.items():
            spent[name].append(decide(other, customers)[0].seconds)
    seconds = {name: min(times) for name, times in spent.items()}
    return {
        "speed_of_all_to_five": round(seconds["five"] / seconds["all"], 2),
        "cost_of_twice_to_once": round(seconds["twice"] / seconds["all"], 2),
    }


def main() -> None:
    domain, customers = standard_domain(), sample()
    if "--ratios" in sys.argv:
        print(json.dumps(compared(domain, customers), indent=2))
        return
    if "--profile" in sys.argv:
        profile = cProfile.Profile()
        profile.runcall(decide, domain, customers)
        pstats.Stats(profile).sort_stats("tottime").print_stats(25)
        return
    runs = [decide(domain, customers) for _ in range(RUNS)]
    texts = [state.model_dump_json() for state in runs[0][1]]
    figures = runs[0][0].figures()
    figures["decisions_per_second"] = median(run.figures()["decisions_per_second"] for run, _ in runs)
    figures["events_per_second"] = median(run.figures()["events_per_second"] for run, _ in runs)
    figures["state_bytes_mean"] = round(sum(map(len, texts)) / len(texts))
    figures["state_bytes_max"] = max(map(len, texts))
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
