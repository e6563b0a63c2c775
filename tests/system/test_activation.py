"""Other rules activated on real servers and processes that are killed: every customer is told its difference once, in its place."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient

from deploy.installation import Installation
from services.segmentation.processor import build_domain
from shared.clock import DAY, HOUR
from shared.events.catalog import PARTITIONS, SEGMENTS
from shared.events.customers import RulesActivated
from shared.processing.kafka import KafkaConnection
from shared.processing.kafka_scanner import KafkaScanner
from shared.processing.kafka_writer import KafkaWriter
from shared.processing.records import Message
from tests.support import servers
from tests.support.copy import Copy, Member, eventually
from tests.support.happenings import START, activation, customer, purchase, tick
from tests.support.small_world import SmallWorld

pytestmark = pytest.mark.real

CONFIG = Path(__file__).parents[2] / "deploy" / "config"
PEOPLE = 600


@pytest.fixture
def copy(own_servers: tuple[servers.Server, servers.Server], tmp_path: Path) -> Iterator[Copy]:
    """Of the services only segmentation: what intake would append the test appends itself."""
    running = Copy(tmp_path, *own_servers)
    Installation(running.machine).prepare()
    running.provision()
    running.add("segmentation")
    try:
        running.wait_ready()
        yield running
    finally:
        running.stop()


def other_rules() -> RulesActivated:
    """Another year, and other thresholds of spend."""
    text = (CONFIG / "segmentation.yaml").read_text("utf-8")
    edited = text.replace("within: 365d", "within: 60d")
    assert edited != text
    return RulesActivated(number=2, rules=edited, digest=hashlib.sha256(edited.encode()).hexdigest())


def past() -> list[Message]:
    return [
        purchase(customer(number), f"{number}-{turn}", START + turn * 40 * DAY + number)
        for turn in range(3)
        for number in range(PEOPLE)
    ]


def change() -> list[Message]:
    return [activation(partition, START + 100 * DAY, other_rules()) for partition in range(PARTITIONS)]


def future() -> list[Message]:
    later = [purchase(customer(number), f"{number}-later", START + 100 * DAY + HOUR) for number in range(0, PEOPLE, 7)]
    return later + [tick(partition, START + 200 * DAY) for partition in range(PARTITIONS)]


async def append(copy: Copy, messages: list[Message]) -> None:
    writer = KafkaWriter(KafkaConnection(copy.kafka.address))
    await writer.start()
    try:
        for start in range(0, len(messages), 1_000):
            await writer.publish(messages[start : start + 1_000])
    finally:
        await writer.stop()


async def said(copy: Copy) -> dict[str, list[str]]:
    """Per customer what was published, each distinct record once, in the order of the log."""
    scanner = KafkaScanner(KafkaConnection(copy.kafka.address))
    found: dict[str, dict[str, None]] = defaultdict(dict)
    try:
        for place, (first, end) in (await scanner.range(SEGMENTS.name)).items():
            while first < end and (records := await scanner.read(place, first, end, 5_000)):
                first = records[-1].offset + 1
                for record in (record for record in records if record.key):
                    found[(record.key or b"").decode()][(record.value or b"").decode()] = None
    finally:
        await scanner.stop()
    return {key: list(values) for key, values in found.items()}


async def expected() -> dict[str, list[str]]:
    """The same log in memory, where nothing fails and nothing was prepared."""
    world = SmallWorld(build_domain(CONFIG), PARTITIONS)
    world.append(*past(), *change(), *future())
    await world.drain()
    found: dict[str, list[str]] = defaultdict(list)
    for record in world.records(SEGMENTS.name):
        if record.key is not None:
            found[record.key.decode()].append((record.value or b"").decode())
    return dict(found)


def versions(copy: Copy) -> dict[int, dict[str, Any]]:
    with MongoClient(copy.store.address, serverSelectionTimeoutMS=10_000) as client:
        return {found["_id"]: found for found in client["guanxi_segmentation"]["versions"].find()}


def collections(copy: Copy) -> list[str]:
    with MongoClient(copy.store.address, serverSelectionTimeoutMS=10_000) as client:
        return client["guanxi_segmentation"].list_collection_names()


def kill(member: Member) -> None:
    found = member.daemon.identity
    assert found is not None
    found.send(9)
    eventually("it is gone", lambda: member.daemon.identity is None)


def caught_up(copy: Copy) -> bool:
    with MongoClient(copy.store.address, serverSelectionTimeoutMS=10_000) as client:
        progress = list(client["guanxi_segmentation"]["progress"].find())
    newest = max(progress, key=lambda found: found["seen_at"], default=None)
    entries = newest["partitions"] if newest else []
    return len(entries) == PARTITIONS and all(entry["lag"] == 0 and entry["time"] > 0 for entry in entries)


async def test_an_activation_survives_kills_of_the_preparer_and_of_the_owner(copy: Copy, tmp_path: Path) -> None:
    file = tmp_path / "other.yaml"
    file.write_text(other_rules().rules, "utf-8")
    member = copy.first("segmentation")
    await append(copy, past())
    eventually("the past is decided", lambda: caught_up(copy))

    began = time.monotonic()
    killed_while_preparing(copy, file)
    prepared = copy.command("segmentation", "prepare", "--number", "2", str(file), "--json")
    assert prepared.returncode == 0, prepared.stderr
    assert json.loads(prepared.stdout)["records"] == 3 * PEOPLE
    took = time.monotonic() - began

    await append(copy, [*change(), *future()])
    eventually("a partition has changed over", lambda: versions(copy)[2].get("done"))
    kill(member)
    at_the_kill = len(versions(copy)[2]["done"])
    member.tend()
    eventually("all have changed over", lambda: len(versions(copy)[2].get("done", ())) == PARTITIONS)
    eventually("the future is decided", lambda: caught_up(copy))

    told, wanted = await said(copy), await expected()
    assert told == wanted
    differences = sum('"rules version 2' in value for values in told.values() for value in values)
    assert differences > PEOPLE / 2
    assert_equal(copy)
    rebuilt = copy.command("segmentation", "rebuild")
    assert rebuilt.returncode == 0, rebuilt.stderr
    assert_equal(copy)
    assert await said(copy) == wanted, "a rebuild by the same code tells nothing"
    assert "shadow_2" not in collections(copy)
    assert copy.command("segmentation", "prepare", "--number", "2", "--call-off").returncode == 1
    print(
        f"\nactivation: {3 * PEOPLE} records prepared in {took:.0f} s with a kill; owner killed with {at_the_kill} of "
        f"{PARTITIONS} partitions changed over; {differences} differences of {PEOPLE} customers, each once"
    )


def assert_equal(copy: Copy) -> None:
    verdict = copy.verify("segmentation")
    assert verdict["equal"] is True, verdict


def killed_while_preparing(copy: Copy, file: Path) -> None:
    """By its own hand, at its sixth note: to be killed from here it might have to wait until it is through."""
    strike = ("tests.support.strikes", "segmentation", "prepared", "SIGKILL", "6", str(file.with_suffix(".struck")))
    command = [sys.executable, "-m", *strike, "prepare", "--number", "2", str(file)]
    environ = {**os.environ, **copy.environ}
    killed = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert 1 <= len(versions(copy)[2].get("prepared", {})) < PARTITIONS
