"""Intake as a process of its own on real servers, and the log that it writes, read beside it."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from shared.events.catalog import CUSTOMERS
from shared.events.codec import decode
from shared.events.envelope import Event
from shared.privacy import Secrets
from shared.processing.kafka import KafkaConnection
from shared.processing.kafka_scanner import KafkaScanner
from shared.processing.records import Record
from shared.settings import Settings
from shared.web.keys import KeyRing


@dataclass(slots=True)
class IntakeProcess:
    """`settings` name the servers and a data directory of its own. Several may share one directory."""

    settings: Settings
    process: subprocess.Popen[bytes] | None = None
    url: str = ""
    log: Path = field(init=False)

    def __post_init__(self) -> None:
        self.settings.data_dir.mkdir(parents=True, exist_ok=True)
        self.log = self.settings.data_dir / f"intake-{id(self)}.log"
        if not self.settings.secrets_file.exists():
            Secrets.generate().write(self.settings.secrets_file)

    def key(self, *scopes: str) -> str:
        return KeyRing(self.settings.keys_file).create("test", scopes)[0]

    def start(self) -> None:
        """Returns when it is ready."""
        environ = {
            **os.environ,
            "GUANXI_KAFKA_BOOTSTRAP": self.settings.kafka_bootstrap,
            "GUANXI_MONGO_URL": self.settings.mongo_url,
            "GUANXI_DATA_DIR": str(self.settings.data_dir),
            "GUANXI_INTAKE_PORT": "0",
        }
        with self.log.open("ab") as log:
            log.truncate(0)
            self.process = subprocess.Popen(
                [sys.executable, "-m", "services.intake", "run"], env=environ, stdout=log, stderr=log
            )
        deadline = time.monotonic() + 120
        while not self._ready():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"intake did not start: {self.log.read_text()[-2_000:]}")
            time.sleep(0.1)

    def _ready(self) -> bool:
        whole, _, _ = self.log.read_text().rpartition("\n")
        for line in whole.splitlines():
            if line.startswith("{") and (said := json.loads(line))["message"] == "started":
                self.url = f"http://127.0.0.1:{said['port']}"
        try:
            return bool(self.url) and httpx.get(f"{self.url}/health/ready").is_success
        except httpx.TransportError:
            return False

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()
        self.url = ""

    def stop(self) -> int:
        """SIGTERM; the exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)

    def client(self, key: str) -> httpx.AsyncClient:
        headers = {"authorization": f"Bearer {key}"}
        return httpx.AsyncClient(base_url=self.url, headers=headers, timeout=60.0)


async def records(bootstrap: str) -> list[Record]:
    """The whole of guanxi.customers.v1, partition by partition."""
    scanner = KafkaScanner(KafkaConnection(bootstrap))
    found: list[Record] = []
    try:
        for partition, (start, stop) in (await scanner.range(CUSTOMERS.name)).items():
            while start < stop:
                read = await scanner.read(partition, start, stop, 5_000)
                found += read
                start = read[-1].offset + 1
    finally:
        await scanner.stop()
    return found


async def events_of(bootstrap: str, customers: Collection[str]) -> list[Event]:
    """Decoded events of these customers, in the order of each one's partition."""
    read = [record for record in await records(bootstrap) if (record.key or b"").decode() in customers]
    return [decode(record.value or b"") for record in read]
