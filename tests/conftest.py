"""Fixtures that every test may ask for: a real Kafka and a real store, once per run."""

import os
import signal
from collections.abc import Callable, Iterator

import pytest
from hypothesis import HealthCheck, settings

from tests.support import servers

settings.register_profile("busy machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy machine")
"""How long an example takes says nothing about it where other work runs beside."""


CLOSING = pytest.StashKey[list[str]]()


@pytest.fixture(scope="session")
def closing_line(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Says a line below the results of the run: what a test compared or counted, passed or not."""
    return request.config.stash.setdefault(CLOSING, []).append


def pytest_sessionstart() -> None:
    """A shell without job control starts what runs in its background with SIGINT ignored, and children inherit that: tests
    that interrupt a command would find that it cannot be."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    for line in config.stash.get(CLOSING, []):
        terminalreporter.write_line(line)


@pytest.fixture(scope="session")
def kafka_server() -> Iterator[servers.Server]:
    """The broker with its handles; a test that harms it must leave it running."""
    yield from _running(servers.a_kafka)


@pytest.fixture(scope="session")
def mongo_server() -> Iterator[servers.Server]:
    """The store with its handles; a test that harms it must leave it running."""
    yield from _running(servers.a_store)


@pytest.fixture(scope="session")
def kafka(kafka_server: servers.Server) -> str:
    """A bootstrap string. The broker is shared: topics get names of their own in each test."""
    return kafka_server.address


@pytest.fixture(scope="session")
def mongo(mongo_server: servers.Server) -> str:
    """A URL. The store is shared: databases get names of their own in each test."""
    return mongo_server.address


def _running(make: Callable[[], servers.Server]) -> Iterator[servers.Server]:
    servers.sweep()
    server = make()
    missing = servers.reason_missing(server.start)
    if missing is not None:
        _not_here(missing)
    try:
        yield server
    finally:
        server.stop()
        servers.remove_room()


def _not_here(missing: str) -> None:
    if os.environ.get(servers.REQUIRED):
        pytest.fail(f"{servers.REQUIRED} is set, but: {missing}", pytrace=False)
    pytest.skip(f"skipped, because {missing}")
