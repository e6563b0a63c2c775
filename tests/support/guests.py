"""Members of the services' groups who come and go and do nothing: each visit moves partitions twice."""

import asyncio
import threading
from collections.abc import Collection
from typing import Any, Self

from confluent_kafka.admin import AdminClient

from shared.events.catalog import group_of, inputs_of
from shared.processing.kafka import KafkaConnection
from shared.processing.kafka_reader import KafkaReader
from shared.processing.records import TopicPartition


class Guests:
    """One guest in the group of each of `services`, of the very kind that their workers use."""

    def __init__(self, bootstrap: str, services: Collection[str], session_seconds: int) -> None:
        self._connection = KafkaConnection(bootstrap, "guanxi-guest")
        self._services = services
        self._session_ms = session_seconds * 1000
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._readers: list[KafkaReader] = []
        self.visits = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.leave()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def join(self) -> None:
        self._run(self._join())
        self.visits += len(self._services)

    def leave(self) -> None:
        self._run(self._leave())

    def _run(self, work: Any) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(120)

    async def _join(self) -> None:
        for service in self._services:
            topics = [topic.name for topic in inputs_of(service)]
            reader = KafkaReader(self._connection, group_of(service), topics, self._session_ms)
            self._readers.append(reader)
            await reader.start(_nothing, _nothing)

    async def _leave(self) -> None:
        readers, self._readers = self._readers, []
        await asyncio.gather(*(reader.stop() for reader in readers))


async def _nothing(_partitions: Collection[TopicPartition]) -> None:
    """A guest takes nothing over."""


def forget_group(bootstrap: str, group: str) -> None:
    """Its committed offsets are gone; nobody may be in it."""
    admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})
    for done in admin.delete_consumer_groups([group], request_timeout=60).values():
        done.result(60)
