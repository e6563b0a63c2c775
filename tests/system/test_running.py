"""The whole system as an operator runs it: up, killed, scaled, interrupted, down; nothing stays behind."""

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest
from confluent_kafka import Producer

from deploy.processes import Identity, read_pid
from deploy.programs import PROGRAMS
from deploy.settings import Machine
from deploy.system import System
from tests.support import servers

pytestmark = pytest.mark.real

ROOT = Path(__file__).parents[2]
TAIL = ("tail", "--all", "--no-follow")
SECRET = "Nobody Inparticular"


@pytest.fixture(scope="module")
def environ(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    ports = {f"GUANXI_{name}_PORT": str(servers.own_port()) for name in ("KAFKA", "STORE", *map(str.upper, PROGRAMS))}
    data = tmp_path_factory.mktemp("running") / "data"
    return {**os.environ, **ports, "GUANXI_DATA_DIR": str(data), "GUANXI_LAYER": "local", "NO_COLOR": "1"}


@pytest.fixture(scope="module")
def running(environ: dict[str, str]) -> Iterator[System]:
    system = System(Machine.from_environment(environ, Path("/nonexistent")), print)
    try:
        missing = servers.reason_missing(lambda: system.up() and None)
        if missing and not os.environ.get(servers.REQUIRED):
            pytest.skip(f"skipped, because {missing}")
        assert missing is None
        yield system
    finally:
        system.down()


def test_every_service_is_ready_and_says_so(running: System, environ: Mapping[str, str]) -> None:
    shown = guanxi(environ, "status", "--json")
    assert shown.returncode == 0, shown.stderr
    found = json.loads(shown.stdout)
    assert {s["service"]: (s["ready"], s["parked"], s["dead_letters"]) for s in found["services"]} == dict.fromkeys(
        PROGRAMS, (True, 0, 0)
    )


def test_a_killed_service_comes_back_on_its_port(running: System) -> None:
    before = _state(running, "feedback")
    os.kill(before["pid"], signal.SIGKILL)
    until(lambda: _state(running, "feedback")["pid"] not in (None, before["pid"]))
    running.wait_ready()
    after = _state(running, "feedback")
    assert (after["port"], after["restarts"]) == (before["port"], before["restarts"] + 1)
    assert httpx.get(running.url("feedback") + "/health/live", timeout=30).status_code == 200


def test_a_second_process_of_a_service_takes_another_port_and_leaves_again(
    running: System, environ: Mapping[str, str]
) -> None:
    assert guanxi(environ, "scale", "segmentation", "2").returncode == 0
    states = [state for state in running.states() if state.service == "segmentation"]
    assert len({state.port for state in states}) == 2
    assert guanxi(environ, "scale", "segmentation", "1").returncode == 0
    assert [s.number for s in running.states() if s.service == "segmentation"] == [1]


def test_up_where_it_runs_changes_nothing(running: System, environ: Mapping[str, str]) -> None:
    before = {state.pid for state in running.states()}
    assert guanxi(environ, "up").returncode == 0
    assert {state.pid for state in running.states()} == before


def test_a_killed_supervisor_is_replaced_and_no_service_runs_twice(running: System, environ: Mapping[str, str]) -> None:
    supervisor = read_pid(running.plan.home / "supervisor.pid")
    assert supervisor is not None
    orphans = running.plan.left_behind()
    supervisor.send(signal.SIGKILL)
    until(lambda: not supervisor.alive())
    assert guanxi(environ, "up").returncode == 0
    assert len(running.states()) == len(PROGRAMS)
    assert not any(orphan.alive() for orphan in orphans)


def test_what_an_operator_asks_about_a_customer(running: System, environ: Mapping[str, str]) -> None:
    customer = _emit(running, "purchase.made", {"order_id": "1", "amount": {"amount": "20.00", "currency": "CNY"}})
    until(lambda: guanxi(environ, "segments", "show", customer).returncode == 0)
    until(lambda: "purchase_frequency: none → low" in guanxi(environ, *TAIL, "segments").stdout)
    explained = json.loads(guanxi(environ, "segments", "explain", customer, "lifecycle", "--json").stdout)
    assert explained["lifecycle"]["value"] == "acquired"
    members = json.loads(guanxi(environ, "segments", "members", "lifecycle", "acquired", "--json").stdout)
    assert customer in [member["customer_id"] for member in members]
    assert SECRET not in guanxi(environ, *TAIL, "customers").stdout
    assert guanxi(environ, "parked", "resume", "feedback", customer).returncode == 0


def test_a_services_state_is_proved_and_rebuilt_from_here(running: System, environ: Mapping[str, str]) -> None:
    verified = guanxi(environ, "verify", "segmentation", "--json")
    assert (verified.returncode, json.loads(verified.stdout)["equal"]) == (0, True)
    assert guanxi(environ, "rebuild", "segmentation").returncode == 0
    assert json.loads(guanxi(environ, "verify", "segmentation", "--json").stdout)["equal"] is True


def test_erasing_returns_with_every_services_receipt(running: System, environ: Mapping[str, str]) -> None:
    customer = _emit(running, "inquiry.received", {"channel": "web", "text": SECRET})
    until(lambda: guanxi(environ, "segments", "show", customer).returncode == 0)
    erased = guanxi(environ, "erase", customer, "--yes", "--json")
    assert erased.returncode == 0, erased.stderr
    assert set(json.loads(erased.stdout)["forgotten"]) == {"segmentation", "followup", "feedback"}
    refused = guanxi(environ, "segments", "show", customer)
    assert (refused.returncode, "404" in refused.stderr) == (1, True)


def test_what_no_service_can_read_is_listed_shown_and_refused_again(
    running: System, environ: Mapping[str, str]
) -> None:
    producer = Producer({"bootstrap.servers": running.addresses().kafka, "acks": "all"})
    producer.produce("guanxi.customers.v1", b"no event at all", partition=0)
    assert producer.flush(60) == 0
    until(lambda: json.loads(guanxi(environ, "dead-letters", "list", "feedback", "--json").stdout) != [])
    (letter,) = json.loads(guanxi(environ, "dead-letters", "list", "feedback", "--json").stdout)
    assert letter["reason"] == "undecodable"
    assert letter["origin"].startswith("guanxi.customers.v1:0:")
    assert "no event at all" in guanxi(environ, "dead-letters", "show", "feedback", letter["place"]).stdout
    redriven = guanxi(environ, "dead-letters", "redrive", "feedback", letter["place"])
    assert (redriven.returncode, "intake answered 4" in redriven.stderr) == (1, True)


def test_what_is_too_large_to_be_set_aside_is_shown_from_where_it_lies(
    running: System, environ: Mapping[str, str]
) -> None:
    kafka = running.addresses().kafka
    producer = Producer({"bootstrap.servers": kafka, "acks": "all", "message.max.bytes": 1_040_000})
    producer.produce("guanxi.customers.v1", b"no event, much too long: " + b"x" * 999_950, partition=1)
    assert producer.flush(60) == 0

    def letters() -> list[dict[str, str]]:
        listed = json.loads(guanxi(environ, "dead-letters", "list", "feedback", "--json").stdout)
        return [letter for letter in listed if letter["origin"].startswith("guanxi.customers.v1:1:")]

    until(lambda: letters() != [])
    (letter,) = letters()
    shown = guanxi(environ, "dead-letters", "show", "feedback", letter["place"]).stdout
    assert ("left-out: 1000" in shown, "no event, much too long: xxx" in shown) == (True, True)
    redriven = guanxi(environ, "dead-letters", "redrive", "feedback", letter["place"])
    assert (redriven.returncode, "intake answered 4" in redriven.stderr) == (1, True)


def test_a_subscription_from_its_making_to_its_end(running: System, environ: Mapping[str, str]) -> None:
    """Its address leads nowhere, so that nothing leaves this machine."""
    made = guanxi(environ, "subscriptions", "create", "https://receiver.invalid/hook", "--dimension", "value", "--json")
    assert made.returncode == 0, made.stderr
    found = json.loads(made.stdout)
    assert found["secret"].startswith("whsec_")

    def state() -> str:
        listed = json.loads(guanxi(environ, "subscriptions", "list", "--json").stdout)
        return str(next(one for one in listed if one["id"] == found["id"]).get("state"))

    until(lambda: state() == "open")
    assert guanxi(environ, "subscriptions", "pause", found["id"]).returncode == 0
    until(lambda: state() == "paused")
    assert guanxi(environ, "subscriptions", "resume", found["id"]).returncode == 0
    assert guanxi(environ, "subscriptions", "replay", found["id"], "--after", "0").returncode == 0
    assert guanxi(environ, "subscriptions", "replay", found["id"]).returncode == 2
    until(lambda: state() == "open")
    assert guanxi(environ, "subscriptions", "delete", found["id"]).returncode == 0
    assert json.loads(guanxi(environ, "subscriptions", "list", "--json").stdout) == []
    refused = guanxi(environ, "subscriptions", "create", "http://10.0.0.1/")
    assert (refused.returncode, "https" in refused.stderr) == (1, True)


def test_down_leaves_no_process_and_keeps_the_data(running: System, environ: Mapping[str, str]) -> None:
    pids = _all_processes(running)
    assert len(pids) == len(PROGRAMS) + 3
    assert guanxi(environ, "down").returncode == 0
    assert [found for found in pids if found.alive()] == []
    assert running.installation.operator_key() is not None
    assert guanxi(environ, "status").returncode == 1


def test_ctrl_c_while_starting_stops_what_was_started(running: System, environ: Mapping[str, str]) -> None:
    """Runs after `down`: the same copy is started again and interrupted half-way."""
    starting = subprocess.Popen(
        [sys.executable, "-m", "deploy", "up"], cwd=ROOT, env=dict(environ), stderr=subprocess.PIPE
    )
    kafka = running.machine.data_dir / "kafka" / "kafka.pid"
    until(lambda: (found := read_pid(kafka)) is not None and found.alive())
    starting.send_signal(signal.SIGINT)
    _, said = starting.communicate(timeout=240)
    assert starting.returncode == 1, said
    assert _all_processes(running) == []


def guanxi(environ: Mapping[str, str], *arguments: str) -> "subprocess.CompletedProcess[str]":
    argv = [sys.executable, "-m", "deploy", *arguments]
    return subprocess.run(
        argv, cwd=ROOT, env=dict(environ), stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )


def _emit(running: System, kind: str, data: dict[str, Any]) -> str:
    """Of a new customer each time; its id."""
    key = running.installation.operator_key()
    event = {
        "type": kind,
        "customer": {"external_id": {"system": "test", "id": str(uuid.uuid4())}, "name": SECRET},
        "data": data,
    }
    answer = httpx.post(
        running.url("intake") + "/v1/events", json=event, headers={"authorization": f"Bearer {key}"}, timeout=60
    )
    assert answer.status_code == 202, answer.text
    customer: str = answer.json()["customer_id"]
    return customer


def until(holds: Callable[[], bool], seconds: float = 180) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it did not come true"
        time.sleep(0.05)


def _state(running: System, service: str) -> dict[str, Any]:
    found = next(state for state in running.states() if state.service == service)
    return {"pid": found.pid, "port": found.port, "restarts": found.restarts}


def _all_processes(running: System) -> list[Identity]:
    found = [read_pid(path) for path in running.machine.data_dir.glob("*/*.pid")]
    return [identity for identity in found if identity is not None and identity.alive()]
