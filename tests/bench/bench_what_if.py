"""A candidate file over the whole log beside living: `python -m tests.bench.bench_what_if [RUNS]`."""

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

from tests.bench.bench_segmentation import ours
from tests.bench.figures import Effort, Figure, ratios, table
from tests.bench.running import prepare
from tests.bench.stage import ROOT, Stage, sample, stage

COPIES = 10
CONFIG = ROOT / "deploy" / "config" / "segmentation.yaml"
ONE_CHANGED = ("spend_in_year >= 5000}", "spend_in_year >= 6000}")
ALL_CHANGED = ("orders: 512", "orders: 500")
"""A limit, so that nothing may be left out."""


def candidate(room: Path, change: tuple[str, str]) -> Path:
    text = CONFIG.read_text("utf-8")
    if change[0] not in text:
        raise ValueError(f"{CONFIG} has no {change[0]!r} any more")
    file = room / f"candidate-{abs(hash(change))}.yaml"
    file.write_text(text.replace(*change, 1), "utf-8")
    return file


def asked(on: Stage, file: Path, processes: int) -> float:
    """Records per second, the start of the processes included."""
    argv = [
        sys.executable,
        "-m",
        "services.segmentation",
        "what-if",
        str(file),
        "--json",
        "--processes",
        str(processes),
    ]
    done = subprocess.run(argv, env=on.environment(), capture_output=True, text=True, check=True, cwd=ROOT)
    return float(json.loads(done.stdout)["records_per_second"])


async def rates(effort: Effort) -> dict[str, list[float]]:
    messages = sample(effort.of(COPIES))
    messages = messages[: effort.of(len(messages))] if effort.share < 1 else messages
    found: dict[str, list[float]] = {}
    cores = len(os.sched_getaffinity(0))
    with stage() as on:
        await prepare(on)
        await on.append(messages)
        one, whole = candidate(on.room, ONE_CHANGED), candidate(on.room, ALL_CHANGED)
        for _ in range(effort.runs):
            found.setdefault("live", []).append((await ours(on, len(messages), rules=CONFIG)).rate)
            for name, file, processes in (
                ("one threshold", one, 1),
                ("one threshold, all cores", one, cores),
                ("everything", whole, 1),
                ("everything, all cores", whole, cores),
            ):
                found.setdefault(name, []).append(await asyncio.to_thread(asked, on, file, processes))
            print({name: round(some[-1]) for name, some in found.items()}, flush=True)
    return found


async def measure(effort: Effort) -> list[Figure]:
    found = await rates(effort)
    live, cores = found["live"], len(os.sched_getaffinity(0))
    all_cores = 3 if cores >= 4 else None
    return [
        *(Figure(f"what-if, {name}", tuple(some), "/s") for name, some in found.items() if name != "live"),
        Figure("what-if, one threshold ÷ live", ratios(found["one threshold"], live), "×", 1.5, note="one core"),
        Figure(
            "what-if, one threshold, all cores ÷ live",
            ratios(found["one threshold, all cores"], live),
            "×",
            all_cores,
            note=f"{cores} cores",
        ),
        Figure("what-if, everything ÷ live", ratios(found["everything"], live), "×", note="both files whole"),
    ]


if __name__ == "__main__":
    print(table(asyncio.run(measure(Effort(int(sys.argv[1]) if len(sys.argv) > 1 else 3)))))
