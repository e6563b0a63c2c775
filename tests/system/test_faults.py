"""One load, the faults one after another on real servers and real processes: nothing is lost, nothing happens twice."""

import signal
from random import Random

import pytest

from shared.events.catalog import OUTPUT, SERVICES
from tests.support.copy import Copy, eventually
from tests.support.faults import Row, quiesce
from tests.support.log_checks import Evidence
from tests.support.verdicts import differences

pytestmark = pytest.mark.real

KILLS = 8


def test_kill_9_of_each_service_at_random(row: Row) -> None:
    chance = Random(5)
    services = [service for _ in range(KILLS // len(SERVICES)) for service in chance.sample(SERVICES, len(SERVICES))]
    before = sum(member.starts for member in row.copy.members)
    for service in services:
        member = row.copy.first(service)
        eventually(f"{service} is back", member.ready)
        found = member.daemon.identity
        assert found is not None
        found.send(signal.SIGKILL)
        eventually(f"{service} is gone", lambda: not found.alive())  # noqa: B023
    row.copy.wait_ready()
    restarts = sum(member.starts for member in row.copy.members) - before
    row.over(f"{restarts} kills survived" if restarts >= KILLS else "")


def test_everything_holds_so_far(copy: Copy, evidence: Evidence) -> None:
    everything_holds(copy, evidence)


def everything_holds(copy: Copy, evidence: Evidence) -> None:
    """All checks of the log, and each service's state against a rebuild from it."""
    evidence.load.pause()
    quiesce(copy, evidence)
    problems = evidence.problems()
    assert not problems, "\n".join(problems[:40])
    for service in OUTPUT:
        verdict = copy.verify(service)
        assert verdict["equal"], f"{service}: {verdict}\n" + "\n".join(
            differences(copy.environ, service, verdict["differing"] + verdict["moving"])
        )
        assert verdict["customers"] >= len(evidence.load.customers)
    counts = evidence.load.counts()
    assert counts["ok"] > 100, counts
    assert evidence.load.repeats > 5
    evidence.load.resume()
