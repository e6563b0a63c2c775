"""Provisioning makes what the catalogue says, changes nothing the second time, and never repairs in silence."""

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.structs import OffsetAndMetadata
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic, ResourceType

from deploy.cache import Cache
from deploy.kafka import LocalKafka
from deploy.offsets import ProvisionError, Report
from deploy.provision import KafkaTopics, provision
from deploy.settings import Machine
from shared.events.catalog import (
    CUSTOMERS,
    FOLLOWERS,
    OUTPUT,
    SERVICES,
    TOPICS,
    WAKEUPS,
    Topic,
    group_of,
    inputs_of,
)
from shared.processing.kafka import KafkaConnection, group_positions
from shared.processing.mongo import connect, database_of
from shared.processing.records import TopicPartition as Place
from shared.settings import Settings
from tests.support import servers

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory, mongo: str) -> Iterator[Settings]:
    """A broker of its own: topics have fixed names, and the shared one may have them already."""
    room: Path = tmp_path_factory.mktemp("provision")
    broker = LocalKafka(room / "kafka", servers.own_port(), Cache(Machine.from_environment(), print))
    missing = servers.reason_missing(broker.start)
    if missing and not os.environ.get(servers.REQUIRED):
        pytest.skip(f"skipped, because {missing}")
    assert missing is None
    yield Settings(kafka_bootstrap=broker.bootstrap, mongo_url=mongo, data_dir=room)
    broker.stop()


@pytest.fixture(scope="module")
def first(settings: Settings) -> Report:
    return provision(settings)


def test_every_topic_of_the_catalogue_is_made_as_it_says(settings: Settings, first: Report) -> None:
    admin = AdminClient({"bootstrap.servers": settings.kafka_bootstrap})
    found = admin.list_topics(timeout=60).topics
    assert {t.name: t.partitions for t in TOPICS} == {t.name: len(found[t.name].partitions) for t in TOPICS}
    for topic in TOPICS:
        live = _config(admin, topic.name)
        assert live["cleanup.policy"] == topic.cleanup
        assert live["retention.ms"] == str(topic.retention)
        assert live["message.timestamp.type"] == "LogAppendTime"
    assert _config(admin, CUSTOMERS.name)["retention.ms"] == "-1"
    assert sum(line.startswith("topic ") for line in first.done) == len(TOPICS)


def test_every_group_begins_at_the_first_record_of_every_input(settings: Settings, first: Report) -> None:
    for service in SERVICES:
        for topic in inputs_of(service):
            assert _committed(settings, group_of(service), topic) == [0] * topic.partitions
    for follower in FOLLOWERS:
        for topic in follower.topics:
            assert _committed(settings, follower.group, topic) == [0] * topic.partitions


def test_every_processing_service_has_its_collections(settings: Settings, first: Report) -> None:
    for service in OUTPUT:
        assert {"customers", "pointers"} <= asyncio.run(_collections(settings, service))


def test_the_second_time_nothing_is_done(settings: Settings, first: Report) -> None:
    again = provision(settings)
    assert (again.done, again.wrong) == ([], [])


def test_a_setting_that_somebody_changed_is_set_back(settings: Settings, first: Report) -> None:
    KafkaTopics(settings.kafka_bootstrap, Report(), [Topic(WAKEUPS.name, "x", (), (), retention=1)]).ensure()
    assert provision(settings).done == [f"settings of {WAKEUPS.name}"]


def test_another_number_of_partitions_is_refused(settings: Settings, first: Report) -> None:
    admin = AdminClient({"bootstrap.servers": settings.kafka_bootstrap})
    for made in admin.create_topics([NewTopic("narrow", 3, 1)]).values():
        made.result(timeout=60)
    report = Report()
    with pytest.raises(ProvisionError, match="narrow has 3 partitions, the catalogue says 12"):
        KafkaTopics(
            settings.kafka_bootstrap, report, [Topic("narrow", "x", (), ()), Topic("never-made", "x", (), ())]
        ).ensure()
    assert "never-made" not in admin.list_topics(timeout=60).topics
    assert report.done == []


def test_an_offset_outside_the_log_is_told_and_only_repaired_on_request(settings: Settings, first: Report) -> None:
    _commit(settings, "feedback", TopicPartition(CUSTOMERS.name, 5), 999)
    told = provision(settings)
    assert told.done == []
    assert len(told.wrong) == 1
    assert "guanxi.feedback on guanxi.customers.v1:5 stands at 999, but the log ends at 0" in told.wrong[0]
    assert _committed(settings, group_of("feedback"), CUSTOMERS)[5] == 999
    repaired = provision(settings, repair=True)
    assert repaired.done == told.wrong
    assert _committed(settings, group_of("feedback"), CUSTOMERS) == [0] * CUSTOMERS.partitions
    assert provision(settings).wrong == []


def _config(admin: AdminClient, topic: str) -> dict[str, str]:
    resource = ConfigResource(ResourceType.TOPIC, topic)
    return {
        name: entry.value for name, entry in admin.describe_configs([resource])[resource].result(timeout=60).items()
    }


def _committed(settings: Settings, group: str, topic: Topic) -> list[int | None]:
    places = [Place(topic.name, number) for number in range(topic.partitions)]
    found = asyncio.run(group_positions(KafkaConnection(settings.kafka_bootstrap), group, places))
    return [found[place].offset if place in found else None for place in places]


def _commit(settings: Settings, service: str, place: TopicPartition, offset: int) -> None:
    async def commit() -> None:
        consumer = AIOKafkaConsumer(
            bootstrap_servers=settings.kafka_bootstrap, group_id=group_of(service), enable_auto_commit=False
        )  # fmt: skip
        await consumer.start()
        try:
            consumer.assign([place])
            await consumer.commit({place: OffsetAndMetadata(offset, "")})
        finally:
            await consumer.stop()

    asyncio.run(commit())


async def _collections(settings: Settings, service: str) -> set[str]:
    client = connect(settings.mongo_url)
    try:
        return set(await client[database_of(service)].list_collection_names())
    finally:
        client.close()
