"""The frame in which every processing service runs: worker, reads over HTTP, heartbeat, signals."""

import asyncio
import logging
import os
import random
import socket
import sys
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from fastapi import APIRouter, FastAPI
from prometheus_client import CollectorRegistry

from shared.clock import wall_clock
from shared.ending import end, on_stop
from shared.events.catalog import OUTPUT, group_of, inputs_of
from shared.processing import mongo
from shared.processing.connections import Kafka
from shared.processing.control import behind_now
from shared.processing.domain import Domain
from shared.processing.heartbeat import Heartbeat
from shared.processing.metrics import EngineMetrics, engine_metrics
from shared.processing.mongo import Collection, Documents, Index
from shared.processing.ports import FatalError
from shared.processing.retry import Retry
from shared.processing.versions import VersionStore
from shared.processing.worker import Options, Ports, Worker
from shared.settings import Settings
from shared.telemetry import configure_logging
from shared.web.app import Readiness, build_app
from shared.web.freshness import Freshness, PartitionProgress
from shared.web.keys import KeyRing
from shared.web.server import listen, port_of, serve_on

_log = logging.getLogger(__name__)

STOP_WITHIN = 11
"""Seconds that the batch in hand may take when a stop is asked for, and leaving the group after it."""
LEAVE_WITHIN = 3
"""Seconds more for giving up; with them a stop takes less than 15."""
STALE = 30_000
"""Milliseconds without a heartbeat after which a worker no longer calls itself ready."""


@dataclass(frozen=True, slots=True)
class Premises:
    """What a running service lends to what it brings beside its domain. `busy`: whether the worker has its hands full."""

    settings: Settings
    documents: Documents
    collection: Callable[[str], Collection]
    freshness: Freshness
    kafka: Kafka
    busy: Callable[[], bool]
    versions: VersionStore


def _no_collections() -> Mapping[str, tuple[Index, ...]]:
    return {}


@dataclass(frozen=True, slots=True)
class Service:
    """What a service brings: its pure domain, the indexes of its view, its reading routes.

    `collections`: those that it keeps beside its documents, with their indexes. `follow` runs beside the worker until it is
    cancelled; when it cannot go on (FatalError), the process ends as it does for the worker.
    """

    name: str
    build_domain: Callable[[Path], Domain[Any]]
    indexes: Callable[[Path], tuple[Index, ...]]
    build_router: Callable[[Premises], APIRouter]
    collections: Mapping[str, tuple[Index, ...]] = field(default_factory=_no_collections)
    follow: Callable[[Premises], Awaitable[None]] | None = None

    @property
    def inputs(self) -> tuple[str, ...]:
        return tuple(topic.name for topic in inputs_of(self.name))


async def run(service: Service, settings: Settings) -> int:
    """Until SIGTERM or SIGINT (0), or until the worker must not go on (1)."""
    configure_logging(service.name, settings.log_level)
    async with AsyncExitStack() as stack:
        frame = await _Frame.build(service, settings, stack)
        return await frame.run()


