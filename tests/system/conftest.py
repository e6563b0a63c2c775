"""A copy of the whole system under load, shared by the faults that follow each other; their table at the end."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import servers
from tests.support.copy import Copy
from tests.support.faults import ROWS, Row, table
from tests.support.load import Load
from tests.support.log_checks import Evidence, Log

CUSTOMERS = 800


@pytest.fixture(scope="module")
def own_servers() -> Iterator[tuple[servers.Server, servers.Server]]:
    """A broker and a store that may be killed."""
    servers.sweep()
    kafka, store = servers.a_kafka(), servers.a_store()
    if isinstance(kafka, servers.Named) or isinstance(store, servers.Named):
        pytest.skip("servers named in the environment are not ours to kill")
    try:
        for server in (kafka, store):
            missing = servers.reason_missing(server.start)
            if missing and os.environ.get(servers.REQUIRED):
                pytest.fail(f"{servers.REQUIRED} is set, but: {missing}", pytrace=False)
            if missing:
                pytest.skip(f"skipped, because {missing}")
        yield kafka, store
    finally:
        kafka.stop()
        store.stop()
        servers.remove_room()


@pytest.fixture(scope="module")
def copy(
    own_servers: tuple[servers.Server, servers.Server], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Copy]:
    home: Path = tmp_path_factory.mktemp("copy")
    running = Copy(home, *own_servers)
    try:
        running.start()
        yield running
    finally:
        running.stop()


@pytest.fixture(scope="module")
def evidence(copy: Copy) -> Iterator[Evidence]:
    """The load runs while a test asks for this."""
    load = Load(lambda: copy.first("intake").url, copy.key)
    load.start(CUSTOMERS)
    try:
        yield Evidence(Log(copy.kafka.address), load)
    finally:
        load.stop()


@pytest.fixture
def row(request: pytest.FixtureRequest, copy: Copy, evidence: Evidence) -> Row:
    """The load goes on, also where an earlier test has failed while it was paused."""
    evidence.load.resume()
    return Row(request.node.name.removeprefix("test_").replace("_", " "), copy, evidence)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if ROWS:
        terminalreporter.section("system faults")
        terminalreporter.write(table(ROWS))
