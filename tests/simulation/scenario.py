"""What happens in a simulated world, made from a seed."""

import hashlib
import random
from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any

from services.feedback import processor as feedback
from services.followup import processor as followup
from services.segmentation import processor as segmentation
from shared.clock import DAY, SECOND, Instant
from shared.events.catalog import CUSTOMERS
from shared.events.customers import RulesActivated
from shared.processing.domain import Domain
from shared.processing.records import Message
from tests.simulation.faults import Chance
from tests.simulation.world import Plan
from tests.support.example_domains import EXAMPLES, ExampleDomain, activated
from tests.support.happenings import START, activation, customer, happened, of_time, poison, purchase, resume

SERVICES = ("segmentation", "followup", "feedback")
SPAN = 10.0
CONFIG = Path(__file__).parents[2] / "deploy" / "config"
Build = Callable[[bool], Domain[Any]]


def examples() -> tuple[Build, ...]:
    return tuple(partial(_example, kind) for kind in EXAMPLES)


def _example(kind: type[ExampleDomain], mended: bool) -> ExampleDomain:
    return kind(mended, SECOND)


@cache
def real() -> tuple[Build, ...]:
    """The services' own domains, with the rules that are shipped. They have no mistake to be mended."""
    found = [module.build_domain(CONFIG) for module in (segmentation, followup, feedback)]
    return tuple(partial(_as_it_is, domain) for domain in found)


def _as_it_is(domain: Domain[Any], _mended: bool) -> Domain[Any]:
    return domain


def real_plan_of(seed: int) -> Plan:
    """The same worlds at a hundred days a second."""
    return plan_of(seed, real(), 100 * DAY // SECOND)


def plan_of(seed: int, domains: tuple[Build, ...] | None = None, speed: int = 1) -> Plan:
    plan = _plan_of(seed, domains, speed)
    write = example_rules if domains is None else real_rules
    chance = random.Random(seed * 104_729 + 3)
    texts = versions(chance, write)
    if not texts:
        return plan
    changes = [change for begun, text in texts for change in activations(chance, plan.partitions, begun, text, speed)]
    happenings = tuple(sorted((*plan.happenings, *changes), key=lambda pair: pair[0]))
    preparing = tuple((begun - chance.uniform(-1, 3), text) for begun, text in texts if chance.random() < 0.5)
    return replace(plan, happenings=happenings, mended_at=0.0, preparing=preparing)


def example_rules(chance: random.Random, number: int) -> RulesActivated:
    return activated(number, chance.choice([1, 2, 4, 9]))


def real_rules(chance: random.Random, number: int) -> RulesActivated:
    """The shipped ones, with another year."""
    text = (CONFIG / "segmentation.yaml").read_text("utf-8")
    edited = text.replace("within: 365d", f"within: {chance.choice([50, 120, 500])}d")
    return RulesActivated(number=number, rules=edited, digest=hashlib.sha256(edited.encode()).hexdigest())


def versions(
    chance: random.Random, write: Callable[[random.Random, int], RulesActivated]
) -> list[tuple[float, RulesActivated]]:
    """In some worlds another version of the rules is activated, in some of these a third one, at any moment. Nobody breaks
    on poison there: which version was broken, and when, would decide what is told."""
    if chance.random() < 0.6:
        return []
    moments = sorted(chance.uniform(0.5, SPAN) for _ in range(chance.choice([1, 1, 2])))
    return [(begun, write(chance, number)) for number, begun in enumerate(moments, 2)]


def activations(
    chance: random.Random, partitions: int, begun: float, written: RulesActivated, speed: int
) -> list[tuple[float, Message]]:
    """Every partition is told a little later than the one before, some twice."""
    found: list[tuple[float, Message]] = []
    for partition in range(partitions):
        moment = round(begun + partition * chance.random() / 10, 3)
        found += [(moment, activation(partition, instant(moment, speed), written))] * chance.choice([1, 1, 1, 2])
    return found


def _plan_of(seed: int, domains: tuple[Build, ...] | None, speed: int) -> Plan:
    chance = random.Random(seed * 7919 + 1)
    share = chance.choice([0.0, 0.01, 0.03, 0.06])
    return Plan(
        seed=seed,
        domains=examples() if domains is None else domains,
        happenings=happenings(chance, speed),
        speed=speed,
        faults=Chance(random.Random(seed), share),
        partitions=chance.choice([2, 2, 3]),
        workers={service: chance.choice([1, 1, 2]) for service in SERVICES},
        batch_size=chance.choice([1, 3, 5, 50]),
        cache=chance.choice([1, 4, 100]),
        patience=chance.choice([30.0, 30.0, 2.0]),
        churn=tuple((chance.uniform(1, SPAN), chance.choice(SERVICES)) for _ in range(chance.choice([0, 1, 3]))),
    )


def happenings(chance: random.Random, speed: int = 1) -> tuple[tuple[float, Message], ...]:
    """40 to 60 records of 6 customers within 10 seconds, then what heals: everybody parked is asked to resume."""
    people = [customer(number) for number in range(6)]
    erased: set[str] = set()
    found: list[tuple[float, Message]] = []
    for number in range(chance.randint(35, 50)):
        moment = round(chance.uniform(0.2, SPAN), 3)
        who = chance.choice(people)
        message = one(chance, who, f"e{number}", moment, speed)
        found += [(moment, message)] * (2 if chance.random() < 0.05 else 1)
    if chance.random() < 0.5:
        who = chance.choice(people)
        erased.add(who)
        found.append((6.0, happened(who, "customer.erased", "gone", instant(6.0, speed), receipt_id="r")))
    found += history(chance, speed)
    found += [
        (SPAN + 1, resume(who, f"r-{service}-{who[-1]}", instant(SPAN + 1, speed), service))
        for who in people
        for service in SERVICES
    ]
    return tuple(sorted(found, key=lambda pair: pair[0]))


def instant(moment: float, speed: int) -> Instant:
    return START + int(moment * speed * SECOND)


def one(chance: random.Random, who: str, name: str, moment: float, speed: int = 1) -> Message:
    """Recorded now, or a little before: two intakes' clocks and sends differ."""
    at = instant(moment, speed) - chance.choice([0, 0, 0, 50, 700]) * speed
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


def history(chance: random.Random, speed: int = 1) -> list[tuple[float, Message]]:
    """In some worlds an import of old records runs in the middle, in a bracket, of a customer of its own and a known one."""
    if chance.random() < 0.6:
        return []
    began, ended = 3.0, 3.0 + chance.uniform(0.5, 4)
    old = START - 1_000 * SECOND * speed
    found = []
    for partition in range(2):
        found.append((began, of_time("history.began", partition, instant(began, speed), import_id="x")))
        found.append((ended, of_time("history.ended", partition, instant(ended, speed), import_id="x")))
    for number in range(chance.randint(2, 8)):
        old += chance.randint(0, 4_000) * speed
        who = customer(chance.choice([0, 7, 7, 8]))
        found.append((began + 0.02 * (number + 1), purchase(who, f"h{number}", old, mark="history")))
    return found
