"""Commands that a service carries out: what breaks `guanxi` off breaks that off too, once, and it tidies up before both end."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PATIENCE = 60

GUANXI = "from deploy.__main__ import main; main()"
STEP = "from deploy.commands.delegating import carry_out; raise SystemExit(carry_out('segmentation', ['prepare']))"
SERVICE = f"""
import os, signal, sys, time
if sys.argv[-1].isdigit():
    sys.exit(int(sys.argv[-1]))
heard = []
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, lambda number, _frame: heard.append(int(number)))
print(os.getpid(), flush=True)
deadline = time.monotonic() + {2 * PATIENCE}
while not heard and time.monotonic() < deadline:
    time.sleep(0.01)
time.sleep(0.5)
print("tidied up after", *heard)
sys.exit(1)
"""


@pytest.fixture
def service(tmp_path: Path) -> Path:
    """Where `python -m services.X` finds one that says who it is, and what it heard when it was broken off."""
    for name in ("intake", "segmentation"):
        package = tmp_path / "services" / name
        package.mkdir(parents=True)
        (package.parent / "__init__.py").touch()
        (package / "__main__.py").write_text(SERVICE)
    return tmp_path


@contextmanager
def begun(service: Path, script: str, *arguments: str) -> Iterator["subprocess.Popen[str]"]:
    """In a session of its own, as a terminal gives it."""
    (service / "bin").mkdir()
    (service / "bin" / "guanxi.py").write_text(script)
    named = {"GUANXI_KAFKA_BOOTSTRAP": "127.0.0.1:1", "GUANXI_MONGO_URL": "mongodb://127.0.0.1:1"}
    own = {**named, "GUANXI_DATA_DIR": str(service / "data"), "PYTHONPATH": str(ROOT)}
    argv = [sys.executable, str(service / "bin" / "guanxi.py"), *arguments]
    process = subprocess.Popen(
        argv, cwd=service, env=os.environ | own, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    with process:
        yield process


def heard(process: "subprocess.Popen[str]", break_off: Callable[[], None]) -> str:
    """The last words of the service."""
    assert process.stdout is not None
    pid = int(process.stdout.readline())
    break_off()
    try:
        return process.communicate(timeout=PATIENCE)[0].strip()
    finally:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


COMMANDS = pytest.mark.parametrize(
    ("script", "arguments"), [(GUANXI, ("rebuild", "segmentation")), (STEP, ())], ids=["whole", "step"]
)


@COMMANDS
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_what_breaks_the_command_off_reaches_the_service(
    service: Path, script: str, arguments: tuple[str, ...], number: signal.Signals
) -> None:
    with begun(service, script, *arguments) as process:
        assert heard(process, lambda: process.send_signal(number)) == f"tidied up after {int(number)}"
    assert process.returncode != 0


@COMMANDS
def test_ctrl_c_at_the_terminal_is_heard_once(service: Path, script: str, arguments: tuple[str, ...]) -> None:
    """A second one would break the tidying up off as well."""
    with begun(service, script, *arguments) as process:
        assert heard(process, lambda: os.killpg(process.pid, signal.SIGINT)) == f"tidied up after {int(signal.SIGINT)}"
    assert process.returncode != 0


@pytest.mark.parametrize("code", [0, 1, 2])
def test_the_services_exit_code_is_the_commands(service: Path, code: int) -> None:
    with begun(service, GUANXI, "keys", str(code)) as process:
        assert process.wait(PATIENCE) == code
