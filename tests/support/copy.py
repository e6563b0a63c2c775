"""A whole copy of the system for one test run: its own servers and secrets, and the services as processes that come back when they die."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from pymongo import MongoClient

from deploy.installation import Installation
from deploy.offsets import Report
from deploy.processes import Daemon
from deploy.provision import provision
from deploy.servers import Addresses
from deploy.settings import Machine
from shared.events.catalog import OUTPUT, SERVICES
from shared.settings import Settings
from tests.support.servers import Server, own_port

ROOT = Path(__file__).parent.parent.parent
SESSION_SECONDS = 6
PATIENCE = 120.0
"""Seconds for whatever must happen in the end: a busy machine is slow, which is no fault of what is tested."""


def eventually(what: str, holds: Callable[[], Any], seconds: float = PATIENCE) -> Any:
    """What `holds` gives once it is true."""
    deadline = time.monotonic() + seconds
    while not (found := holds()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:.0f} s: {what}")
        time.sleep(0.1)
    return found


@dataclass(slots=True)
class Member:
    """One process of a service. While `kept`, it is started again whenever it has ended."""

    service: str
    port: int
    daemon: Daemon
    kept: bool = True
    starts: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def tend(self) -> None:
        if self.kept and self.daemon.identity is None:
            self.daemon.spawn()
            self.starts += 1

    def alive(self) -> bool:
        return self.daemon.identity is not None

    def ready(self) -> bool:
        try:
            return httpx.get(f"{self.url}/health/ready", timeout=5).status_code == 200
        except httpx.HTTPError:
            return False

    def said(self, text: str) -> int:
        """How many lines of its log hold `text`, over all its lives."""
        lines = self.daemon.log.read_text("utf-8", "replace").splitlines() if self.daemon.log.exists() else []
        return sum(text in line for line in lines)

    def counted(self, kind: str) -> float:
        """A counter of the engine in this life of the process."""
        try:
            text = httpx.get(f"{self.url}/metrics", timeout=30).text
        except httpx.HTTPError:
            return 0.0
        wanted = f'guanxi_engine_total{{kind="{kind}"}} '
        return sum(float(line.removeprefix(wanted)) for line in text.splitlines() if line.startswith(wanted))


@dataclass(slots=True)
class Copy:
    home: Path
    kafka: Server
    store: Server
    members: list[Member] = field(default_factory=list)
    told: dict[str, str] = field(default_factory=dict)
    """Settings of this copy alone."""
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _ended: threading.Event = field(default_factory=threading.Event)
    _tending: threading.Thread | None = None

    @property
    def machine(self) -> Machine:
        names = {name: value for name, value in os.environ.items() if not name.startswith("GUANXI_")}
        own = {"GUANXI_DATA_DIR": str(self.home), "GUANXI_SESSION_TIMEOUT_MS": str(SESSION_SECONDS * 1000)}
        return Machine.from_environment(names | own, Path("/nonexistent"))

    @property
    def addresses(self) -> Addresses:
        return Addresses(self.kafka.address, self.store.address, "local")

    @property
    def environ(self) -> dict[str, str]:
        return {
            **Installation(self.machine).environ(self.addresses),
            "GUANXI_SESSION_TIMEOUT_MS": str(SESSION_SECONDS * 1000),
            "PYTHONPATH": str(ROOT),
            **self.told,
        }

    @property
    def key(self) -> str:
        key = Installation(self.machine).operator_key()
        assert key is not None
        return key

    def provision(self, *, repair: bool = False) -> Report:
        names = {name: value for name, value in self.environ.items() if name.startswith("GUANXI_")}
        return provision(Settings.from_environment(names, Path("/nonexistent")), repair=repair)

    def start(self, services: Sequence[str] = SERVICES) -> None:
        Installation(self.machine).prepare()
        self.provision()
        for service in services:
            self.add(service)
        self._tending = threading.Thread(target=self._tend, daemon=True)
        self._tending.start()
        self.wait_ready()

    def stop(self) -> None:
        self._ended.set()
        if self._tending is not None:
            self._tending.join()
        for member in self.members:
            member.daemon.resume()
            found = member.daemon.identity
            if found is not None:
                found.send(signal.SIGTERM)
        for member in self.members:
            member.daemon.stop()

    def add(self, service: str, argv: Sequence[str] = (), *, port: int | None = None, kept: bool = False) -> Member:
        """One more process of a service; `argv`: what to run instead, and only once unless `kept`."""
        number = sum(member.service == service for member in self.members) + 1
        port = port or own_port()
        command = [sys.executable, "-m", *(argv or (f"services.{service}", "run"))]
        own = {**self.environ, f"GUANXI_{service.upper()}_PORT": str(port)}
        daemon = Daemon(f"{service}-{number}", self.home / "run", command, lambda: True, own, stop_seconds=30)
        member = Member(service, port, daemon, kept or not argv)
        with self._lock:
            daemon.spawn()
            member.starts = 1
            self.members.append(member)
        return member

    def first(self, service: str) -> Member:
        return next(member for member in self.members if member.service == service)

    def hold(self, member: Member) -> float:
        """Stops it for good, as an operator would; seconds that it took."""
        with self._lock:
            member.kept = False
        began = time.monotonic()
        member.daemon.stop()
        return time.monotonic() - began

    def release(self, member: Member) -> None:
        with self._lock:
            member.kept = True

    def wait_ready(self) -> None:
        for member in self.members:
            if member.kept:
                eventually(f"{member.daemon.name} is ready. {member.daemon.last_words()}", member.ready)

    def command(self, service: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", f"services.{service}", *arguments],
            env={**os.environ, **self.environ}, capture_output=True, text=True, check=False, timeout=PATIENCE * 2,
        )  # fmt: skip

    def verify(self, service: str) -> dict[str, Any]:
        done = self.command(service, "verify", "--json")
        assert done.stdout.strip(), f"{service} verify said nothing: {done.stderr[-800:]}"
        verdict: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
        return verdict

    def documents(self, service: str, wanted: dict[str, Any]) -> list[dict[str, Any]]:
        """Of the live collection, read beside the service."""
        with MongoClient(self.store.address, serverSelectionTimeoutMS=10_000) as client:
            database = client[f"guanxi_{service}"]
            current = database["pointers"].find_one({"_id": "current"})
            assert current is not None
            return list(database[current["collection"]].find(wanted))

    def owned_by(self, member: Member) -> set[int]:
        """The partitions that this process last said to own."""
        with MongoClient(self.store.address, serverSelectionTimeoutMS=10_000) as client:
            found = list(client[f"guanxi_{member.service}"]["progress"].find())
        mine = [doc for doc in found if doc["_id"].endswith(f":{member.port}")]
        newest = max(mine, key=lambda doc: doc["seen_at"], default=None)
        return {entry["partition"] for entry in newest["partitions"]} if newest else set()

    def parked(self) -> dict[str, dict[str, str]]:
        """Per service: customer to the reason for which it is parked."""
        return {
            service: {
                doc["_id"]: doc["parked"]["error"] for doc in self.documents(service, {"parked": {"$exists": True}})
            }
            for service in OUTPUT
        }

    def _tend(self) -> None:
        while not self._ended.wait(0.3):
            with self._lock:
                for member in self.members:
                    member.tend()
