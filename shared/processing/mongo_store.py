"""The documents of one service in MongoDB, written by compare-and-set on their revision."""

import asyncio
import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from bson import Binary, ObjectId

from shared.clock import Instant
from shared.processing.document import Document, from_fields
from shared.processing.mongo_connection import (
    DURABLE,
    DURABLE_FIELDS,
    MAJORITY,
    HeldError,
    Index,
    SilentError,
    TooLargeError,
    check_written,
    durable,
    translated,
)
from shared.processing.mongo_sessions import Sessions
from shared.processing.ports import Timer

ENGINE_INDEXES = (
    Index((("partition", 1), ("wake_at", 1)), {"wake_at": {"$exists": True}}),
    Index((("partition", 1),), {"unsent": {"$exists": True}}),
    Index((("partition", 1),), {"parked": {"$exists": True}}),
    Index((("partition", 1), ("_id", 1))),
)

HELD_MS = 2_000
SLOWEST_STATEMENT_MS = 50
"""A write outside a transaction waits silently for a lock; after this it says so."""
LARGEST_COMMAND = 8_000_000
"""Characters of one write command, or of one transaction: well under the 48 MB that a server takes whatever they encode to,
and under what a small store's cache holds (with 256 MB a transaction of 11 MB took seconds, one of 22 MB never ended)."""
MOST = 500
"""Statements of one command or transaction. Where each syncs on its own, a command must still end before the socket's patience
does. Together, each of them changes a page of its own where customers are many, all of which the store's cache holds until
the commit; where they fill a fifth of it, the local store waits for ever."""
FEWEST = 100
"""What a transaction that was not answered may be cut to."""

_log = logging.getLogger(__name__)

_CLEARED = {"$unset": {"unsent": ""}}


