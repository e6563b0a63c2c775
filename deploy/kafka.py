"""One real Kafka broker as a local process: KRaft, small, quick to start, its data kept."""

import logging
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from deploy.cache import Cache
from deploy.processes import Daemon, LocalServer, StartError, free_port, port_taken

_QUIET = logging.getLogger("guanxi.kafka-probe")
_CLUSTER_ID = "Z3VhbnhpLWxvY2FsLTAwMQ"
_FULL_COMPILER_FROM_MB = 512
_CONTROLLERS = range(19_000, 20_000)
"""Ports that nobody else is given: others are given theirs long before they listen there, or listen there again."""


@dataclass(slots=True)
class LocalKafka(LocalServer):
    """`home` holds its data, settings and logs; a second instance with another home and port runs beside it."""

    home: Path
    port: int
    cache: Cache
    heap_mb: int = 256
    _daemon: Daemon | None = None

    @property
    def bootstrap(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def address(self) -> str:
        return self.bootstrap

    @property
    def daemon(self) -> Daemon:
        if self._daemon is None:
            self._daemon = Daemon("kafka", self.home, (), lambda: answers(self.bootstrap))
        return self._daemon

    def begin(self) -> None:
        """Formats its data directory the first time. Raises StartError, MissingTool."""
        if self.daemon.identity is None:
            if port_taken(self.port):
                raise StartError(f"port {self.port} is taken by another program: set GUANXI_KAFKA_PORT to a free one")
            self._prepare()
            self.daemon.spawn()

    def _prepare(self) -> None:
        self.home.mkdir(parents=True, exist_ok=True)
        java, jars = self.cache.java(), self.cache.kafka_jars()
        archive = self.cache.class_archive(jars, java)
        settings = self._write_settings()
        if not (self.home / "data" / "meta.properties").exists():
            _run([java, *_small(64), "-cp", f"{jars}/*", "kafka.tools.StorageTool", "format", "-t", _CLUSTER_ID,
                  "-c", str(settings)])  # fmt: skip
        if not archive.exists():
            self._write_archive(java, jars, archive)
        self.daemon.argv = self._argv(java, jars, [f"-XX:SharedArchiveFile={archive}"], settings)

    def _write_settings(self) -> Path:
        """Anew at each start: the controller's port is any free one, and the client's may have been moved."""
        path = self.home / "server.properties"
        settings = _settings(self.home, self.port, self._controllers_port())
        path.write_text("".join(f"{k}={v}\n" for k, v in settings.items()))
        return path

    def _controllers_port(self) -> int:
        while (port := free_port(_CONTROLLERS)) == self.port:
            pass
        return port

    def _argv(self, java: str, jars: Path, archive: list[str], settings: Path) -> list[str]:
        log = [f"-Dguanxi.logs={self.home}", f"-Dlog4j2.configurationFile={Path(__file__).parent / 'log4j2.xml'}"]
        return [java, *_small(self.heap_mb), *archive, *log, "-cp", f"{jars}/*", "kafka.Kafka", str(settings)]

    def _write_archive(self, java: str, jars: Path, archive: Path) -> None:
        """One start and stop that records the classes Kafka loads; each later start takes half the time."""
        self.cache.say("preparing Kafka for quick starts (once) …")
        beside = archive.with_name(f"{archive.name}-{os.getpid()}")
        self.daemon.argv = self._argv(
            java, jars, [f"-XX:ArchiveClassesAtExit={beside}"], self.home / "server.properties"
        )
        self.daemon.start()
        self.daemon.stop_seconds = 60
        self.daemon.stop()
        if beside.exists():
            beside.rename(archive)


def answers(bootstrap: str) -> bool:
    """Whether a broker there tells who is in the cluster, which is more than an open port."""
    first = bootstrap.split(",", maxsplit=1)[0]
    host, _, port = first.rpartition(":")
    if host in ("127.0.0.1", "localhost") and not port_taken(int(port)):
        return False
    try:
        admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0}, logger=_QUIET)
        return bool(admin.list_topics(timeout=3).brokers)
    except KafkaException:
        return False


def _small(heap_mb: int) -> list[str]:
    full = heap_mb >= _FULL_COMPILER_FROM_MB
    return [f"-Xmx{heap_mb}m", "-XX:+UseSerialGC", *([] if full else ["-XX:TieredStopAtLevel=1"]), "-Xlog:cds=off",
            "-Xlog:cds+dynamic=off", "-Xshare:auto"]  # fmt: skip


def _run(argv: list[str]) -> None:
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise StartError(f"Kafka's data directory could not be made:\n{(done.stdout + done.stderr)[-800:]}")


def _settings(home: Path, port: int, controller: int) -> dict[str, object]:
    return {
        "process.roles": "broker,controller",
        "node.id": 1,
        "controller.quorum.voters": f"1@127.0.0.1:{controller}",
        "listeners": f"CLIENT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}",
        "advertised.listeners": f"CLIENT://127.0.0.1:{port}",
        "listener.security.protocol.map": "CLIENT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "inter.broker.listener.name": "CLIENT",
        "controller.listener.names": "CONTROLLER",
        "log.dirs": home / "data",
        **SMALL,
    }


SMALL: dict[str, object] = {
    "auto.create.topics.enable": "false",
    "log.message.timestamp.type": "LogAppendTime",
    "offsets.topic.replication.factor": 1,
    "offsets.topic.num.partitions": 4,
    "offsets.retention.minutes": 5_256_000,
    "transaction.state.log.replication.factor": 1,
    "transaction.state.log.min.isr": 1,
    "transaction.state.log.num.partitions": 4,
    "share.coordinator.state.topic.replication.factor": 1,
    "share.coordinator.state.topic.min.isr": 1,
    "group.initial.rebalance.delay.ms": 0,
    "group.min.session.timeout.ms": 1000,
    "broker.session.timeout.ms": 2000,
    "broker.heartbeat.interval.ms": 500,
    "log.cleaner.dedupe.buffer.size": 2097152,
    "log.index.size.max.bytes": 1048576,
    "num.network.threads": 2,
    "num.io.threads": 4,
    "background.threads": 2,
    "num.recovery.threads.per.data.dir": 2,
}
