"""The benchmarks can be loaded, and their smallest piece runs from the command to the kept figures."""

import json
from pathlib import Path

import pytest

from services.segmentation.revision import Written, touched
from services.segmentation.rules import load_rules
from tests.bench import __main__ as bench
from tests.bench import bench_decode, bench_what_if
from tests.bench.figures import Effort, Figure, percentile, ratios, table


def test_the_command_keeps_what_it_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(bench_decode, "CALLS", 50)
    file = tmp_path / "kept" / "bench.json"
    code = bench.main(["--quick", "--only", "decode", "--json", str(file)])
    (figure,) = json.loads(file.read_text())["figures"]["decode"]
    assert figure["median"] > 0
    assert code == int(not figure["met"])
    assert "decode ÷ model_validate_json" in capsys.readouterr().out


def test_a_benchmark_that_fails_is_named_and_takes_nothing_from_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def broken(_effort: Effort) -> list[Figure]:
        raise RuntimeError("no broker")

    async def sound(_effort: Effort) -> list[Figure]:
        return [Figure("speed", (3.0,), "/s", 2.0)]

    monkeypatch.setattr(bench, "ALL", {"broken": broken, "sound": sound})
    assert bench.run(["broken", "sound"], bench.QUICK, tmp_path / "bench.json") == 1
    kept = json.loads((tmp_path / "bench.json").read_text())
    assert kept["failed"] == ["broken"]
    assert kept["figures"]["sound"][0]["met"] is True
    assert "failed: broken" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("runs", "at_least", "met"), [((1.0, 2.0, 9.0), True, True), ((1.0, 1.9, 9.0), True, False), ((3.0,), False, False)]
)
def test_the_median_is_held_against_the_bound(runs: tuple[float, ...], at_least: bool, met: bool) -> None:
    figure = Figure("x", runs, bound=2.0, at_least=at_least)
    assert figure.met is met
    assert ("**missed**" in table([figure])) is not met


def test_ratios_are_taken_run_by_run() -> None:
    assert ratios([2.0, 9.0], [1.0, 3.0]) == (2.0, 3.0)


@pytest.mark.parametrize(("share", "value"), [(0.5, 50.0), (0.99, 99.0), (1.0, 100.0), (0.001, 1.0)])
def test_a_percentile_is_one_of_the_values(share: float, value: float) -> None:
    assert percentile([float(n) for n in range(100, 0, -1)], share) == value


@pytest.mark.parametrize("change", [bench_what_if.ONE_CHANGED, bench_what_if.ALL_CHANGED])
def test_the_candidates_of_the_what_if_benchmark_are_still_candidates(tmp_path: Path, change: tuple[str, str]) -> None:
    before, after = load_rules(bench_what_if.CONFIG), load_rules(bench_what_if.candidate(tmp_path, change))
    names = touched(Written(before.text), Written(after.text))
    assert (names == {"spend_level"}) == (change == bench_what_if.ONE_CHANGED)
    assert "spend_level" in names
