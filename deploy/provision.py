"""Topics, first offsets and collections, made from the catalogue; running it again changes nothing."""

import asyncio
import importlib
import importlib.util
import logging
from collections.abc import Iterable, Mapping
from concurrent.futures import Future
from contextlib import AsyncExitStack
from typing import Any

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewTopic,
    ResourceType,
)

from deploy.offsets import GroupOffsets, ProvisionError, Report
from shared.clock import HOUR
from shared.events.catalog import FOLLOWERS, KEPT, SERVICES, TOPICS, Topic, group_of, inputs_of
from shared.settings import Settings

_QUIET = logging.getLogger("guanxi.provision-client")
_SECONDS = 30
_REPLICAS = 3
"""Where there are as many brokers; all of them where there are fewer."""


class KafkaTopics:
    """The catalogue's topics on a broker."""

    def __init__(self, bootstrap: str, report: Report, topics: Iterable[Topic] = TOPICS) -> None:
        self._admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0}, logger=_QUIET)
        self._report = report
        self._topics = tuple(topics)

    def ensure(self) -> None:
        """Raises ProvisionError where a live topic has another number of partitions: that would re-deal its keys."""
        metadata = self._admin.list_topics(timeout=_SECONDS)
        present = {name: len(found.partitions) for name, found in metadata.topics.items()}
        wrong = [t for t in self._topics if t.name in present and present[t.name] != t.partitions]
        if wrong:
            raise ProvisionError(
                "; ".join(
                    f"{t.name} has {present[t.name]} partitions, the catalogue says {t.partitions}" for t in wrong
                )
                + ". Copy it into a topic of the right size, or delete it where its data may go"
            )
        self._make([t for t in self._topics if t.name not in present], min(_REPLICAS, len(metadata.brokers)))
        self._adjust([t for t in self._topics if t.name in present])

    def _make(self, missing: list[Topic], replicas: int) -> None:
        new = [NewTopic(t.name, t.partitions, replicas, config=settings_of(t)) for t in missing]
        for name, made in (self._admin.create_topics(new) if new else {}).items():
            _made(made)
            self._report.done.append(f"topic {name}")

    def _adjust(self, present: list[Topic]) -> None:
        """Retention and cleanup follow the catalogue; a kept topic must not expire because somebody else made it."""
        resources = {t.name: ConfigResource(ResourceType.TOPIC, t.name) for t in present}
        if not resources:
            return
        live = {
            r.name: found.result(_SECONDS)
            for r, found in self._admin.describe_configs(list(resources.values())).items()
        }
        changed = [self._changed(t, live[t.name]) for t in present]
        wanted = [resource for resource in changed if resource is not None]
        for resource, done in (self._admin.incremental_alter_configs(wanted) if wanted else {}).items():
            done.result(_SECONDS)
            self._report.done.append(f"settings of {resource.name}")

    def _changed(self, topic: Topic, live: Mapping[str, ConfigEntry]) -> ConfigResource | None:
        differing = {name: v for name, v in settings_of(topic).items() if name not in live or live[name].value != v}
        entries = [ConfigEntry(n, v, incremental_operation=AlterConfigOpType.SET) for n, v in differing.items()]
        return ConfigResource(ResourceType.TOPIC, topic.name, incremental_configs=entries) if entries else None


def provision(settings: Settings, *, repair: bool = False) -> Report:
    """Everything that the services need before they start. Raises ProvisionError."""
    report = Report()
    try:
        KafkaTopics(settings.kafka_bootstrap, report).ensure()
    except KafkaException as error:
        raise ProvisionError(f"Kafka at {settings.kafka_bootstrap}: {error.args[0].str()}") from error
    asyncio.run(_offsets_and_stores(settings, GroupOffsets(settings.kafka_bootstrap, report, repair=repair)))
    return report


def settings_of(topic: Topic) -> dict[str, str]:
    """Kafka's settings of a topic: kept for good unless the catalogue says how long; time is the broker's."""
    kept = topic.retention == KEPT
    settings = {
        "cleanup.policy": topic.cleanup,
        "retention.ms": str(topic.retention),
        "retention.bytes": "-1",
        "message.timestamp.type": "LogAppendTime",
    }
    return settings if kept else {**settings, "segment.ms": str(min(topic.retention, 24 * HOUR))}


async def _offsets_and_stores(settings: Settings, offsets: GroupOffsets) -> None:
    for service in SERVICES:
        await offsets.ensure(group_of(service), inputs_of(service))
    for follower in FOLLOWERS:
        await offsets.ensure(follower.group, follower.topics)
    await _stores(settings)


async def _stores(settings: Settings) -> None:
    """Collections before the first write: concurrent first transactions would conflict."""
    from shared.processing.mongo import open_database

    async with AsyncExitStack() as stack:
        for name in SERVICES:
            bootstrap = _bootstrap(name)
            if hasattr(bootstrap, "SERVICE"):
                service = bootstrap.SERVICE
                indexes = service.indexes(settings.config_dir)
                await open_database(settings, name, indexes, stack, service.collections)
            elif hasattr(bootstrap, "ensure_store"):
                await bootstrap.ensure_store(settings)


def _bootstrap(service: str) -> Any:
    name = f"services.{service}.bootstrap"
    return importlib.import_module(name) if importlib.util.find_spec(name) else None


def _made(made: "Future[None]") -> None:
    """Another provisioning at the same moment is as good as ours."""
    try:
        made.result(_SECONDS)
    except KafkaException as error:
        if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
            raise
