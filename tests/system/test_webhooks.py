"""Downstream systems with Kafka and without, under load, while what feeds them is killed: nothing missed, nothing twice."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from pymongo import MongoClient

from deploy.examples.memberships import Memberships
from deploy.processes import Daemon
from deploy.programs import WEBHOOKS
from shared.events.catalog import SEGMENTS
from tests.support import servers
from tests.support.copy import Copy, Member, eventually
from tests.support.load import Load
from tests.support.log_checks import Log
from tests.support.quick_deliver import QUICK

pytestmark = pytest.mark.real

CUSTOMERS = 200
BETWEEN = 2.0
"""Seconds of load between one blow and the next."""


@pytest.fixture(scope="module")
def copy(
    own_servers: tuple[servers.Server, servers.Server], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Copy]:
    """With a deliverer that may call this machine."""
    running = Copy(tmp_path_factory.mktemp("copy"), *own_servers, told={"GUANXI_WEBHOOK_ALLOW_PRIVATE": "true"})
    try:
        running.start()
        running.add(WEBHOOKS, ("tests.support.quick_deliver",), kept=True)
        running.wait_ready()
        yield running
    finally:
        running.stop()


class Downstream:
    """One of the examples as a process of its own, over a table of its own."""

    def __init__(self, copy: Copy, name: str, **told: str) -> None:
        self.table = copy.home / f"{name}.db"
        environ = {**copy.environ, "EXAMPLE_TABLE": str(self.table), "EXAMPLE_KAFKA": copy.kafka.address, **told}
        argv = [sys.executable, "-m", f"deploy.examples.{name}", *(["run"] if name == "subscriber" else [])]
        self.daemon = Daemon(name, copy.home / "run", argv, lambda: True, environ, stop_seconds=10)
        self.daemon.spawn()

    def strike(self) -> None:
        self.daemon.kill()
        self.daemon.spawn()

    def numbers(self) -> dict[str, int]:
        return self._ask(Memberships.numbers) if self.table.exists() else {}

    def proof(self) -> dict[str, int]:
        return self._ask(Memberships.proof)

    def _ask(self, question: Any) -> Any:
        memberships = Memberships(self.table)
        try:
            return question(memberships)
        finally:
            memberships.close()


def subscribe(copy: Copy, url: str, *dimensions: str) -> dict[str, Any]:
    made = httpx.post(
        f"{copy.first('intake').url}/v1/subscriptions",
        json={"url": url, "dimensions": dimensions},
        headers={"authorization": f"Bearer {copy.key}"},
        timeout=60,
    )
    assert made.status_code == 201, made.text
    answer: dict[str, Any] = made.json()
    return answer


@pytest.fixture(scope="module")
def load(copy: Copy) -> Iterator[Load]:
    load = Load(lambda: copy.first("intake").url, copy.key)
    yield load
    load.stop()


@pytest.fixture(scope="module")
def both(copy: Copy, load: Load) -> Iterator[list[Downstream]]:
    """Both subscribe before anything happens, so that both are owed everything."""
    port = servers.own_port()
    made = subscribe(copy, f"http://127.0.0.1:{port}/guanxi")
    found = [
        Downstream(copy, "subscriber"),
        Downstream(copy, "receiver", EXAMPLE_SECRET=made["secret"], EXAMPLE_PORT=str(port)),
    ]
    load.start(CUSTOMERS)
    yield found
    for one in found:
        one.daemon.stop()


def truth(log: Log) -> dict[str, int]:
    """How many changes of each customer there are, by the log itself."""
    log.refresh()
    newest: dict[str, int] = {}
    for entry in log.entries[SEGMENTS.name]:
        if entry.event is not None and entry.event.get("subject"):
            customer = entry.event["subject"]
            newest[customer] = max(newest.get(customer, 0), int(entry.event["sequence"]))
    return newest


def kill(member: Member) -> None:
    eventually(f"{member.daemon.name} is back", member.ready)
    member.daemon.kill()


def test_nothing_is_missed_and_nothing_applied_twice(copy: Copy, load: Load, both: list[Downstream]) -> None:
    log = Log(copy.kafka.address)
    subscriber, receiver = both
    for blow in (
        lambda: kill(copy.first("segmentation")),
        lambda: kill(copy.first(WEBHOOKS)),
        subscriber.strike,
        receiver.strike,
        copy.kafka.kill,
    ):
        time.sleep(BETWEEN)
        blow()
    time.sleep(BETWEEN)
    copy.kafka.restart()
    kill(copy.first(WEBHOOKS))
    time.sleep(BETWEEN)
    load.pause()
    copy.wait_ready()
    eventually("segmentation has read everything", lambda: (log.refresh(), log.waiting("segmentation"))[1] == 0)
    owed = truth(log)
    assert sum(owed.values()) > CUSTOMERS
    for one in both:
        has_everything(one, log)
        owed = truth(log)
        total = sum(owed.values())
        assert one.proof() == {"customers": len(owed), "numbers": total, "applied": total, "missed": 0}
    assert both[0].daemon.identity is not None
    proved = subprocess.run(
        [sys.executable, "-m", "deploy.examples.subscriber", "prove"],
        env={**os.environ, "EXAMPLE_TABLE": str(subscriber.table), "PYTHONPATH": copy.environ["PYTHONPATH"]},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (proved.returncode, json.loads(proved.stdout)["missed"]) == (0, 0)
    assert copy.first(WEBHOOKS).starts >= 3
    assert copy.first("segmentation").starts >= 2
    print(f"\nwebhooks: {sum(owed.values())} changes of {len(owed)} customers; missed 0, twice 0, over 6 kills")


def has_everything(one: Downstream, log: Log) -> None:
    """What is owed is asked anew each time: time itself may still change somebody's segments."""

    def has_it() -> bool:
        one.daemon.start()  # as a supervisor does: who began while Kafka was away has ended
        return one.numbers() == truth(log)

    try:
        eventually(f"{one.daemon.name} has everything", has_it)
    except AssertionError as late:
        owed, has = truth(log), one.numbers()
        short = sum(number - has.get(name, 0) for name, number in owed.items())
        raise AssertionError(f"{late}; {short} of {sum(owed.values())} missing; {one.daemon.last_words()}") from None


