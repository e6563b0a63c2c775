"""Kafka and the store as local processes of one start: beside each other, and broken off at once."""

import fcntl
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from deploy.cache import Cache
from deploy.kafka import LocalKafka
from deploy.processes import LocalServer, free_port
from deploy.servers import Servers
from deploy.settings import Machine
from deploy.store import LocalStore
from tests.support.servers import own_port

LOCKED_SECONDS = 30


@pytest.fixture
def servers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Servers]:
    """On a machine with Java and no other tool."""
    monkeypatch.setenv("PATH", str(tmp_path))
    given = {
        "GUANXI_DATA_DIR": str(tmp_path / "data"),
        "GUANXI_CACHE_DIR": str(tmp_path / "cache"),
        "GUANXI_LAYER": "local",
        "GUANXI_JAVA": sys.executable,
        "GUANXI_KAFKA_PORT": str(own_port()),
        "GUANXI_STORE_PORT": str(own_port()),
    }
    made = Servers(Machine.from_environment(given, Path("/nonexistent")), print)
    yield made
    made.down()


@contextmanager
def built_elsewhere(cache: Cache) -> Iterator[threading.Event]:
    """Another clone is at both; set once it has given up."""
    cache.root.mkdir()
    given_up = threading.Event()
    locks = [path.with_name(f"{path.name}.lock").open("w") for path in (cache._kafka, cache._store)]
    for lock in locks:
        fcntl.flock(lock, fcntl.LOCK_EX)

    def give_up() -> None:
        given_up.set()
        for lock in locks:
            lock.close()

    timer = threading.Timer(LOCKED_SECONDS, give_up)
    timer.start()
    try:
        yield given_up
    finally:
        timer.cancel()
        timer.join()
        give_up()


def test_ctrl_c_is_heard_while_another_clone_builds(servers: Servers) -> None:
    with built_elsewhere(servers.local_kafka.cache) as given_up:
        ctrl_c = threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT))
        ctrl_c.start()
        with pytest.raises(KeyboardInterrupt):
            servers.up()
        assert not given_up.is_set()


def test_ctrl_c_is_heard_while_they_do_not_answer(servers: Servers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LocalKafka, "begin", sleeps)
    monkeypatch.setattr(LocalStore, "begin", sleeps)
    began = time.monotonic()
    threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt):
        servers.up()
    assert time.monotonic() - began < LOCKED_SECONDS
    servers.down()
    assert [server.daemon.identity for server in (servers.local_kafka, servers.local_store)] == [None, None]


def test_neither_server_waits_for_the_other(servers: Servers, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each answers only once both run."""

    def answers() -> bool:
        return None not in (servers.local_kafka.daemon.identity, servers.local_store.daemon.identity)

    def begins(server: LocalServer) -> None:
        sleeps(server)
        server.daemon.ready = answers

    monkeypatch.setattr(LocalKafka, "begin", begins)
    monkeypatch.setattr(LocalStore, "begin", begins)
    assert servers.up().answered


def sleeps(server: LocalServer) -> None:
    """A server that never answers."""
    server.daemon.argv = (sys.executable, "-c", "import time; time.sleep(60)")
    server.daemon.spawn()


def test_kafkas_two_ports_are_never_the_same_nor_one_that_was_given_to_others(
    servers: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One start in twelve thousand met its own port."""
    kafka, given = servers.local_kafka, free_port()
    kafka.home.mkdir(parents=True)
    drawn = iter([kafka.port, kafka.port, 19_007])
    asked: list[range] = []
    monkeypatch.setattr("deploy.kafka.free_port", lambda among: asked.append(among) or next(drawn))
    written = kafka._write_settings().read_text()
    assert f"CLIENT://127.0.0.1:{kafka.port},CONTROLLER://127.0.0.1:19007" in written
    assert all(given not in among for among in asked)
