"""A worker killed under load: when the other one publishes for its partitions: `python -m tests.bench.bench_takeover`.

Both work on a backlog, so the one that dies is mostly inside a batch: deciding, writing or publishing.
"""

import asyncio
import os
import random
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from shared.clock import DAY, SECOND, Instant, wall_clock
from shared.events.catalog import PARTITIONS
from shared.processing.mongo import open_database
from tests.bench.figures import Effort, Figure, table
from tests.bench.running import Changes, Service, customer_id, prepare, purchase, service, settings
from tests.bench.stage import Stage, stage

BACKLOG = 30_000
ALLOWED_BEYOND = 3.0
"""Seconds beyond the session timeout."""
SETTLE = 1.0
"""Seconds after which whatever the dead one had sent has been appended."""
STILL = 2.5
"""Seconds for which both must own the same: what they reported last may be older than a rebalance."""


async def one_run(on: Stage, run: int, backlog: int) -> float:
    """Seconds from the kill to the first change that the survivor appended to a partition of the dead."""
    async with both(on) as (victim, _):
        dead = await owned_by(on, victim)
        async with Changes(on.bootstrap) as changes:
            at = wall_clock() - DAY
            await on.append([purchase(customer_id(f"{run}-{n}"), f"{run}-{n}", at, at) for n in range(backlog)])
            await asyncio.sleep(random.uniform(0.3, 1.0))
            killed = wall_clock()
            os.kill(victim.pid, signal.SIGKILL)
            return (await first_after(changes, killed + round(SETTLE * SECOND), dead) - killed) / SECOND


@asynccontextmanager
async def both(on: Stage) -> AsyncIterator[tuple[Service, Service]]:
    """Two workers that share the partitions."""
    async with AsyncExitStack() as stack:
        one = await stack.enter_async_context(service(on, "segmentation", "log"))
        other = await stack.enter_async_context(service(on, "segmentation", "log"))
        before: list[set[int]] = []
        while not all(shared := [await owned_by(on, worker) for worker in (one, other)]) or shared != before:
            before = shared
            await asyncio.sleep(STILL)
        yield one, other


async def owned_by(on: Stage, worker: Service) -> set[int]:
    """As the workers themselves reported it last; empty unless all partitions are spoken for."""
    async with AsyncExitStack() as stack:
        database = await open_database(settings(on), "segmentation", (), stack)
        now = wall_clock()
        said = [entry for entry in await database.control.progress() if now - entry.written_at < 2 * SECOND]
    mine = {entry.partition for entry in said if entry.worker.split(":")[1] == str(worker.pid)}
    return mine if len(said) == PARTITIONS else set()


async def first_after(changes: Changes, after: Instant, partitions: set[int]) -> Instant:
    """Append time of the first change on one of these partitions later than `after`."""
    count = 0
    while True:
        found = [c.appended for c in changes.seen[count:] if c.partition in partitions and c.appended > after]
        if found:
            return min(found)
        count = len(changes.seen)
        async with asyncio.timeout(60):
            await changes.until(count + 1, 60)


async def measure(effort: Effort) -> list[Figure]:
    seconds: list[float] = []
    with stage() as on:
        await prepare(on)
        session = settings(on).session_timeout_ms / SECOND
        for run in range(effort.runs):
            seconds.append(await one_run(on, run, effort.of(BACKLOG, 1_000)))
            print(f"taken over after {seconds[-1]:.1f} s", flush=True)
    note = f"kill -9 to the survivor's first change, session timeout {session:.0f} s"
    bound = session + ALLOWED_BEYOND
    return [Figure("takeover, worst", (max(seconds),), "s", bound, at_least=False, note=note)]


if __name__ == "__main__":
    print(table(asyncio.run(measure(Effort(int(sys.argv[1]) if len(sys.argv) > 1 else 3)))))
