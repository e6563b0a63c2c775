"""Real servers for tests: named ones, else Docker's, else local processes; each can be killed, frozen and brought back."""

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Protocol

from deploy import kafka, processes, store
from deploy.cache import Cache, MissingTool
from deploy.settings import Machine

REQUIRED = "GUANXI_REQUIRE_REAL"


class Server(Protocol):
    """What a system test does to a server; always on the same port, with the same data."""

    @property
    def address(self) -> str:
        """A bootstrap string or a store's URL."""
        ...

    def start(self) -> None:
        """Returns when it answers."""
        ...

    def stop(self) -> None: ...

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        ...

    def pause(self) -> None:
        """SIGSTOP."""
        ...

    def resume(self) -> None: ...

    def restart(self) -> None:
        """Also after `kill` and `pause`."""
        ...


@dataclass(slots=True)
class Container:
    """A testcontainers container on a fixed port, so that its address outlives a restart."""

    container: Any
    address: str
    ready: Callable[[], bool]

    def start(self) -> None:
        if self.container.get_wrapped_container() is None:
            self.container.start()
        else:
            self.container.get_wrapped_container().start()
        self._wait()

    def stop(self) -> None:
        self.container.stop()

    def kill(self) -> None:
        self.container.get_wrapped_container().kill("SIGKILL")

    def pause(self) -> None:
        self.container.get_wrapped_container().pause()

    def resume(self) -> None:
        self.container.get_wrapped_container().unpause()

    def restart(self) -> None:
        self.container.get_wrapped_container().restart()
        self._wait()

    def _wait(self) -> None:
        deadline = time.monotonic() + 120
        while not self.ready():
            if time.monotonic() > deadline:
                raise TimeoutError(f"the container at {self.address} does not answer")
            time.sleep(0.1)


@dataclass(slots=True)
class Named:
    """A server that somebody else runs: it is used as it is, and left alone."""

    address: str

    def start(self) -> None:
        """It runs already."""

    def stop(self) -> None:
        """It stays."""

    def kill(self) -> None:
        raise NotImplementedError("a server named in the environment is not ours to kill")

    pause = resume = restart = kill


_given: set[int] = set()


def own_port() -> int:
    """Free, and never given before in this run: whoever is given one takes it only seconds later, or again after a kill."""
    while (port := processes.free_port()) in _given:
        pass
    _given.add(port)
    return port


def a_kafka() -> Server:
    """A broker of its own, not yet started. Raises MissingTool."""
    if named := os.environ.get("GUANXI_KAFKA_BOOTSTRAP"):
        return Named(named)
    if docker_answers():
        return _kafka_container(own_port())
    return kafka.LocalKafka(_room() / "kafka", own_port(), _cache())


def a_store() -> Server:
    """A store of its own, not yet started. Raises MissingTool."""
    if named := os.environ.get("GUANXI_MONGO_URL"):
        return Named(named)
    if docker_answers():
        return _store_container(own_port())
    return store.LocalStore(_room() / "store", own_port(), _cache())


def reason_missing(start: Callable[[], None]) -> str | None:
    """Starts it; what this machine lacks, in words, where it cannot be."""
    try:
        start()
    except (MissingTool, processes.StartError) as error:
        return str(error)
    return None


@cache
def docker_answers() -> bool:
    """The client alone means nothing: ask the engine."""
    if shutil.which("docker") is None or os.environ.get("GUANXI_LAYER") == "local":
        return False
    asked = subprocess.run(["docker", "info"], stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=30)
    return asked.returncode == 0


def sweep() -> None:
    """Ends what an earlier, killed test run of this user left behind."""
    for room in _rooms().glob("run-*"):
        owner = processes.read_pid(room / "owner.pid")
        if owner is None or owner.alive():
            continue
        for left in _living(room):
            processes.stop(left, 5)
        shutil.rmtree(room, ignore_errors=True)


def remove_room() -> None:
    """The data of this run's servers that were stopped; others may still be in use."""
    for room in _rooms().glob(f"run-{os.getpid()}-*"):
        if not _living(room):
            shutil.rmtree(room, ignore_errors=True)


def _living(room: Path) -> list[processes.Identity]:
    found = [processes.read_pid(path) for path in room.glob("*/*.pid")]
    return [identity for identity in found if identity is not None and identity.alive()]


def _rooms() -> Path:
    return Path(tempfile.gettempdir()) / f"guanxi-tests-{os.getuid()}"


def _room() -> Path:
    _rooms().mkdir(mode=0o700, exist_ok=True)
    room = Path(tempfile.mkdtemp(prefix=f"run-{os.getpid()}-", dir=_rooms()))
    processes.write_pid(room / "owner.pid", processes.this_process())
    return room


def _cache() -> Cache:
    return Cache(Machine.from_environment(), lambda text: print(text, flush=True))


def _kafka_container(port: int) -> Container:
    from testcontainers.core.container import DockerContainer

    environ = {
        "KAFKA_NODE_ID": "1",
        "KAFKA_PROCESS_ROLES": "broker,controller",
        "KAFKA_CONTROLLER_QUORUM_VOTERS": "1@127.0.0.1:9093",
        "KAFKA_LISTENERS": "CLIENT://:9092,CONTROLLER://127.0.0.1:9093",
        "KAFKA_ADVERTISED_LISTENERS": f"CLIENT://127.0.0.1:{port}",
        "KAFKA_LISTENER_SECURITY_PROTOCOL_MAP": "CLIENT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "KAFKA_INTER_BROKER_LISTENER_NAME": "CLIENT",
        "KAFKA_CONTROLLER_LISTENER_NAMES": "CONTROLLER",
        **{f"KAFKA_{name.upper().replace('.', '_')}": str(value) for name, value in kafka.SMALL.items()},
    }
    container = DockerContainer("apache/kafka:4.3.1").with_bind_ports(9092, port)
    for name, value in environ.items():
        container.with_env(name, value)
    address = f"127.0.0.1:{port}"
    return Container(container, address, lambda: kafka.answers(address))


def _store_container(port: int) -> Container:
    from testcontainers.core.container import DockerContainer

    command = f"--replSet guanxi --bind_ip_all --port {port}"
    container = DockerContainer("mongo:8").with_bind_ports(port, port).with_command(command)
    address = f"mongodb://127.0.0.1:{port}/?directConnection=true"
    return Container(container, address, lambda: store.primary(address))
