"""One real document store as a local process: mongod where the machine has it, else the store that cargo built."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from pymongo import MongoClient
from pymongo.errors import PyMongoError

from deploy.cache import Cache
from deploy.processes import Daemon, LocalServer, StartError, port_taken


@dataclass(slots=True)
class LocalStore(LocalServer):
    """`home` holds its data and log. Every acknowledged write is on disk before the acknowledgement."""

    home: Path
    port: int
    cache: Cache
    _daemon: Daemon | None = None

    @property
    def url(self) -> str:
        return f"mongodb://127.0.0.1:{self.port}/?directConnection=true"

    @property
    def address(self) -> str:
        return self.url

    @property
    def daemon(self) -> Daemon:
        if self._daemon is None:
            self._daemon = Daemon("store", self.home, (), lambda: answers(self.url))
        return self._daemon

    def begin(self) -> None:
        """Raises StartError, MissingTool."""
        if self.daemon.identity is None:
            if port_taken(self.port):
                raise StartError(f"port {self.port} is taken by another program: set GUANXI_STORE_PORT to a free one")
            (self.home / "data").mkdir(parents=True, exist_ok=True)
            mongod = shutil.which("mongod")
            self.daemon.argv = self._mongod(mongod) if mongod else self._local()
            self.daemon.ready = (lambda: primary(self.url)) if mongod else (lambda: answers(self.url))
            self.daemon.spawn()

    def _mongod(self, binary: str) -> list[str]:
        return [binary, "--replSet", "guanxi", "--bind_ip", "127.0.0.1", "--port", str(self.port),
                "--dbpath", str(self.home / "data"), "--wiredTigerCacheSizeGB", "1", "--quiet"]  # fmt: skip

    def _local(self) -> list[str]:
        """`--sync-on-commit` always: without it the last acknowledged writes die with the process. The cache fills with
        data only; one in which a transaction's documents take a fifth holds the store up for ever."""
        return [str(self.cache.store_binary()), "--host", "127.0.0.1", "--port", str(self.port),
                "--storage-path", str(self.home / "data"), "--sync-on-commit", "--cache-size", "1G",
                "--log-file-max", "32MB", "--log-level", "WARNING"]  # fmt: skip


def answers(url: str) -> bool:
    """Whether a store there answers a ping."""
    try:
        with MongoClient[dict[str, object]](url, serverSelectionTimeoutMS=1000, connectTimeoutMS=1000) as client:
            client.admin.command("ping")
    except (PyMongoError, ValueError):  # the driver's word for a port that is no number
        return False
    return True


def primary(url: str) -> bool:
    """Whether it takes writes; a fresh mongod is first made a replica set of one, which transactions need."""
    try:
        with MongoClient[dict[str, object]](url, serverSelectionTimeoutMS=1000, connectTimeoutMS=1000) as client:
            if client.admin.command("hello").get("isWritablePrimary"):
                return True
            host = url.removeprefix("mongodb://").partition("/")[0]
            client.admin.command("replSetInitiate", {"_id": "guanxi", "members": [{"_id": 0, "host": host}]})
    except PyMongoError:
        return False
    return False
