"""A collection that a service keeps beside its documents, such as a read side that a follower feeds."""

from collections.abc import Collection as Group
from collections.abc import Mapping, Sequence
from typing import Any

from shared.processing.mongo_connection import DURABLE_FIELDS, check_written, durable, translated

Row = dict[str, Any]
Order = Sequence[tuple[str, int]]

MOST_ROWS = 1_000
"""Rows of one command; where each update syncs on its own, a command must still end before the socket's patience does."""


class Collection:
    """Writes are durable when they return, reads see what a majority has. TransientError where the store does not answer."""

    def __init__(self, database: Any, name: str) -> None:
        self._database = durable(database)
        self._collection = self._database[name]
        self._name = name

    async def insert(self, rows: Sequence[Row]) -> int:
        """How many were written; rows whose `_id` is there already stay as they are."""
        return await self._write("insert", "documents", rows)

    async def swap(self, rows: Sequence[tuple[Row, Any]], fence: str) -> bool:
        """Each row replaces the one of its `_id` whose `fence` field is still the given one (None: there was no row).
        False: at least one was not, any of the others may have been."""
        fresh = [row for row, before in rows if before is None]
        known = [{"q": {"_id": row["_id"], fence: before}, "u": row} for row, before in rows if before is not None]
        written = await self._write("insert", "documents", fresh)
        return written + await self._write("update", "updates", known) == len(rows)

    async def find(
        self, wanted: Row, fields: Group[str] | None = None, order: Order | None = None, limit: int = 0
    ) -> list[Row]:
        """`limit` 0: all of them. On the local store a page costs all matches, so ask for narrow ranges."""
        with translated(f"reading {self._name}"):
            cursor = self._collection.find(wanted, None if fields is None else list(fields), limit=limit)
            found: list[Row] = await (cursor if order is None else cursor.sort(list(order))).to_list(None)
        return found

    async def count(self, wanted: Row) -> int:
        with translated(f"counting {self._name}"):
            return int(await self._collection.count_documents(wanted))

    async def delete(self, wanted: Row) -> int:
        """How many went."""
        with translated(f"deleting from {self._name}"):
            return int((await self._collection.delete_many(wanted)).deleted_count)

    async def delete_each(self, wanted: Sequence[Mapping[str, Any]]) -> int:
        """All rows of each question, many questions in one command; how many went."""
        return await self._write("delete", "deletes", [{"q": dict(one), "limit": 0} for one in wanted])

    async def _write(self, command: str, field: str, rows: Sequence[Row]) -> int:
        written = 0
        for start in range(0, len(rows), MOST_ROWS):
            some = {field: list(rows[start : start + MOST_ROWS]), "ordered": False, "writeConcern": DURABLE_FIELDS}
            with translated(f"writing {self._name}"):
                reply = await self._database.command({command: self._name, **some})
                check_written(f"writing {self._name}", reply)
            written += reply["n"]
        return written