class _Frame:
    def __init__(
        self,
        worker: Worker,
        heartbeat: Heartbeat,
        app: FastAPI,
        bound: socket.socket,
        following: Callable[[], Awaitable[None]] | None,
    ) -> None:
        self._worker = worker
        self._heartbeat = heartbeat
        self._app = app
        self._bound = bound
        self._following = following
        self._failed = False
        self._stopping = asyncio.Event()

    @classmethod
    async def build(cls, service: Service, settings: Settings, stack: AsyncExitStack) -> "_Frame":
        domain = service.build_domain(settings.config_dir)
        registry = CollectorRegistry()
        metrics = engine_metrics(registry)
        indexes = service.indexes(settings.config_dir)
        database = await mongo.open_database(settings, service.name, indexes, stack, service.collections)
        kafka = Kafka(settings, service.name, stack)
        await kafka.check(service.inputs)
        worker = await _worker(service, domain, settings, database, metrics, kafka)
        bound = listen(settings.host, settings.port_of(service.name), or_any=True)
        name = f"{socket.gethostname()}:{os.getpid()}:{port_of(bound)}"
        heartbeat = Heartbeat(
            worker, name, database.control, kafka.lag().ends, database.switched, metrics, wall_clock, database.live
        )
        await heartbeat.beat()  # whoever begins while a rebuild has asked for a pause must know it
        freshness = Freshness(lambda: _progress(database))
        premises = Premises(
            settings,
            database.documents,
            database.collection,
            freshness,
            kafka,
            lambda: worker.busy,
            database.versions,
        )
        app = _app(service, premises, registry, heartbeat)
        return cls(worker, heartbeat, app, bound, partial(service.follow, premises) if service.follow else None)

    async def run(self) -> int:
        on_stop(self._stop)
        running: list[Callable[[], Awaitable[None]]] = [partial(serve_on, self._app, self._bound), self._heartbeat.run]
        running += [self._following] if self._following is not None else []
        beside = [asyncio.create_task(self._beside(one)) for one in running]
        _log.info("started", extra={"port": port_of(self._bound)})
        try:
            return await self._work()
        finally:
            await end(*beside)

    def _stop(self) -> None:
        self._worker.stop()
        self._stopping.set()

    async def _beside(self, running: Callable[[], Awaitable[None]]) -> None:
        """A worker without one of them would go on, and nobody would know what it does."""
        try:
            await running()
        except Exception:  # noqa: BLE001 - whatever it was, it must not go unseen
            _log.exception("a part beside the worker stopped and will not go on by itself")
            self._failed = True
            self._stop()

    async def _work(self) -> int:
        working = asyncio.create_task(self._worker.run())
        stopping = asyncio.create_task(self._stopping.wait())
        await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        await asyncio.wait({working}, timeout=STOP_WITHIN)
        return self._left(working) if working.done() else await self._given_up(working)

    def _left(self, working: asyncio.Task[None]) -> int:
        try:
            working.result()
        except FatalError:
            _log.exception("the worker stopped and will not go on by itself")
            return 1
        _log.info("stopped")
        return int(self._failed)

    async def _given_up(self, working: asyncio.Task[None]) -> int:
        _log.error(
            "the batch in hand did not end in time; what of it was not committed is read again by whoever comes next"
        )
        working.cancel()
        await asyncio.wait({working}, timeout=LEAVE_WITHIN)
        return 1


async def _worker(
    service: Service,
    domain: Domain[Any],
    settings: Settings,
    database: mongo.Database,
    metrics: EngineMetrics,
    kafka: Kafka,
) -> Worker:
    reader = kafka.reader(group_of(service.name), service.inputs)
    writer = await kafka.writer()
    scanner = kafka.scanner()
    retry = Retry(asyncio.sleep, wall_clock, random.Random())  # noqa: S311 - jitter, not a secret
    ports = Ports(reader, writer, scanner, database.store, retry, wall_clock, metrics, database.versions)
    options = Options(
        service.inputs,
        OUTPUT[service.name].name,
        latest=getattr(domain, "latest_topic", None),
        batch_size=settings.batch_size,
        patience=settings.merge_patience_seconds,
        asks=settings.clock == "wall",
        cache=settings.cache_documents,
    )
    return Worker(domain, ports, options)


async def _progress(database: mongo.Database) -> dict[int, PartitionProgress]:
    return {
        p.partition: PartitionProgress(p.time, behind_now(p, wall_clock())) for p in await database.control.progress()
    }


def _app(service: Service, premises: Premises, registry: CollectorRegistry, heartbeat: Heartbeat) -> FastAPI:
    def ready() -> Readiness:
        late = wall_clock() - heartbeat.beat_at > STALE
        return Readiness(not late, "no heartbeat yet: store or Kafka does not answer" if late else "working")

    router = service.build_router(premises)
    ring = KeyRing(premises.settings.keys_file)
    return build_app(f"Guanxi {service.name}", service.name, ring, ready, [router], registry)


def main(service: Service, settings: Settings) -> None:
    sys.exit(asyncio.run(run(service, settings)))
