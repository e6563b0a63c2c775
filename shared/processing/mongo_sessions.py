"""Who writes which partition inside transactions, so that a successor can end what its predecessor died in."""

from typing import Any

from bson import Binary
from pymongo import ReturnDocument

from shared.processing.mongo_connection import translated


class Sessions:
    """A worker killed inside a transaction leaves its documents locked for a minute; ending its session frees them at once.

    Each partition of a collection has one claim: the session of whoever took it over last. Ending the session of one who
    still lives costs it one transaction, which it redoes.
    """

    def __init__(self, client: Any, database: Any, scope: str) -> None:
        self._client = client
        self._claims = database["sessions"]
        self._scope = scope

    async def take_over(self, partition: int, session: Binary | None) -> None:
        """Ends the predecessor's session, where another one claims the partition. `session` None: we write without any."""
        key = f"{self._scope}:{partition}"
        with translated("taking over a partition"):
            claim = await self._claims.find_one({"_id": key})
            if claim is not None and claim["session"] == session:
                return
            before = await self._claims.find_one_and_update(
                {"_id": key}, {"$set": {"session": session}}, upsert=True, return_document=ReturnDocument.BEFORE
            )
            if before is not None and before["session"] not in (None, session):
                await self._client.admin.command({"killSessions": [{"id": before["session"]}]})
