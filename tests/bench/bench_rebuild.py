"""Rebuilding beside living: how fast, and what a worker's memory does as the log grows: `python -m tests.bench.bench_rebuild`."""

import asyncio
import sys
import time
from pathlib import Path

from services.segmentation.bootstrap import SERVICE
from shared.clock import DAY, wall_clock
from shared.events.catalog import CUSTOMERS, group_of
from shared.processing.maintenance import open_maintenance
from shared.processing.records import Message
from tests.bench.bench_segmentation import STANDARD, ours
from tests.bench.figures import Effort, Figure, ratios, table
from tests.bench.running import customer_id, prepare, purchase, service, settings
from tests.bench.stage import Stage, sample, stage

COPIES = 10
PEOPLE = 100_000
LENGTHS = (1, 2, 4)
MOST_MB, MOST_GROWTH = 350, 1.15


async def rebuilt(on: Stage) -> float:
    """Events per second of a rebuild in this process; what was live stays what the next run is compared with."""
    async with open_maintenance(SERVICE, settings(on, GUANXI_CLOCK="log")) as maintenance:
        rebuild = await maintenance.rebuild()
        began = time.monotonic()
        applied = await rebuild.run(lambda phase, number, count: None)
        return applied / (time.monotonic() - began)


async def speeds(effort: Effort) -> tuple[list[float], list[float]]:
    live: list[float] = []
    again: list[float] = []
    messages = sample(effort.of(COPIES))
    messages = messages[: effort.of(len(messages))] if effort.share < 1 else messages
    with stage() as on:
        await prepare(on)
        await on.append(messages)
        for _ in range(effort.runs):
            live.append((await ours(on, len(messages), rules=STANDARD)).rate)
            await asyncio.sleep(6)  # until nobody owns a partition any more
            again.append(await rebuilt(on))
            print(f"live {live[-1]:,.0f}/s, rebuild {again[-1]:,.0f}/s", flush=True)
    return live, again


def purchases(people: int, turn: int) -> list[Message]:
    """One more purchase of everybody, each turn a day later."""
    at = wall_clock() - 30 * DAY + turn * DAY
    return [purchase(customer_id(f"person-{n}"), f"{turn}-{n}", at, at) for n in range(people)]


async def memory(effort: Effort) -> dict[int, float]:
    """Log length in purchases per customer to the most megabytes that one worker ever took."""
    people = effort.of(PEOPLE)
    found: dict[int, float] = {}
    with stage() as on:
        await prepare(on)
        async with service(on, "segmentation", "log") as worker:
            for turn in range(LENGTHS[-1]):
                await on.append(purchases(people, turn))
                await on.wait_committed(group_of("segmentation"), CUSTOMERS.name, people * (turn + 1), 600)
                if turn + 1 in LENGTHS:
                    found[turn + 1] = peak_mb(worker.pid)
                    print(f"{people:,} customers, log {turn + 1} x: at most {found[turn + 1]:.0f} MB", flush=True)
    return found


def peak_mb(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    (kilobytes,) = (int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))
    return kilobytes / 1_024


async def measure(effort: Effort) -> list[Figure]:
    live, again = await speeds(effort)
    found = await memory(effort)
    people = f"{effort.of(PEOPLE):,} customers"
    growth = found[LENGTHS[-1]] / found[LENGTHS[0]]
    return [
        Figure("rebuild", tuple(again), "/s"),
        Figure("rebuild ÷ live", ratios(again, live), "×", 1.5, note="one process each"),
        Figure("memory of a worker, most", (max(found.values()),), "MB", MOST_MB, at_least=False, note=people),
        Figure("memory, log 4 x ÷ 1 x", (growth,), "×", MOST_GROWTH, at_least=False, note=people),
    ]


if __name__ == "__main__":
    print(table(asyncio.run(measure(Effort(int(sys.argv[1]) if len(sys.argv) > 1 else 3)))))
