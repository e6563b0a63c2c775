"""What-if agrees with two folds of the log, one under each file, and counts what it says it counts."""

import json
from collections.abc import Mapping
from typing import Any

import pytest

from services.segmentation.domain import SegmentationDomain
from services.segmentation.language.program import compile_rules
from services.segmentation.questions.what_if import Tally, most_within
from services.segmentation.questions.what_if_question import WhatIf
from services.segmentation.questions.what_if_report import Run, as_data, as_text, moved_lines
from services.segmentation.rules import load_rates, parse_rules
from shared.clock import DAY, from_rfc3339
from shared.processing.memory import MemoryScanner
from shared.processing.records import Message, TopicPartition
from tests.bench.stage import sample
from tests.support.happenings import happened, tick
from tests.support.segmentation_drive import CONFIG
from tests.support.small_world import SmallWorld

RATES = CONFIG / "exchange_rates.yaml"
STANDARD = (CONFIG / "segmentation.yaml").read_text("utf-8")
HIGHER = STANDARD.replace("spend_in_year >= 1000}", "spend_in_year >= 400}", 1)
LATER = STANDARD.replace("since_last_purchase >= 180d", "since_last_purchase >= 400d", 1)
PARTITIONS = 3


@pytest.fixture(scope="module")
async def world() -> SmallWorld:
    """The first customers of the sample, some objecting, one erased, and time going on for a year after them."""
    made = SmallWorld(domain(STANDARD), PARTITIONS)
    messages = [message._replace(partition=None) for message in sample(1)[:500]]
    made.append(*messages)
    end = from_rfc3339("1997-03-01T00:00:00Z")
    people = sorted({(message.key or b"").decode() for message in messages})
    for number, who in enumerate(people[:60]):
        what = ("customer.objected", "customer.erased", "purchase.refunded")[number % 3]
        extra: dict[str, Any] = {"receipt_id": "r"} if what == "customer.erased" else {}
        if what == "purchase.refunded":
            extra = {"amount": {"amount": "3", "currency": "USD"}}
        made.append(happened(who, what, f"x{number}", end, **extra))
    made.append(*(tick(number, end + days * DAY) for days in (40, 200, 295) for number in range(PARTITIONS)))
    await made.drain()
    return made


def domain(text: str) -> SegmentationDomain:
    return SegmentationDomain(compile_rules(parse_rules(text, "rules"), load_rates(RATES)))


async def asked(world: SmallWorld, before: str, after: str, **how: Any) -> tuple[Tally, WhatIf]:
    question = WhatIf(parse_rules(before, "before"), parse_rules(after, "after"), RATES, **how)
    tally = Tally()
    scanner = MemoryScanner(world.log)
    for number in range(world.partitions):
        stop = world.log.end(TopicPartition(world.inputs[0], number))
        tally.merge(await question.ask(number, stop, scanner, lambda _applied: None))
    return tally, question


async def memberships(world: SmallWorld, text: str) -> dict[str, Mapping[str, Any]]:
    """Live, by a worker of its own over a copy of the log."""
    own = SmallWorld(domain(text), world.partitions)
    for record in world.records(world.inputs[0]):
        own.append(Message(record.topic, record.key, record.value, record.headers, record.partition))
    await own.drain()
    return {key: document.view["memberships"] for key, document in own.documents().items() if document.state}


def expected(before: Mapping[str, Any], after: Mapping[str, Any], names: set[str]) -> dict[str, dict[str, Any]]:
    found = {}
    for customer, had in before.items():
        has = after[customer]
        moved = {n: (had.get(n), has.get(n)) for n in names if had.get(n) != has.get(n)}
        if moved:
            found[customer] = moved
    return found


@pytest.mark.parametrize("candidate", [HIGHER, LATER], ids=["a threshold", "what others rest on"])
async def test_it_names_just_the_customers_that_two_workers_would_leave_elsewhere(
    world: SmallWorld, candidate: str
) -> None:
    tally, question = await asked(world, STANDARD, candidate)
    before, after = await memberships(world, STANDARD), await memberships(world, candidate)
    names = {name for one in (*before.values(), *after.values()) for name in one}
    wanted = expected(before, after, names)
    assert wanted
    found = {
        customer: {n: move for n, move in moved.items() if not n.startswith("composites.")}
        for customer, moved in tally.moved.items()
    }
    assert {customer: moved for customer, moved in found.items() if moved} == wanted
    assert tally.customers == len(before)
    assert set(question.dimensions) < names | {name for name in question.dimensions if "." in name}
    for name in set(question.dimensions) & names:
        sizes = {value: n for (side, value), n in tally.dimensions[name].sizes.items() if side == 0 and n}
        live = [one.get(name) for one in before.values()]
        assert sizes == {value: live.count(value) for value in set(live)}


