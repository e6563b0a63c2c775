"""A campaign a year ago: 10^5 customers whose window ends in the same second, and what those feel who buy meanwhile.

All of them bought within one second; a year later, to the second, those purchases leave the windows. The log's time is moved past that
second at once, in every partition, while others make their first purchases at a steady pace. How long those wait is measured from
Kafka's acknowledgement (intake answers 202 then) to the moment their change was appended.
"""

import asyncio
import time
from contextlib import AsyncExitStack, suppress
from itertools import count

from services.intake.ticks import tick
from shared.clock import DAY, MINUTE, SECOND, Instant, wall_clock
from shared.events.catalog import CUSTOMERS, PARTITIONS, group_of
from shared.processing.kafka import KafkaConnection
from shared.processing.kafka_writer import KafkaWriter
from shared.processing.records import Message
from tests.bench.figures import Effort, Figure, percentile
from tests.bench.running import Change, Changes, customer_id, prepare, purchase, service
from tests.bench.stage import Stage, stage

PEOPLE = 100_000
YEAR = 365 * DAY
RATE = 100
"""Purchases per second of customers who have nothing to do with the campaign."""
PATIENCE = 900
"""Seconds."""


def campaign(people: int, recorded: Instant) -> list[Message]:
    """One purchase of each, within one second; a minute after `recorded` they are a year old."""
    first = recorded + MINUTE - YEAR
    return [
        purchase(customer_id(f"campaign-{n}"), f"campaign-{n}", first + n * SECOND // people, recorded)
        for n in range(people)
    ]


async def one_run(on: Stage, people: int) -> tuple[float, list[float]]:
    """Changes of the campaign's customers per second; milliseconds from accepted to published of each other event."""
    before = wall_clock() - DAY
    await on.append(campaign(people, before))
    await on.wait_committed(group_of("segmentation"), CUSTOMERS.name, people, PATIENCE)
    accepted: dict[str, Instant] = {}
    async with Changes(on.bootstrap) as changes:
        buying = asyncio.create_task(buy(on, accepted))
        began = wall_clock()
        await on.append([tick(n, began, f"campaign-{n}") for n in range(PARTITIONS)])
        timers = await all_timers(changes, people)
        buying.cancel()
        with suppress(asyncio.CancelledError):
            await buying
        latencies = await waits(changes, accepted)
    return people / (max(change.appended for change in timers) - began) * SECOND, latencies


async def all_timers(changes: Changes, people: int) -> list[Change]:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        await changes.more()
        timers = [change for change in changes.seen if change.by_timer]
        if len(timers) >= people:
            return timers
    raise TimeoutError(f"{len(timers)} of {people} changes after {PATIENCE} s")


async def buy(on: Stage, accepted: dict[str, Instant]) -> None:
    """Open loop, until it is cancelled: at their times, whether or not those before were acknowledged."""
    writer = KafkaWriter(KafkaConnection(on.bootstrap))
    await writer.start()
    began, sending = time.monotonic(), set[asyncio.Task[None]]()
    try:
        for number in count():
            task = asyncio.create_task(buy_one(writer, f"live-{number}", accepted))
            sending.add(task)
            task.add_done_callback(sending.discard)
            await asyncio.sleep(max(0.0, began + number / RATE - time.monotonic()))
    finally:
        await asyncio.gather(*sending)
        await writer.stop()


async def buy_one(writer: KafkaWriter, name: str, accepted: dict[str, Instant]) -> None:
    now = wall_clock()
    await writer.publish([purchase(customer_id(name), name, now, now)])
    accepted[name] = wall_clock()


async def waits(changes: Changes, accepted: dict[str, Instant]) -> list[float]:
    found: dict[str, Instant] = {}
    deadline = time.monotonic() + PATIENCE
    while accepted.keys() - found.keys() and time.monotonic() < deadline:
        found = {change.causation: change.appended for change in reversed(changes.seen) if not change.by_timer}
        await changes.more()
    return [float(found[name] - at) for name, at in accepted.items()]


async def measure(effort: Effort) -> list[Figure]:
    """By one worker, and by two: each brings its own partitions' timers, on the same two cores as Kafka and the store."""
    people = effort.of(PEOPLE)
    return [figure for workers in (1, 2) for figure in await by(workers, people, effort.runs)]


async def by(workers: int, people: int, runs: int) -> list[Figure]:
    rates: list[float] = []
    slowest: list[float] = []
    for _ in range(runs):
        with stage() as on:
            await prepare(on)
            async with AsyncExitStack() as stack:
                for _ in range(workers):
                    await stack.enter_async_context(service(on, "segmentation", "log"))
                rate, latencies = await one_run(on, people)
        rates.append(rate)
        slowest.append(percentile(latencies, 0.99))
        print(f"campaign: {rate:,.0f} changes/s by {workers}, others wait p99 {slowest[-1]:,.0f} ms", flush=True)
    who = f"{workers} worker" if workers == 1 else f"{workers} workers"
    note = f"{people:,} windows end in one second; {who}"
    return [
        Figure(f"campaign's end, {who}", tuple(rates), "changes/s", 2_000, note=note),
        Figure(
            f"others meanwhile, p99, {who}",
            tuple(slowest),
            "ms",
            500,
            at_least=False,
            note=f"{RATE}/s, accepted → change",
        ),
    ]
