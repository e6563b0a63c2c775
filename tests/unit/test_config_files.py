"""A wrong configuration ends a service before it connects to anything, with the file, the place and what was expected."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError, model_validator

from shared.config_files import ConfigError, Label, Part, expect_exactly, load
from tests.support.segmentation_drive import CONFIG


class Shelf(Part):
    labels: dict[str, Label] = {}
    size: int = 3

    @model_validator(mode="after")
    def _complete(self) -> "Shelf":
        expect_exactly("labels", ("a", "b") if self.labels else (), self.labels)
        return self


WORDS = "{en: a, zh: 甲}"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("a: [", "not YAML"),
        ("- 1", "file: "),
        ("0", "file: "),
        ("colour: red", "colour: Extra inputs"),
        ("size: much\nlabels: 3", "size: .*; .*labels: |labels: .*; .*size: "),
        (f"labels: {{a: {WORDS}}}", "missing or unknown: b"),
        (f"labels: {{a: {WORDS}, b: {WORDS}, c: {WORDS}}}", "missing or unknown: c"),
        ("labels: {a: {en: '', zh: 甲}}", r"labels\.a\.en: "),
    ],
)
def test_what_is_wrong_is_said_with_its_place(tmp_path: Path, text: str, complaint: str) -> None:
    path = tmp_path / "shelf.yaml"
    path.write_text(text, "utf-8")
    with pytest.raises(ConfigError, match=rf"shelf\.yaml: .*({complaint})"):
        load(path, Shelf)


def test_other_encodings_and_missing_files_are_told_apart(tmp_path: Path) -> None:
    path = tmp_path / "shelf.yaml"
    with pytest.raises(ConfigError, match=r"shelf\.yaml: No such file"):
        load(path, Shelf)
    path.write_bytes("size: 3 # 甲".encode("gb18030"))
    with pytest.raises(ConfigError, match=r"shelf\.yaml: not UTF-8.*iconv"):
        load(path, Shelf)


def test_an_empty_file_sets_nothing(tmp_path: Path) -> None:
    path = tmp_path / "shelf.yaml"
    path.write_text("# nothing yet\n")
    assert load(path, Shelf) == Shelf()
    with pytest.raises(ValidationError):
        Shelf(size=4).model_validate({"size": None})


@pytest.mark.parametrize("service", ["segmentation", "followup", "feedback"])
@pytest.mark.parametrize(("text", "complaint"), [("a: [", "no"), (None, "No such file")])
def test_a_service_says_so_before_it_asks_any_server(
    tmp_path: Path, service: str, text: str | None, complaint: str
) -> None:
    config = shutil.copytree(CONFIG, tmp_path / "config")
    file = config / f"{service}.yaml"
    file.unlink() if text is None else file.write_text(text)
    nowhere = {"GUANXI_MONGO_URL": "mongodb://127.0.0.1:1", "GUANXI_KAFKA_BOOTSTRAP": "127.0.0.1:1"}
    environ = {**os.environ, **nowhere, "GUANXI_CONFIG_DIR": str(config)}
    command = [sys.executable, "-m", f"services.{service}", "run"]
    ended = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == 1
    assert f"failed: {file}" in ended.stderr
    assert complaint in ended.stderr
    assert "Traceback" not in ended.stderr
