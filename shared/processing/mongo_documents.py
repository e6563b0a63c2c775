"""What queries are given: documents to read, of whichever collection is the live one."""

from collections.abc import Collection
from typing import Any

from shared.processing.document import Document, from_fields
from shared.processing.mongo_connection import durable, translated


class Documents:
    """Reads only. TransientError when the store does not answer."""

    def __init__(self, database: Any, collection: str) -> None:
        self._database = durable(database)
        self.use(collection)

    def use(self, collection: str) -> None:
        """A rebuild has switched: from now on queries read another collection."""
        self._collection = self._database[collection]

    async def one(self, customer_id: str) -> Document | None:
        with translated("reading a document"):
            fields = await self._collection.find_one({"_id": customer_id})
        return None if fields is None else from_fields(fields)

    async def find(self, wanted: dict[str, Any], after: str | None, limit: int) -> list[Document]:
        """The first `limit` that match, by id, beyond the id `after`: the last id of a page asks for the next one.

        The filter names `view.*` fields, or the engine's. On the local store a page costs all matches: filter narrowly.
        """
        if after is not None:
            wanted = (
                {"$and": [wanted, {"_id": {"$gt": after}}]} if "_id" in wanted else wanted | {"_id": {"$gt": after}}
            )
        with translated("reading documents"):
            cursor = self._collection.find(wanted, batch_size=max(limit, 2)).sort("_id", 1).limit(limit)
            return [from_fields(fields) for fields in await cursor.to_list(None)]

    async def sequences(self, customer_ids: Collection[str]) -> dict[str, int]:
        """The last number that each was given, of those that exist."""
        with translated("reading numbers"):
            found = await self._collection.find({"_id": {"$in": sorted(customer_ids)}}, {"sequence": 1}).to_list(None)
        return {fields["_id"]: fields["sequence"] for fields in found}

    async def count(self, wanted: dict[str, Any]) -> int:
        with translated("counting documents"):
            return int(await self._collection.count_documents(wanted))
