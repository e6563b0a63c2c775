"""What armed timers cost a worker that has nothing else to do: its processor time beside that of one without any."""

import asyncio
from copy import deepcopy
from typing import Any

from pymongo import MongoClient

from shared.clock import DAY, wall_clock
from shared.events.catalog import CUSTOMERS, PARTITIONS, group_of
from shared.processing.mongo import database_of
from shared.processing.partitioner import partition_of
from tests.bench.figures import Effort
from tests.bench.pace import processor_seconds
from tests.bench.running import customer_id, prepare, purchase, service
from tests.bench.stage import Stage, stage

ARMED = 1_000_000
SPREAD = 400 * DAY
SETTLE, WATCHED = 10.0, 20.0
"""Seconds: for taking over, which may cost; then those that count."""
AT_ONCE = 5_000


async def idle_seconds(effort: Effort) -> tuple[list[float], int]:
    """Per run: processor seconds more than with none, in 20 s; and how many were armed, spread over the next 400 days."""
    count = effort.of(ARMED, PARTITIONS)
    with stage() as on:
        await prepare(on)
        await on.append([purchase(customer_id("first"), "first", wall_clock(), wall_clock())])
        none = [await watched(on, effort) for _ in range(effort.runs)]
        await asyncio.to_thread(arm, on, count)
        armed = [await watched(on, effort) for _ in range(effort.runs)]
    print(f"idle worker: {none} CPU s, with {count:,} armed {armed} CPU s", flush=True)
    return [with_ - without for with_, without in zip(armed, none, strict=True)], count


async def watched(on: Stage, effort: Effort) -> float:
    async with service(on, "intake"), service(on, "segmentation") as worker:
        await on.wait_committed(group_of("segmentation"), CUSTOMERS.name, 1, 30)
        await asyncio.sleep(SETTLE)
        before = processor_seconds([worker.pid])
        await asyncio.sleep(max(2.0, WATCHED * effort.share))
        return processor_seconds([worker.pid]) - before


def arm(on: Stage, count: int) -> None:
    """Copies of a document that the service wrote itself, each of another customer and due at another time."""
    with MongoClient[dict[str, Any]](on.mongo_url) as client:
        customers = client[database_of("segmentation")]["customers"]
        made = customers.find_one()
        assert made is not None
        soonest = wall_clock() + DAY
        for start in range(0, count, AT_ONCE):
            numbers = range(start, min(start + AT_ONCE, count))
            customers.insert_many([_another(made, n, soonest + SPREAD * n // count) for n in numbers], ordered=False)


def _another(made: dict[str, Any], number: int, wake_at: int) -> dict[str, Any]:
    copy = deepcopy(made)
    key = customer_id(f"armed-{number}")
    return copy | {"_id": key, "partition": partition_of(key.encode(), PARTITIONS), "wake_at": wake_at}
