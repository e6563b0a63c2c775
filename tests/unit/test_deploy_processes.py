"""Background processes: found again, never mistaken for others, stopped for sure."""

import errno
import os
import signal
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy import processes
from deploy.processes import Daemon, Identity, StartError, free_port, port_taken, read_pid, this_process, write_pid

SLEEP = ("sleep", "60")


@pytest.fixture
def sleeper(tmp_path: Path) -> Iterator[Daemon]:
    daemon = Daemon("sleeper", tmp_path, SLEEP, lambda: True, stop_seconds=60)
    yield daemon
    daemon.stop()


def test_a_second_start_finds_the_running_one(sleeper: Daemon) -> None:
    sleeper.start()
    first = sleeper.identity
    Daemon("sleeper", sleeper.home, SLEEP, lambda: True).start()
    assert sleeper.identity == first


def test_stop_leaves_no_process_and_no_pid_file(sleeper: Daemon) -> None:
    sleeper.start()
    found = sleeper.identity
    assert found is not None
    sleeper.stop()
    assert not found.alive()
    assert list(sleeper.home.glob("*.pid")) == []
    sleeper.stop()


def test_a_pid_that_now_belongs_to_another_is_not_ours(sleeper: Daemon) -> None:
    ours = this_process()
    write_pid(sleeper.home / "sleeper.pid", Identity(ours.pid, ours.started + "9"))
    assert sleeper.identity is None
    sleeper.stop()
    assert this_process() == ours


def test_a_killed_process_does_not_count_as_running(sleeper: Daemon) -> None:
    sleeper.start()
    sleeper.kill()
    assert sleeper.identity is None
    sleeper.start()
    assert sleeper.identity is not None


def test_a_frozen_process_is_stopped_all_the_same(sleeper: Daemon) -> None:
    sleeper.start()
    sleeper.pause()
    began = time.monotonic()
    sleeper.stop()
    assert sleeper.identity is None
    assert time.monotonic() - began < sleeper.stop_seconds / 2


def test_who_ignores_sigterm_is_killed(tmp_path: Path) -> None:
    deaf = f"import signal,time; signal.signal({int(signal.SIGTERM)}, signal.SIG_IGN); print('deaf', flush=True); time.sleep(60)"
    daemon = Daemon("deaf", tmp_path, (sys.executable, "-c", deaf), lambda: "deaf" in _log(daemon), stop_seconds=0.3)
    daemon.start()
    daemon.stop()
    assert daemon.identity is None


def test_a_process_that_dies_while_starting_says_why(tmp_path: Path) -> None:
    daemon = Daemon("dying", tmp_path, ("sh", "-c", "echo no such database >&2; exit 3"), lambda: False)
    with pytest.raises(StartError, match=r"dying ended while starting[\s\S]*no such database"):
        daemon.start()


def test_a_process_that_never_gets_ready_is_told_apart_from_a_dead_one(sleeper: Daemon) -> None:
    sleeper.ready = lambda: False
    with pytest.raises(StartError, match="not ready within"):
        sleeper.start(0.2)


def test_a_process_whose_pid_could_not_be_written_is_not_left_running(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    began: list[Identity] = []
    write_pid = processes.write_pid

    def refuses(_path: Path, found: Identity) -> None:
        began.append(found)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(processes, "write_pid", refuses)
    daemon = Daemon("sleeper", tmp_path, ("sleep", "60"), lambda: True)
    with pytest.raises(OSError, match="No space"):
        daemon.spawn()
    assert [found.alive() for found in began] == [False]
    monkeypatch.setattr(processes, "write_pid", write_pid)
    daemon.start()
    daemon.stop()


@pytest.mark.parametrize("text", ["", "word 5", "  "])
def test_a_damaged_pid_file_names_nobody(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.pid").write_text(text)
    assert read_pid(tmp_path / "x.pid") is None


def test_free_ports_lie_below_those_of_outgoing_calls() -> None:
    port = free_port()
    assert port < 32_000
    assert not port_taken(port)
    with socket.create_server(("127.0.0.1", port)):
        assert port_taken(port)


def test_the_environment_is_passed_on(tmp_path: Path) -> None:
    daemon = Daemon(
        "env",
        tmp_path,
        ("sh", "-c", "echo $GREETING $HOME; sleep 60"),
        lambda: "\n" in _log(daemon),
        {"GREETING": "hi"},
    )
    daemon.start()
    daemon.stop()
    assert _log(daemon).split() == ["hi", os.environ["HOME"]]


def _log(daemon: Daemon) -> str:
    return daemon.log.read_text() if daemon.log.exists() else ""
