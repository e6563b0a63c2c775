"""Services on a benchmark's stage: provisioned, started, ready, and what they publish read as it comes."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import NAMESPACE_OID, uuid5

from aiokafka import AIOKafkaConsumer, TopicPartition

from deploy.processes import free_port
from deploy.provision import provision
from shared.clock import Instant, from_rfc3339, to_rfc3339
from shared.events.catalog import CUSTOMERS, PARTITIONS, SEGMENTS
from shared.events.codec import HEADERS
from shared.privacy import Secrets
from shared.processing.partitioner import partition_of
from shared.processing.records import Message
from shared.settings import Settings
from shared.web.keys import KeyRing
from tests.bench.stage import Stage, process
from tests.bench.wire import Connection

NOWHERE = Path("/nonexistent")


@dataclass(frozen=True, slots=True)
class Service:
    pid: int
    port: int


@dataclass(frozen=True, slots=True)
class Change:
    """One `segments.changed`. `appended`: the broker's time, `received`: monotonic seconds here."""

    customer: str
    partition: int
    causation: str
    time: Instant
    appended: Instant
    received: float

    @property
    def by_timer(self) -> bool:
        return self.causation.startswith("timer:")


def settings(on: Stage, **more: str) -> Settings:
    return Settings.from_environment(on.environment(**more), NOWHERE)


async def prepare(on: Stage) -> None:
    """Topics, first offsets, collections and secrets, as `guanxi up` makes them."""
    (on.room / "data").mkdir(exist_ok=True)
    if not settings(on).secrets_file.exists():
        Secrets.generate().write(settings(on).secrets_file)
    await asyncio.to_thread(provision, settings(on))


def api_key(on: Stage) -> str:
    return KeyRing(settings(on).keys_file).create("bench", ["admin"])[0]


@asynccontextmanager
async def service(on: Stage, name: str, clock: str = "wall") -> AsyncIterator[Service]:
    """Yields once it is ready."""
    port = free_port()
    environment = on.environment(**{f"GUANXI_{name.upper()}_PORT": str(port), "GUANXI_CLOCK": clock})
    with process(["-m", f"services.{name}", "run"], environment) as started:
        await ready(port, "/health/ready", 60)
        yield Service(started.pid, port)


async def ready(port: int, path: str, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            connection = await Connection.open(port)
            async with connection:
                if (await connection.ask("GET", path))[0] < 300:
                    return
        except (OSError, EOFError):
            pass
        await asyncio.sleep(0.1)
    raise TimeoutError(f"nothing is ready on port {port} after {seconds} s")


def customer_id(name: str) -> str:
    return str(uuid5(NAMESPACE_OID, name))


def purchase(customer: str, event_id: str, time_: Instant, recorded: Instant) -> Message:
    event = {
        "specversion": "1.0",
        "id": event_id,
        "source": "bench",
        "type": "guanxi.purchase.made.v1",
        "time": to_rfc3339(time_),
        "recordedtime": to_rfc3339(recorded),
        "subject": customer,
        "partitionkey": customer,
        "data": {"customer_id": customer, "amount": {"amount": "29.33", "currency": "CNY"}},
    }
    key = customer.encode()
    return Message(CUSTOMERS.name, key, json.dumps(event).encode(), HEADERS, partition_of(key, PARTITIONS))


class Changes:
    """Reads `guanxi.segments.v1` from its end on, as it is at entry; marks of time are passed over.

    `of_timers`: only what a timer caused.
    """

    def __init__(self, bootstrap: str, *, of_timers: bool = False) -> None:
        self._of_timers = of_timers
        self._consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, enable_auto_commit=False, fetch_max_wait_ms=500)
        self.seen: list[Change] = []

    async def __aenter__(self) -> "Changes":
        places = [TopicPartition(SEGMENTS.name, number) for number in range(PARTITIONS)]
        self._consumer.assign(places)
        await self._consumer.start()
        await self._consumer.seek_to_end(*places)
        for place in places:
            await self._consumer.position(place)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._consumer.stop()

    async def until(self, count: int, seconds: float) -> Sequence[Change]:
        """All changes since the start, at least `count`."""
        deadline = time.monotonic() + seconds
        while len(self.seen) < count:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{len(self.seen)} of {count} changes after {seconds} s")
            await self.more()
        return self.seen

    async def more(self) -> None:
        """What has come, waiting a fifth of a second for the first."""
        found = await self._consumer.getmany(timeout_ms=200)
        now = time.monotonic()
        for place, records in found.items():
            read = [_change(place.partition, r.value, r.timestamp, now) for r in records if r.key is not None]
            self.seen += [change for change in read if change.by_timer or not self._of_timers]


def _change(partition: int, value: bytes, appended: Instant, received: float) -> Change:
    event = json.loads(value)
    moment = from_rfc3339(event["time"])
    return Change(event["subject"], partition, event["causationid"], moment, appended, received)
