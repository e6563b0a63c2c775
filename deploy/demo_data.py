"""What the demo plays: the real purchases of the CDNOW sample moved to end yesterday, and around them a generated company's days.

Real: who bought, when (all dates moved alike), how many and for how much. Everything else comes from a seeded generator.
"""

import csv
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from itertools import count, groupby
from pathlib import Path
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

from deploy.demo_cases import Said, case_of
from deploy.demo_people import GENRES, Person, buyer, prospect
from shared.clock import DAY, HOUR, MINUTE, Instant, to_datetime, to_instant, to_rfc3339

SEED = 20261123
SOURCE = "urn:guanxi:demo"
SAMPLE = Path(__file__).parent / "data" / "cdnow_sample.csv"
REPLAYED_DAYS = 30
PROSPECTS = 150
RECENT_CUSTOMERS = 280
"""How many customers do something in the replayed days beside buying, so that there is work to be seen."""


@dataclass(frozen=True, slots=True)
class Purchase:
    """One row; `line` of the file makes its order id, because equal rows are different purchases."""

    customer: str
    on: date
    quantity: int
    amount: str
    line: int


@dataclass(frozen=True, slots=True)
class DemoEvent:
    """`document` is what `POST /v1/events` takes; `history`: import it as such, else replay it."""

    at: Instant
    history: bool
    document: dict[str, Any]


def read_purchases(path: Path = SAMPLE) -> list[Purchase]:
    with path.open(encoding="utf-8", newline="") as file:
        rows = enumerate(csv.DictReader(file), start=2)
        return [
            Purchase(
                row["customer_id"], date.fromisoformat(row["purchased_on"]), int(row["quantity"]), row["amount"], line
            )
            for line, row in rows
        ]


def replay_from(today: date) -> Instant:
    """What happened before this instant is history, the rest is replayed with tasks and deadlines."""
    return to_instant(datetime.combine(today - timedelta(days=REPLAYED_DAYS), time(), UTC))


def demo_events(purchases: Iterable[Purchase], today: date, seed: int = SEED) -> list[DemoEvent]:
    """Everything up to yesterday, in time order; the same for the same purchases, day and seed."""
    moved = _moved(purchases, today)
    boundary, end = replay_from(today), to_instant(datetime.combine(today, time(), UTC))
    told: list[tuple[Person, Said]] = []
    for customer, rows in groupby(sorted(moved, key=lambda p: (p.customer, p.on, p.line)), key=lambda p: p.customer):
        person = buyer(seed, customer)
        told += [(person, said) for said in _life(_random(seed, customer), person, list(rows))]
    told += _prospects(seed, boundary - 200 * DAY, end)
    told += _recent_days(seed, sorted({p.customer for p in moved}), boundary, end)
    known = [(person, said) for person, said in told if said.at < end]
    known.sort(key=lambda pair: (pair[1].at, pair[1].id))
    return _documents(known, boundary)


def trickle(seed: int, now: Instant, customers: Iterable[str] | None = None) -> Iterator[dict[str, Any]]:
    """Documents to send one after another in the present, without end. `now` only keeps runs apart; intake says when."""
    random = _random(seed, f"trickle:{now}")
    known = sorted(set(customers)) if customers is not None else sorted({p.customer for p in read_purchases()})
    begun: list[tuple[Person, list[Said]]] = []
    for number in count():
        name = f"live-{now}-{number}"
        if begun and random.random() < 0.35:
            person, rest = begun[random.randrange(len(begun))]
            said = rest.pop(0)
            begun = [pair for pair in begun if pair[1]]
        else:
            person = buyer(seed, random.choice(known)) if random.random() < 0.9 else _stranger(seed, now, number)
            said, *rest = _something(random, person, name, now)
            begun += [(person, rest)] if rest else []
        customer = {"external_id": person.key, **(person.profile if person.key["system"] == "demo" else {})}
        yield _document(said, customer)


def _stranger(seed: int, now: Instant, number: int) -> Person:
    return prospect(seed, "demo", now * 1_000 + number)


