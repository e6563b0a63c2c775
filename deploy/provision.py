"""Topics, first offsets and collections, made from the catalogue; running it again changes nothing."""

import asyncio
import importlib
import importlib.util
import logging
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import Future
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

from confluent_kafka import ConsumerGroupTopicPartitions, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewTopic,
    OffsetSpec,
    ResourceType,
)

from shared.clock import HOUR
from shared.events.catalog import KEPT, SERVICES, TOPICS, Topic, group_of, inputs_of
from shared.settings import Settings

_QUIET = logging.getLogger("guanxi.provision-client")
_SECONDS = 30
_ATTEMPT_SECONDS = 0.7
"""The client gives up by itself: destroying one whose answer is still awaited crashes the interpreter."""
_NOT_YET = (KafkaError._TIMED_OUT, KafkaError.COORDINATOR_LOAD_IN_PROGRESS, KafkaError.COORDINATOR_NOT_AVAILABLE)  # noqa: SLF001 - its only name
_REPLICAS = 3
"""Where there are as many brokers; all of them where there are fewer."""


class ProvisionError(Exception):
    """Kafka is not as the catalogue says and must not be changed silently; the message says what to do."""


@dataclass(slots=True)
class Report:
    """`done`: what was changed, one line each. `wrong`: what only a repair may change."""

    done: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)


class KafkaProvision:
    """`repair` also sets offsets that are missing in a group that has others, or that lie outside the log."""

    def __init__(
        self, bootstrap: str, report: Report, *, repair: bool = False, topics: Iterable[Topic] = TOPICS
    ) -> None:
        self._client = {"bootstrap.servers": bootstrap, "log_level": 0}
        self._admin = AdminClient(self._client, logger=_QUIET)
        self._report = report
        self._repair = repair
        self._topics = tuple(topics)

    def topics(self) -> None:
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

    def offsets(self, service: str) -> None:
        """A group that never read a topic starts at its first record; `auto.offset.reset` is none, so somebody must say so."""
        group = group_of(service)
        for topic in inputs_of(service):
            places = [TopicPartition(topic.name, number) for number in range(topic.partitions)]
            committed = self._committed(group, places)
            if all(offset < 0 for offset in committed.values()):
                self._commit(group, topic.name, dict.fromkeys(committed, 0))
                self._report.done.append(f"{group} starts {topic.name} at its first record")
            else:
                self._mend(group, topic.name, committed)

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

    def _committed(self, group: str, places: list[TopicPartition]) -> dict[int, int]:
        """A client that asked before the groups' coordinator existed never hears of it: ask with a new one."""
        deadline = time.monotonic() + _SECONDS
        while True:
            admin = AdminClient(self._client, logger=_QUIET)
            asked = [ConsumerGroupTopicPartitions(group, places)]
            try:
                found = admin.list_consumer_group_offsets(asked, request_timeout=_ATTEMPT_SECONDS)[group].result()
                return {place.partition: place.offset for place in found.topic_partitions}
            except KafkaException as error:
                if error.args[0].code() == KafkaError.GROUP_ID_NOT_FOUND:
                    return {place.partition: -1 for place in places}
                if error.args[0].code() not in _NOT_YET or time.monotonic() > deadline:
                    raise

    def _mend(self, group: str, topic: str, committed: Mapping[int, int]) -> None:
        first = self._bounds(topic, committed, OffsetSpec.earliest())
        last = self._bounds(topic, committed, OffsetSpec.latest())
        wrong = {n: o for n, o in committed.items() if not first[n] <= o <= last[n]}
        if not wrong:
            return
        told = [_describe(group, topic, n, o, first[n], last[n]) for n, o in sorted(wrong.items())]
        if self._repair:
            self._commit(group, topic, {n: first[n] for n in wrong})
            self._report.done.extend(told)
        else:
            self._report.wrong.extend(told)

    def _bounds(self, topic: str, numbers: Iterable[int], spec: OffsetSpec) -> dict[int, int]:
        asked = self._admin.list_offsets({TopicPartition(topic, n): spec for n in numbers})
        return {place.partition: found.result(_SECONDS).offset for place, found in asked.items()}

    def _commit(self, group: str, topic: str, offsets: Mapping[int, int]) -> None:
        places = [TopicPartition(topic, number, offset) for number, offset in offsets.items()]
        try:
            asked = self._admin.alter_consumer_group_offsets([ConsumerGroupTopicPartitions(group, places)])
            asked[group].result(_SECONDS)
        except KafkaException as error:
            raise ProvisionError(
                f"the offsets of {group} cannot be set ({error.args[0].str()}): stop its service first "
                f"(guanxi scale {group.removeprefix('guanxi.')} 0)"
            ) from error


def provision(settings: Settings, *, repair: bool = False) -> Report:
    """Everything that the services need before they start. Raises ProvisionError."""
    report = Report()
    try:
        kafka = KafkaProvision(settings.kafka_bootstrap, report, repair=repair)
        kafka.topics()
        for service in SERVICES:
            kafka.offsets(service)
    except KafkaException as error:
        raise ProvisionError(f"Kafka at {settings.kafka_bootstrap}: {error.args[0].str()}") from error
    asyncio.run(_stores(settings))
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


async def _stores(settings: Settings) -> None:
    """Collections before the first write: concurrent first transactions would conflict."""
    from shared.processing.mongo import open_database

    async with AsyncExitStack() as stack:
        for name in SERVICES:
            bootstrap = _bootstrap(name)
            if hasattr(bootstrap, "SERVICE"):
                await open_database(settings, name, bootstrap.SERVICE.indexes, stack)
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


def _describe(group: str, topic: str, number: int, offset: int, first: int, last: int) -> str:
    place = f"{group} on {topic}:{number}"
    if offset < 0:
        return f"{place} has no offset: from the first record ({first}) again, what was applied is skipped"
    if offset < first:
        return f"{place} stands at {offset}, but the log begins at {first}: {first - offset} records are lost"
    return f"{place} stands at {offset}, but the log ends at {last}: it was made anew; run `guanxi rebuild` after this"
