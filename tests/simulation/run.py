"""One seed, one world: `python -m tests.simulation.run --seed N` repeats what a failing test named."""

import argparse
import sys
from dataclasses import dataclass
from unittest.mock import patch

from shared.events import codec
from tests.simulation.aftermath import replayed, verified
from tests.simulation.scenario import newer_purchase, plan_of, real_plan_of
from tests.simulation.virtual_loop import run
from tests.simulation.world import Plan, World
from tests.support.checkers import check


@dataclass(frozen=True)
class Result:
    """`trace` is equal for equal seeds and equal code."""

    seed: int
    problems: tuple[str, ...]
    trace: str
    steps: int
    struck: dict[str, int]
    story: tuple[str, ...]


OLD_VERSIONS: dict[str, codec.Upcaster] = {"guanxi.purchase.made.v0": newer_purchase}


def simulate(plan: Plan) -> Result:
    with patch.dict(codec.UPCASTERS, OLD_VERSIONS):
        return run(_simulate(plan))


async def _simulate(plan: Plan) -> Result:
    world = World(plan)
    await world.run()
    nature = world.nature
    for topic, number in sorted((tp.topic, tp.partition) for tp in world.log._records):
        for record in world.records(topic, number):
            nature.note(f"{topic}:{number}:{record.offset} {record.timestamp} {record.value!r}")
    problems = (*check(world), *await verified(world), *await replayed(world))
    return Result(plan.seed, problems, nature.trace(), nature.steps, nature.struck, tuple(nature.story))


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--until", type=int, help="all seeds up to this one")
    parser.add_argument("--real", action="store_true", help="the services' own domains")
    parser.add_argument("--story", action="store_true", help="every port call and every record")
    arguments = parser.parse_args()
    failed = 0
    for seed in range(arguments.seed, (arguments.until or arguments.seed) + 1):
        result = simulate(real_plan_of(seed) if arguments.real else plan_of(seed))
        if arguments.story:
            print("\n".join(result.story))
        if result.problems or arguments.until is None:
            print(
                f"seed {seed}: trace {result.trace}, {result.steps} steps, {len(result.problems)} problems, {result.struck}"
            )
        for problem in result.problems[:10]:
            print("  ", problem[:600])
        failed += bool(result.problems)
    print(f"{failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
