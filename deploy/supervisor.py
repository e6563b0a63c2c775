"""Keeps as many processes of each service as were asked for; restarts what died; `guanxi down` stops it and them."""

import json
import signal
import sys
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import FrameType

import httpx

from deploy.processes import Daemon, Identity, free_port, read_pid, stop
from deploy.programs import PROGRAMS, arguments

LOOK_SECONDS = 0.25
_BACKOFF_SECONDS = (0.5, 1, 2, 5, 10, 30)
_STEADY_SECONDS = 30
"""A process that lived this long starts with the shortest backoff again."""
STOP_SECONDS = 20


@dataclass(frozen=True, slots=True)
class WorkerState:
    """What `status` shows of one process; `pid` None: it is down and will be started again."""

    service: str
    number: int
    port: int
    pid: int | None
    restarts: int
    last_words: str

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def ready(self) -> bool:
        try:
            return httpx.get(f"{self.url}/health/ready", timeout=2).status_code == 200
        except httpx.HTTPError:
            return False


@dataclass(slots=True)
class Plan:
    """The supervisor's directory: what is wanted, what is. Commands write the one and read the other."""

    home: Path

    def wanted(self) -> dict[str, int]:
        try:
            counts: dict[str, int] = json.loads((self.home / "wanted.json").read_text("utf-8"))
        except FileNotFoundError:
            return dict.fromkeys(PROGRAMS, 1)
        return counts

    def want(self, counts: Mapping[str, int]) -> None:
        _write(self.home / "wanted.json", dict(counts))

    def states(self) -> list[WorkerState]:
        try:
            return [WorkerState(**entry) for entry in json.loads((self.home / "workers.json").read_text("utf-8"))]
        except FileNotFoundError:
            return []

    def show(self, states: list[WorkerState]) -> None:
        _write(self.home / "workers.json", [asdict(state) for state in states])

    def forget(self) -> None:
        for name in ("workers.json", "wanted.json"):
            (self.home / name).unlink(missing_ok=True)

    def daemon(self, service: str, number: int) -> Daemon:
        return Daemon(f"{service}-{number}", self.home, (), lambda: True)

    def left_behind(self) -> list[Identity]:
        """Services that outlived a killed supervisor."""
        found = [read_pid(path) for path in self.home.glob("*-*.pid")]
        return [identity for identity in found if identity is not None and identity.alive()]


@dataclass(slots=True)
class Worker:
    """One process of one service. The first of a service takes its port, further ones any free one."""

    service: str
    number: int
    port: int
    daemon: Daemon
    restarts: int = 0
    began: float = field(default_factory=time.monotonic)
    not_before: float = 0.0

    def tend(self, now: float) -> None:
        if self.daemon.identity is not None:
            return
        if self.not_before == 0.0:
            self._plan_restart(now)
        elif now >= self.not_before:
            self.start(now)
            self.restarts += 1

    def start(self, now: float) -> None:
        """What the machine refuses counts as a process that died at once."""
        self.began, self.not_before = now, 0.0
        try:
            if self.daemon.identity is None:
                self.daemon.spawn()
        except OSError as error:
            _say(f"{self.daemon.name} could not be started: {error}")

    def state(self) -> WorkerState:
        identity = self.daemon.identity
        words = "" if identity else self.daemon.last_words()
        return WorkerState(
            self.service, self.number, self.port, identity.pid if identity else None, self.restarts, words
        )

    def _plan_restart(self, now: float) -> None:
        if now - self.began > _STEADY_SECONDS:
            self.restarts = 0
        self.not_before = now + _BACKOFF_SECONDS[min(self.restarts, len(_BACKOFF_SECONDS) - 1)]


class Supervisor:
    def __init__(self, plan: Plan, ports: Mapping[str, int]) -> None:
        self._plan = plan
        self._ports = ports
        self._workers: dict[tuple[str, int], Worker] = {}
        self._stopping = False
        self._said = ""

    def run(self) -> None:
        """Until SIGTERM; then all services stop at once, each within its own time. So they do if it fails."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        try:
            while not self._stopping:
                self._turn()
                time.sleep(LOOK_SECONDS)
        finally:
            stop_all(_running(self._workers.values()))
            self._plan.show([])

    def _stop(self, _number: int, _frame: FrameType | None) -> None:
        """No lock and no Event: the signal may come while this very thread holds it."""
        self._stopping = True

    def _turn(self) -> None:
        """What the machine refuses for a moment, such as room on the disk, is tried again at the next."""
        try:
            self._fit()
            for worker in self._workers.values():
                worker.tend(time.monotonic())
            self._plan.show([worker.state() for worker in self._workers.values()])
            self._said = ""
        except OSError as error:
            self._complain(str(error))

    def _complain(self, words: str) -> None:
        """Once for as long as it lasts."""
        if words != self._said:
            _say(f"tried again until it goes: {words}")
        self._said = words

    def _fit(self) -> None:
        wanted = {(service, n) for service, count in self._plan.wanted().items() for n in range(1, count + 1)}
        surplus = sorted(set(self._workers) - wanted)
        stop_all(_running(self._workers[key] for key in surplus))
        for key in surplus:
            del self._workers[key]
        for service, number in sorted(wanted - set(self._workers)):
            worker = self._worker(service, number)
            worker.start(time.monotonic())
            self._workers[service, number] = worker

    def _worker(self, service: str, number: int) -> Worker:
        port = self._ports[service] if number == 1 else free_port()
        daemon = self._plan.daemon(service, number)
        daemon.argv = [sys.executable, "-m", *arguments(service)]
        daemon.environ = {f"GUANXI_{service.upper()}_PORT": str(port)}
        return Worker(service, number, port, daemon)


def stop_all(found: list[Identity]) -> None:
    """SIGTERM to all before waiting for any."""
    for identity in found:
        identity.send(signal.SIGTERM)
    deadline = time.monotonic() + STOP_SECONDS
    for identity in found:
        stop(identity, max(0.1, deadline - time.monotonic()))


def _running(workers: Iterable[Worker]) -> list[Identity]:
    return [identity for worker in workers if (identity := worker.daemon.identity)]


def main() -> None:
    """`python -m deploy.supervisor HOME PORTS`, started by `guanxi up`; the environment is the services'."""
    home, ports = sys.argv[1:]
    Supervisor(Plan(Path(home)), json.loads(ports)).run()


def _say(text: str) -> None:
    """Where the disk is full, the log takes nothing either."""
    with suppress(OSError):
        print(text, file=sys.stderr, flush=True)


def _write(path: Path, data: object) -> None:
    beside = path.with_suffix(".new")
    beside.write_text(json.dumps(data), "utf-8")
    beside.replace(path)


if __name__ == "__main__":
    main()
