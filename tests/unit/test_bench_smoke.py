"""The benchmarks can be loaded, and their smallest piece runs from the command to the kept figures."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from services.segmentation.language.revision import Written, touched
from services.segmentation.processor import build_domain
from services.segmentation.rules import load_rules
from shared.clock import MINUTE, SECOND, from_rfc3339, to_rfc3339
from shared.events.catalog import PARTITIONS
from shared.processing import worker
from shared.processing.document import from_fields
from tests.bench import __main__ as bench
from tests.bench import bench_decode, bench_engine, bench_what_if
from tests.bench.bench_campaign import campaign
from tests.bench.bench_growth import buys, in_pieces
from tests.bench.bench_segmentation import FIVE
from tests.bench.figures import Effort, Figure, percentile, ratios, table
from tests.bench.pace import Pace, Sight, pace, processor_seconds
from tests.bench.running import customer_id
from tests.bench.stage import sample, with_rules
from tests.support.happenings import START, tick
from tests.support.small_world import SmallWorld


def test_the_command_keeps_what_it_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(bench_decode, "CALLS", 50)
    file = tmp_path / "kept" / "bench.json"
    code = bench.main(["decode", "--quick", "--json", str(file)])
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


def test_nobody_waits_for_a_worker_that_has_ended() -> None:
    """A worker that had stopped was waited for for twenty minutes."""
    assert processor_seconds([os.getpid()]) > 0
    ended = subprocess.Popen([sys.executable, "-c", ""])
    os.waitid(os.P_PID, ended.pid, os.WEXITED | os.WNOWAIT)
    with pytest.raises(RuntimeError, match="has ended"):
        processor_seconds([ended.pid])
    ended.wait()


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


def test_a_name_that_no_benchmark_has_is_refused_with_those_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        bench.main(["campain"])
    assert "campaign" in capsys.readouterr().err


def test_a_pace_leaves_start_up_out() -> None:
    seen = [Sight(0.0, 7, 1.0), Sight(5.0, 7, 3.0), Sight(6.0, 57, 3.5), Sight(7.0, 107, 4.0)]
    assert pace(seen, 7) == Pace(50.0, 10_000.0)
    assert pace(seen[1:]) == pace(seen, 7)


async def test_the_worker_between_a_still_log_and_a_still_store_works_everything_off(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Also where it takes less than it is handed, as on a slow machine: what was left in its hands was not measured."""
    monkeypatch.setattr(worker, "LONG_BATCH", 0)
    messages, made = sample(1)[:1_500], bench_engine.programs()
    assert made.keys() == {"five dimensions", bench_engine.ONCE, bench_engine.TWICE}
    whole, deciding = await bench_engine.one_run(messages, made["five dimensions"])
    assert whole > deciding > 0


@pytest.fixture
def five(tmp_path: Path) -> SmallWorld:
    """Segmentation in memory with the rules of the benchmarks."""
    rules = Path(with_rules(tmp_path, FIVE))
    return SmallWorld(build_domain(rules), PARTITIONS)


async def test_a_campaigns_windows_end_in_one_second_with_one_change_each(five: SmallWorld) -> None:
    five.append(*campaign(30, START))
    await five.drain()
    five.append(*(tick(number, START + 2 * MINUTE) for number in range(PARTITIONS)))
    await five.drain()
    ended = [event for event in five.said() if str(event["causationid"]).startswith("timer:")]
    assert sorted(str(event["subject"]) for event in ended) == sorted(customer_id(f"campaign-{n}") for n in range(30))
    assert {str(event["time"])[:19] for event in ended} == {to_rfc3339(START + MINUTE)[:19]}


async def test_copied_customers_go_on_as_the_service_would_have_left_them(five: SmallWorld) -> None:
    five.append(*campaign(1, START))
    await five.drain()
    made = (await five.document(customer_id("campaign-0"))).to_fields()
    (copies,) = in_pieces(made, 3)
    for document in map(from_fields, copies):
        five.store._put(document)
    five.append(*buys(3, 20, seed=1))
    await five.drain()
    said = five.said(customer_id("1"))
    assert [event["sequence"] for event in said] == [f"{document.sequence + n:020d}" for n in range(1, len(said) + 1)]
    assert (await five.document(customer_id("1"))).state != document.state
    assert from_rfc3339(str(said[0]["time"])) > START + SECOND
