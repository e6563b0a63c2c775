"""Servers in containers: what is asked of Docker, also when a start fails or is broken off, and what a deletion deletes."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

from deploy.cache import MissingTool
from deploy.commands import running
from deploy.console import Failure
from deploy.kafka import LocalKafka
from deploy.processes import StartError
from deploy.servers import Servers
from deploy.settings import Machine
from deploy.store import LocalStore
from deploy.system import System

DOCKER = """#!/bin/sh
echo "$@" >> "$ASKED"
case "$*" in *" $FAILING "*) exit 1;; esac
"""


class Asked:
    """A `docker` that only writes down what it is asked, and fails at what it is told to."""

    def __init__(self, room: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._log = room / "asked"
        self._monkeypatch = monkeypatch
        self._bin = room / "bin"
        self._bin.mkdir()
        script = self._bin / "docker"
        script.write_text(DOCKER)
        script.chmod(stat.S_IRWXU)
        monkeypatch.setenv("PATH", f"{self._bin}:{os.environ['PATH']}")
        monkeypatch.setenv("ASKED", str(self._log))
        self.fails_at("nothing")

    def fails_at(self, word: str) -> None:
        self._monkeypatch.setenv("FAILING", word)

    def to(self) -> list[str]:
        """Of `docker compose … --project-name X` the rest of each line."""
        lines = self._log.read_text().splitlines() if self._log.exists() else []
        return [line.partition(" guanxi-")[2].partition(" ")[2] for line in lines]


@pytest.fixture
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Asked:
    return Asked(tmp_path, monkeypatch)


@pytest.fixture
def said() -> list[str]:
    return []


def copy(tmp_path: Path, said: list[str], **environ: str) -> System:
    """Kafka and the store in containers; nothing listens on its ports."""
    given = {
        "GUANXI_DATA_DIR": str(tmp_path / "data"),
        "GUANXI_CACHE_DIR": str(tmp_path / "cache"),
        "GUANXI_LAYER": "docker",
    }
    return System(Machine.from_environment({**given, **environ}, Path("/nonexistent")), said.append)


@pytest.fixture
def contained(tmp_path: Path, said: list[str], docker: Asked, monkeypatch: pytest.MonkeyPatch) -> Iterator[System]:
    this = copy(tmp_path, said)
    monkeypatch.setattr(running, "system", lambda: this)
    monkeypatch.setattr(running, "say", said.append)
    yield this
    docker.fails_at("nothing")
    this.down()


def test_down_stops_the_containers_of_a_start_that_failed(contained: System, docker: Asked) -> None:
    docker.fails_at("up")
    with pytest.raises(Failure, match="guanxi down"):
        running.up()
    running.down()
    assert docker.to() == ["up --detach --wait kafka mongo", "stop"]


def test_what_began_to_start_and_never_answered_does_not_count_as_running(contained: System, docker: Asked) -> None:
    docker.fails_at("up")
    with pytest.raises(Failure):
        running.up()
    with pytest.raises(StartError, match="guanxi up"):
        contained.addresses()
    docker.fails_at("nothing")
    contained.servers.up()
    assert contained.addresses().layer == "docker"


def test_a_start_broken_off_stops_its_containers(
    contained: System, docker: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    _break_off(monkeypatch)
    with pytest.raises(typer.Exit):
        running.up()
    assert docker.to() == ["up --detach --wait kafka mongo", "stop"]


def test_a_second_start_broken_off_stops_what_the_first_left(
    contained: System, docker: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    docker.fails_at("up")
    with pytest.raises(Failure):
        running.up()
    docker.fails_at("nothing")
    _break_off(monkeypatch)
    with pytest.raises(typer.Exit):
        running.up()
    assert docker.to()[-1] == "stop"


def test_a_start_elsewhere_that_fails_does_not_forget_the_containers(
    tmp_path: Path, said: list[str], contained: System, docker: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    contained.servers.up()
    monkeypatch.setattr(LocalKafka, "begin", _lacks)
    monkeypatch.setattr(LocalStore, "begin", _lacks)
    with pytest.raises(MissingTool):
        copy(tmp_path, said, GUANXI_LAYER="local").servers.up()
    contained.down()
    assert docker.to()[-1] == "stop"


def test_deleting_takes_containers_volumes_and_data(contained: System, docker: Asked, said: list[str]) -> None:
    contained.servers.up()
    contained.installation.prepare()
    running.down(delete=True)
    assert docker.to()[-1] == "down --volumes"
    assert not contained.machine.data_dir.exists()
    assert str(contained.machine.data_dir) in said[-1]
    assert contained.servers.project in said[-1]


def test_what_was_stopped_before_can_still_be_deleted(contained: System, docker: Asked) -> None:
    contained.servers.up()
    contained.down()
    running.down(delete=True)
    assert docker.to()[-1] == "down --volumes"
    assert not contained.machine.data_dir.exists()


def test_secrets_outlive_volumes_that_could_not_be_deleted(contained: System, docker: Asked) -> None:
    contained.servers.up()
    contained.installation.prepare()
    docker.fails_at("down")
    with pytest.raises(StartError):
        running.down(delete=True)
    assert contained.installation.secrets_file.exists()
    docker.fails_at("nothing")
    running.down(delete=True)
    assert docker.to()[-1] == "down --volumes"


def test_a_copy_that_never_used_docker_deletes_without(tmp_path: Path, said: list[str], docker: Asked) -> None:
    local = copy(tmp_path, said, GUANXI_LAYER="local")
    local.installation.prepare()
    local.delete()
    assert docker.to() == []
    assert not local.machine.data_dir.exists()
    local.delete()


@pytest.mark.parametrize("inside", ["home", "here"])
def test_a_directory_that_holds_more_than_data_is_not_deleted(
    tmp_path: Path, said: list[str], inside: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tmp_path / "data"
    (data / "below").mkdir(parents=True)
    if inside == "home":
        monkeypatch.setenv("HOME", str(data))
    else:
        monkeypatch.chdir(data / "below")
    with pytest.raises(StartError, match="GUANXI_DATA_DIR"):
        copy(tmp_path, said, GUANXI_LAYER="local").delete()
    assert data.exists()


def test_docker_that_was_asked_for_and_is_missing_is_named(
    tmp_path: Path, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    this = copy(tmp_path, said)
    with pytest.raises(MissingTool, match="GUANXI_LAYER=local"):
        this.up()
    this.down()


def test_a_named_server_that_does_not_answer_starts_nothing(tmp_path: Path, said: list[str], docker: Asked) -> None:
    named = copy(tmp_path, said, GUANXI_KAFKA_BOOTSTRAP="127.0.0.1:1")
    with pytest.raises(StartError, match="GUANXI_KAFKA_BOOTSTRAP"):
        named.up()
    assert docker.to() == []
    assert named.servers.known() is None


def _lacks(_server: object) -> None:
    raise MissingTool("cargo is missing: curl https://sh.rustup.rs -sSf | sh")


def _break_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C while `docker compose up` runs."""
    compose = Servers._compose

    def broken_off(this: Servers, *arguments: str) -> None:
        compose(this, *arguments)
        if arguments[0] == "up":
            raise KeyboardInterrupt

    monkeypatch.setattr(Servers, "_compose", broken_off)
