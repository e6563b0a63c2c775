"""What only the real store can show: takeover from a killed worker, outages, what queries and rebuilds see."""

import asyncio
import random
import subprocess
import sys
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytest
from pymongo.errors import NetworkTimeout

from shared.processing.control import Pause, Progress
from shared.processing.document import Document, Entry
from shared.processing.mongo import Database, Index, MongoStore, connect, database_of, ensure_collection, open_database
from shared.processing.mongo_connection import TooLargeError
from shared.processing.mongo_store import ENGINE_INDEXES, _statements
from shared.processing.ports import TransientError
from shared.processing.records import Committed
from shared.settings import Settings
from tests.support.servers import Server

pytestmark = pytest.mark.real

Kind = TypeVar("Kind", bound=MongoStore)

VIEW_INDEX = Index((("view.segment", 1), ("_id", 1)), {"view.segment": {"$exists": True}})


@pytest.fixture(params=[False, True], ids=["single", "grouped"])
async def database(mongo: str, request: pytest.FixtureRequest) -> AsyncIterator[Database]:
    service = f"test_{uuid.uuid4().hex[:12]}"
    async with AsyncExitStack() as stack:
        settings = Settings(mongo_url=mongo, group_commit=request.param)
        yield await open_database(settings, service, (VIEW_INDEX,), stack)
        client = connect(mongo)
        stack.callback(client.close)
        await client.drop_database(database_of(service))


def doc(key: str, rev: int = 1, **fields) -> Document:
    return Document(key, rev=rev, **fields)


@asynccontextmanager
async def opened(
    mongo: str, kind: type[Kind] = MongoStore, group_commit: bool = True
) -> AsyncIterator[tuple[Kind, Any]]:
    """A store of a test's own, and its database, which goes with it."""
    client = connect(mongo)
    database = client[f"contract_{uuid.uuid4().hex[:12]}"]
    for collection, indexes in (("customers", ENGINE_INDEXES), ("sessions", ())):
        await ensure_collection(database, collection, indexes)
    store = kind(client, database, "customers", group_commit)
    try:
        yield store, database
    finally:
        await store.close()
        await client.drop_database(database.name)
        client.close()


DIES_IN_A_TRANSACTION = """
import asyncio, os, signal, sys
from shared.processing.document import Document, Entry
from shared.processing.mongo import MongoStore, connect

async def main(url, name):
    client = connect(url)
    store = MongoStore(client, client[name], "customers", group_commit=True)
    await store.unsent(0)
    session = await store._open_session()
    session.start_transaction()
    command = {"update": "customers", "updates": [{"q": {"_id": "a"}, "u": {"$set": {"at": 5}}}]}
    await client[name].command(command, session=session)
    os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.mark.parametrize("grouped", [False, True], ids=["single", "grouped"])
async def test_taking_over_from_a_worker_killed_in_a_transaction_takes_no_minute(mongo: str, grouped: bool) -> None:
    async with opened(mongo, group_commit=grouped) as (store, database):
        assert await store.save([doc("a"), doc("b")])
        await asyncio.to_thread(_die, mongo, database.name)
        started = time.monotonic()
        assert await store.unsent(0) == []
        assert await store.save([doc("a", 2), doc("b", 2)])
        assert time.monotonic() - started < 20
        assert (await store.load(["a"]))["a"] == doc("a", 2), "what the dead had begun is undone"


async def test_a_write_that_meets_a_dead_workers_lock_ends_its_session_and_is_redone(mongo: str) -> None:
    """Also when nobody looked for unsent events first."""
    async with opened(mongo) as (store, database):
        await store.save([doc("a")])
        await asyncio.to_thread(_die, mongo, database.name)
        with pytest.raises(TransientError):
            await store.save([doc("a", 2)])
        assert await store.save([doc("a", 2)])


def _die(url: str, name: str) -> None:
    root = Path(__file__).parents[2]
    died = subprocess.run(
        [sys.executable, "-c", DIES_IN_A_TRANSACTION, url, name], cwd=root, capture_output=True, text=True, check=False
    )
    assert died.returncode == -9, died.stderr


async def test_a_mark_goes_only_with_the_write_that_left_it(mongo: str, database: Database) -> None:
    """Also where one statement clears what a whole write had marked, and where somebody else's write is cleared."""
    client = connect(mongo)
    store, other = database.store, MongoStore(client, client[database_of_store(database)], "customers", True)
    assert await store.save([doc(key, unsent=True) for key in "abc"])
    assert await other.save([doc("b", 2, unsent=True)])
    await store.clear_unsent({"a": 1, "b": 1, "c": 1})
    assert await store.unsent(0) == ["b"]
    await store.clear_unsent({"b": 2})
    assert await other.unsent(0) == []
    await other.close()
    client.close()