def _something(random: Random, person: Person, name: str, at: Instant) -> list[Said]:
    luck = random.random()
    if luck < 0.45:
        return [_bought(random, name, at)]
    if luck < 0.60:
        return [_inquiry(random, name, at)]
    if luck < 0.80:
        return [_call(random, name, at, person)]
    return case_of(random, SOURCE, name, at, person.owner) if luck < 0.9 else [_survey(random, name, at)]


def _random(seed: int, part: str) -> Random:
    return Random(f"{seed}:{part}")  # noqa: S311 - a repeatable demo, no secrets


def _moved(purchases: Iterable[Purchase], today: date) -> list[Purchase]:
    rows = list(purchases)
    shift = today - timedelta(days=1) - max(row.on for row in rows)
    return [Purchase(row.customer, row.on + shift, row.quantity, row.amount, row.line) for row in rows]


def _noon(day: date) -> Instant:
    return to_instant(datetime.combine(day, time(12), UTC))


def _order_id(purchase: Purchase) -> str:
    return f"cdnow-{purchase.line:05d}"


def _life(random: Random, person: Person, purchases: list[Purchase]) -> Iterator[Said]:
    first = _noon(purchases[0].on)
    if random.random() < 0.14:
        yield _inquiry(random, f"{_order_id(purchases[0])}-inquiry", _working(random, person, first, -6, -1))
    if random.random() < 0.05:
        yield _consent(random, f"{_order_id(purchases[0])}-consent", first + random.randint(1, 300) * DAY)
    for purchase in purchases:
        yield Said(_noon(purchase.on), _order_id(purchase), "purchase.made", _sold(purchase))
        yield from _around(random, person, purchase)


def _sold(purchase: Purchase) -> dict[str, Any]:
    return {
        "order_id": _order_id(purchase),
        "amount": {"amount": purchase.amount, "currency": "USD"},
        "items": [{"category": "music", "quantity": purchase.quantity}],
    }


def _around(random: Random, person: Person, purchase: Purchase) -> Iterator[Said]:
    at, name = _noon(purchase.on), _order_id(purchase)
    if random.random() < 0.065:
        yield _call(random, f"{name}-call", _working(random, person, at, 2, 12), person)
    if random.random() < 0.04:
        yield _survey(random, f"{name}-survey", at + random.randint(3, 12) * DAY + random.randint(0, 600) * MINUTE)
    if random.random() < 0.02 and Decimal(purchase.amount) > 0:
        yield _refund(random, f"{name}-refund", _working(random, person, at, 3, 20), purchase)
    if random.random() < 0.016:
        yield from case_of(random, SOURCE, f"{name}-case", _working(random, person, at, 1, 15), person.owner)
    if random.random() < 0.025:
        yield _contact(random, f"{name}-contact", _working(random, person, at, 20, 60), person)


