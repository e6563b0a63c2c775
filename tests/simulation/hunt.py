"""How many seeds it takes to catch a planted defect: `python -m tests.simulation.hunt [name]`."""

import sys
from collections.abc import Iterable
from dataclasses import dataclass

from tests.simulation.planted import DEFECTS, Defect
from tests.simulation.run import simulate
from tests.simulation.scenario import plan_of

TRIED = 40


@dataclass(frozen=True)
class Catch:
    seed: int
    by: str


def hunt(defect: Defect, seeds: Iterable[int] = range(1, TRIED + 1)) -> Catch | None:
    """The first seed in which a checker objects, or in which the engine itself breaks down."""
    with defect.planted():
        for seed in seeds:
            try:
                problems = simulate(plan_of(seed)).problems
            except Exception as error:
                return Catch(seed, f"{type(error).__name__}")
            if problems:
                return Catch(seed, problems[0].split(":")[0])
    return None


def main() -> int:
    wanted = [defect for defect in DEFECTS if not sys.argv[1:] or sys.argv[1] in defect.name]
    caught = 0
    for defect in wanted:
        catch = hunt(defect)
        caught += catch is not None
        print(f"{defect.name}: {f'seed {catch.seed}, {catch.by}' if catch else 'NOT CAUGHT'}", flush=True)
    print(f"caught {caught} / planted {len(wanted)}")
    return 0 if caught == len(wanted) else 1


if __name__ == "__main__":
    sys.exit(main())
