"""Intake's memory in MongoDB: batches before they are sent, claims of event ids, identities, customers."""

import asyncio
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from pymongo.errors import BulkWriteError, DuplicateKeyError

from services.intake import rows
from services.intake.batches import Batch, Claim, Guard, Verdict
from services.intake.customers import Change, Customer
from shared.clock import Instant
from shared.processing.mongo_connection import Index, durable, ensure_collection, translated

COLLECTIONS: dict[str, tuple[Index, ...]] = {
    "batches": (Index((("pending", 1), ("at", 1)), {"pending": True}),),
    "claims": (),
    "identities": (),
    "customers": (),
    "changes": (Index((("c", 1),)),),
    "keys": (),
    "imports": (),
    "receipts": (),
    "erasures": (Index((("at", 1),)),),
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
        self._changes = self.database["changes"]
        self._erasures = self.database["erasures"]

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
            found = await self._customers.find({"_id": {"$in": list(ids)}}, {"customer": 1}).to_list(None)
        return {row["_id"]: rows.customer_of(row) for row in found}

    async def history(self, customer_id: str) -> list[Change]:
        """Every change of a customer that was not erased, oldest first."""
        with translated("looking for changes"):
            held = await self._rows([customer_id])
            found = await self._changes.find({"c": customer_id}).to_list(None)
        return rows.history([*found, *(change for row in held.values() for change in rows.filed(row))])

    async def begin(self, batch: Batch) -> None:
        with translated("writing a batch"):
            try:
                await self._batches.insert_one(rows.batch_row(batch))
            except DuplicateKeyError:
                return

    async def judge(self, batch: Batch) -> Verdict:
        """Claims first, then guards: an entry is sent only where it holds both. Says the same whenever it is asked again.

        A guard is the sum of its customer's entries: where one of them was taken in before, the others are decided anew.
        """
        verdict = Verdict()
        with translated("claiming"):
            await self._claim(batch, verdict)
            dependants = batch.dependants()
            whole = {c for c, places in dependants.items() if verdict.settled.isdisjoint(places)}
            kept = await self._guard(batch.id, [guard for guard in batch.guards if guard.customer.id in whole])
            verdict.lose(batch, {place for c, places in dependants.items() if c not in kept for place in places})
            await self.give_claims_back(batch, verdict.lost)
        return verdict

    async def _claim(self, batch: Batch, verdict: Verdict) -> None:
        places = [index for index, entry in enumerate(batch.entries) if entry.claim is not None]
        documents = [rows.claim_row(batch, index) for index in places]
        taken = [places[position] for position in await insert_new(self._claims, documents)]
        if not taken:
            return
        claims = await self.claims([batch.entries[index].claim or "" for index in taken])
        for index in taken:
            holder = claims.get(batch.entries[index].claim or "")
            if holder is None:
                verdict.lost.add(index)
            elif (holder.batch, holder.index) != (batch.id, index):
                verdict.repeated[index] = holder

    async def give_claims_back(self, batch: Batch, places: Iterable[int]) -> None:
        given = [claim for index in places if (claim := batch.entries[index].claim) is not None]
        if given:
            with translated("giving claims back"):
                await self._claims.delete_many({"_id": {"$in": given}, "b": batch.id})

    async def _guard(self, batch_id: str, guards: Sequence[Guard]) -> set[str]:
        """The customers whose guards hold, each stored as its batch leaves it."""
        if not guards:
            return set()
        stored = await self._rows([guard.customer.id for guard in guards])
        included = await self._included(batch_id, guards, stored)
        undone = [guard for guard in guards if guard.customer.id not in included]
        open_ = [guard for guard in undone if _rev(stored, guard) == guard.base]
        late = [guard for guard in undone if _rev(stored, guard) != guard.base]
        rivals = await self._claim_keys(batch_id, open_)
        open_ = [guard for guard in open_ if guard.customer.id not in rivals]
        await self._file(row for guard in open_ if guard.base and (row := stored[guard.customer.id]))
        beaten = [*late, *await self._put(batch_id, open_)]
        put = [guard for guard in open_ if guard not in beaten]
        await self._clear(put, {})
        if beaten:
            included |= await self._beaten(batch_id, beaten)
        await self._clear([guard for guard in guards if guard.customer.id in included], stored)
        return included | {guard.customer.id for guard in put}

    async def _rows(self, ids: Collection[str]) -> dict[str, rows.Row]:
        if not ids:
            return {}
        found = await self._customers.find({"_id": {"$in": list(ids)}}).to_list(None)
        return {row["_id"]: row for row in found}

    async def _included(self, batch_id: str, guards: Iterable[Guard], stored: Mapping[str, rows.Row]) -> set[str]:
        """Whom this very batch has changed already: its reply was lost, or it is judged again."""
        done = {c for c, row in stored.items() if row.get("b") == batch_id}
        moved = {g.customer.id for g in guards if g.customer.id not in done and _rev(stored, g) > g.base}
        done |= {guard.customer.id for guard in guards if guard.customer.id in moved and not guard.base}
        if moved - done:
            found = await self._changes.find({"c": {"$in": list(moved - done)}, "b": batch_id}, {"c": 1}).to_list(None)
            done |= {row["c"] for row in found}
        return done

    async def _claim_keys(self, batch_id: str, guards: Iterable[Guard]) -> set[str]:
        """Customers that did not get all their keys; what they did get is given back."""
        wanted = {key: guard.customer.id for guard in guards for key in guard.keys}
        documents = [{"_id": key, "c": customer_id, "b": batch_id} for key, customer_id in wanted.items()]
        taken = [documents[index]["_id"] for index in await insert_new(self._identities, documents)]
        holders = await self.owners(taken)
        rivals = {wanted[key] for key in taken if holders.get(key) != (wanted[key], batch_id)}
        await self._give_keys_back(batch_id, [key for key, customer_id in wanted.items() if customer_id in rivals])
        return rivals

    async def _give_keys_back(self, batch_id: str, keys: Sequence[str]) -> None:
        if keys:
            await self._identities.delete_many({"_id": {"$in": keys}, "b": batch_id})

    async def _file(self, stored: Iterable[rows.Row]) -> None:
        """What a row holds of its history becomes rows of its own before the row is replaced."""
        await insert_new(self._changes, [change for row in stored for change in rows.filed(row)])

    async def _put(self, batch_id: str, guards: Sequence[Guard]) -> list[Guard]:
        """Stores the customers; those come back that somebody else has changed meanwhile."""
        new = [rows.customer_row(guard.customer, batch_id) for guard in guards if not guard.base]
        await insert_new(self._customers, new)
        changed = [guard for guard in guards if guard.base]
        results = await asyncio.gather(
            *(
                self._customers.replace_one(
                    {"_id": guard.customer.id, "rev": guard.base}, rows.customer_row(guard.customer, batch_id)
                )
                for guard in changed
            )
        )
        return [guard for guard, result in zip(changed, results, strict=True) if not result.matched_count]

    async def _beaten(self, batch_id: str, guards: Sequence[Guard]) -> set[str]:
        """Whom this very batch has changed after all (somebody judges it beside us). The others leave nothing behind."""
        stored = await self._rows([guard.customer.id for guard in guards])
        included = await self._included(batch_id, guards, stored)
        lost = [guard for guard in guards if guard.customer.id not in included]
        await self._give_keys_back(batch_id, [key for guard in lost for key in guard.keys])
        await self._forget_changes([c for c, row in stored.items() if rows.customer_of(row).erased_at is not None])
        return included

    async def _clear(self, guards: Sequence[Guard], stored: Mapping[str, rows.Row]) -> None:
        """Keys that no longer name their customer, unless they do again; and the history of who was erased."""
        for guard in guards:
            row = stored.get(guard.customer.id)
            again = set() if row is None else set(rows.customer_of(row).keys.values())
            keys = [key for key in guard.release if key not in again]
            if keys:
                await self._identities.delete_many({"_id": {"$in": keys}, "c": guard.customer.id})
        await self._forget_changes([guard.customer.id for guard in guards if guard.destroys])

    async def _forget_changes(self, customer_ids: Sequence[str]) -> None:
        if customer_ids:
            await self._changes.delete_many({"c": {"$in": customer_ids}})

    async def claims(self, ids: Collection[str]) -> dict[str, Claim]:
        if not ids:
            return {}
        with translated("looking for claims"):
            found = await self._claims.find({"_id": {"$in": list(ids)}}).to_list(None)
        return {row["_id"]: rows.claim_of(row) for row in found}

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

    async def announce_erasure(self, customer_id: str, at: Instant) -> None:
        with translated("announcing an erasure"):
            await self._erasures.replace_one({"_id": customer_id}, {"_id": customer_id, "at": at}, upsert=True)

    async def erasures(self, since: Instant) -> set[str]:
        """Customers whose erasure was announced since then."""
        with translated("looking for erasures"):
            found = await self._erasures.find({"at": {"$gte": since}}, {"_id": 1}).to_list(None)
        return {row["_id"] for row in found}

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
        return rows.batch_of(found)


def _rev(stored: Mapping[str, rows.Row], guard: Guard) -> int:
    return int(stored[guard.customer.id]["rev"]) if guard.customer.id in stored else 0