class MongoStore:
    """Implements Store over one collection. `group_commit` writes a batch inside one transaction, which costs one sync.

    Nothing relies on the transaction's atomicity. Write commands are sent as they are: a driver's write models cost as much
    time as the store itself, and its retries add nothing to a write that is conditioned on a revision.
    """

    def __init__(self, client: Any, database: Any, collection: str, group_commit: bool) -> None:
        self._client = client
        self._database = durable(database)
        self._group_commit = group_commit
        self._session: Any = None
        self._most = MOST
        self._writing = asyncio.Lock()
        self._marks: dict[str, tuple[int, ObjectId]] = {}
        self.use(collection)

    def use(self, collection: str) -> None:
        """From now on the documents are those of another collection: a rebuild has switched."""
        self._name = collection
        self._collection = self._database[collection]
        self._sessions = Sessions(self._client, self._database, collection)

    async def load(self, customer_ids: Collection[str]) -> dict[str, Document]:
        ids = list(customer_ids)
        with translated("reading documents"):
            found = await self._collection.find({"_id": {"$in": ids}}, batch_size=max(len(ids), 2)).to_list(None)
        return {fields["_id"]: from_fields(fields) for fields in found}

    async def save(self, documents: Sequence[Document]) -> bool:
        """As Store. When another transaction holds a document: HeldError, after its session was ended."""
        self._marks.clear()
        return await self._save_in_pieces(documents)

    async def _save_in_pieces(self, documents: Sequence[Document]) -> bool:
        written = True
        for piece in _pieces(documents, self._most):
            written &= await self._save_piece(piece)
        return written

    async def _save_piece(self, documents: Sequence[Document]) -> bool:
        """One transaction, or smaller ones from now on where the store's cache does not take it. One that is not answered
        may have been too large as well: then those that come next are smaller, also when the store was only away."""
        try:
            return await self._save(documents)
        except SilentError:
            self._most = min(self._most, max(len(documents) // 2, FEWEST))
            raise
        except TooLargeError:
            if len(documents) == 1:
                raise
            self._most = (len(documents) + 1) // 2
            _log.warning("a transaction was too large for the store", extra={"documents": len(documents)})
            return await self._save_in_pieces(documents)

    async def _save(self, documents: Sequence[Document]) -> bool:
        mark = ObjectId()
        self._marks |= {document.id: (document.rev, mark) for document in documents if document.unsent}
        commands = list(_commands(self._name, documents, mark))
        async with self._writing:
            try:
                with translated("writing documents"):
                    return await self._write(commands, insist=True)
            except HeldError:
                await self._free({document.partition for document in documents})
                raise

    async def _write(self, commands: list[dict[str, Any]], insist: bool) -> bool:
        """A single statement needs no transaction: that would only be one more round trip."""
        if self._group_commit and sum(map(_statements, commands)) > 1:
            return await self._grouped(commands, insist)
        return await self._singly(commands)

    async def _singly(self, commands: list[dict[str, Any]]) -> bool:
        written = True
        for command in commands:
            patience = HELD_MS + SLOWEST_STATEMENT_MS * _statements(command)
            limits = {"maxTimeMS": patience, "writeConcern": DURABLE_FIELDS}
            written &= _all_written(command, await self._database.command(command | limits))
        return written

    async def _grouped(self, commands: list[dict[str, Any]], insist: bool) -> bool:
        """`insist`: nothing is kept unless all of it can be."""
        session = await self._open_session()
        session.start_transaction(read_concern=MAJORITY, write_concern=DURABLE)
        try:
            for command in commands:
                if not _all_written(command, await self._database.command(command, session=session)) and insist:
                    return False
            await session.commit_transaction()
        finally:
            if session.in_transaction:
                await session.abort_transaction()
        return True

    async def _open_session(self) -> Any:
        """Kept, so that its id says who writes; made anew when the driver has closed it."""
        if self._session is None or self._session.has_ended:
            self._session = await self._client.start_session()
        return self._session

    async def _session_id(self) -> Binary | None:
        if not self._group_commit:
            return None
        session_id: Binary = (await self._open_session()).session_id["id"]
        return session_id

    async def _free(self, partitions: set[int]) -> None:
        for partition in partitions:
            await self._sessions.take_over(partition, await self._session_id())

    async def due(self, partition: int, after: Instant, until: Instant) -> list[Timer]:
        wanted = {"partition": partition, "wake_at": {"$gt": after, "$lte": until}, "parked": {"$exists": False}}
        with translated("reading timers"):
            found = await self._collection.find(wanted, {"wake_at": 1, "history": 1}, batch_size=10_000).to_list(None)
        return sorted(Timer(fields["wake_at"], fields["_id"], fields.get("history")) for fields in found)

    async def unsent(self, partition: int) -> list[str]:
        """As Store. Whoever asks has just taken the partition over, or makes sure of it: a predecessor's session is ended."""
        await self._free({partition})
        return await self._ids({"partition": partition, "unsent": {"$exists": True}})

    async def clear_unsent(self, revisions: Mapping[str, int]) -> None:
        """As Store. What one write of ours marked is one statement, whose mark stands for all its revisions: that costs the
        local store half of what a statement for each document does."""
        together: dict[ObjectId, list[str]] = {}
        updates = []
        for key, rev in sorted(revisions.items()):
            marked_at, mark = self._marks.get(key, (None, None))
            if mark is not None and marked_at == rev:
                together.setdefault(mark, []).append(key)
            else:
                updates.append({"q": {"_id": key, "rev": rev}, "u": _CLEARED})
        pieces = [updates[start : start + self._most] for start in range(0, len(updates), self._most)]
        pieces += [
            [{"q": {"_id": {"$in": keys}, "unsent": mark}, "u": _CLEARED, "multi": True}]
            for mark, keys in together.items()
        ]
        for piece in pieces:
            async with self._writing:
                with translated("clearing unsent marks"):
                    await self._write([{"update": self._name, "updates": piece, "ordered": False}], insist=False)

    async def parked(self, partition: int) -> list[str]:
        return await self._ids({"partition": partition, "parked": {"$exists": True}})

    async def ids(self, partition: int) -> list[str]:
        return await self._ids({"partition": partition})

    async def _ids(self, wanted: dict[str, Any]) -> list[str]:
        with translated("reading ids"):
            found = await self._collection.find(wanted, {"_id": 1}, batch_size=10_000).to_list(None)
        return sorted(fields["_id"] for fields in found)

    async def close(self) -> None:
        if self._session is not None:
            await self._session.end_session()


def _commands(collection: str, documents: Sequence[Document], mark: ObjectId) -> Iterator[dict[str, Any]]:
    """An insert where nothing may be stored yet, else a replacement of the revision before."""
    fresh = [_marked(document, mark) for document in documents if document.rev == 1]
    known = [
        {"q": {"_id": document.id, "rev": document.rev - 1}, "u": _marked(document, mark)}
        for document in documents
        if document.rev != 1
    ]
    if fresh:
        yield {"insert": collection, "documents": fresh, "ordered": False}
    if known:
        yield {"update": collection, "updates": known, "ordered": False}


def _marked(document: Document, mark: ObjectId) -> dict[str, Any]:
    """`mark` says which write left the document unsent; no other write has it."""
    fields = document.to_fields()
    return fields | {"unsent": mark} if document.unsent else fields


def _pieces(documents: Sequence[Document], most: int) -> Iterator[Sequence[Document]]:
    start, size = 0, 0
    for end, document in enumerate(documents):
        own = len(document.state or "") + sum(len(entry.event) for entry in document.outbox) + 2_000
        if end > start and (size + own > LARGEST_COMMAND or end - start == most):
            yield documents[start:end]
            start, size = end, 0
        size += own
    if start < len(documents):
        yield documents[start:]


def _all_written(command: Mapping[str, Any], reply: Mapping[str, Any]) -> bool:
    """False: a revision differed or a key was there. What the store could not do at all is an error."""
    check_written("writing documents", reply)
    return bool(reply["n"] == _statements(command))


def _statements(command: Mapping[str, Any]) -> int:
    return len(command.get("documents") or command["updates"])
