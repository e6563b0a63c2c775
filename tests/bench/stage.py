"""The stage of a benchmark: a Kafka and a store of their own, the sample as a log, and times read from the log itself."""

import asyncio
import csv
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from uuid import NAMESPACE_OID, uuid5

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from pymongo import MongoClient

from deploy.cache import Cache
from deploy.kafka import LocalKafka
from deploy.processes import free_port
from deploy.settings import Machine
from deploy.store import LocalStore
from shared.events.catalog import CUSTOMERS, PARTITIONS, TOPICS
from shared.events.codec import HEADERS
from shared.processing.kafka import KafkaConnection
from shared.processing.kafka_writer import KafkaWriter
from shared.processing.partitioner import partition_of
from shared.processing.records import Message
from tests.bench.pace import Sight, processor_seconds

SAMPLE = Path(__file__).parents[2] / "deploy" / "data" / "cdnow_sample.csv"
ROOT = Path(__file__).parents[2]


@dataclass
class Stage:
    """`bootstrap` and `mongo_url` are of servers that only this benchmark uses."""

    bootstrap: str
    mongo_url: str
    room: Path
    results: dict[str, object] = field(default_factory=dict)

    def environment(self, **more: str) -> dict[str, str]:
        return {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "GUANXI_KAFKA_BOOTSTRAP": self.bootstrap,
            "GUANXI_MONGO_URL": self.mongo_url,
            "GUANXI_DATA_DIR": str(self.room / "data"),
            "GUANXI_CLOCK": "log",
            "GUANXI_LOG_LEVEL": "WARNING",
            **more,
        }

    async def create(self, names: Sequence[str], partitions: int = PARTITIONS) -> None:
        admin = AIOKafkaAdminClient(bootstrap_servers=self.bootstrap)
        await admin.start()
        try:
            configs = {"message.timestamp.type": "LogAppendTime", "retention.ms": "-1"}
            wanted = set(names) - set(await admin.list_topics())
            topics = [NewTopic(name, partitions, 1, topic_configs=configs) for name in sorted(wanted)]
            await admin.create_topics(topics)
        finally:
            await admin.close()

    async def commit_zero(self, group: str, topics: Sequence[str]) -> None:
        """As provisioning does for new groups; also rewinds an old one that nobody is in."""
        consumer = AIOKafkaConsumer(bootstrap_servers=self.bootstrap, group_id=group, enable_auto_commit=False)
        places = [TopicPartition(topic, number) for topic in topics for number in range(PARTITIONS)]
        consumer.assign(places)
        await consumer.start()
        try:
            await consumer.commit(dict.fromkeys(places, 0))
        finally:
            await consumer.stop()

    def drop(self, database: str) -> None:
        with MongoClient[dict[str, object]](self.mongo_url) as client:
            client.drop_database(database)

    async def ends(self, topic: str) -> dict[int, int]:
        async with self._reader() as consumer:
            found = await consumer.end_offsets([TopicPartition(topic, n) for n in range(PARTITIONS)])
        return {place.partition: offset for place, offset in found.items()}

    async def committed(self, group: str, topic: str) -> int:
        """The sum over all partitions."""
        admin = AIOKafkaAdminClient(bootstrap_servers=self.bootstrap)
        await admin.start()
        try:
            found = await admin.list_consumer_group_offsets(group)
        finally:
            await admin.close()
        return sum(max(at.offset, 0) for place, at in found.items() if place.topic == topic)

    @asynccontextmanager
    async def _reader(self) -> AsyncIterator[AIOKafkaConsumer]:
        consumer = AIOKafkaConsumer(bootstrap_servers=self.bootstrap, enable_auto_commit=False)
        await consumer.start()
        try:
            yield consumer
        finally:
            await consumer.stop()

    async def append(self, messages: Sequence[Message]) -> None:
        writer = KafkaWriter(KafkaConnection(self.bootstrap))
        await writer.start()
        try:
            for start in range(0, len(messages), 20_000):
                await writer.publish(messages[start : start + 20_000])
        finally:
            await writer.stop()

    async def wait_committed(
        self, group: str, topic: str, total: int, timeout: float, pids: Sequence[int] = ()
    ) -> list[Sight]:
        """Some times a second until all is committed; `pids`: whose processor time is watched meanwhile."""
        seen: list[Sight] = []
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            committed = await self.committed(group, topic)
            seen.append(Sight(time.monotonic(), committed, processor_seconds(pids)))
            if committed >= total:
                return seen
            await asyncio.sleep(0.2)
        raise TimeoutError(f"{group} committed {seen[-1].committed} of {total} in {timeout} s")


@contextmanager
def stage(heap_mb: int = 768) -> Iterator[Stage]:
    with tempfile.TemporaryDirectory(prefix="guanxi-bench-") as name:
        room = Path(name)
        cache = Cache(Machine.from_environment(), print)
        broker = LocalKafka(room / "kafka", free_port(), cache, heap_mb)
        store = LocalStore(room / "store", free_port(), cache)
        broker.start()
        try:
            store.start()
            try:
                yield Stage(broker.bootstrap, store.url, room)
            finally:
                store.stop()
        finally:
            broker.stop()


def with_rules(room: Path, rules: Path) -> str:
    """A directory of settings as shipped, but with these rules of segmentation."""
    made = room / f"config-{rules.stem}"
    if not made.exists():
        shutil.copytree(ROOT / "deploy" / "config", made)
        shutil.copy(rules, made / "segmentation.yaml")
    return str(made)


def sample(copies: int) -> list[Message]:
    """The purchases of the sample, sorted by day, each copy under customer ids of its own."""
    with SAMPLE.open() as file:
        rows = sorted(csv.DictReader(file), key=lambda row: row["purchased_on"])
    return [_purchase(row, number, copy) for number, row in enumerate(rows) for copy in range(copies)]


def _purchase(row: Mapping[str, str], number: int, copy: int) -> Message:
    customer = str(uuid5(NAMESPACE_OID, f"{row['customer_id']}:{copy}"))
    moment = f"{row['purchased_on']}T12:00:00.000Z"
    event = {
        "specversion": "1.0",
        "id": f"cdnow:{copy}:{number}",
        "source": "bench",
        "type": "guanxi.purchase.made.v1",
        "time": moment,
        "recordedtime": moment,
        "subject": customer,
        "partitionkey": customer,
        "data": {
            "customer_id": customer,
            "amount": {"amount": row["amount"], "currency": "USD"},
            "items": [{"quantity": row["quantity"]}],
        },
    }
    key = customer.encode()
    return Message(CUSTOMERS.name, key, json.dumps(event).encode(), HEADERS, partition_of(key, PARTITIONS))


@contextmanager
def process(
    argv: Sequence[str], environment: Mapping[str, str], python: str = sys.executable
) -> Iterator["subprocess.Popen[bytes]"]:
    started = subprocess.Popen([python, *argv], env=dict(environment), cwd=ROOT, stdout=subprocess.DEVNULL)
    try:
        yield started
    finally:
        started.terminate()
        try:
            started.wait(20)
        except subprocess.TimeoutExpired:
            started.kill()
            started.wait()


def all_topics() -> list[str]:
    return [topic.name for topic in TOPICS]
