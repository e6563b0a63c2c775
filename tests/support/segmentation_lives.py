"""Made-up lives that are the same in every run: `python -m tests.support.segmentation_lives NUMBER FILE` keeps them as a pickle.

Hypothesis draws from the constants of all modules imported so far, too. In a process of its own these are always the same ones,
whatever other tests have run before.
"""

import os
import pickle
import subprocess
import sys
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, settings

from tests.support.segmentation_facts import Fact
from tests.support.segmentation_histories import histories

ROOT = Path(__file__).parents[2]


def lives(number: int, file: Path) -> list[list[Fact]]:
    """Drawn elsewhere; `file` is where they are handed over."""
    command = [sys.executable, "-m", "tests.support.segmentation_lives", str(number), str(file)]
    environ = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONHASHSEED": "0"}
    subprocess.run(command, cwd=ROOT, env=environ, check=True)
    found: list[list[Fact]] = pickle.loads(file.read_bytes())
    return found


def draw(number: int) -> list[list[Fact]]:
    drawn: list[list[Fact]] = []

    @settings(
        max_examples=number,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
        deadline=None,
    )
    @given(histories(40))
    def keep(facts: list[Fact]) -> None:
        drawn.append(facts)

    keep()
    return drawn


if __name__ == "__main__":
    Path(sys.argv[2]).write_bytes(pickle.dumps(draw(int(sys.argv[1]))))
