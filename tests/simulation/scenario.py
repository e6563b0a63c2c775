"""What happens in a simulated world, made from a seed."""

import random
from collections.abc import Callable
from functools import partial
from typing import Any

from shared.clock import SECOND
from shared.events.catalog import CUSTOMERS
from shared.processing.domain import Domain
from shared.processing.records import Message
from tests.simulation.faults import Chance
from tests.simulation.world import Plan
from tests.support.example_domains import EXAMPLES, ExampleDomain
from tests.support.happenings import START, customer, happened, of_time, poison, purchase, resume

SERVICES = ("segmentation", "followup", "feedback")
SPAN = 10.0
Build = Callable[[bool], Domain[Any]]


def examples() -> tuple[Build, ...]:
    return tuple(partial(_example, kind) for kind in EXAMPLES)


def _example(kind: type[ExampleDomain], mended: bool) -> ExampleDomain:
    return kind(mended, SECOND)


def plan_of(seed: int, domains: tuple[Build, ...] | None = None) -> Plan:
    chance = random.Random(seed * 7919 + 1)
    share = chance.choice([0.0, 0.01, 0.03, 0.06])
    return Plan(
        seed=seed,
        domains=examples() if domains is None else domains,
        happenings=happenings(chance),
        faults=Chance(random.Random(seed), share),
        partitions=chance.choice([2, 2, 3]),
        workers={service: chance.choice([1, 1, 2]) for service in SERVICES},
        batch_size=chance.choice([1, 3, 5, 50]),
        cache=chance.choice([1, 4, 100]),
        patience=chance.choice([30.0, 30.0, 2.0]),
        churn=tuple((chance.uniform(1, SPAN), chance.choice(SERVICES)) for _ in range(chance.choice([0, 1, 3]))),
    )


def happenings(chance: random.Random) -> tuple[tuple[float, Message], ...]:
    """40 to 60 records of 6 customers within 10 seconds, then what heals: everybody parked is asked to resume."""
    people = [customer(number) for number in range(6)]
    erased: set[str] = set()
    found: list[tuple[float, Message]] = []
    for number in range(chance.randint(35, 50)):
        moment = round(chance.uniform(0.2, SPAN), 3)
        who = chance.choice(people)
        message = one(chance, who, f"e{number}", moment)
        found += [(moment, message)] * (2 if chance.random() < 0.05 else 1)
    if chance.random() < 0.5:
        who = chance.choice(people)
        erased.add(who)
        found.append((6.0, happened(who, "customer.erased", "gone", START + 6 * SECOND, receipt_id="r")))
    found += history(chance)
    found += [
        (SPAN + 1, resume(who, f"r-{service}-{who[-1]}", START + int((SPAN + 1) * SECOND), service))
        for who in people
        for service in SERVICES
    ]
    return tuple(sorted(found, key=lambda pair: pair[0]))


def one(chance: random.Random, who: str, name: str, moment: float) -> Message:
    """Recorded now, or a little before: two intakes' clocks and sends differ."""
    at = START + int(moment * SECOND) - chance.choice([0, 0, 0, 50, 700])
    match chance.choice(
        ["purchase"] * 4 + ["inquiry"] * 2 + ["complaint"] * 2 + ["contact", "resolve", "poison", "bad", "worse"]
    ):
        case "purchase" if chance.random() < 0.1:
            return happened(who, "purchase.made", name, at, version=0, amount="10")
        case "purchase":
            return purchase(who, name, at)
        case "inquiry":
            return happened(who, "inquiry.received", name, at)
        case "complaint":
            return happened(who, "feedback.received", name, at, kind="complaint")
        case "contact":
            return happened(who, "contact.made", name, at, by="staff")
        case "resolve":
            return happened(who, "case.acted_on", name, at, case_id="all", action="resolve", by="staff")
        case "poison" if chance.random() < 0.5:
            return poison(who, name, at)
        case "bad" if chance.random() < 0.3:
            return Message(CUSTOMERS.name, None, f"nonsense {name}".encode(), (), 0)
        case "worse" if chance.random() < 0.2:
            return Message(CUSTOMERS.name, who.encode(), f"nonsense {name}".encode())
    return happened(who, "visit.held", name, at)


def newer_purchase(old: dict[str, Any]) -> dict[str, Any]:
    """A version that never shipped, so that simulated logs hold old events too."""
    data = old["data"] | {"amount": {"amount": old["data"]["amount"], "currency": "CNY"}}
    return old | {"type": "guanxi.purchase.made.v1", "data": data}


def history(chance: random.Random) -> list[tuple[float, Message]]:
    """In some worlds an import of old records runs in the middle, in a bracket, of a customer of its own and a known one."""
    if chance.random() < 0.6:
        return []
    began, ended = 3.0, 3.0 + chance.uniform(0.5, 4)
    old = START - 1_000 * SECOND
    found = []
    for partition in range(2):
        found.append((began, of_time("history.began", partition, START + 3 * SECOND, import_id="x")))
        found.append((ended, of_time("history.ended", partition, START + int(ended * SECOND), import_id="x")))
    for number in range(chance.randint(2, 8)):
        old += chance.randint(0, 4_000)
        who = customer(chance.choice([0, 7, 7, 8]))
        found.append((began + 0.02 * (number + 1), purchase(who, f"h{number}", old, mark="history")))
    return found
