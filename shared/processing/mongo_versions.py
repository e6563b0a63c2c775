"""A service's versions and their shadows in MongoDB: one document per version, one collection per shadow."""

from typing import Any

from shared.events.customers import RulesActivated
from shared.processing.mongo_connection import durable, ensure_collection, translated
from shared.processing.mongo_store import ENGINE_INDEXES, MongoStore
from shared.processing.records import Committed
from shared.processing.versions import Prepared, Version

COLLECTION = "versions"


class MongoVersions:
    """Implements VersionStore. What several owners say of their partitions at once lies in fields of their own."""

    def __init__(self, client: Any, database: Any, group_commit: bool) -> None:
        self._client = client
        self._plain = database
        self._versions = durable(database)[COLLECTION]
        self._group_commit = group_commit
        self._shadows: dict[int, MongoStore] = {}

    async def all(self) -> list[Version]:
        with translated("reading the versions of the rules"):
            found = await self._versions.find().sort("_id", 1).to_list(None)
        return [_version(fields) for fields in found]

    async def keep(self, written: RulesActivated) -> Version:
        await ensure_collection(self._plain, COLLECTION, ())
        await self._insert(written)
        with translated("keeping a version of the rules"):
            await self._versions.update_one({"_id": written.number}, {"$unset": {"called_off": ""}})
            return _version(await self._versions.find_one({"_id": written.number}))

    async def prepared(self, number: int, partition: int, prepared: Prepared) -> bool:
        positions = [[topic, at.offset, at.metadata] for topic, at in prepared.positions.items()]
        fields = {"positions": positions, "records": prepared.records}
        wanted = {"_id": number, "called_off": {"$exists": False}}
        with translated("noting what is prepared"):
            done = await self._versions.update_one(wanted, {"$set": {f"prepared.{partition}": fields}})
        return bool(done.matched_count)

    async def began(self, written: RulesActivated, partition: int, position: int) -> None:
        await self._insert(written)
        with translated("noting an activation"):
            found = await self._versions.find_one({"_id": written.number}, {"digest": 1})
        if found["digest"] != written.digest:
            await self._replace(written, found["digest"])
        update = {"$set": {f"positions.{partition}": position}, "$unset": {"called_off": ""}}
        with translated("noting an activation"):
            await self._versions.update_one({"_id": written.number}, update)

    async def finished(self, number: int, partition: int) -> None:
        with translated("noting an activation's end"):
            await self._versions.update_one({"_id": number}, {"$set": {f"done.{partition}": True}})

    async def call_off(self, number: int) -> bool:
        update = {"$set": {"called_off": True}, "$unset": {"prepared": ""}}
        with translated("calling a version off"):
            done = await self._versions.update_one({"_id": number, "positions": {"$exists": False}}, update)
            if not done.matched_count:
                return await self._versions.find_one({"_id": number}, {"_id": 1}) is None
        await self.drop_shadow(number)
        return True

    async def shadow(self, number: int) -> MongoStore:
        if number not in self._shadows:
            name = f"shadow_{number}"
            await ensure_collection(self._plain, name, ENGINE_INDEXES)
            self._shadows[number] = MongoStore(self._client, self._plain, name, self._group_commit)
        return self._shadows[number]

    async def drop_shadow(self, number: int) -> None:
        """`prepared` goes first: it must never say more than the shadow holds."""
        with translated("dropping a shadow"):
            await self._versions.update_one({"_id": number}, {"$unset": {"prepared": ""}})
            await self._plain.drop_collection(f"shadow_{number}")
        store = self._shadows.pop(number, None)
        if store is not None:
            await store.close()

    async def close(self) -> None:
        for store in self._shadows.values():
            await store.close()

    async def _insert(self, written: RulesActivated) -> None:
        fields = {"rules": written.rules, "digest": written.digest}
        with translated("keeping a version of the rules"):
            await self._versions.update_one({"_id": written.number}, {"$setOnInsert": fields}, upsert=True)

    async def _replace(self, written: RulesActivated, other: str) -> None:
        await self.drop_shadow(written.number)
        fields = {"rules": written.rules, "digest": written.digest}
        with translated("keeping the text that was activated"):
            await self._versions.update_one({"_id": written.number, "digest": other}, {"$set": fields})


def _version(fields: dict[str, Any]) -> Version:
    prepared = {int(number): _prepared(found) for number, found in fields.get("prepared", {}).items()}
    return Version(
        number=fields["_id"],
        rules=fields["rules"],
        digest=fields["digest"],
        prepared=prepared,
        positions={int(number): offset for number, offset in fields.get("positions", {}).items()},
        done=frozenset(map(int, fields.get("done", {}))),
        called_off=fields.get("called_off", False),
    )


def _prepared(fields: dict[str, Any]) -> Prepared:
    positions = {topic: Committed(offset, metadata) for topic, offset, metadata in fields["positions"]}
    return Prepared(positions, fields["records"])
