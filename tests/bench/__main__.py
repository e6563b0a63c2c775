"""All benchmarks: `make bench`; some alone: `python -m tests.bench NAME …`. Prints one table of figures and bounds, and keeps them as JSON.

Each figure is the median of its runs; rivals run beside ours on the same Kafka and store, and ratios are taken run by run.
"""

import argparse
import asyncio
import json
import os
import platform
import signal
import sys
import time
import traceback
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from tests.bench import (
    bench_campaign,
    bench_decode,
    bench_dimensions,
    bench_engine,
    bench_growth,
    bench_intake,
    bench_latency,
    bench_rebuild,
    bench_segmentation,
    bench_takeover,
    bench_timers,
    bench_what_if,
)
from tests.bench.figures import Effort, Figure, table

QUICK = Effort(runs=1, share=0.01)
Measure = Callable[[Effort], Awaitable[list[Figure]]]


async def decode(effort: Effort) -> list[Figure]:
    found = [bench_decode.measure() for _ in range(effort.runs)]
    runs = tuple(one["ratio"] for one in found)
    return [Figure("decode ÷ model_validate_json", runs, "×", bench_decode.LIMIT, at_least=False)]


ALL: dict[str, Measure] = {
    "decode": decode,
    "engine": bench_engine.measure,
    "intake": bench_intake.measure,
    "latency": bench_latency.measure,
    "takeover": bench_takeover.measure,
    "timers": bench_timers.measure,
    "rebuild": bench_rebuild.measure,
    "segmentation": bench_segmentation.measure,
    "dimensions": bench_dimensions.measure,
    "campaign": bench_campaign.measure,
    "growth": bench_growth.measure,
    "what-if": bench_what_if.measure,
}


def run(names: list[str], effort: Effort, file: Path) -> int:
    """1 where a bound was missed, or a benchmark failed; what the others found is kept all the same."""
    found: dict[str, list[Figure]] = {}
    failed: list[str] = []
    for name in names:
        print(f"{name} …", flush=True)
        try:
            found[name] = asyncio.run(_timed(name, effort))
        except Exception:  # the others are worth having
            traceback.print_exc()
            failed.append(name)
        keep(file, found, failed, effort)
    figures = [figure for some in found.values() for figure in some]
    print(f"\n{table(figures)}\n\nkept in {file}")
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return int(bool(failed) or any(figure.met is False for figure in figures))


async def _timed(name: str, effort: Effort) -> list[Figure]:
    began = time.monotonic()
    figures = await ALL[name](effort)
    print(f"{name}: {time.monotonic() - began:.0f} s", flush=True)
    return figures


def keep(file: Path, found: dict[str, list[Figure]], failed: list[str], effort: Effort) -> None:
    document: dict[str, Any] = {
        "runs": effort.runs,
        "share": effort.share,
        "machine": {"cores": os.cpu_count(), "python": platform.python_version(), "load": os.getloadavg()[0]},
        "figures": {name: [figure.to_json() for figure in some] for name, some in found.items()},
        "failed": failed,
    }
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", "utf-8")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument(
        "--quick", action="store_true", help="one small run of each: shows that they work, measures nothing"
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(ALL)}; without any, all")
    parser.add_argument("--json", type=Path, default=Path(os.environ.get("GUANXI_DATA_DIR", ".guanxi")) / "bench.json")
    options = parser.parse_args(arguments)
    if unknown := set(options.names) - ALL.keys():
        parser.error(f"no benchmark is named {', '.join(sorted(unknown))}; there are {', '.join(ALL)}")
    return run(options.names or list(ALL), QUICK if options.quick else Effort(options.runs), options.json)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # unwinds, so that the stage's servers stop too
    sys.exit(main())
