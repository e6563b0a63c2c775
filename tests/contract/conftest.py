"""The ports' two implementations each: every test that asks for `log_world` or `store` runs against all of them."""

import uuid
from collections.abc import AsyncIterator

import pytest

from shared.processing.memory_store import MemoryStore
from shared.processing.mongo import MongoStore, connect, ensure_collection
from shared.processing.mongo_store import ENGINE_INDEXES
from shared.processing.ports import Store
from tests.contract.log_worlds import KafkaWorld, LogWorld, MemoryWorld

REAL_LOGS = ["memory", pytest.param("kafka", marks=pytest.mark.real)]
REAL_STORES = [
    "memory",
    pytest.param("single", marks=pytest.mark.real),
    pytest.param("grouped", marks=pytest.mark.real),
]


@pytest.fixture(params=REAL_LOGS)
async def log_world(request: pytest.FixtureRequest) -> AsyncIterator[LogWorld]:
    world = MemoryWorld() if request.param == "memory" else KafkaWorld(request.getfixturevalue("kafka"))
    yield world
    await world.close()


@pytest.fixture
async def kafka_world(kafka: str) -> AsyncIterator[KafkaWorld]:
    world = KafkaWorld(kafka)
    yield world
    await world.close()


@pytest.fixture(params=REAL_STORES)
async def store(request: pytest.FixtureRequest) -> AsyncIterator[Store]:
    if request.param == "memory":
        yield MemoryStore()
        return
    client = connect(request.getfixturevalue("mongo"))
    name = f"contract_{uuid.uuid4().hex[:12]}"
    await ensure_collection(client[name], "customers", ENGINE_INDEXES)
    await ensure_collection(client[name], "sessions", ())
    store = MongoStore(client, client[name], "customers", group_commit=request.param == "grouped")
    yield store
    await store.close()
    await client.drop_database(name)
    client.close()
