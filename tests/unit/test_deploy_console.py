"""The command line: what it prints, how it ends, what it tells people to do next."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiokafka import TopicPartition
from aiokafka.errors import UnknownMemberIdError

from deploy import offsets, topics
from deploy.__main__ import main
from deploy.client import Client
from deploy.commands import repairing
from deploy.commands.reading import readable
from deploy.console import Failure
from deploy.offsets import GroupOffsets, ProvisionError, Report
from deploy.processes import Daemon
from deploy.programs import PROGRAMS, reads
from deploy.supervisor import Plan, Worker
from deploy.topics import Stored
from shared.events.catalog import CHRONICLE, OUTPUT

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests" / "contract" / "golden"
COMMANDS = ("up", "down", "status", "doctor", "scale", "provision", "tail", "import", "keys", "segments", "rebuild", "verify",
            "dead-letters", "parked", "erase", "rules")  # fmt: skip


def guanxi(tmp_path: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    environ = {**os.environ, "GUANXI_DATA_DIR": str(tmp_path / "data"), "GUANXI_LAYER": "local", "NO_COLOR": "1"}
    argv = [sys.executable, "-m", "deploy", *arguments]
    return subprocess.run(
        argv, cwd=ROOT, env=environ, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )


def test_every_promised_command_is_there(tmp_path: Path) -> None:
    shown = guanxi(tmp_path, "--help")
    assert shown.returncode == 0
    assert [name for name in COMMANDS if f" {name} " not in shown.stdout] == []


@pytest.mark.parametrize(
    "arguments", [("status",), ("tail", "segments"), ("scale", "feedback", "2"), ("verify", "feedback")]
)
def test_where_nothing_runs_the_way_to_start_it_is_said(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    ended = guanxi(tmp_path, *arguments)
    assert ended.returncode == 1
    assert "guanxi up" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize(
    "arguments",
    [("scale", "kafka", "2"), ("scale", "feedback", "13"), ("tail", "nonsense"), ("verify", "intake"), ("fly",)],
)
def test_wrong_use_ends_with_2(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    assert guanxi(tmp_path, *arguments).returncode == 2


@pytest.mark.parametrize("command", ["verify", "rebuild"])
def test_help_lists_what_may_be_said_and_only_that(tmp_path: Path, command: str) -> None:
    shown = guanxi(tmp_path, command, "--help").stdout
    assert [word for word in ("--json", *OUTPUT) if word not in shown] == []
    assert "intake" not in shown


def test_an_erasure_that_takes_long_says_how_to_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repairing, "_RECEIPT_SECONDS", 0)
    monkeypatch.setattr(Client, "post", lambda *_: {"receipt_id": "r1"})
    monkeypatch.setattr(Client, "get", lambda *_: {"complete": False})
    with pytest.raises(Failure, match=r"receipt r1.*guanxi status.*again"):
        repairing.erase("somebody", yes=True)


@pytest.mark.parametrize("arguments", [("tail", "segments", "--no-follow"), ("dead-letters", "list", "feedback")])
def test_where_kafka_does_not_answer_the_way_to_look_is_said(
    arguments: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(topics, "_SECONDS", 0.1)
    monkeypatch.setenv("GUANXI_KAFKA_BOOTSTRAP", "127.0.0.1:1")
    monkeypatch.setenv("GUANXI_MONGO_URL", "mongodb://127.0.0.1:1")
    monkeypatch.setattr(sys, "argv", ["guanxi", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 1
    assert "guanxi doctor" in capsys.readouterr().err


class AtWork:
    """A consumer whose group has members, so that nobody may set its offsets from outside."""

    def __init__(self, **_settings: object) -> None: ...

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    def assign(self, places: object) -> None: ...

    async def commit(self, offsets: object) -> None:
        raise UnknownMemberIdError


@pytest.mark.parametrize(
    ("group", "program"),
    [(CHRONICLE.group, CHRONICLE.service), *((reads(program)[0], program) for program in PROGRAMS)],
)
async def test_a_group_at_work_is_told_with_the_program_to_stop(
    group: str, program: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(offsets, "AIOKafkaConsumer", AtWork)
    with pytest.raises(ProvisionError, match=rf"\(guanxi scale {program} 0\)"):
        await GroupOffsets("nowhere:1", Report(), repair=True)._commit(group, {TopicPartition("t", 0): 0})


def test_the_doctor_prints_data(tmp_path: Path) -> None:
    findings = json.loads(guanxi(tmp_path, "doctor", "--json").stdout)
    assert {"what", "ok", "needed", "words"} == set(findings[0])


def test_a_change_of_segments_is_one_line_per_dimension_with_its_reason() -> None:
    sample = json.loads((GOLDEN / "segments.changed.v1.json").read_text())
    lines = readable(_stored(json.dumps(sample).encode())).splitlines()
    assert sample["subject"] in lines[0]
    assert len(lines) == 1 + len(sample["data"]["changes"])
    change = sample["data"]["changes"][0]
    assert f"{change['dimension']}: {change['from']} → {change['to']}" in lines[1]


@pytest.mark.parametrize("golden", sorted(GOLDEN.glob("*.json")), ids=lambda path: path.stem)
def test_no_sealed_field_is_printed(golden: Path) -> None:
    sample = json.loads(golden.read_text())
    line = readable(_stored(golden.read_bytes()))
    assert [word for word in _leaves(sample["data"].get("sealed", {})) if word in line] == []


def test_what_cannot_be_read_is_a_line_too() -> None:
    assert "undecodable" in readable(_stored(b"\xff{"))


def test_a_dead_process_is_started_again_after_a_pause_that_grows(tmp_path: Path) -> None:
    worker = Worker("feedback", 1, 1, Daemon("feedback-1", tmp_path, ("true",), lambda: True))
    worker.start(0.0)
    pauses = []
    for _ in range(4):
        while worker.daemon.identity is not None:
            pass
        now = 1.0
        worker.tend(now)
        pauses.append(worker.not_before - now)
        worker.tend(worker.not_before - 0.01)
        assert worker.daemon.identity is None
        worker.tend(worker.not_before)
    assert pauses == [0.5, 1, 2, 5]
    assert worker.restarts == 4


def test_a_steady_process_starts_again_at_once(tmp_path: Path) -> None:
    worker = Worker("feedback", 1, 1, Daemon("feedback-1", tmp_path, ("true",), lambda: True), restarts=5)
    worker.tend(worker.began + 31)
    assert worker.not_before - (worker.began + 31) == 0.5


def test_a_plan_without_wishes_is_one_of_each(tmp_path: Path) -> None:
    plan = Plan(tmp_path)
    assert plan.wanted() == dict.fromkeys(PROGRAMS, 1)
    plan.want({**plan.wanted(), "feedback": 3})
    assert plan.wanted()["feedback"] == 3
    plan.forget()
    assert plan.wanted()["feedback"] == 1


def test_the_supervisor_keeps_its_hands_off_foreign_pid_files(tmp_path: Path) -> None:
    (tmp_path / "supervisor.pid").write_text(f"{os.getpid()} 1")
    (tmp_path / "feedback-1.pid").write_text(f"{os.getpid()} 1")
    assert Plan(tmp_path).left_behind() == []


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    return loaded


def test_containers_are_confined(compose: dict[str, Any]) -> None:
    for name, service in compose["services"].items():
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service["cap_drop"] == ["ALL"], name
        assert service["mem_limit"], name
    for name in (*PROGRAMS, "provision"):
        assert compose["services"][name]["read_only"] is True, name


def test_containers_publish_on_this_machine_only(compose: dict[str, Any]) -> None:
    ports = [port for service in compose["services"].values() for port in service.get("ports", [])]
    assert len(ports) == 2 + len(PROGRAMS)
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_services_wait_for_provisioning_and_it_for_health(compose: dict[str, Any]) -> None:
    for name in PROGRAMS:
        assert compose["services"][name]["depends_on"] == {"provision": {"condition": "service_completed_successfully"}}
    assert set(compose["services"]["provision"]["depends_on"]) == {"kafka", "mongo"}


def test_the_image_is_not_run_as_root() -> None:
    lines = (ROOT / "deploy" / "Dockerfile").read_text().splitlines()
    assert [line for line in lines if line.startswith("USER")] == ["USER 10001"]


@pytest.mark.docker
def test_compose_itself_accepts_the_file() -> None:
    if (
        shutil.which("docker") is None
        or subprocess.run(["docker", "compose", "version"], capture_output=True, check=False).returncode
    ):
        pytest.skip("there is no `docker compose` on this machine")
    checked = subprocess.run(
        ["docker", "compose", "config", "--quiet"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stderr


def test_the_dockerfile_passes_the_linter() -> None:
    linter = Path(sys.executable).with_name("hadolint")
    checked = subprocess.run([linter, "deploy/Dockerfile"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout


def _stored(value: bytes) -> Stored:
    return Stored("guanxi.segments.v1", 0, 7, 1_700_000_000_000, b"key", value, {})


def _leaves(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [leaf for part in value.values() for leaf in _leaves(part)]
    return [value] if isinstance(value, str) and len(value) > 8 else []
