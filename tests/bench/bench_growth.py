"""Speed as the number of customers grows: the same events, spread over 10^4, 10^5 and 10^6 known customers.

The customers are copies of a document that the service wrote itself, put into the store at once: deciding a million first purchases would
take the longer part of an hour and measure nothing. A worker keeps 50,000 documents in memory; of the rest, each is read when it is needed.
"""

import asyncio
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pymongo import MongoClient

from shared.clock import DAY, wall_clock
from shared.events.catalog import CUSTOMERS, PARTITIONS, group_of
from shared.processing.mongo import database_of
from shared.processing.partitioner import partition_of
from shared.processing.records import Message
from tests.bench.bench_rebuild import peak_mb
from tests.bench.figures import Effort, Figure
from tests.bench.pace import Pace, pace
from tests.bench.running import customer_id, prepare, purchase, service
from tests.bench.stage import Stage, stage

SIZES = (10_000, 100_000, 1_000_000)
EVENTS = 50_000
SPREAD = 400 * DAY
AT_ONCE = 5_000
PATIENCE = 1_200
"""Seconds."""


async def one_run(on: Stage, customers: int, events: int, seed: int) -> tuple[Pace, float]:
    """And the most megabytes that the worker ever took."""
    first = customer_id("0")
    await on.append([purchase(first, "first", wall_clock() - DAY, wall_clock() - DAY)])
    async with service(on, "segmentation", "log"):
        await on.wait_committed(group_of("segmentation"), CUSTOMERS.name, 1, 60)
    await asyncio.to_thread(fill, on, first, customers)
    async with service(on, "segmentation", "log") as worker:
        await on.append(buys(customers, events, seed))
        seen = await on.wait_committed(group_of("segmentation"), CUSTOMERS.name, 1 + events, PATIENCE, [worker.pid])
        return pace(seen, 1), peak_mb(worker.pid)


def buys(customers: int, events: int, seed: int) -> list[Message]:
    """Everybody is as likely to buy next."""
    chance, at = random.Random(seed), wall_clock()
    return [purchase(customer_id(str(chance.randrange(customers))), f"{seed}-{n}", at, at) for n in range(events)]


def fill(on: Stage, first: str, customers: int) -> None:
    with MongoClient[dict[str, Any]](on.mongo_url) as client:
        stored = client[database_of("segmentation")]["customers"]
        made = stored.find_one({"_id": first})
        assert made is not None
        for some in in_pieces(made, customers):
            stored.insert_many(some, ordered=False)


def in_pieces(made: dict[str, Any], customers: int) -> Iterator[list[dict[str, Any]]]:
    soonest = wall_clock() + DAY
    for start in range(1, customers, AT_ONCE):
        numbers = range(start, min(start + AT_ONCE, customers))
        yield [copy_of(made, customer_id(str(n)), soonest + SPREAD * n // customers) for n in numbers]


def copy_of(made: dict[str, Any], key: str, wake_at: int) -> dict[str, Any]:
    """As if written by the service for another customer, long ago: nothing is left to be sent."""
    kept = {name: value for name, value in made.items() if name not in {"outbox", "unsent"}}
    state = made["state"].replace(made["_id"], key)
    own = {"_id": key, "partition": partition_of(key.encode(), PARTITIONS), "positions": {}, "wake_at": wake_at}
    return kept | own | {"state": state}


async def measure(effort: Effort) -> list[Figure]:
    figures: list[Figure] = []
    for size in SIZES:
        customers, paces, most = effort.of(size, 100), list[Pace](), list[float]()
        for run in range(effort.runs):
            with stage() as on:
                await prepare(on)
                found, megabytes = await one_run(on, customers, effort.of(EVENTS, 500), run)
                paces.append(found)
                most.append(megabytes)
                disk = megabytes_on_disk(on.room / "store")
            print(
                f"{customers:,} customers: {found.rate:,.0f} events/s, {found.processor:,.0f} µs of processor time,"
                f" worker {megabytes:.0f} MB, store {disk:.0f} MB on disk",
                flush=True,
            )
        figures += [
            Figure(f"{customers:,} customers", tuple(one.rate for one in paces), "events/s"),
            Figure(f"{customers:,} customers: processor", tuple(one.processor for one in paces), "µs/event"),
            Figure(f"{customers:,} customers: memory of the worker, most", tuple(most), "MB"),
        ]
    return figures


def megabytes_on_disk(room: Path) -> float:
    return sum(file.stat().st_size for file in room.rglob("*") if file.is_file()) / 1_000_000
