"""The pointer to the live collection, a rebuild's pause, and what each worker last said of its partitions."""

from contextlib import suppress
from dataclasses import asdict
from datetime import timedelta
from typing import Any

from pymongo import UpdateOne
from pymongo.errors import DuplicateKeyError

from shared.clock import Instant, to_datetime
from shared.processing.control import Folded, Pause, Progress
from shared.processing.mongo_connection import durable, translated
from shared.processing.records import Committed

FIRST_COLLECTION = "customers"
FORGOTTEN_AFTER = timedelta(hours=1)
"""When what a worker that is gone said last is deleted."""

_CURRENT = {"_id": "current"}


class MongoControl:
    """Implements ControlStore in the collections `pointers` and `progress`."""

    def __init__(self, database: Any) -> None:
        database = durable(database)
        self._pointers = database["pointers"]
        self._progress = database["progress"]

    async def prepare(self) -> None:
        """On a new database, the first collection is the live one."""
        first = {"collection": FIRST_COLLECTION, "pause_until": 0}
        with translated("preparing the pointer"):
            with suppress(DuplicateKeyError):  # two workers that start together
                await self._pointers.update_one(_CURRENT, {"$setOnInsert": first}, upsert=True)
            await self._progress.create_index([("seen_at", 1)], expireAfterSeconds=FORGOTTEN_AFTER.total_seconds())

    async def pause(self) -> Pause:
        with translated("reading the pointer"):
            current = await self._pointers.find_one(_CURRENT, {"folded": 0})
        return Pause(current["pause_until"], current["collection"])

    async def ask_pause(self, until: Instant) -> None:
        with translated("asking for a pause"):
            await self._pointers.update_one(_CURRENT, {"$set": {"pause_until": until}})

    async def switch(self, collection: str, folded: Folded) -> None:
        goes_on = [
            {"partition": number, "topic": topic, "offset": at.offset, "metadata": at.metadata}
            for number, positions in folded.items()
            for topic, at in positions.items()
        ]
        switched = {"collection": collection, "pause_until": 0, "folded": goes_on}
        with translated("switching the collection"):
            await self._pointers.update_one(_CURRENT, {"$set": switched})

    async def folded(self) -> Folded:
        with translated("reading the pointer"):
            current = await self._pointers.find_one(_CURRENT)
        found: dict[int, dict[str, Committed]] = {}
        for at in current.get("folded", ()):
            found.setdefault(at["partition"], {})[at["topic"]] = Committed(at["offset"], at["metadata"])
        return found

    async def report(self, progress: list[Progress]) -> None:
        """One document per worker, so that a beat is one write."""
        workers: dict[str, list[Progress]] = {}
        for entry in progress:
            workers.setdefault(entry.worker, []).append(entry)
        updates = [UpdateOne({"_id": name}, {"$set": _fields(said)}, upsert=True) for name, said in workers.items()]
        if updates:
            with translated("reporting progress"):
                await self._progress.bulk_write(updates)

    async def progress(self) -> list[Progress]:
        """The newest word on every partition."""
        with translated("reading progress"):
            found = await self._progress.find({"partitions.keeps": {"$exists": True}}).to_list(None)
        entries = [Progress(**entry) for fields in found for entry in fields["partitions"]]
        newest = {entry.partition: entry for entry in sorted(entries, key=lambda entry: entry.written_at)}
        return [newest[partition] for partition in sorted(newest)]


def _fields(said: list[Progress]) -> dict[str, Any]:
    return {
        "partitions": [asdict(entry) for entry in said],
        "seen_at": to_datetime(max(entry.written_at for entry in said)),
    }