async def test_a_living_neighbour_whose_session_was_ended_goes_on(mongo: str, database: Database) -> None:
    client = connect(mongo)
    other = MongoStore(client, client[database_of_store(database)], "customers", group_commit=True)
    await other.unsent(0)
    assert await other.save([doc("a")])
    await database.store.unsent(0)
    assert await database.store.save([doc("a", 2)])
    assert await other.save([doc("b")])
    assert not await other.save([doc("a", 2)])
    await other.close()
    client.close()


def database_of_store(database: Database) -> str:
    return database._database.name


async def test_an_outage_is_a_transient_error_and_passes(mongo_server: Server, database: Database) -> None:
    await database.store.save([doc("a")])
    mongo_server.kill()
    try:
        started = time.monotonic()
        with pytest.raises(TransientError):
            await database.store.save([doc("a", 2)])
        with pytest.raises(TransientError):
            await database.store.load(["a"])
        assert time.monotonic() - started < 30, "twice five seconds, not the driver's own thirty"
    finally:
        mongo_server.restart()
    assert (await database.store.load(["a"]))["a"].rev == 1
    assert await database.store.save([doc("a", 2)])


async def test_queries_page_by_id(database: Database) -> None:
    await database.store.save([doc(f"{n:02}", view={"segment": "odd" if n % 2 else "even"}) for n in range(25)])
    odd = {"view.segment": "odd"}
    first = await database.documents.find(odd, None, 5)
    assert [d.id for d in first] == ["01", "03", "05", "07", "09"]
    assert [d.id for d in await database.documents.find(odd, first[-1].id, 100)] == [
        f"{n:02}" for n in range(11, 25, 2)
    ]
    assert [d.id for d in await database.documents.find({"_id": {"$lt": "05"}}, "02", 9)] == ["03", "04"]
    assert await database.documents.find(odd, "99", 5) == []
    assert await database.documents.count(odd) == 12
    assert await database.documents.one("03") == doc("03", view={"segment": "odd"})
    assert await database.documents.one("nobody") is None


async def test_what_never_changed_hands_is_read_from_where_the_pointer_says(database: Database) -> None:
    await database.store.save([doc("old")])
    fresh = await database.fresh("customers_2")
    await fresh.save([doc("new")])
    assert await database.documents.one("new") is None
    await database.control.switch("customers_2", {})
    pause = await database.control.pause()
    assert pause == Pause(0, "customers_2")
    database.switched(pause.collection)
    assert await database.documents.one("new") == doc("new")
    assert await database.store.load(["old", "new"]) == {"new": doc("new")}
    assert await database.store.save([doc("new", 2)])


async def test_a_new_rebuild_drops_what_earlier_ones_left_but_never_the_live_one(database: Database) -> None:
    await (await database.fresh("customers_1")).save([doc("a")])
    await database.fresh("customers_2")
    left = {name for name in await database._database.list_collection_names() if name.startswith("customers")}
    assert left == {"customers", "customers_2"}


async def test_a_pause_is_asked_for_and_ends_with_the_switch(database: Database) -> None:
    assert await database.control.pause() == Pause(0, "customers")
    await database.control.ask_pause(1_234)
    assert await database.control.pause() == Pause(1_234, "customers")
    assert await database.control.folded() == {}
    folded = {number: {"a.v1": Committed(7, "{}"), "b.v1": Committed(number)} for number in (0, 11)}
    await database.control.switch("customers", folded)
    assert await database.control.pause() == Pause(0, "customers")
    assert await database.control.folded() == folded


