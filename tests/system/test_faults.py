"""One load, the faults one after another on real servers and real processes: nothing is lost, nothing happens twice."""

import json
import signal
import time
from collections.abc import Collection, Iterable
from pathlib import Path
from random import Random

import pytest

from shared.events.catalog import OUTPUT, PARTITIONS, SERVICES, group_of
from tests.support.copy import SESSION_SECONDS, Copy, Member, eventually
from tests.support.faults import Row, quiesce
from tests.support.guests import Guests, forget_group
from tests.support.log_checks import Evidence
from tests.support.poison import Poisoner
from tests.support.verdicts import differences

pytestmark = pytest.mark.real

KILLS = 8
HITS = 6
"""The call at which a struck process dies: some time after it has begun to work."""
OUTAGE = 3.0
"""Seconds for which a server is away."""
TAKE_OVER = 3.0
"""Seconds beyond the session timeout that taking over may take; a busy test machine is given SLACK more."""
SLACK = 25.0


def test_services_killed_at_random(row: Row) -> None:
    chance = Random(5)
    services = [service for _ in range(KILLS // len(SERVICES)) for service in chance.sample(SERVICES, len(SERVICES))]
    before = sum(member.starts for member in row.copy.members)
    for service in services:
        member = row.copy.first(service)
        eventually(f"{service} is back", member.ready)
        kill(member)
    row.copy.wait_ready()
    restarts = sum(member.starts for member in row.copy.members) - before
    row.over(f"{restarts} kills survived" if restarts >= KILLS else "")


def test_broker_killed(row: Row) -> None:
    row.copy.kafka.kill()
    time.sleep(OUTAGE)
    silence = row.evidence.load.silence()
    row.copy.kafka.restart()
    row.over(f"nothing acknowledged for {silence:.1f} s" if silence > OUTAGE - 1 else "")


def test_store_killed(row: Row) -> None:
    row.copy.store.kill()
    time.sleep(OUTAGE)
    silence = row.evidence.load.silence()
    row.copy.store.restart()
    row.over(f"nothing acknowledged for {silence:.1f} s" if silence > OUTAGE - 1 else "")


def test_everything_holds_after_three(copy: Copy, evidence: Evidence) -> None:
    everything_holds(copy, evidence)


def test_crash_between_store_write_and_publish(row: Row) -> None:
    struck = strike(row.copy, dict.fromkeys(SERVICES, "publish"))
    appeared = eventually("all that was under way is in the log", lambda: in_log(row.evidence, struck.values(), 1))
    eventually("their successors count it", lambda: counted(row.copy, "republished"))
    row.over(f"{len(struck)} crashes, {appeared} events published by successors")


def test_crash_between_publish_and_commit(row: Row) -> None:
    points = {**dict.fromkeys(OUTPUT, "commit"), "intake": "acknowledge"}
    struck = strike(row.copy, points)
    twice = eventually("what was published is published again", lambda: in_log(row.evidence, struck.values(), 2))
    ignored = eventually("what is delivered again is counted", lambda: counted(row.copy, "duplicates"))
    row.over(f"{len(struck)} crashes, {twice} events twice, {ignored:.0f} redeliveries ignored")


def test_zombie(row: Row) -> None:
    """Frozen with its decisions made and its write not yet sent; it wakes when all is another's."""
    copy = row.copy
    partner = copy.first("segmentation")
    file = copy.home / "zombie.json"
    zombie = copy.add("segmentation", strike_argv("segmentation", "save", "SIGSTOP", 15, file))
    eventually("the zombie is frozen", file.exists)
    frozen_at = revisions(copy, json.loads(file.read_text("utf-8"))["events"])
    began = partner.said("partitions taken over")
    eventually("its partner has everything", lambda: copy.owned_by(partner) == set(range(PARTITIONS)))
    eventually("its partner has gone on with the same customers", lambda: revisions(copy, frozen_at) != frozen_at)
    zombie.daemon.resume()
    conflicts = eventually("the zombie's write is refused", lambda: zombie.counted("conflicts"))
    copy.hold(zombie)
    took = partner.said("partitions taken over") - began
    row.over(f"{conflicts:.0f} stale writes refused, {took} takeovers")


def test_everything_holds_after_six(copy: Copy, evidence: Evidence) -> None:
    everything_holds(copy, evidence)


def test_rebalance_storm(row: Row) -> None:
    services = ("segmentation", "followup")
    before = {service: row.copy.first(service).said("partitions taken over") for service in services}
    with Guests(row.copy.kafka.address, services, SESSION_SECONDS) as guests:
        for _ in range(4):
            guests.join()
            time.sleep(1.5)
            guests.leave()
            time.sleep(1.5)

    def took() -> list[int]:
        return [row.copy.first(s).said("partitions taken over") - before[s] for s in services]

    eventually("each has taken over once per visit", lambda: min(took()) >= 4)
    row.over(f"{sum(took())} takeovers in {guests.visits} visits")


def test_offsets_lost(row: Row) -> None:
    """The worker stops and says what to do; repaired, it reads everything again, and nothing comes of it."""
    followup = row.copy.first("followup")
    row.copy.hold(followup)
    forget_group(row.copy.kafka.address, group_of("followup"))
    told = followup.said("provision --repair")
    followup.daemon.spawn()
    eventually("it stops", lambda: not followup.alive())
    assert followup.said("provision --repair") > told, followup.daemon.last_words()
    row.copy.provision(repair=True)
    row.copy.release(followup)
    eventually("it is back", followup.ready)
    ignored = eventually("it reads again what it knows", lambda: followup.counted("duplicates"))
    row.over(f"stopped loudly, repaired, {ignored:.0f} redeliveries and counting ignored")


def test_poison(row: Row) -> None:
    poisoner = Poisoner(row.copy, row.evidence)
    sent = poisoner.send()
    eventually("each is parked or set aside by every service", lambda: poisoner.all_handled(sent))
    poisoner.resume_and_erase(sent)
    parked = sum(poison.customer is not None for poison in sent)
    row.over(f"{parked} kinds parked, {len(sent) - parked} set aside, each by all services; others went on")
    assert not any(row.copy.parked().values()), "erasure ends parking"


def test_everything_holds_after_nine(copy: Copy, evidence: Evidence) -> None:
    everything_holds(copy, evidence)


def test_graceful_stop(row: Row) -> None:
    took = {}
    for service in SERVICES:
        member = row.copy.first(service)
        eventually(f"{service} is ready", member.ready)
        took[service] = row.copy.hold(member)
        row.copy.release(member)
    slowest = max(took.values())
    row.over(f"slowest {slowest:.1f} s" if slowest <= 15 else "")


def test_taking_over_from_a_killed_worker(row: Row) -> None:
    copy = row.copy
    second = copy.add("segmentation")
    eventually("both own something", lambda: copy.owned_by(second) and copy.owned_by(second) != set(range(PARTITIONS)))
    second.kept = False
    kill(second)
    seconds = first_change_after(row.evidence, copy.owned_by(second), time.time())
    row.over(f"first change after {seconds:.1f} s" if seconds <= SESSION_SECONDS + TAKE_OVER + SLACK else "")


def test_taking_over_from_one_that_died_inside_a_write(row: Row) -> None:
    copy, file = row.copy, row.copy.home / "inside.json"
    hold = file.with_suffix(".hold")
    hold.touch()  # else it may be dead before anybody has heard what it owned
    second = copy.add("segmentation", strike_argv("segmentation", "transaction", "SIGKILL", 3, file))
    owned = eventually("it owns something", lambda: copy.owned_by(second))
    hold.unlink()
    eventually("it died inside a write", lambda: burst(row.evidence) and not second.alive())
    died_at = json.loads(file.read_text("utf-8"))["at"]
    seconds = first_change_after(row.evidence, owned, died_at)
    row.over(f"first change after {seconds:.1f} s" if seconds <= SESSION_SECONDS + TAKE_OVER + SLACK else "")


def test_everything_holds_in_the_end(copy: Copy, evidence: Evidence) -> None:
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


def counted(copy: Copy, kind: str) -> float:
    """By the first of each service that publishes; whoever has just published may not have counted yet."""
    return sum(copy.first(service).counted(kind) for service in OUTPUT)


def kill(member: Member) -> None:
    found = member.daemon.identity
    assert found is not None
    found.send(signal.SIGKILL)
    eventually(f"{member.daemon.name} is gone", lambda: not found.alive())


def strike_argv(service: str, point: str, signum: str, number: int, file: Path) -> tuple[str, ...]:
    return ("tests.support.strikes", service, point, signum, str(number), str(file))


def strike(copy: Copy, points: dict[str, str]) -> dict[str, list[str]]:
    """Each service once replaced by one that dies at its point; what was under way there. Then the real one goes on."""
    files = {service: copy.home / f"{service}-{point}.json" for service, point in points.items()}
    struck: dict[str, Member] = {}
    for service, point in points.items():
        real = copy.first(service)
        copy.hold(real)
        argv = strike_argv(service, point, "SIGKILL", HITS, files[service])
        struck[service] = copy.add(service, argv, port=real.port)

    def all_dead() -> bool:
        """Who has died is replaced at once: the others need it."""
        for service in [name for name, member in struck.items() if not member.alive()]:
            assert files[service].exists(), struck.pop(service).daemon.last_words()
            copy.release(copy.first(service))
            del struck[service]
        return not struck

    eventually("each dies at its point", all_dead)
    copy.wait_ready()
    return {service: json.loads(file.read_text("utf-8"))["events"] for service, file in files.items()}


def in_log(evidence: Evidence, struck: Iterable[list[str]], times: int) -> int:
    """How many events, where each of those struck is in the log so often; 0 where one is not yet."""
    evidence.log.refresh()
    seen: dict[str, int] = {}
    for topic in ("guanxi.customers.v1", *(topic.name for topic in OUTPUT.values())):
        for entry in evidence.log.entries[topic]:
            if entry.event is not None:
                seen[entry.event["id"]] = seen.get(entry.event["id"], 0) + 1
    wanted = [name for names in struck for name in names]
    return len(wanted) if wanted and all(seen.get(name, 0) >= times for name in wanted) else 0


def revisions(copy: Copy, customers: Collection[str]) -> dict[str, int]:
    """0 for whom segmentation does not know yet."""
    found = {doc["_id"]: doc["rev"] for doc in copy.documents("segmentation", {"_id": {"$in": list(customers)}})}
    return {name: found.get(name, 0) for name in customers}


def burst(evidence: Evidence) -> bool:
    """Many events at once, so that a batch of several customers is written in one transaction."""
    events = [
        {"type": "usage.reported", "source": "urn:guanxi:burst", "customer": {"id": name}, "data": {"name": "burst"}}
        for name in evidence.load.customers[:200]
    ]
    evidence.load.ask("POST", "/v1/events", events)
    return True


def first_change_after(evidence: Evidence, partitions: set[int], at: float) -> float:
    """Seconds until a partition of the dead one says something again."""
    assert partitions

    def changed() -> float | None:
        evidence.log.refresh()
        later = [
            entry.at / 1000 - at
            for entry in evidence.log.entries[OUTPUT["segmentation"].name]
            if entry.partition in partitions and entry.key is not None and entry.at / 1000 > at + 1
        ]
        return min(later, default=None)

    return float(eventually("the partitions of the dead one speak again", changed))
