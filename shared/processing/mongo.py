"""A service's database: its documents, what queries read, and how a rebuild and the workers agree."""

from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import Any

from shared.processing.mongo_collection import Collection
from shared.processing.mongo_connection import Index, connect, ensure_collection, translated
from shared.processing.mongo_control import FIRST_COLLECTION, MongoControl
from shared.processing.mongo_documents import Documents
from shared.processing.mongo_store import ENGINE_INDEXES, MongoStore
from shared.processing.mongo_versions import MongoVersions
from shared.settings import Settings

__all__ = [
    "Collection",
    "Database",
    "Documents",
    "Index",
    "MongoStore",
    "connect",
    "database_of",
    "ensure_collection",
    "open_database",
]


class Database:
    """`store` and `documents` are of the collection `live`, and follow the pointer: whoever hears of a switch calls `switched`."""

    def __init__(
        self, client: Any, database: Any, indexes: tuple[Index, ...], group_commit: bool, collection: str
    ) -> None:
        self._client = client
        self._database = database
        self._indexes = (*ENGINE_INDEXES, *indexes)
        self._group_commit = group_commit
        self.live = collection
        self.control = MongoControl(database)
        self.store = MongoStore(client, database, collection, group_commit)
        self.documents = Documents(database, collection)
        self.versions = MongoVersions(client, database, group_commit)

    def switched(self, collection: str) -> None:
        self.live = collection
        self.store.use(collection)
        self.documents.use(collection)

    async def fresh(self, name: str) -> MongoStore:
        """A store over a new collection. What earlier rebuilds left behind, finished or not, is dropped first."""
        live = (await self.control.pause()).collection
        with translated("dropping what earlier rebuilds left"):
            for left in await self._database.list_collection_names():
                if left.startswith(FIRST_COLLECTION) and left not in (live, name):
                    await self._database.drop_collection(left)
        await ensure_collection(self._database, name, self._indexes)
        return MongoStore(self._client, self._database, name, self._group_commit)

    def collection(self, name: str) -> Collection:
        """One of the service's own, beside the documents."""
        return Collection(self._database, name)

    async def ensure(self) -> None:
        await ensure_collection(self._database, self.live, self._indexes)


def database_of(service: str) -> str:
    return f"guanxi_{service}"


async def open_database(
    settings: Settings,
    service: str,
    indexes: tuple[Index, ...],
    stack: AsyncExitStack,
    collections: Mapping[str, tuple[Index, ...]] | None = None,
) -> Database:
    """Opened with its collections and indexes in place; closed when the stack unwinds."""
    client = connect(settings.mongo_url)
    stack.callback(client.close)
    database = client[database_of(service)]
    own: Mapping[str, tuple[Index, ...]] = {"pointers": (), "progress": (), "sessions": ()}
    for name, wanted in {**own, **(collections or {})}.items():
        await ensure_collection(database, name, wanted)
    control = MongoControl(database)
    await control.prepare()
    group_commit = settings.group_commit
    if group_commit is None:
        group_commit = await gains_by_grouping(client)
    opened = Database(client, database, indexes, group_commit, (await control.pause()).collection)
    await opened.ensure()
    stack.push_async_callback(opened.store.close)
    stack.push_async_callback(opened.versions.close)
    return opened


async def gains_by_grouping(client: Any) -> bool:
    """Whether every statement of a bulk write syncs on its own there, as in the local store; MongoDB syncs them together."""
    with translated("asking the store what it is"):
        return "secantusVersion" in await client.admin.command("buildInfo")
