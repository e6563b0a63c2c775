"""The driver in one place: how a client is made, how indexes are declared, what the driver's errors mean to our ports."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from bson.codec_options import CodecOptions
from bson.errors import BSONError
from motor.motor_asyncio import AsyncIOMotorClient
from pymongo import WriteConcern
from pymongo.errors import (
    CollectionInvalid,
    ConfigurationError,
    DocumentTooLarge,
    NetworkTimeout,
    OperationFailure,
    PyMongoError,
)
from pymongo.read_concern import ReadConcern

from shared.processing.ports import FatalError, TransientError

DURABLE = WriteConcern("majority", j=True)
DURABLE_FIELDS: Mapping[str, Any] = {"w": "majority", "j": True}
MAJORITY = ReadConcern("majority")

_HELD = frozenset({50, 112})
"""A time limit that ran out, a write conflict."""
_DUPLICATE = 11_000
_PASSING = frozenset({91, 189, 10_107, 11_600, 11_602, 13_435})
_EXISTS_ALREADY = 48
_TOO_LARGE = frozenset({388})
_REFUSED = frozenset({13, 18, 8000})
_DECLARED_OTHERWISE = frozenset({85, 86})


class HeldError(TransientError):
    """Another transaction holds a document that was to be written."""


class TooLargeError(TransientError):
    """A transaction does not fit in the store's cache: the same again would fail again, half of it may not."""


class SilentError(TransientError):
    """No answer within the socket's patience."""


@dataclass(frozen=True, slots=True)
class Index:
    """`keys`: fields with 1 or -1. `partial`: only documents that match are indexed (and found by it)."""

    keys: tuple[tuple[str, int], ...]
    partial: dict[str, Any] | None = None

    @property
    def name(self) -> str:
        """Says all that the index is, so that another declaration is another index."""
        fields = "_".join(f"{field}_{direction}" for field, direction in self.keys)
        return fields if self.partial is None else f"{fields}_if_{'_'.join(sorted(self.partial))}"


def connect(url: str) -> Any:
    """A client that writes to a majority and to disk, reads what a majority has, and gives up in bounded time."""
    with translated("reading the store's address"):
        return AsyncIOMotorClient(
            url,
            appname="guanxi",
            retryWrites=True,
            retryReads=True,
            w="majority",
            journal=True,
            readConcernLevel="majority",
            serverSelectionTimeoutMS=5_000,
            connectTimeoutMS=5_000,
            socketTimeoutMS=30_000,
        )


def durable(database: Any) -> Any:
    return database.with_options(CodecOptions(), write_concern=DURABLE, read_concern=MAJORITY)


@contextmanager
def translated(doing: str) -> Iterator[None]:
    """Turns what the driver raises into the two errors of our ports. Messages carry codes, never documents."""
    try:
        yield
    except OperationFailure as error:
        if error.code in _REFUSED:
            raise FatalError(
                f"{doing}: the store refuses us (code {error.code}); `guanxi provision` grants it"
            ) from error
        kind = HeldError if error.code in _HELD else TooLargeError if error.code in _TOO_LARGE else TransientError
        raise kind(f"{doing}: the store answered with code {error.code}") from error
    except (ConfigurationError, DocumentTooLarge, BSONError) as error:
        raise FatalError(f"{doing}: {type(error).__name__}") from error
    except PyMongoError as error:
        kind = SilentError if isinstance(error, NetworkTimeout) else TransientError
        raise kind(f"{doing}: {type(error).__name__}") from error


def check_written(doing: str, reply: Mapping[str, Any]) -> None:
    """Raises what the reply to a write command says of rows that could not be written. A key that is there already is no
    error: what that means, the number of rows written tells. HeldError, TransientError: the same again may succeed."""
    codes = {error["code"] for error in reply.get("writeErrors", ())} - {_DUPLICATE}
    if codes & _HELD:
        raise HeldError(f"{doing}: held by another transaction")
    if "writeConcernError" in reply or codes & _PASSING:
        raise TransientError(f"{doing}: not acknowledged")
    if codes:
        raise FatalError(f"{doing}: the store refuses rows with codes {sorted(codes)}")


async def ensure_collection(database: Any, name: str, indexes: tuple[Index, ...]) -> None:
    """Made before anything is written: first transactions that create a collection conflict with each other."""
    with translated(f"making collection {name}"):
        try:
            if name not in await database.list_collection_names():
                await database.create_collection(name)
        except CollectionInvalid:
            pass
        except OperationFailure as error:
            if error.code != _EXISTS_ALREADY:
                raise
        for index in indexes:
            await _ensure_index(database[name], index)


async def _ensure_index(collection: Any, index: Index) -> None:
    options = {} if index.partial is None else {"partialFilterExpression": index.partial}
    try:
        await collection.create_index(list(index.keys), name=index.name, **options)
    except OperationFailure as error:
        if error.code not in _DECLARED_OTHERWISE:
            raise
        await collection.drop_index(index.name)
        await collection.create_index(list(index.keys), name=index.name, **options)