async def test_every_change_that_a_worker_publishes_is_counted_in_its_month(world: SmallWorld) -> None:
    tally, _ = await asked(world, STANDARD, HIGHER)
    erased = {key for key, document in world.documents().items() if document.erased}
    published: dict[str, int] = {}
    for event in world.said():
        for change in event["data"].get("changes", ()):
            if change["dimension"] == "spend_level" and event["subject"] not in erased:
                published[event["time"][:7]] = published.get(event["time"][:7], 0) + 1
    counted = {month: n for (month, side), n in tally.dimensions["spend_level"].changes.items() if side == 0}
    assert counted == published


async def test_history_before_since_is_not_counted_but_who_moves_is_the_same(world: SmallWorld) -> None:
    whole, _ = await asked(world, STANDARD, HIGHER)
    late, _ = await asked(world, STANDARD, HIGHER, since=from_rfc3339("1998-01-01T00:00:00Z"))
    assert late.moved == whole.moved
    assert {month for month, _ in late.dimensions["spend_level"].changes} == {
        month for month, _ in whole.dimensions["spend_level"].changes if month >= "1998"
    }


async def test_parts_of_the_log_add_up_in_any_order(world: SmallWorld) -> None:
    whole, question = await asked(world, STANDARD, HIGHER)
    scanner, again = MemoryScanner(world.log), Tally()
    for number in reversed(range(world.partitions)):
        stop = world.log.end(TopicPartition(world.inputs[0], number))
        again.merge(await question.ask(number, stop, scanner, lambda _applied: None))
    run = Run("a", "b", 3, 1, 1.0)
    assert as_data(again, run) == as_data(whole, run)


async def test_an_example_says_why_under_the_candidate(world: SmallWorld) -> None:
    tally, _ = await asked(world, STANDARD, HIGHER)
    (found,) = as_data(tally, Run("a", "b", 3, 1, 1.0))["dimensions"]["spend_level"]["moves"]
    assert (found["from"], found["to"]) == ("low", "medium")
    for example in found["examples"]:
        spend = example["because"]["values"]["spend_in_year"]
        assert float(spend["value"]) >= float(spend["threshold"]) == 400
        assert example["customer_id"] in tally.moved


async def test_the_same_rules_move_nobody(world: SmallWorld) -> None:
    tally, question = await asked(world, STANDARD, "# other words\n" + STANDARD)
    assert question.dimensions == ()
    assert tally.moved == {}
    assert any("nobody would move" in line for line in as_text(as_data(tally, Run("a", "b", 3, 1, 1.0))))


async def test_what_people_read_names_every_move_and_the_data_are_json(world: SmallWorld) -> None:
    tally, _ = await asked(world, STANDARD, LATER, flapping=1)
    data = json.loads(json.dumps(as_data(tally, Run("new.yaml", "version 1", 1, 2, 2.0))))
    text = "\n".join(as_text(data))
    for name, found in data["dimensions"].items():
        assert name in text
        for move in found["moves"][:3]:
            assert f"{move['from'] or '-'} → {move['to'] or '-'}: {move['customers']:,} customers" in text
    lines = list(moved_lines(tally))
    assert [line["customer_id"] for line in lines] == sorted(tally.moved)
    assert len(lines) == data["customers_moved"]


def test_restless_is_who_changes_often_within_any_thirty_days() -> None:
    days = [0, 10, 20, 29, 30, 100]
    assert most_within([day * DAY for day in days], 30 * DAY) == 4
    assert most_within([0, 30 * DAY], 30 * DAY) == 1
    assert most_within([], 30 * DAY) == 0


RESTLESS = "00000000-0000-4000-8000-000000000001"


async def to_and_fro(now: str, candidate: str) -> Tally:
    """Four purchases, five days apart, of a customer whom shorter windows lose in between."""
    world = SmallWorld(domain(now), 1)
    start = from_rfc3339("2026-01-01T00:00:00Z")
    money: Any = {"amount": {"amount": "10", "currency": "CNY"}}
    world.append(*(happened(RESTLESS, "purchase.made", f"p{n}", start + 5 * n * DAY, **money) for n in range(4)))
    world.append(tick(0, start + 40 * DAY))
    tally, _ = await asked(world, now, candidate)
    return tally


async def test_a_customer_that_goes_to_and_fro_flaps_under_the_candidate_only() -> None:
    short = STANDARD.replace(
        "spend_in_year: {sum: purchases, within: 365d}", "spend_in_year: {sum: purchases, within: 2d}"
    )
    spend = (await to_and_fro(STANDARD, short)).dimensions["spend_level"]
    assert dict(spend.flapping) == {1: 1}
    assert spend.restless == [(7, RESTLESS)]
    assert spend.parted["2026-01"] == 4


@pytest.mark.parametrize("name", ["composites.buying", "level"])
async def test_of_what_has_no_value_at_times_only_the_first_value_is_no_restlessness(name: str) -> None:
    rules = """
version: "1"
base_currency: CNY
metrics: {spend: {sum: purchases, within: WINDOW}}
dimensions: {level: {cases: [{value: some, when: spend > 0}]}}
composites: {buying: {when: level = some}}
"""
    long, short = rules.replace("WINDOW", "365d"), rules.replace("WINDOW", "2d")
    tally = await to_and_fro(long, short)
    assert tally.dimensions[name].restless == [(7, RESTLESS)]
