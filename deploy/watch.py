"""What `status` and `parked` tell of a processing service: lag, freshness, parked customers, dead letters."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from deploy.offsets import ProvisionError
from deploy.programs import PROGRAMS, reads
from deploy.topics import Topics
from shared.clock import to_rfc3339, wall_clock
from shared.events.catalog import CHRONICLE, OUTPUT, SERVICES, dead_letters
from shared.processing.control import FRESH, Progress
from shared.processing.document import Document
from shared.processing.mongo import Documents, connect, database_of
from shared.processing.mongo_control import MongoControl
from shared.settings import Settings

T = TypeVar("T")

_PARKED = {"partition": {"$gte": 0}, "parked": {"$exists": True}}
"""Names the indexed field too, so that the answer costs what is parked and not what is stored."""
_PAGE = 500


@dataclass(frozen=True, slots=True)
class ServiceHealth:
    """`lag` in records, `behind_seconds`: age of the oldest record not yet applied; None where nobody measures it now.

    `unrecorded`: records that the chronicle, from which sizes and history are answered, has yet to take in.
    """

    service: str
    lag: int
    behind_seconds: float | None
    as_of: str | None
    partitions_owned: int
    parked: int
    dead_letters: int
    unrecorded: int = 0


def health_of_all(settings: Settings) -> list[ServiceHealth]:
    topics = Topics(settings.kafka_bootstrap)
    return [_health(settings, topics, service) for service in PROGRAMS]


def parked_customers(settings: Settings, service: str) -> list[Document]:
    """By id; all of them: a parked list that is too long stops the partition anyway."""
    return asyncio.run(_with_documents(settings, service, _all_parked))


def _health(settings: Settings, topics: Topics, service: str) -> ServiceHealth:
    lag = topics.lag(*reads(service))
    dead = topics.count(dead_letters(service).name) if service in SERVICES else 0
    if service not in OUTPUT:
        return ServiceHealth(service, lag, None, None, 0, 0, dead)
    parked = asyncio.run(_with_documents(settings, service, lambda documents: documents.count(_PARKED)))
    fresh = [p for p in asyncio.run(_progress(settings, service)) if wall_clock() - p.written_at < FRESH]
    behind = max((p.behind for p in fresh), default=None)
    as_of = to_rfc3339(min(p.time for p in fresh)) if fresh else None
    unrecorded = topics.lag(CHRONICLE.group, CHRONICLE.topics) if service == CHRONICLE.service else 0
    return ServiceHealth(service, lag, behind, as_of, len(fresh), parked, dead, unrecorded)


async def _progress(settings: Settings, service: str) -> list[Progress]:
    client = connect(settings.mongo_url)
    try:
        return await MongoControl(client[database_of(service)]).progress()
    finally:
        client.close()


async def _with_documents(settings: Settings, service: str, ask: Callable[[Documents], Awaitable[T]]) -> T:
    client = connect(settings.mongo_url)
    try:
        database = client[database_of(service)]
        if "pointers" not in await database.list_collection_names():
            raise ProvisionError(f"the store has nothing of {service} yet: `guanxi provision`")
        return await ask(Documents(database, (await MongoControl(database).pause()).collection))
    finally:
        client.close()


async def _all_parked(documents: Documents) -> list[Document]:
    found: list[Document] = []
    while page := await documents.find(_PARKED, found[-1].id if found else None, _PAGE):
        found += page
    return found
