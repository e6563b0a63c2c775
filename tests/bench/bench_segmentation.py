"""Segmentation beside a naive service, quix-streams and a loop that only decodes: the same log, Kafka and domain.

`python -m tests.bench.bench_segmentation [--runs 3] [--copies 10] [--json FILE]` prints medians and ratios.
"""

import argparse
import asyncio
import json
import statistics
import sys
from contextlib import ExitStack
from pathlib import Path

from shared.events.catalog import CHRONICLE, CUSTOMERS, group_of
from shared.processing.mongo import database_of
from shared.processing.records import Message
from tests.bench import naive, raw
from tests.bench.stage import ROOT, Stage, all_topics, process, rate, sample, stage

NAIVE_PREFIX = 5_000
COPIES = 10
QUIX_PYTHON = ROOT / ".venv-bench" / "bin" / "python"
QUIX_GROUP = "bench.quix"
QUIX_OUTPUT = "bench.quix.v1"
SEGMENTATION = group_of("segmentation")


async def ours(on: Stage, total: int, workers: int, **more: str) -> float:
    """One run from offset 0 into a fresh database."""
    await on.commit_zero(SEGMENTATION, [CUSTOMERS.name])
    await on.commit_zero(CHRONICLE.group, CHRONICLE.inputs)
    on.drop(database_of("segmentation"))
    with ExitStack() as stack:
        for _ in range(workers):
            environment = on.environment(GUANXI_SEGMENTATION_PORT="0", **more)
            stack.enter_context(process(["-m", "services.segmentation", "run"], environment))
        return rate(await on.wait_committed(SEGMENTATION, CUSTOMERS.name, total, 300), total)


async def other(
    on: Stage, module: str, group: str, total: int, output: str | None, run: int, python: str = sys.executable
) -> float:
    await on.commit_zero(group, [CUSTOMERS.name])
    if output is not None:
        await on.create([output])
    environment = on.environment(
        GUANXI_CONFIG_DIR=str(ROOT / "deploy" / "config"), BENCH_STATE_DIR=str(on.room / f"quix{run}")
    )
    with process(["-m", module], environment, python):
        return rate(await on.wait_committed(group, CUSTOMERS.name, total, 600), total)


async def measure(runs: int, copies: int) -> dict[str, list[float]]:
    messages = sample(copies)
    found: dict[str, list[float]] = {}
    with stage() as small:
        await small.create(all_topics())
        await small.append(messages[:NAIVE_PREFIX])
        for run in range(runs):
            found.setdefault("naive", []).append(
                await other(small, "tests.bench.naive", naive.GROUP, NAIVE_PREFIX, naive.OUTPUT, run)
            )
            report("naive", found)
    with stage() as on:
        await on.create(all_topics())
        await on.append(messages)
        for run in range(runs):
            await one_round(on, messages, run, found)
    return found


async def one_round(on: Stage, messages: list[Message], run: int, found: dict[str, list[float]]) -> None:
    """Side by side: one of each, then again, so that the machine's moods meet all of them."""
    total = len(messages)
    found.setdefault("guanxi", []).append(await ours(on, total, 1))
    report("guanxi", found)
    found.setdefault("guanxi, two workers", []).append(await ours(on, total, 2))
    report("guanxi, two workers", found)
    found.setdefault("quix-streams", []).append(
        await other(on, "tests.bench.quix", QUIX_GROUP, total, QUIX_OUTPUT, run, str(QUIX_PYTHON))
    )
    report("quix-streams", found)
    found.setdefault("decode only", []).append(await other(on, "tests.bench.raw", raw.GROUP, total, None, run))
    report("decode only", found)


def report(name: str, found: dict[str, list[float]]) -> None:
    print(f"{name}: {found[name][-1]:,.0f} events/s", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--copies", type=int, default=COPIES)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    found = asyncio.run(measure(options.runs, options.copies))
    medians = {name: statistics.median(rates) for name, rates in found.items()}
    print("| way | events/s (median) | × naive | × quix-streams |\n|---|---|---|---|")
    for name, median in medians.items():
        print(f"| {name} | {median:,.0f} | {median / medians['naive']:.1f} | {median / medians['quix-streams']:.2f} |")
    if options.json:
        options.json.write_text(json.dumps({"rates": found, "medians": medians}, indent=2))


if __name__ == "__main__":
    main()
