"""Segmentation beside a naive service, quix-streams and a loop that only decodes: the same log, Kafka, domain and rules.

The rules are the five dimensions with which the first figures were taken (`five.yaml`), so that figures stay comparable.
"""

import sys
from contextlib import ExitStack
from pathlib import Path

from shared.events.catalog import CHRONICLE, CUSTOMERS, group_of
from shared.processing.mongo import database_of
from shared.processing.records import Message
from tests.bench import naive, raw
from tests.bench.figures import Effort, Figure, ratios
from tests.bench.pace import Pace, pace
from tests.bench.stage import ROOT, Stage, all_topics, process, sample, stage, with_rules

NAIVE_PREFIX = 5_000
COPIES = 10
QUIX_PYTHON = ROOT / ".venv-bench" / "bin" / "python"
QUIX_GROUP = "bench.quix"
QUIX_OUTPUT = "bench.quix.v1"
SEGMENTATION = group_of("segmentation")
STANDARD = ROOT / "deploy" / "config" / "segmentation.yaml"
FIVE = Path(__file__).parent / "five.yaml"
PATIENCE = 1_200
"""Seconds for one run, also on a machine that others use."""


async def ours(on: Stage, total: int, workers: int = 1, rules: Path = FIVE) -> Pace:
    """One run from offset 0 into a fresh database."""
    await on.commit_zero(SEGMENTATION, [CUSTOMERS.name])
    await on.commit_zero(CHRONICLE.group, CHRONICLE.inputs)
    on.drop(database_of("segmentation"))
    environment = on.environment(GUANXI_SEGMENTATION_PORT="0", GUANXI_CONFIG_DIR=with_rules(on.room, rules))
    argv = ["-m", "services.segmentation", "run"]
    with ExitStack() as stack:
        pids = [stack.enter_context(process(argv, environment)).pid for _ in range(workers)]
        return pace(await on.wait_committed(SEGMENTATION, CUSTOMERS.name, total, PATIENCE, pids))


async def other(
    on: Stage, module: str, group: str, total: int, output: str | None, run: int, python: str = sys.executable
) -> Pace:
    await on.commit_zero(group, [CUSTOMERS.name])
    if output is not None:
        await on.create([output])
    environment = on.environment(
        GUANXI_CONFIG_DIR=with_rules(on.room, FIVE), BENCH_STATE_DIR=str(on.room / f"quix{run}")
    )
    with process(["-m", module], environment, python) as started:
        return pace(await on.wait_committed(group, CUSTOMERS.name, total, PATIENCE, [started.pid]))


async def measure(effort: Effort) -> list[Figure]:
    found = await paces(effort.runs, effort.of(COPIES))
    rates = {name: [one.rate for one in some] for name, some in found.items()}
    costs = {name: [one.processor for one in some] for name, some in found.items()}
    mine = "guanxi"
    return [
        *(Figure(f"segmentation, {name}", tuple(some), "events/s") for name, some in rates.items()),
        *(Figure(f"segmentation, {name}: processor", tuple(some), "µs/event") for name, some in costs.items()),
        Figure("guanxi ÷ naive", ratios(rates[mine], rates["naive"]), "×", 40),
        Figure("guanxi ÷ quix-streams", ratios(rates[mine], rates["quix-streams"]), "×", 1),
        Figure("two workers ÷ one", ratios(rates["guanxi, two workers"], rates[mine]), "×", 1.3),
        Figure("guanxi ÷ decode only", ratios(rates[mine], rates["decode only"]), "×"),
    ]


async def paces(runs: int, copies: int) -> dict[str, list[Pace]]:
    messages = sample(copies)
    found: dict[str, list[Pace]] = {}
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


async def one_round(on: Stage, messages: list[Message], run: int, found: dict[str, list[Pace]]) -> None:
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


def report(name: str, found: dict[str, list[Pace]]) -> None:
    newest = found[name][-1]
    print(f"{name}: {newest.rate:,.0f} events/s, {newest.processor:,.0f} µs of processor time per event", flush=True)