def _prospects(seed: int, start: Instant, end: Instant) -> Iterator[tuple[Person, Said]]:
    random = _random(seed, "prospects")
    for number in range(PROSPECTS):
        person = prospect(seed, "web_form", number)
        at = _working(random, person, start + random.randint(0, (end - start) // DAY - 2) * DAY, 0, 1)
        yield person, _inquiry(random, f"prospect-{number}-inquiry", at)
        if random.random() < 0.6:
            yield person, _contact(random, f"prospect-{number}-contact", at + random.randint(1, 60) * HOUR, person)


def _recent_days(seed: int, customers: list[str], start: Instant, end: Instant) -> Iterator[tuple[Person, Said]]:
    random = _random(seed, "recent")
    days = (end - start) // DAY
    for customer in random.sample(customers, k=min(RECENT_CUSTOMERS, len(customers))):
        person, name = buyer(seed, customer), f"recent-{customer}"
        at = _working(random, person, start + random.randint(0, days - 2) * DAY, 0, 1)
        luck = random.random()
        if luck < 0.38:
            yield from ((person, said) for said in case_of(random, SOURCE, f"{name}-case", at, person.owner))
        elif luck < 0.62:
            yield person, _inquiry(random, f"{name}-inquiry", at)
            if random.random() < 0.5:
                yield person, _contact(random, f"{name}-contact", at + random.randint(10, 200) * MINUTE, person)
        else:
            yield person, _call(random, f"{name}-call", at, person)


def _working(random: Random, person: Person, at: Instant, first: int, last: int) -> Instant:
    """Some minute of a working day in the person's own zone, `first` to `last` days from `at` (a weekend moves on)."""
    zone = ZoneInfo(person.zone)
    day = to_datetime(at).astimezone(zone).date() + timedelta(days=random.randint(first, last))
    if day.weekday() > 4 and first >= 0:
        day += timedelta(days=7 - day.weekday())
    minute = time(random.randint(9, 15), random.randint(0, 59))
    return to_instant(datetime.combine(day, minute, zone))


def _bought(random: Random, name: str, at: Instant) -> Said:
    amount = {"amount": f"{random.randint(900, 9900) / 100:.2f}", "currency": "USD"}
    item = {"category": "music", "quantity": random.randint(1, 4)}
    return Said(at, name, "purchase.made", {"order_id": name, "amount": amount, "items": [item]})


def _refund(random: Random, name: str, at: Instant, purchase: Purchase) -> Said:
    """Half of them in full."""
    amount = purchase.amount if random.random() < 0.5 else f"{Decimal(purchase.amount) / 2:.2f}"
    money = {"amount": amount, "currency": "USD"}
    return Said(at, name, "purchase.refunded", {"order_id": _order_id(purchase), "amount": money, "reason": "returned"})


def _inquiry(random: Random, name: str, at: Instant) -> Said:
    data: dict[str, Any] = {"channel": random.choice(("web", "phone", "email")), "about": random.choice(GENRES)}
    data |= {"needs": [random.choice(("gift", "collection", "reissue"))], "text": "Invented inquiry. 虚构的咨询。"}
    if random.random() < 0.3:
        data["budget"] = {"amount": str(random.choice((50, 100, 250))), "currency": "USD"}
    return Said(at, name, "inquiry.received", data)


def _call(random: Random, name: str, at: Instant, person: Person) -> Said:
    outcome = random.choice(("answered", "answered", "answered", "no_answer", "no_answer", "busy", "voicemail"))
    data = {"direction": random.choice(("inbound", "outbound")), "outcome": outcome, "call_id": name}
    answered: dict[str, Any] = {"agent": person.owner, "duration_seconds": random.randint(20, 900)}
    if random.random() < 0.15:
        answered["next_contact_at"] = to_rfc3339(at + random.randint(2, 9) * DAY)
    return Said(at, name, "call.ended", data | (answered if outcome == "answered" else {"duration_seconds": 0}))


def _survey(random: Random, name: str, at: Instant) -> Said:
    answer = {"nps": random.choice((10, 10, 9, 9, 8, 7, 6, 3))} if random.random() < 0.7 else {}
    csat = {"csat": random.choice((5, 5, 4, 4, 3, 2))}
    return Said(at, name, "survey.answered", {"survey": "after_purchase", **(answer or csat)})


def _consent(random: Random, name: str, at: Instant) -> Said:
    consent = random.choice(("granted", "denied"))
    return Said(
        at, name, "customer.consent_changed", {"channel": random.choice(("email", "sms", "call")), "consent": consent}
    )


def _contact(random: Random, name: str, at: Instant, person: Person) -> Said:
    data: dict[str, Any] = {
        "by": person.owner,
        "channel": "phone",
        "outcome": random.choice(("reached", "reached", "later")),
    }
    if random.random() < 0.2:
        data["next_contact_at"] = to_rfc3339(at + random.randint(3, 14) * DAY)
    return Said(at, name, "contact.made", data)


def _documents(told: list[tuple[Person, Said]], boundary: Instant) -> list[DemoEvent]:
    """Who somebody is goes with their first event; afterwards the external id is enough."""
    met: set[tuple[str, str]] = set()
    events = []
    for person, said in told:
        who = (person.key["system"], person.key["id"])
        customer = {"external_id": person.key, **({} if who in met else person.profile)}
        met.add(who)
        document = _document(said, customer) | {"time": to_rfc3339(said.at)}
        events.append(DemoEvent(said.at, said.at < boundary, document))
    return events


def _document(said: Said, customer: dict[str, Any]) -> dict[str, Any]:
    return {"type": said.type, "id": said.id, "source": SOURCE, "customer": customer, "data": said.data}
