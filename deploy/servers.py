"""Which Kafka and which store this copy uses: named ones, else Docker's, else local processes; brought up and taken down."""

import hashlib
import json
import os
import shutil
import subprocess
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path

from deploy import kafka, store
from deploy.cache import Cache, MissingTool, Say
from deploy.kafka import LocalKafka
from deploy.processes import LocalServer, StartError
from deploy.settings import Machine
from deploy.store import LocalStore

COMPOSE = Path(__file__).parent.parent / "docker-compose.yml"


@dataclass(frozen=True, slots=True)
class Addresses:
    """`layer`: docker or local; what was named in the environment is used as it is in either.

    `answered`: whether both ever did; until then there may be something to stop, but nothing to ask.
    """

    kafka: str
    mongo: str
    layer: str
    answered: bool = True

    def environ(self) -> dict[str, str]:
        return {"GUANXI_KAFKA_BOOTSTRAP": self.kafka, "GUANXI_MONGO_URL": self.mongo}


@dataclass(slots=True, frozen=True)
class Servers:
    machine: Machine
    say: Say

    def up(self) -> Addresses:
        """Returns when both answer. Raises StartError, MissingTool."""
        self._check_named()
        self.machine.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        layer = self._layer()
        addresses = self._addresses(layer)
        missing = [name for name, given in self._named().items() if given is None]
        if missing:
            self._bring(missing, addresses)
        self._remember(addresses)
        return addresses

    def _bring(self, missing: list[str], addresses: Addresses) -> None:
        """Remembered before it is done, so that `down` stops also what half a start left; what ran before, until it is."""
        contained = addresses.layer == "docker"
        if contained:
            _docker()
        self.say(f"starting {' and '.join(missing)} ({'Docker' if contained else 'local processes'}) …")
        if self.known() is None:
            self._remember(replace(addresses, answered=False))
        (self._compose_up if contained else self._local_up)(missing)

    def down(self) -> None:
        """Only what `up` started here; data stays."""
        known = self.known()
        if known is not None and known.layer == "docker":
            self._compose("stop")
        self.local_kafka.stop()
        self.local_store.stop()
        self._record.unlink(missing_ok=True)

    def delete(self) -> list[str]:
        """What containers of this copy kept, named once it is gone; also after `down`. Raises StartError, MissingTool."""
        if not self._volumes.exists():
            return []
        self._compose("down", "--volumes")
        self._volumes.unlink()
        return [f"the containers and volumes of {self.project}"]

    def known(self) -> Addresses | None:
        """What the last `up` here brought or began to bring; None after `down`."""
        try:
            return Addresses(**json.loads(self._record.read_text("utf-8")))
        except (FileNotFoundError, ValueError, TypeError):
            return None

    @property
    def local_kafka(self) -> LocalKafka:
        machine = self.machine
        return LocalKafka(machine.data_dir / "kafka", machine.kafka_port, self._cache, machine.heap_mb)

    @property
    def local_store(self) -> LocalStore:
        return LocalStore(self.machine.data_dir / "store", self.machine.store_port, self._cache)

    @property
    def _cache(self) -> Cache:
        return Cache(self.machine, self.say)

    @property
    def _record(self) -> Path:
        return self.machine.data_dir / "servers.json"

    @property
    def _volumes(self) -> Path:
        """A mark that this copy keeps data in Docker's volumes."""
        return self.machine.data_dir / "volumes"

    def _named(self) -> dict[str, str | None]:
        return {"kafka": self.machine.named_kafka, "mongo": self.machine.named_mongo}

    def _layer(self) -> str:
        if self.machine.layer is not None:
            return self.machine.layer
        return "docker" if Docker().compose else "local"

    def _addresses(self, layer: str) -> Addresses:
        """Local and published ports are the same, so the addresses are too."""
        named = self._named()
        return Addresses(named["kafka"] or self.local_kafka.bootstrap, named["mongo"] or self.local_store.url, layer)

    def _local_up(self, missing: list[str]) -> None:
        """Both come up beside each other, without threads: Ctrl-C is heard at once, and after it nothing more begins."""
        servers: dict[str, LocalServer] = {"kafka": self.local_kafka, "mongo": self.local_store}
        begun = [servers[name] for name in missing]
        for server in begun:
            server.begin()
        for server in reversed(begun):  # the store first: to answer, a fresh mongod has to be made a replica set
            server.wait_ready()

    def _compose_up(self, missing: list[str]) -> None:
        self._volumes.touch()
        self._compose("up", "--detach", "--wait", *missing)

    def _compose(self, *arguments: str) -> None:
        ports = {"GUANXI_KAFKA_PORT": str(self.machine.kafka_port), "GUANXI_STORE_PORT": str(self.machine.store_port)}
        argv = [_docker(), "compose", "--file", str(COMPOSE), "--project-name", self.project, *arguments]
        done = subprocess.run(argv, env={**os.environ, **ports}, stdin=subprocess.DEVNULL, check=False)
        if done.returncode != 0:
            raise StartError(
                f"docker compose {arguments[0]} failed, see above: does `docker info` find an engine?"
                " GUANXI_LAYER=local uses local processes instead"
            )

    @property
    def project(self) -> str:
        """Two copies with data directories of their own have containers and volumes of their own."""
        return "guanxi-" + hashlib.sha256(str(self.machine.data_dir).encode()).hexdigest()[:8]

    def _check_named(self) -> None:
        named = self._named()
        if named["kafka"] and not kafka.answers(named["kafka"]):
            raise StartError(
                f"no Kafka answers at GUANXI_KAFKA_BOOTSTRAP={named['kafka']}; start it, or unset the name"
            )
        if named["mongo"] and not store.answers(named["mongo"]):
            raise StartError("no store answers at GUANXI_MONGO_URL; start it, or unset the name")

    def _remember(self, addresses: Addresses) -> None:
        beside = self._record.with_suffix(".new")
        beside.touch(mode=0o600)
        beside.write_text(json.dumps(asdict(addresses)), "utf-8")
        beside.replace(self._record)


class Docker:
    """What this machine can do with containers; asked once."""

    @cached_property
    def engine(self) -> bool:
        """The client alone means nothing: ask the engine."""
        return shutil.which("docker") is not None and _succeeds(["docker", "info"])

    @cached_property
    def compose(self) -> bool:
        return self.engine and _succeeds(["docker", "compose", "version"])


def _docker() -> str:
    found = shutil.which("docker")
    if found is None:
        raise MissingTool(
            "docker is missing; GUANXI_LAYER=local uses local processes instead, or: curl -fsSL https://get.docker.com | sh"
        )
    return found


def _succeeds(argv: list[str]) -> bool:
    try:
        asked = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=30)
    except subprocess.TimeoutExpired:
        return False
    return asked.returncode == 0