def test_how_it_stands_is_shown(copy: Copy, both: list[Downstream]) -> None:
    headers = {"authorization": f"Bearer {copy.key}"}

    def shown() -> dict[str, Any]:
        """What was delivered this moment may still be about to be ticked off."""
        (one,) = httpx.get(f"{copy.first(WEBHOOKS).url}/v1/deliveries", headers=headers, timeout=60).json()[
            "subscriptions"
        ]
        return one if (one["state"], one["waiting"], one["behind"]) == ("open", 0, 0) else {}

    one = eventually("nothing waits", shown)
    assert one["given_up"] == 0
    metrics = httpx.get(f"{copy.first(WEBHOOKS).url}/metrics", timeout=60).text
    assert 'guanxi_webhook_attempts_total{answer="204",outcome="delivered"}' in metrics
    assert one["id"] not in metrics
    assert len(QUICK.waits) > 10


def test_a_graceful_stop_is_quick_and_a_second_process_shares_the_work(copy: Copy, both: list[Downstream]) -> None:
    first = copy.first(WEBHOOKS)
    assert copy.hold(first) < 20, "it goes when it is told to, not when it is killed after 30 s"
    assert first.said("will not go on") == 0
    second = copy.add(WEBHOOKS, ("tests.support.quick_deliver",), kept=True)
    copy.release(first)
    copy.wait_ready()
    assert second.ready()


def test_no_secret_is_in_any_log_or_collection(copy: Copy, both: list[Downstream]) -> None:
    secret = both[1].daemon.environ["EXAMPLE_SECRET"].removeprefix("whsec_").encode()
    files = [path for path in Path(copy.home).rglob("*.log") if path.is_file()]
    assert len(files) >= 5
    assert [path.name for path in files if secret in path.read_bytes()] == []
    log = Log(copy.kafka.address)
    log.refresh()
    records = [entry for entries in log.entries.values() for entry in entries]
    assert [entry.topic for entry in records if secret in (entry.value or b"")] == []
    with MongoClient(copy.store.address, serverSelectionTimeoutMS=10_000) as client:
        for name in (name for name in client.list_database_names() if name.startswith("guanxi_")):
            for collection in client[name].list_collection_names():
                assert secret.decode() not in str(list(client[name][collection].find())), (name, collection)
