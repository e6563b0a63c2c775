"""A background process that outlives its starter: spawned detached, found again by its pid file, stopped for sure."""

import contextlib
import os
import secrets
import signal
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

_POLL_SECONDS = 0.03


class StartError(Exception):
    """A process did not become ready; the message says what it said last and where its log is."""


@dataclass(frozen=True, slots=True)
class Identity:
    """A pid alone may be anyone's after a reboot or a wrap; with its start time it names one process for ever."""

    pid: int
    started: str

    def alive(self) -> bool:
        _reap(self.pid)
        return _started(self.pid) == self.started

    def send(self, number: int) -> None:
        """Nothing happens where the process is gone."""
        if self.alive():
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)


@dataclass(slots=True)
class Daemon:
    """One named process under `home`: `<name>.pid` and `<name>.log`. `ready` asks it, and must not raise.

    `stop_seconds`: how long SIGTERM may take before SIGKILL.
    """

    name: str
    home: Path
    argv: Sequence[str]
    ready: Callable[[], bool]
    environ: Mapping[str, str] = field(default_factory=dict)
    stop_seconds: float = 20.0

    @property
    def log(self) -> Path:
        return self.home / f"{self.name}.log"

    @property
    def identity(self) -> Identity | None:
        """None: not running, or what runs under that pid is not ours."""
        found = read_pid(self._pid_file)
        return found if found and found.alive() else None

    def start(self, seconds: float = 60.0) -> None:
        """Returns at once where it runs already. Raises StartError after `seconds`, or as soon as it has died."""
        if self.identity is None:
            self.spawn()
        self.wait_ready(seconds)

    def spawn(self) -> Identity:
        self.home.mkdir(parents=True, exist_ok=True)
        found = spawn(self.argv, self.log, {**os.environ, **self.environ})
        try:
            write_pid(self._pid_file, found)
        except BaseException:
            stop(found, self.stop_seconds)  # nobody would find it again
            raise
        return found

    def wait_ready(self, seconds: float = 60.0) -> None:
        deadline = time.monotonic() + seconds
        while not self.ready():
            if self.identity is None:
                raise StartError(f"{self.name} ended while starting. {self.last_words()}")
            if time.monotonic() > deadline:
                raise StartError(f"{self.name} was not ready within {seconds:.0f} s. {self.last_words()}")
            time.sleep(_POLL_SECONDS)

    def last_words(self) -> str:
        lines = self.log.read_text("utf-8", "replace").splitlines()[-4:] if self.log.exists() else []
        return f"See {self.log}" + (":\n  " + "\n  ".join(lines) if lines else "")

    def stop(self) -> None:
        """SIGTERM, SIGKILL when that was not heard; harmless when it is not running."""
        found = self.identity
        if found is not None:
            stop(found, self.stop_seconds)
        self._pid_file.unlink(missing_ok=True)

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone: what a power cut does to the process."""
        found = self.identity
        if found is not None:
            found.send(signal.SIGKILL)
            _wait_gone(found, 10)

    def pause(self) -> None:
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, number: int) -> None:
        found = self.identity
        if found is not None:
            found.send(number)

    @property
    def _pid_file(self) -> Path:
        return self.home / f"{self.name}.pid"


class LocalServer:
    """What can be done to a server that is a local process; it stays on its port, with its data."""

    __slots__ = ()

    @property
    def daemon(self) -> Daemon:
        raise NotImplementedError

    def begin(self) -> None:
        """Its process, where it does not run; that it answers is waited for apart. Raises StartError, MissingTool."""
        raise NotImplementedError

    def wait_ready(self, seconds: float = 90.0) -> None:
        """Raises StartError."""
        self.daemon.wait_ready(seconds)

    def start(self) -> None:
        """Returns when it answers. Raises StartError, MissingTool."""
        self.begin()
        self.wait_ready()

    def stop(self) -> None:
        self.daemon.stop()

    def kill(self) -> None:
        self.daemon.kill()

    def pause(self) -> None:
        self.daemon.pause()

    def resume(self) -> None:
        self.daemon.resume()

    def restart(self) -> None:
        """Whatever was done to it before."""
        self.stop()
        self.start()


def spawn(argv: Sequence[str], log: Path, environ: Mapping[str, str]) -> Identity:
    """Detached (own session, no stdin), its output appended to `log`."""
    out = (os.POSIX_SPAWN_OPEN, 1, str(log), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    files = [(os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0), out, (os.POSIX_SPAWN_DUP2, 1, 2)]
    default = [signal.SIGINT, signal.SIGTERM, signal.SIGPIPE]
    pid = os.posix_spawnp(argv[0], list(argv), environ, file_actions=files, setsid=True, setsigdef=default)
    return Identity(pid, _started(pid) or "")


def stop(found: Identity, seconds: float) -> None:
    found.send(signal.SIGCONT)
    found.send(signal.SIGTERM)
    if not _wait_gone(found, seconds):
        found.send(signal.SIGKILL)
        _wait_gone(found, 10)


def write_pid(path: Path, found: Identity) -> None:
    beside = path.with_suffix(".pid-new")
    beside.write_text(f"{found.pid} {found.started}\n")
    beside.replace(path)


def read_pid(path: Path) -> Identity | None:
    """What was written, alive or not; None where there is nothing that makes sense."""
    try:
        pid, _, started = path.read_text().strip().partition(" ")
        return Identity(int(pid), started)
    except (FileNotFoundError, ValueError):
        return None


def this_process() -> Identity:
    return Identity(os.getpid(), _started(os.getpid()) or "")


def free_port(among: range = range(20_000, 32_000)) -> int:
    """Below the range from which systems take ports for outgoing calls, so that it is still free after a restart."""
    while True:
        port = secrets.choice(among)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def port_taken(port: int) -> bool:
    """Whether somebody answers there on this machine."""
    with socket.socket() as probe:
        probe.settimeout(0.5)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _wait_gone(found: Identity, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while found.alive():
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_SECONDS)
    return True


def _reap(pid: int) -> None:
    """A child of ours that has ended must not count as alive."""
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)


def _started(pid: int) -> str | None:
    """When a process began, in the system's own notation; None: there is no such process, or only its corpse."""
    stat = Path(f"/proc/{pid}/stat")
    if not Path("/proc/self/stat").exists():
        return _started_by_ps(pid)
    try:
        fields = stat.read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] in "ZX" and _threads(pid) <= 1 else fields[19]


def _threads(pid: int) -> int:
    """The first thread of a killed process is a corpse before the others let go of its ports."""
    try:
        return sum(1 for _ in Path(f"/proc/{pid}/task").iterdir())
    except FileNotFoundError:
        return 0


def _started_by_ps(pid: int) -> str | None:
    with os.popen(f"ps -o stat=,lstart= -p {pid}") as answer:  # noqa: S605 - a number only; macOS has no /proc
        state, _, started = answer.read().strip().partition(" ")
    return None if not state or state.startswith("Z") else started.strip()
