"""Rules changed under load: what was foretold happens to every customer once, whoever is killed in the middle."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient

from shared.clock import DAY, to_rfc3339, wall_clock
from shared.events.catalog import CUSTOMERS, PARTITIONS, SEGMENTS
from tests.support.copy import ROOT, Copy, eventually
from tests.support.load import Load
from tests.support.log_checks import Entry, Evidence, Log, distinct, gaps
from tests.support.servers import Server

pytestmark = pytest.mark.real

STANDARD = (ROOT / "deploy" / "config" / "segmentation.yaml").read_text("utf-8")
CANDIDATE = STANDARD.replace("spend_in_year >= 5000}", "spend_in_year >= 2500}", 1)
QUIET, BUSY = 240, 60
VERSION = "2"


@pytest.fixture(scope="module")
def copy(own_servers: tuple[Server, Server], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Copy]:
    running = Copy(tmp_path_factory.mktemp("rules"), *own_servers)
    try:
        running.start(("intake", "segmentation"))
        yield running
    finally:
        running.stop()


@pytest.fixture
def load(copy: Copy) -> Iterator[Load]:
    made = Load(lambda: copy.first("intake").url, copy.key, rate=20.0)
    made.start(BUSY)
    made.pause()
    yield made
    made.stop()


def test_what_if_foretells_what_activation_publishes_under_load_and_kills(
    copy: Copy, load: Load, tmp_path: Path
) -> None:
    file, quiet = tmp_path / "mine.yaml", buyers(load)
    file.write_text(CANDIDATE, "utf-8")
    log = Log(copy.kafka.address)
    eventually("everything so far is segmented", lambda: settled(log))
    foretold = what_if(copy, file, tmp_path)
    assert {customer for customer in foretold if customer in quiet}

    load.resume()
    interrupted = begun(copy, "activate", str(file), heard=False)
    eventually("it is being prepared or was", lambda: interrupted.poll() is not None or versions(copy).get(2))
    interrupted.kill()
    interrupted.wait()
    killer = threading.Thread(target=kill_in_the_middle, args=(copy,))
    killer.start()
    done = begun(copy, "activate", str(file), "--json")
    answer, said = done.communicate(timeout=400)
    killer.join()
    assert done.returncode == 0, said
    assert json.loads(answer)["number"] == int(VERSION)
    load.pause()
    eventually("everything is segmented", lambda: settled(log))

    log.refresh()
    assert copy.first("segmentation").starts >= 2
    published = by_version(log.entries[SEGMENTS.name], quiet)
    assert published == {customer: moves for customer, moves in foretold.items() if customer in quiet}
    assert list(gaps(Evidence(log, load))) == []
    activations = [e.partition for e in log.entries[CUSTOMERS.name] if e.event["type"] == "guanxi.rules.activated.v1"]
    assert sorted(activations) == list(range(PARTITIONS))
    verdict = copy.verify("segmentation")
    assert (verdict["equal"], verdict["differing"]) == (True, [])
    assert held(copy) == {"1": 0, VERSION: PARTITIONS}


def test_what_was_called_off_leaves_nothing_behind(copy: Copy, tmp_path: Path) -> None:
    file = tmp_path / "other.yaml"
    file.write_text(STANDARD.replace("spend_in_year >= 5000}", "spend_in_year >= 9000}", 1), "utf-8")
    copy.wait_ready()
    interrupted = begun(copy, "activate", str(file))
    eventually("it is known", lambda: interrupted.poll() is not None or versions(copy).get(3))
    os.killpg(interrupted.pid, signal.SIGINT)
    said = interrupted.communicate(timeout=240)[1]
    if interrupted.returncode == 0:
        pytest.fail("it was activated before it could be interrupted")
    assert "guanxi rules call-off 3" in said
    assert guanxi(copy, "call-off", "3").returncode == 0
    assert guanxi(copy, "call-off", "3").returncode == 0
    listed = json.loads(guanxi(copy, "list", "--json").stdout)["versions"]
    told = [(version["number"], version["state"], version["partitions"]) for version in listed]
    assert told == [(1, "activated", 0), (2, "activated", PARTITIONS), (3, "withdrawn", 0)]


def test_rules_that_hold_already_are_activated_no_second_time(copy: Copy, tmp_path: Path) -> None:
    file = tmp_path / "again.yaml"
    file.write_text(CANDIDATE, "utf-8")
    again = guanxi(copy, "activate", str(file))
    assert (again.returncode, "version 2 holds on every partition" in again.stdout) == (0, True)
    assert "touches nobody" in guanxi(copy, "diff", str(file)).stdout


def test_thresholds_are_proposed_for_the_rules_in_force(copy: Copy) -> None:
    shares = ("--top", "20%", "--top", "60%", "--dimension", "spend_level")
    done = guanxi(copy, "calibrate", *shares, "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["file"] == "version 2, the rules in force"
    assert [(one["value"], one["before"]) for one in found["proposals"]] == [("high", "2500"), ("medium", "1000")]
    assert all(
        abs(one["share_after"] - share) < 0.05 for one, share in zip(found["proposals"], (0.2, 0.6), strict=True)
    )
    assert "+      - {value: high, when: spend_in_year >= 4" in found["diff"]


def buyers(load: Load) -> set[str]:
    """Customers whom the load leaves alone, with all kinds of spend over the last months."""
    now = wall_clock()
    events = [
        {
            "type": "purchase.made",
            "id": f"quiet-{number}",
            "source": "urn:test:quiet",
            "time": to_rfc3339(now - (number % 300) * DAY),
            "customer": {"external_id": {"system": "quiet", "id": str(number)}},
            "data": {"amount": {"amount": str(25 * number), "currency": "CNY"}},
        }
        for number in range(QUIET)
    ]
    return {answer["customer_id"] for answer in load.ask("POST", "/v1/events", events)}


def settled(log: Log) -> bool:
    log.refresh()
    return log.waiting("segmentation") == 0


def what_if(copy: Copy, file: Path, room: Path) -> dict[str, dict[str, tuple[Any, Any]]]:
    customers = room / "customers.ndjson"
    done = guanxi(copy, "what-if", str(file), "--json", "--customers", str(customers))
    assert done.returncode == 0, done.stderr
    told = [json.loads(line) for line in customers.read_text().splitlines()]
    assert json.loads(done.stdout)["customers_moved"] == len(told)
    return {one["customer_id"]: moves_of(one["changes"]) for one in told}


def moves_of(changes: list[Mapping[str, Any]]) -> dict[str, tuple[Any, Any]]:
    return {change["dimension"]: (change.get("from"), change.get("to")) for change in changes}


def by_version(entries: list[Entry], customers: set[str]) -> dict[str, dict[str, tuple[Any, Any]]]:
    """What was published under the new version of each of these, who must have heard of it once."""
    found: dict[str, dict[str, tuple[Any, Any]]] = {}
    for event in distinct(entries):
        if event["subject"] in customers and event["data"].get("rules_version") == VERSION:
            assert event["subject"] not in found, "two changes, where nothing but the activation happened"
            assert all(change["because"]["rule"] for change in event["data"]["changes"])
            found[event["subject"]] = moves_of(event["data"]["changes"])
    return found


def kill_in_the_middle(copy: Copy) -> None:
    """As soon as some partitions are under the new version, or on their way."""
    deadline = time.monotonic() + 120
    while len(versions(copy).get(2, {}).get("positions", {})) < 3 and time.monotonic() < deadline:
        time.sleep(0.005)
    found = copy.first("segmentation").daemon.identity
    if found is not None:
        found.send(signal.SIGKILL)


def versions(copy: Copy) -> dict[int, dict[str, Any]]:
    with MongoClient(copy.store.address, serverSelectionTimeoutMS=10_000) as client:
        return {found["_id"]: found for found in client["guanxi_segmentation"]["versions"].find()}


def held(copy: Copy) -> dict[str, int]:
    """Partitions under each version."""
    listed = json.loads(guanxi(copy, "list", "--json").stdout)["versions"]
    return {str(v["number"]): v["partitions"] for v in listed if v["state"] == "activated"}


def begun(copy: Copy, *arguments: str, heard: bool = True) -> "subprocess.Popen[str]":
    """`heard`: what it says is kept; whoever kills it with its children at work does not wait for their last words."""
    ports = {f"GUANXI_{m.service.upper()}_PORT": str(m.port) for m in reversed(copy.members)}
    environ = {**os.environ, **copy.environ, **ports, "NO_COLOR": "1"}
    argv = [sys.executable, "-m", "deploy", "rules", *arguments]
    pipe = subprocess.PIPE if heard else subprocess.DEVNULL
    return subprocess.Popen(argv, env=environ, stdout=pipe, stderr=pipe, text=True, start_new_session=True)


def guanxi(copy: Copy, *arguments: str) -> "subprocess.CompletedProcess[str]":
    process = begun(copy, *arguments)
    answer, said = process.communicate(timeout=300)
    return subprocess.CompletedProcess(process.args, process.returncode, answer, said)
