"""A world so small that every port step of it can fail, one by one and in pairs.

`python -m tests.simulation.small [pairs [still|changing]]`"""

import random
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from unittest.mock import patch

from shared.clock import SECOND
from shared.processing import handover
from tests.simulation.faults import POSSIBLE, Fault, Script
from tests.simulation.run import Result, simulate
from tests.simulation.world import Plan
from tests.support.example_domains import Counts, ExampleDomain, activated
from tests.support.happenings import START, activation, customer, purchase

Faulty = dict[int, Fault]
SEEDS = (1, 2)
SECOND_FAULTS: tuple[Fault, ...] = ("lost", "crash_before", "crash_late", "stall")


def small_plan(seed: int, script: Script) -> Plan:
    """One service, one partition, two workers, two customers, four records, three timers, all within four seconds."""
    people = (customer(1), customer(2))
    moments = ((0.3, 0), (0.35, 1), (1.6, 0), (1.9, 1))
    records = tuple(
        (moment, purchase(people[who], f"e{number}", START + int(moment * SECOND)))
        for number, (moment, who) in enumerate(moments)
    )
    return Plan(
        seed=seed,
        domains=(partial(_counts, SECOND // 4),),
        happenings=records,
        faults=script,
        partitions=1,
        workers={"segmentation": 2},
        batch_size=2,
        cache=2,
        recheck=0.5,
        mended_at=0.0,
        calm_after=4.5,
        lasts=5.0,
        quiet=0.5,
    )


def changing_plan(seed: int, script: Script) -> Plan:
    """The same world, in whose middle another version of the rules is activated: one customer per step changes over."""
    plan = small_plan(seed, script)
    change = (1.0, activation(0, START + SECOND, activated(2, 4)))
    return replace(plan, happenings=tuple(sorted((*plan.happenings, change), key=lambda pair: pair[0])))


PLANS: dict[str, Callable[[int, Script], Plan]] = {"still": small_plan, "changing": changing_plan}


def _counts(unit: int, mended: bool) -> ExampleDomain:
    return Counts(mended, unit)


def world(seed: int, faults: Faulty, plan: str = "still", lands: int | None = None) -> tuple[Result, list[str]]:
    """The result, and which call each step was. `lands`: the call before which a late effect takes place."""
    script = Script(faults, lands=lands)
    with patch.object(handover, "CHANGED_AT_ONCE", 1):
        return simulate(PLANS[plan](seed, script)), script.calls


@dataclass
class Explored:
    """`failing`: seed, faults, what was wrong."""

    worlds: int = 0
    steps: int = 0
    failing: list[tuple[int, Faulty, str]] = field(default_factory=list)

    def add(self, seed: int, faults: Faulty, result: Result) -> None:
        self.worlds += 1
        self.steps += result.steps
        if result.problems:
            self.failing.append((seed, faults, result.problems[0]))


def explore(pairs: int, part: int = 0, parts: int = 1, seeds: tuple[int, ...] = SEEDS, plan: str = "still") -> Explored:
    """Every possible fault at every step; then `pairs` pairs of one such fault and a second one later, spread evenly over
    all pairs there are. `part` of `parts`: so that several processes can share the work."""
    found = Explored()
    seconds: list[tuple[int, Faulty]] = []
    for seed in seeds:
        for number, (first, fault) in enumerate(singles(seed, plan)):
            if number % parts != part:
                continue
            result, calls = world(seed, {first: fault}, plan)
            found.add(seed, {first: fault}, result)
            seconds += [(seed, {first: fault, step: other}) for step, other in later(first, calls)]
    chosen = random.Random(part).sample(seconds, min(pairs // parts, len(seconds)))
    for seed, faults in chosen:
        found.add(seed, faults, world(seed, faults, plan)[0])
    return found


def singles(seed: int, plan: str) -> Iterator[tuple[int, Fault]]:
    _, calls = world(seed, {}, plan)
    for step, call in enumerate(calls):
        for fault in POSSIBLE[call]:
            yield step, fault


def later(first: int, calls: list[str]) -> Iterator[tuple[int, Fault]]:
    for step in range(first + 1, len(calls)):
        for fault in SECOND_FAULTS:
            if fault in POSSIBLE[calls[step]] and not (calls[step] == "fetch" and fault == "crash_before"):
                yield step, fault


def late_marks(seeds: tuple[int, ...]) -> Iterator[tuple[int, Faulty, int | None]]:
    """The pairs in which a clearing of `unsent` comes late and a later publishing does not happen."""
    for seed in seeds:
        _, calls = world(seed, {})
        for first in (step for step, call in enumerate(calls) if call == "clear_unsent"):
            for fault in ("stall", "crash_late"):
                _, after = world(seed, {first: fault})  # type: ignore[dict-item]
                for second in (s for s, call in enumerate(after) if call == "publish" and s > first):
                    yield seed, {first: fault, second: "crash_before"}, None  # type: ignore[dict-item]


def late_saves(seeds: tuple[int, ...]) -> Iterator[tuple[int, Faulty, int | None]]:
    """A process dies in a write that lands when its successor has just looked for what timers left unsent."""
    for seed in seeds:
        _, calls = world(seed, {})
        for first in (step for step, call in enumerate(calls) if call == "save"):
            _, after = world(seed, {first: "crash_late"}, lands=len(calls) * 10)
            looks = [step for step, call in enumerate(after) if call == "unsent" and step > first]
            for look in looks[:2]:
                for lands in range(look + 1, look + 4):
                    yield seed, {first: "crash_late"}, lands


def main() -> int:
    found = explore(int(sys.argv[1]) if sys.argv[1:] else 200, plan=sys.argv[2] if sys.argv[2:] else "still")
    for seed, faults, problem in found.failing[:20]:
        print(f"seed {seed}, faults {faults}: {problem[:300]}")
    print(f"{found.worlds} small worlds, {found.steps} steps, {len(found.failing)} failing")
    return 1 if found.failing else 0


if __name__ == "__main__":
    sys.exit(main())
