"""Timers: how fast they fire, how late, and what they cost while they wait: `python -m tests.bench.bench_timers`.

A purchase made 30 days ago, but for some seconds, changes lifecycle and status at exactly its time + 30 days.
"""

import asyncio
import sys
import time

from services.intake.ticks import tick
from shared.clock import DAY, HOUR, MINUTE, SECOND, Instant, wall_clock
from shared.events.catalog import CUSTOMERS, PARTITIONS, group_of
from shared.processing.records import Message
from tests.bench.armed import idle_seconds
from tests.bench.figures import Effort, Figure, percentile, table
from tests.bench.running import Change, Changes, customer_id, prepare, purchase, service
from tests.bench.stage import Stage, stage

MANY = 100_000
STEADY, STEADY_SECONDS = 1_000, 10
LEAD = 25 * SECOND
"""Time to arm what is due later; armed too late, it would be the arming that is measured."""
SINGLES = 3
YOUTH = 30 * DAY


async def applied(on: Stage, seconds: float) -> None:
    total = sum((await on.ends(CUSTOMERS.name)).values())
    await on.wait_committed(group_of("segmentation"), CUSTOMERS.name, total, seconds)


def due_at(name: str, due: Instant, recorded: Instant) -> Message:
    return purchase(customer_id(name), name, due - YOUTH, recorded)


async def firing_rate(on: Stage, run: int, many: int) -> float:
    """Changes per second once the log says that the minute in which they are due is over."""
    start = wall_clock() - DAY + run * HOUR
    due = [start + 10 * MINUTE + n * MINUTE // many for n in range(many)]
    await on.append([due_at(f"many-{run}-{n}", at, start) for n, at in enumerate(due)])
    await applied(on, 300)
    async with Changes(on.bootstrap, of_timers=True) as changes:
        began = wall_clock()
        await on.append([tick(n, start + 20 * MINUTE, f"bench-{run}-{n}") for n in range(PARTITIONS)])
        seen = await changes.until(many, 300)
    return many / (max(change.appended for change in seen) - began) * SECOND


async def lateness(on: Stage, run: int, seconds: int) -> list[float]:
    """Seconds from due to appended, at a steady rate by the wall clock."""
    first = wall_clock() + LEAD
    due = [first + n * SECOND // STEADY for n in range(STEADY * seconds)]
    async with Changes(on.bootstrap, of_timers=True) as changes:
        await on.append([due_at(f"steady-{run}-{n}", at, wall_clock()) for n, at in enumerate(due)])
        await applied(on, 60)
        if wall_clock() > first:
            print(f"armed {(wall_clock() - first) / SECOND:.1f} s too late", flush=True)
        return [late(change) for change in await changes.until(len(due), 120)]


def late(change: Change) -> float:
    """Seconds; a change's own time is the instant at which it was due."""
    return (change.appended - change.time) / SECOND


async def single(on: Stage, run: int) -> float:
    """Milliseconds that one timer of a silent system is late; the worst of a few."""
    worst = 0.0
    for number in range(SINGLES):
        async with Changes(on.bootstrap, of_timers=True) as changes:
            await on.append([due_at(f"single-{run}-{number}", wall_clock() + 4 * SECOND, wall_clock())])
            (change,) = await changes.until(1, 30)
        worst = max(worst, late(change) * 1_000)
    return worst


async def by_the_log(effort: Effort) -> list[float]:
    rates: list[float] = []
    with stage() as on:
        await prepare(on)
        async with service(on, "segmentation", "log"):
            for run in range(effort.runs):
                rates.append(await firing_rate(on, run, effort.of(MANY)))
                print(f"timers fired: {rates[-1]:,.0f}/s", flush=True)
    return rates


async def by_the_clock(effort: Effort) -> tuple[list[float], list[float]]:
    steady: list[float] = []
    alone: list[float] = []
    with stage() as on:
        await prepare(on)
        async with service(on, "intake"), service(on, "segmentation"):
            await asyncio.sleep(2)
            for run in range(effort.runs):
                alone.append(await single(on, run))
                steady.append(percentile(await lateness(on, run, effort.of(STEADY_SECONDS)), 0.99))
                print(f"late: one {alone[-1]:.0f} ms, p99 at {STEADY}/s {steady[-1]:.2f} s", flush=True)
    return steady, alone


async def measure(effort: Effort) -> list[Figure]:
    began = time.monotonic()
    rates = await by_the_log(effort)
    steady, alone = await by_the_clock(effort)
    waiting, count = await idle_seconds(effort)
    print(f"timers: {time.monotonic() - began:.0f} s in all", flush=True)
    many = f"{effort.of(MANY):,} due within a minute"
    return [
        Figure("timers fired", tuple(rates), "/s", 3_000, note=many),
        Figure(
            f"late at {STEADY}/s, p99", tuple(steady), "s", 1, at_least=False, note="due to appended, tick included"
        ),
        Figure("late on an idle system", tuple(alone), "ms", 250, at_least=False, note=f"worst of {SINGLES}"),
        Figure(
            "armed timers, while they wait",
            tuple(waiting),
            "CPU s",
            0.2,
            at_least=False,
            note=f"{count:,} against none, 20 s",
        ),
    ]


if __name__ == "__main__":
    print(table(asyncio.run(measure(Effort(int(sys.argv[1]) if len(sys.argv) > 1 else 3)))))
