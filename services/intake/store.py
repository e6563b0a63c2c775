"""Intake's memory in MongoDB: batches before they are sent, claims of event ids, identities, customers."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from pymongo.errors import BulkWriteError, DuplicateKeyError

from services.intake.batches import Batch, Claim, Entry, Guard, Verdict, entry_from
from services.intake.customers import Customer
from shared.clock import Instant
from shared.processing.mongo_connection import Index, durable, ensure_collection, translated

COLLECTIONS: dict[str, tuple[Index, ...]] = {
    "batches": (Index((("pending", 1), ("at", 1)), {"pending": True}),),
    "claims": (),
    "identities": (),
    "customers": (),
    "keys": (),
    "imports": (),
    "receipts": (),
    "rule_versions": (),
    "rule_texts": (),
    "subscriptions": (Index((("unsent", 1),), {"unsent": True}),),
}
_DUPLICATE = 11_000


async def insert_new(collection: Any, documents: Sequence[Mapping[str, Any]]) -> list[int]:
    """Inserts what is not there yet, in one round trip; the indexes of those that were there."""
    if not documents:
        return []
    try:
        await collection.insert_many(documents, ordered=False)
    except BulkWriteError as error:
        failures = error.details.get("writeErrors", [])
        if error.details.get("writeConcernErrors") or any(f.get("code") != _DUPLICATE for f in failures):
            raise
        return [failure["index"] for failure in failures]
    return []


async def inserted(collection: Any, document: Mapping[str, Any]) -> bool:
    """False where the id is taken. TransientError: unknown."""
    with translated("inserting"):
        try:
            await collection.insert_one(document)
        except DuplicateKeyError:
            return False
    return True


class IntakeStore:
    """Every method raises TransientError when the outcome is unknown; repeating it is harmless."""

    def __init__(self, database: Any) -> None:
        self.database = durable(database)
        self._batches = self.database["batches"]
        self._claims = self.database["claims"]
        self._identities = self.database["identities"]
        self._customers = self.database["customers"]

    async def ensure(self) -> None:
        """Collections and the index of what was not acknowledged; beforehand, because first writes at once may collide."""
        for name, indexes in COLLECTIONS.items():
            await ensure_collection(self.database, name, indexes)

    async def ping(self) -> None:
        with translated("asking the store"):
            await self.database.command("ping")

    async def owners(self, keys: Collection[str]) -> dict[str, tuple[str, str]]:
        """Identity key to the customer that it names and the batch that claimed it; only those that are known."""
        if not keys:
            return {}
        with translated("looking for identities"):
            found = await self._identities.find({"_id": {"$in": list(keys)}}).to_list(None)
        return {document["_id"]: (document["c"], document["b"]) for document in found}

    async def customers(self, ids: Collection[str]) -> dict[str, Customer]:
        if not ids:
            return {}
        with translated("looking for customers"):
            found = await self._customers.find({"_id": {"$in": list(ids)}}).to_list(None)
        return {document["_id"]: Customer.model_validate_json(document["customer"]) for document in found}

    async def begin(self, batch: Batch) -> None:
        document = {
            "_id": batch.id,
            "owner": batch.owner,
            "number": batch.number,
            "at": batch.at,
            "pending": True,
            "entries": [entry.to_fields() for entry in batch.entries],
        }
        with translated("writing a batch"):
            try:
                await self._batches.insert_one(document)
            except DuplicateKeyError:
                return

    async def judge(self, batch: Batch) -> Verdict:
        """Guards first, then claims: an entry is sent only where it holds both. Says the same whenever it is asked again."""
        verdict = Verdict()
        with translated("claiming"):
            await self._guard(batch, verdict)
            await self._claim(batch, verdict)
        return verdict

    async def _guard(self, batch: Batch, verdict: Verdict) -> None:
        guarded = [(i, e, e.guard) for i, e in enumerate(batch.entries) if e.guard is not None]
        await self._leave_out_repeated(batch, [i for i, _, _ in guarded], verdict)
        guarded = [(i, e, guard) for i, e, guard in guarded if i not in verdict.repeated]
        if not guarded:
            return
        rivals = await self._claim_keys(batch, guarded)
        new = [guard.insert for _, entry, guard in guarded if guard.insert and entry.customer_id not in rivals]
        await insert_new(self._customers, [_customer_fields(customer) for customer in new])
        for index, entry, guard in guarded:
            beaten = entry.customer_id in rivals and bool(guard.keys)
            if beaten or (guard.update is not None and not await self._update(guard.update)):
                verdict.lost.add(index)
            elif guard.release:
                await self._release(entry.customer_id, guard.release)
        unregistered = {e.customer_id for i, e, guard in guarded if guard.insert and i in verdict.lost}
        verdict.lost |= {i for i, entry in enumerate(batch.entries) if entry.customer_id in unregistered}

    async def _leave_out_repeated(self, batch: Batch, places: Sequence[int], verdict: Verdict) -> None:
        """A repetition must change nothing: neither register again nor bring an old consent back."""
        claims = await self.claims([claim for i in places if (claim := batch.entries[i].claim) is not None])
        for index in places:
            holder = claims.get(batch.entries[index].claim or "")
            if holder is not None and holder.batch != batch.id:
                verdict.repeated[index] = holder

    async def _claim_keys(self, batch: Batch, guarded: Iterable[tuple[int, Entry, Guard]]) -> set[str]:
        """Customers that did not get all their keys; what they did get is given back."""
        wanted = {key: entry.customer_id for _, entry, guard in guarded for key in guard.keys}
        documents = [{"_id": key, "c": customer_id, "b": batch.id} for key, customer_id in wanted.items()]
        taken = [documents[index]["_id"] for index in await insert_new(self._identities, documents)]
        holders = await self.owners(taken)
        rivals = {wanted[key] for key in taken if key not in holders or holders[key][0] != wanted[key]}
        mine = [key for key, customer_id in wanted.items() if customer_id in rivals]
        if mine:
            await self._identities.delete_many({"_id": {"$in": mine}, "b": batch.id, "c": {"$in": list(rivals)}})
        return rivals

    async def _update(self, customer: Customer) -> bool:
        result = await self._customers.replace_one(
            {"_id": customer.id, "rev": customer.rev - 1}, _customer_fields(customer)
        )
        if result.matched_count:
            return True
        stored = (await self.customers([customer.id])).get(customer.id)
        return stored is not None and _includes(stored, customer)

    async def _release(self, customer_id: str, keys: Sequence[str]) -> None:
        await self._identities.delete_many({"_id": {"$in": list(keys)}, "c": customer_id})

    async def _claim(self, batch: Batch, verdict: Verdict) -> None:
        decided = verdict.lost | verdict.repeated.keys()
        places = [i for i, e in enumerate(batch.entries) if e.claim is not None and i not in decided]
        documents = [_claim_fields(batch, index) for index in places]
        taken = [places[position] for position in await insert_new(self._claims, documents)]
        if not taken:
            return
        claims = await self.claims([batch.entries[index].claim or "" for index in taken])
        for index in taken:
            holder = claims[batch.entries[index].claim or ""]
            if (holder.batch, holder.index) != (batch.id, index):
                verdict.repeated[index] = holder

    async def claims(self, ids: Collection[str]) -> dict[str, Claim]:
        if not ids:
            return {}
        with translated("looking for claims"):
            found = await self._claims.find({"_id": {"$in": list(ids)}}).to_list(None)
        return {d["_id"]: Claim(d["_id"], d["f"], d["b"], d["i"], d["e"], d["c"], d["r"]) for d in found}

    async def acknowledge(self, batch_id: str, positions: Mapping[int, str | None]) -> None:
        """Keeps where each entry went, for later answers; the records themselves are in the log now."""
        kept = {str(index): position for index, position in positions.items()}
        with translated("acknowledging a batch"):
            await self._batches.update_one(
                {"_id": batch_id, "pending": True},
                {"$set": {"positions": kept}, "$unset": {"pending": True, "entries": True}},
            )

    async def positions(self, batch_id: str) -> dict[int, str | None] | None:
        """Where the entries of an acknowledged batch went; None while it is not acknowledged."""
        with translated("looking for a batch"):
            found = await self._batches.find_one({"_id": batch_id}, {"positions": 1})
        if found is None or "positions" not in found:
            return None
        return {int(index): position for index, position in found["positions"].items()}

    async def pending_among(self, batch_ids: Collection[str]) -> set[str]:
        if not batch_ids:
            return set()
        query = {"_id": {"$in": list(batch_ids)}, "pending": True}
        with translated("looking for batches"):
            found = await self._batches.find(query, {"_id": 1}).to_list(None)
        return {document["_id"] for document in found}

    async def pending(self, before: Instant) -> list[str]:
        """Ids of what was taken in before that instant and not acknowledged, in order."""
        query = {"pending": True, "at": {"$lt": before}}
        with translated("looking for what was not acknowledged"):
            found = await self._batches.find(query, {"at": 1, "number": 1}).to_list(None)
        return [d["_id"] for d in sorted(found, key=lambda d: (d["at"], d["number"]))]

    async def batch(self, batch_id: str) -> Batch | None:
        """None where it was acknowledged meanwhile."""
        with translated("reading a batch"):
            found = await self._batches.find_one({"_id": batch_id, "pending": True})
        if found is None:
            return None
        entries = tuple(entry_from(fields) for fields in found["entries"])
        return Batch(found["_id"], found["owner"], found["number"], found["at"], entries)


def _includes(stored: Customer, wanted: Customer) -> bool:
    """Whether a change that seems to have lost is in fact there already (its reply was lost, or it is repeated)."""
    if wanted.erased_at is not None:
        return stored.receipt_id == wanted.receipt_id
    done = {change.event_id for change in stored.changes}
    return bool(wanted.changes) and wanted.changes[-1].event_id in done


def _customer_fields(customer: Customer) -> dict[str, Any]:
    return {"_id": customer.id, "rev": customer.rev, "customer": customer.model_dump_json()}


def _claim_fields(batch: Batch, index: int) -> dict[str, Any]:
    entry = batch.entries[index]
    return {
        "_id": entry.claim,
        "f": entry.fingerprint,
        "b": batch.id,
        "i": index,
        "e": entry.event_id,
        "c": entry.customer_id,
        "r": entry.registered,
    }
