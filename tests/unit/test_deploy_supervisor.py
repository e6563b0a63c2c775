"""The supervisor: what the machine refuses for a moment is tried again, and it never leaves services behind."""

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from deploy import processes, supervisor
from deploy.processes import free_port
from deploy.supervisor import Plan, Supervisor, WorkerState

ROOT = Path(__file__).parents[2]


@pytest.fixture
def plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Plan]:
    """One process of one service, which only waits to be stopped."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    monkeypatch.setattr(supervisor, "arguments", lambda _service: ("http.server", "0", "--bind", "127.0.0.1"))
    monkeypatch.setattr(supervisor, "LOOK_SECONDS", 0.05)
    plan = Plan(tmp_path)
    plan.want({"feedback": 1})
    yield plan
    for number, handler in before.items():
        signal.signal(number, handler)
    supervisor.stop_all(plan.left_behind())


def run(plan: Plan) -> None:
    Supervisor(plan, {"feedback": free_port()}).run()


class Shown:
    """What the supervisor shows turn by turn; `then` may refuse to, or end it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, then: Callable[["Shown"], None]) -> None:
        self.turns = 0
        self.pids: list[int] = []
        show = Plan.show

        def shown(plan: Plan, states: list[WorkerState]) -> None:
            self.turns += 1
            self.pids += [state.pid for state in states if state.pid]
            if states:
                then(self)
            show(plan, states)

        monkeypatch.setattr(Plan, "show", shown)


def full() -> OSError:
    return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def refused_once(monkeypatch: pytest.MonkeyPatch, name: str, error: OSError) -> None:
    """Of what starts a process, one function fails the first time."""
    function = getattr(processes, name)
    errors = [error]

    def refuses(*arguments: object) -> object:
        if errors:
            raise errors.pop()
        return function(*arguments)

    monkeypatch.setattr(processes, name, refuses)


def end(_shown: Shown) -> None:
    signal.raise_signal(signal.SIGTERM)


def end_once_it_runs(shown: Shown) -> None:
    if shown.pids:
        end(shown)


def test_a_disk_that_is_full_for_a_moment_ends_nothing(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(shown: Shown) -> None:
        if shown.turns < 4:
            raise full()
        end(shown)

    shown = Shown(monkeypatch, refuses)
    run(plan)
    assert len(set(shown.pids)) == 1
    assert (plan.left_behind(), plan.states()) == ([], [])


def test_what_could_not_be_started_is_started_later(
    plan: Plan, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    refused_once(monkeypatch, "spawn", OSError(errno.EAGAIN, os.strerror(errno.EAGAIN)))
    shown = Shown(monkeypatch, end_once_it_runs)
    run(plan)
    assert shown.pids
    assert "feedback-1" in capfd.readouterr().err


def test_a_supervisor_that_fails_leaves_no_service_behind(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(_shown: Shown) -> None:
        raise RuntimeError

    shown = Shown(monkeypatch, fails)
    with pytest.raises(RuntimeError):
        run(plan)
    assert len(shown.pids) == 1
    assert (plan.left_behind(), plan.states()) == ([], [])


EVERYWHERE = """
import os, signal, sys
from pathlib import Path
from deploy import supervisor

def run(plan, wanted):
    count = 0
    def trace(frame, event, argument):
        nonlocal count
        if callable(signal.getsignal(signal.SIGINT)) and frame.f_code.co_name != "run":
            count += 1
            if count == wanted:
                os.kill(os.getpid(), signal.SIGTERM)
        return trace
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    sys.settrace(trace)
    supervisor.Supervisor(plan, {}).run()
    sys.settrace(None)

supervisor.LOOK_SECONDS = 0.001
plan = supervisor.Plan(Path(sys.argv[1]))
plan.want({})
for wanted in range(1, 1500):
    run(plan, wanted)
"""


def test_sigterm_is_heard_wherever_it_comes(tmp_path: Path) -> None:
    """At each step of the first turns, also inside the standard library."""
    argv = [sys.executable, "-c", EVERYWHERE, str(tmp_path)]
    ended = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
    assert ended.returncode == 0, ended.stderr