async def test_the_newest_word_on_each_partition_counts(database: Database) -> None:
    def said(partition: int, worker: str, at: int) -> Progress:
        return Progress(partition, worker, time=at, behind=0.5, lag=3, keeps=0, written_at=at)

    now = int(time.time() * 1000)
    await database.control.report([said(0, "a", now), said(1, "a", now)])
    await database.control.report([said(1, "b", now + 5)])
    assert await database.control.progress() == [said(0, "a", now), said(1, "b", now + 5)]
    await database.control.report([])


async def test_opening_again_changes_nothing_and_indexes_are_there(mongo: str, database: Database) -> None:
    await database.control.switch("customers_9", {})
    async with AsyncExitStack() as stack:
        service = database_of_store(database).removeprefix("guanxi_")
        again = await open_database(Settings(mongo_url=mongo), service, (VIEW_INDEX,), stack)
        assert (await again.control.pause()).collection == "customers_9"
        for name in ("customers", "customers_9"):
            found = await again._database[name].index_information()
            assert {index.name for index in (*ENGINE_INDEXES, VIEW_INDEX)} <= found.keys()
            assert found[ENGINE_INDEXES[1].name]["partialFilterExpression"] == {"unsent": {"$exists": True}}


class SmallCache(MongoStore):
    """As a store whose cache takes no transaction of more than 20 documents."""

    async def _grouped(self, commands: list[dict], insist: bool) -> bool:
        if sum(map(_statements, commands)) > 20:
            raise TooLargeError("writing documents: the store answered with code 388")
        return await super()._grouped(commands, insist)


async def test_a_transaction_that_is_too_large_is_written_in_smaller_ones(mongo: str) -> None:
    """Repeating it would have stopped the worker after two minutes, for ever."""
    async with opened(mongo, SmallCache) as (store, _):
        many = [doc(f"c{number:03d}") for number in range(150)]
        assert await store.save(many)
        assert len(await store.load([document.id for document in many])) == 150
        assert await store.save([doc(document.id, 2) for document in many]), "the next time it begins with smaller ones"
        assert not await store.save([doc("c000", 2), *(doc(f"n{number}") for number in range(60))]), (
            "a conflict is told"
        )
        assert len(await store.load([f"n{number}" for number in range(60)])) > 30, "the other half is written"


class Silent(MongoStore):
    """As a store that does not answer a transaction of more than 200 documents."""

    answered: list[int]

    async def _grouped(self, commands: list[dict], insist: bool) -> bool:
        size = sum(map(_statements, commands))
        if size > 200:
            raise NetworkTimeout("timed out")
        self.answered.append(size)
        return await super()._grouped(commands, insist)


async def test_a_transaction_that_was_not_answered_is_a_smaller_one_the_next_time(mongo: str) -> None:
    """The same again hung for another half minute, until the worker stopped."""
    async with opened(mongo, Silent) as (store, _):
        store.answered = []
        many = [doc(f"c{number:03d}") for number in range(600)]
        for _ in range(2):
            with pytest.raises(TransientError, match="NetworkTimeout"):
                await store.save(many)
        assert await store.save(many)
        assert max(store.answered) <= 125
        assert len(await store.load([document.id for document in many])) == 600


async def test_a_batch_of_whoever_is_written_where_customers_are_many(mongo: str) -> None:
    """Each stands on a page of its own: 500 of 100,000 in one transaction hung for ever in a cache of 256 MB."""
    async with opened(mongo) as (store, database):
        ids = [str(uuid.uuid4()) for _ in range(100_000)]
        for start in range(0, len(ids), 5_000):
            some = [doc(key, state="s" * 1_500).to_fields() for key in ids[start : start + 5_000]]
            await database["customers"].insert_many(some, ordered=False)
        outbox = (Entry("customers:0:1", "e" * 2_500),)
        chosen = random.Random(1).sample(ids, 2_000)
        async with asyncio.timeout(25):
            assert await store.save([doc(key, 2, state="t" * 1_500, outbox=outbox) for key in chosen])


async def test_a_large_batch_is_no_transaction_that_never_ends(mongo: str) -> None:
    """22 MB of new customers in one transaction hung until the socket's patience ended, and for ever again."""
    async with opened(mongo) as (store, database):
        outbox = (Entry("customers:0:1", "y" * 8_000),)
        assert await store.save([doc(f"c{number:04d}", state="x" * 3_000, outbox=outbox) for number in range(2_000)])
        assert await database["customers"].count_documents({}) == 2_000
