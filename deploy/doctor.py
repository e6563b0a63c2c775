"""What this machine has and lacks of what Guanxi needs, each with the command that installs it."""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass

from deploy import kafka, store
from deploy.cache import Cache, MissingTool
from deploy.processes import Daemon, port_taken
from deploy.programs import PROGRAMS
from deploy.servers import Docker, Servers
from deploy.settings import Machine
from deploy.system import System

_JAVA = 17


@dataclass(frozen=True, slots=True)
class Finding:
    """`needed`: without it nothing starts here. `words`: what was found, or how to get it."""

    what: str
    ok: bool
    needed: bool
    words: str


def examine(machine: Machine) -> list[Finding]:
    """Only looks: nothing is fetched, built or started."""
    docker = Docker() if machine.layer != "local" else None
    compose = docker is not None and docker.compose
    found = [_python(), _docker(docker)]
    if not machine.named_kafka:
        found += _for_kafka(machine, needed=not compose)
    if not machine.named_mongo:
        found += _for_store(machine, needed=not compose)
    return found + _servers(machine) + _ports(machine)


def _python() -> Finding:
    version = ".".join(map(str, sys.version_info[:3]))
    return Finding("Python 3.11 or newer", sys.version_info >= (3, 11), True, version)


def _docker(docker: Docker | None) -> Finding:
    if docker is None:
        return Finding("Docker", False, False, "not asked, GUANXI_LAYER=local")
    words = {
        (True, True): "an engine answers, with compose",
        (True, False): "an engine answers, but not `docker compose`: apt-get install docker-compose-plugin",
    }.get((docker.engine, docker.engine and docker.compose), "no engine answers; local processes are used")
    return Finding("Docker", docker.engine and docker.compose, False, words)


def _for_kafka(machine: Machine, *, needed: bool) -> list[Finding]:
    cache = Cache(machine, lambda _: None)
    found = [_java(cache, needed)]
    if cache.has_kafka():
        return [*found, Finding("Kafka", True, needed, f"in {machine.cache_dir}")]
    return [*found, _tool("mvn", "apt-get install maven", needed)]


def _for_store(machine: Machine, *, needed: bool) -> list[Finding]:
    if mongod := shutil.which("mongod"):
        return [Finding("document store", True, needed, mongod)]
    cache = Cache(machine, lambda _: None)
    if cache.has_store():
        return [_store(cache, needed)]
    return [
        _tool("cargo", "curl https://sh.rustup.rs -sSf | sh", needed),
        _tool("cmake", "apt-get install cmake", needed),
        _tool("cc", "apt-get install gcc g++", needed),
    ]


def _store(cache: Cache, needed: bool) -> Finding:
    try:
        return Finding("document store", True, needed, str(cache.store_binary()))
    except MissingTool as error:
        return Finding("document store", False, needed, str(error))


def _java(cache: Cache, needed: bool) -> Finding:
    what = f"Java {_JAVA} or newer"
    try:
        java = cache.java()
    except MissingTool as error:
        return Finding(what, False, needed, str(error))
    said = subprocess.run([java, "-version"], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    number = re.search(r'version "(\d+)', said.stderr)
    fits = number is not None and int(number.group(1)) >= _JAVA
    words = f"{java} ({number.group(1) if number else 'no answer'})"
    return Finding(what, fits, needed, words if fits else f"{words}: apt-get install openjdk-17-jre-headless")


def _tool(name: str, install: str, needed: bool) -> Finding:
    found = shutil.which(name)
    return Finding(name, found is not None, needed, found or f"missing: {install}")


def _servers(machine: Machine) -> list[Finding]:
    known = Servers(machine, lambda _: None).known()
    asked = {
        "Kafka answers": (machine.named_kafka or (known and known.kafka), kafka.answers),
        "the store answers": (machine.named_mongo or (known and known.mongo), store.answers),
    }
    found = {what: answers(address) for what, (address, answers) in asked.items() if address}
    return [
        Finding(what, ok, True, "yes" if ok else "no: `guanxi down`, then `guanxi up`") for what, ok in found.items()
    ]


def _ports(machine: Machine) -> list[Finding]:
    """Those that something answers at, although what they are for does not run here."""
    wanted = [*_of_services(machine), *_of_servers(machine)]
    taken = [(name, port) for name, port, daemon in wanted if daemon.identity is None and port_taken(port)]
    return [
        Finding(f"port {port}", False, True, f"taken: set GUANXI_{name.upper()}_PORT to a free one")
        for name, port in taken
    ]


def _of_services(machine: Machine) -> Iterator[tuple[str, int, Daemon]]:
    plan = System(machine, lambda _: None).plan
    for name in PROGRAMS:
        yield name, machine.services.port_of(name), plan.daemon(name, 1)


def _of_servers(machine: Machine) -> Iterator[tuple[str, int, Daemon]]:
    """Containers have no process of ours: what they publish is not asked after."""
    servers = Servers(machine, lambda _: None)
    known = servers.known()
    if known is not None and known.layer == "docker":
        return
    if not machine.named_kafka:
        yield "kafka", machine.kafka_port, servers.local_kafka.daemon
    if not machine.named_mongo:
        yield "store", machine.store_port, servers.local_store.daemon
