"""Small registers beside the flow: customers' data keys, imports, receipts of erasures, versions of the rules."""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from services.intake.rule_versions import Ledger
from services.intake.store import insert_new
from shared.clock import Instant
from shared.processing.mongo_connection import translated

_LEDGER = "ledger"


class KeyRegister:
    """Implements shared.privacy.KeyStore. A destroyed key leaves its mark, so that the customer can never get another."""

    def __init__(self, database: Any) -> None:
        self._keys = database["keys"]

    async def get(self, customer_id: str) -> bytes | None:
        with translated("reading a key"):
            found = await self._keys.find_one({"_id": customer_id})
        return found.get("wrapped") if found else None

    async def put_if_absent(self, customer_id: str, wrapped: bytes) -> bytes | None:
        with translated("keeping a key"):
            if not await insert_new(self._keys, [{"_id": customer_id, "wrapped": wrapped}]):
                return wrapped
        return await self.get(customer_id)

    async def delete(self, customer_id: str) -> None:
        with translated("destroying a key"):
            await self._keys.replace_one({"_id": customer_id}, {"_id": customer_id, "destroyed": True}, upsert=True)


class RejectedRow(BaseModel):
    """`line`: as the client says, else which row it was of those that it sent."""

    model_config = ConfigDict(frozen=True)

    line: int
    field: str
    reason: str


class Import(BaseModel):
    """One import. `last_at`: the newest row's time.

    `rows`, `repeated`, `refused` and `rejected` (the first of these) are of its newest beginning, `accepted` of all.
    `chunk`: keyed digest of the newest rows that are counted, which count once however often they come.

    `bracket`: the bracket of history that its rows stand in (its own id, or that of the import which left it open).
    """

    model_config = ConfigDict(frozen=True)

    id: str
    mode: Literal["history", "replay", "live"]
    name: str
    started_at: Instant
    status: Literal["running", "held", "ended"] = "running"
    bracket: str | None = None
    last_at: Instant | None = None
    accepted: int = 0
    repeated: int = 0
    refused: int = 0
    rows: int = 0
    rejected: tuple[RejectedRow, ...] = ()
    chunk: str = ""
    rev: int = 0


class ImportRegister:
    def __init__(self, database: Any) -> None:
        self._imports = database["imports"]

    async def get(self, import_id: str) -> Import | None:
        with translated("reading an import"):
            found = await self._imports.find_one({"_id": import_id})
        return _import(found) if found else None

    async def add(self, new: Import) -> Import:
        """The one that is kept: the first of several at once."""
        with translated("keeping an import"):
            taken = await insert_new(self._imports, [{"_id": new.id, **new.model_dump(exclude={"id"})}])
        return (await self.get(new.id) or new) if taken else new

    async def save(self, changed: Import) -> bool:
        """False where somebody else changed it meanwhile. `rev` of the argument is the one that it was read with."""
        fields = changed.model_copy(update={"rev": changed.rev + 1}).model_dump(exclude={"id"})
        with translated("keeping an import"):
            result = await self._imports.replace_one({"_id": changed.id, "rev": changed.rev}, fields)
        return bool(result.matched_count)

    async def open_bracket(self) -> Import | None:
        """The import that has the bracket open (running or held), if one has."""
        with translated("looking for an open bracket"):
            found = await self._imports.find(
                {"status": {"$in": ["running", "held"]}, "bracket": {"$ne": None}}
            ).to_list(None)
        running = sorted(found, key=lambda document: document["status"] != "running")
        return _import(running[0]) if running else None

    async def close_bracket(self, bracket: str) -> None:
        """Every import that left this bracket open has ended with it."""
        with translated("closing a bracket"):
            await self._imports.update_many(
                {"bracket": bracket, "status": {"$in": ["held", "running"]}},
                {"$set": {"status": "ended", "bracket": None}, "$inc": {"rev": 1}},
            )


def _import(found: Mapping[str, Any]) -> Import:
    return Import(id=found["_id"], **{name: value for name, value in found.items() if name != "_id"})


class ReceiptRegister:
    """Which services have said that they forgot a customer. Holds no personal data, so it is kept."""

    def __init__(self, database: Any) -> None:
        self._receipts = database["receipts"]

    async def add(self, receipt_id: str, customer_id: str, at: Instant, services: tuple[str, ...]) -> None:
        document = {"_id": receipt_id, "customer_id": customer_id, "requested_at": at, "awaited": list(services)}
        with translated("keeping a receipt"):
            await insert_new(self._receipts, [document])

    async def forgotten(self, receipt_id: str, service: str, at: Instant) -> None:
        """The first time counts."""
        with translated("noting a receipt"):
            await self._receipts.update_one(
                {"_id": receipt_id, f"forgotten.{service}": {"$exists": False}},
                {"$set": {f"forgotten.{service}": at}},
            )

    async def get(self, receipt_id: str) -> dict[str, Any] | None:
        with translated("reading a receipt"):
            found: dict[str, Any] | None = await self._receipts.find_one({"_id": receipt_id})
        return found


class RuleRegister:
    """The ledger of all versions in one document, beside it each text under its digest."""

    def __init__(self, database: Any) -> None:
        self._ledger = database["rule_versions"]
        self._texts = database["rule_texts"]

    async def ledger(self) -> Ledger:
        with translated("reading the versions of the rules"):
            found = await self._ledger.find_one({"_id": _LEDGER})
        return Ledger.model_validate_json(found["ledger"]) if found else Ledger()

    async def save(self, ledger: Ledger) -> bool:
        """False where somebody else changed it meanwhile. `rev` of the argument is the one that it was read with."""
        rev = ledger.rev + 1
        document = {"_id": _LEDGER, "rev": rev, "ledger": ledger.model_copy(update={"rev": rev}).model_dump_json()}
        with translated("keeping the versions of the rules"):
            if ledger.rev == 0:
                return not await insert_new(self._ledger, [document])
            result = await self._ledger.replace_one({"_id": _LEDGER, "rev": ledger.rev}, document)
        return bool(result.matched_count)

    async def keep(self, digest: str, text: str) -> None:
        with translated("keeping the text of rules"):
            await insert_new(self._texts, [{"_id": digest, "text": text}])

    async def text(self, digest: str) -> str | None:
        with translated("reading the text of rules"):
            found = await self._texts.find_one({"_id": digest})
        return found["text"] if found else None
