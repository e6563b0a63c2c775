"""`guanxi rules`: what it prints, how it ends, what it tells people to do next."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
STANDARD = (ROOT / "deploy" / "config" / "segmentation.yaml").read_text("utf-8")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    made = tmp_path / "mine.yaml"
    made.write_text(STANDARD.replace("spend_in_year >= 5000}", "spend_in_year >= 6000}", 1), "utf-8")
    return made


def rules(home: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    environ = {**os.environ, "GUANXI_DATA_DIR": str(home / "data"), "NO_COLOR": "1"}
    argv = [sys.executable, "-m", "deploy", "rules", *arguments]
    return subprocess.run(argv, cwd=ROOT, env=environ, capture_output=True, text=True, check=False, timeout=240)


def test_a_right_file_passes_and_the_next_step_is_named(file: Path, tmp_path: Path) -> None:
    done = rules(tmp_path, "check", str(file))
    assert (done.returncode, done.stderr) == (0, "")
    assert f"guanxi rules what-if {file}" in done.stdout


@pytest.mark.parametrize("as_json", [False, True])
def test_a_wrong_file_is_named_with_line_path_and_spelling(file: Path, tmp_path: Path, as_json: bool) -> None:
    file.write_text(STANDARD.replace("when: spend_in_year >= 5000", "when: spend_in_yaer >= 5000", 1), "utf-8")
    line = next(n for n, text in enumerate(file.read_text().splitlines(), 1) if "spend_in_yaer" in text)
    done = rules(tmp_path, "check", str(file), *["--json"] * as_json)
    said = json.loads(done.stdout)["errors"][0] if as_json else done.stderr
    assert done.returncode == 1
    assert f"{file}:{line}: dimensions.spend_level.cases[0].when" in said
    assert "did you mean 'spend_in_year'?" in said


def test_a_difference_is_told_as_it_was_written_with_what_it_touches(file: Path, tmp_path: Path) -> None:
    standard = tmp_path / "standard.yaml"
    standard.write_text(STANDARD, "utf-8")
    done = rules(tmp_path, "diff", str(file), "--against", str(standard))
    assert done.stdout.splitlines() == [
        "~ dimensions.spend_level.cases.high.when: spend_in_year >= 5000 → spend_in_year >= 6000",
        "can touch: spend_level",
    ]
    found = json.loads(rules(tmp_path, "diff", str(file), "--against", str(standard), "--json").stdout)
    assert found["touched"] == ["spend_level"]


@pytest.mark.parametrize("arguments", [("check", "/nowhere.yaml")])
def test_wrong_use_is_two(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    assert rules(tmp_path, *arguments).returncode == 2


def test_where_nothing_runs_the_way_to_start_it_is_said(file: Path, tmp_path: Path) -> None:
    done = rules(tmp_path, "what-if", str(file))
    assert done.returncode == 1
    assert "guanxi up" in done.stderr
