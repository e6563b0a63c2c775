"""The local Kafka and the local store: they start anywhere, keep what they acknowledged, and leave nothing behind."""

import os
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient, NewTopic
from pymongo import MongoClient
from pymongo.errors import ServerSelectionTimeoutError

from deploy.cache import Cache
from deploy.kafka import LocalKafka
from deploy.processes import Daemon, Identity, StartError, write_pid
from deploy.settings import Machine
from deploy.store import LocalStore
from tests.support import servers

pytestmark = pytest.mark.real

QUICK_SECONDS = 45
"""A start on a machine that has the cache; about 2 s where nothing else runs, and minutes where it has not."""


@pytest.fixture
def cache() -> Cache:
    return Cache(Machine.from_environment(), print)


@pytest.fixture
def broker(tmp_path: Path, cache: Cache) -> Iterator[LocalKafka]:
    yield from _running(LocalKafka(tmp_path / "kafka", servers.own_port(), cache))


@pytest.fixture
def store(tmp_path: Path, cache: Cache) -> Iterator[LocalStore]:
    yield from _running(LocalStore(tmp_path / "store", servers.own_port(), cache))


def _running(server: Any) -> Iterator[Any]:
    missing = servers.reason_missing(server.start)
    if missing and not os.environ.get(servers.REQUIRED):
        pytest.skip(f"skipped, because {missing}")
    assert missing is None
    yield server
    server.stop()


def test_kafka_keeps_what_it_acknowledged_over_kill_9(broker: LocalKafka) -> None:
    _make_topic(broker.bootstrap, "kept")
    _send(broker.bootstrap, "kept", b"before the kill")
    broker.kill()
    assert not _answers(broker)
    broker.restart()
    assert _read_one(broker.bootstrap, "kept") == b"before the kill"


def test_the_store_keeps_what_it_acknowledged_over_kill_9(store: LocalStore) -> None:
    with MongoClient[dict[str, object]](store.url) as client:
        client.test.kept.insert_many([{"_id": n} for n in range(100)])
        client.test.kept.update_one({"_id": 7}, {"$set": {"seen": True}})
    store.kill()
    store.restart()
    with MongoClient[dict[str, object]](store.url) as client:
        assert client.test.kept.count_documents({}) == 100
        assert client.test.kept.find_one({"_id": 7}) == {"_id": 7, "seen": True}


def test_the_second_start_is_quick(broker: LocalKafka, store: LocalStore) -> None:
    broker.stop()
    store.stop()
    began = time.monotonic()
    broker.start()
    store.start()
    assert time.monotonic() - began < QUICK_SECONDS


def test_two_copies_run_side_by_side(broker: LocalKafka, tmp_path: Path, cache: Cache) -> None:
    other = LocalKafka(tmp_path / "other", servers.own_port(), cache)
    other.start()
    try:
        _make_topic(broker.bootstrap, "only-here")
        assert "only-here" not in AdminClient({"bootstrap.servers": other.bootstrap}).list_topics(timeout=30).topics
    finally:
        other.stop()


def test_a_taken_port_is_named_with_the_way_out(store: LocalStore, tmp_path: Path, cache: Cache) -> None:
    with pytest.raises(StartError, match=f"port {store.port} is taken.*GUANXI_KAFKA_PORT"):
        LocalKafka(tmp_path / "second", store.port, cache).start()


def test_a_frozen_server_goes_on_when_it_is_let(store: LocalStore) -> None:
    store.pause()
    try:
        with (
            pytest.raises(ServerSelectionTimeoutError),
            MongoClient[dict[str, object]](store.url, serverSelectionTimeoutMS=300, socketTimeoutMS=300) as client,
        ):
            client.admin.command("ping")
    finally:
        store.resume()
    with MongoClient[dict[str, object]](store.url) as client:
        assert client.admin.command("ping")["ok"]


def test_the_shared_servers_answer(kafka: str, mongo: str) -> None:
    topic = f"probe-{uuid.uuid4()}"
    _make_topic(kafka, topic)
    _send(kafka, topic, b"x")
    assert _read_one(kafka, topic) == b"x"
    with MongoClient[dict[str, object]](mongo) as client:
        assert client.admin.command("hello")["isWritablePrimary"]


def _answers(broker: LocalKafka) -> bool:
    return broker.daemon.identity is not None


def _make_topic(bootstrap: str, name: str) -> None:
    admin = AdminClient({"bootstrap.servers": bootstrap})
    for made in admin.create_topics([NewTopic(name, 1, 1)]).values():
        made.result(timeout=60)


def _send(bootstrap: str, topic: str, value: bytes) -> None:
    producer = Producer({"bootstrap.servers": bootstrap, "acks": "all"})
    producer.produce(topic, value)
    assert producer.flush(60) == 0


def _read_one(bootstrap: str, topic: str) -> bytes | None:
    consumer = Consumer(
        {"bootstrap.servers": bootstrap, "group.id": str(uuid.uuid4()), "auto.offset.reset": "earliest"}
    )
    try:
        consumer.subscribe([topic])
        message = consumer.poll(90)
        assert message is not None
        assert message.error() is None
        return message.value()
    finally:
        consumer.close()


def test_the_data_of_a_server_that_still_runs_is_not_removed(kafka: str) -> None:
    servers.remove_room()
    topic = f"still-here-{uuid.uuid4()}"
    _make_topic(kafka, topic)
    _send(kafka, topic, b"x")
    assert _read_one(kafka, topic) == b"x"


def test_what_a_killed_run_left_behind_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    room = tmp_path / f"guanxi-tests-{os.getuid()}" / "run-1-x"
    left = Daemon("kafka", room / "kafka", ("sleep", "60"), lambda: True)
    left.start()
    write_pid(room / "owner.pid", Identity(1, "never"))
    servers.sweep()
    assert left.identity is None
    assert not room.exists()
