"""What the deliverer must not forget, in collections of its own in segmentation's database."""

from collections.abc import Collection as Group
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from services.segmentation.webhooks.deliveries import Delivery
from shared.clock import Instant
from shared.processing.mongo_collection import Collection
from shared.processing.mongo_connection import Index
from shared.processing.ports import TransientError

DELIVERIES, CURSORS, STANDINGS = "deliveries", "delivery_cursors", "delivery_standings"
COLLECTIONS: dict[str, tuple[Index, ...]] = {
    DELIVERIES: (Index((("partition", 1),)), Index((("subscription", 1),)), Index((("customer", 1),))),
    CURSORS: (Index((("partition", 1),)),),
    STANDINGS: (),
}
_LIGHT = ("_id", "subscription", "partition", "customer", "sequence", "event_id", "appended_at", "attempts", "due_at")


class Superseded(TransientError):
    """Another process has the partition now: whoever hears this must ask the group anew."""


@dataclass(frozen=True, slots=True)
class Cursor:
    """How far the log was gone through for one subscription, in one partition.

    `next` None: it goes with the live reading. Else its records from there on are still to be gone through, those before
    `until` for a replay: of `of_customer` (None: all), beyond `after_sequence`, appended since `since`.
    `replayed`: number of the newest replay that was begun. `rev` rises with every save.
    """

    subscription: str
    partition: int
    next: int | None = None
    until: int = 0
    of_customer: str | None = None
    after_sequence: int = 0
    since: Instant = 0
    replayed: int = 0
    rev: int = 0


@dataclass(frozen=True, slots=True)
class Standing:
    """What is known of a receiver. `ended`: number of the subscription's event that was in force when it answered 410.

    `given_up`: deliveries whose attempts were used up, between the two instants (0: none).
    """

    subscription: str
    ended: int = 0
    ended_at: Instant = 0
    given_up: int = 0
    given_up_from: Instant = 0
    given_up_to: Instant = 0
    rev: int = 0


class DeliverStore:
    """Every method raises TransientError when the outcome is unknown; repeating it is harmless."""

    def __init__(self, database: Any) -> None:
        self._deliveries = Collection(database, DELIVERIES)
        self._cursors = Collection(database, CURSORS)
        self._standings = Collection(database, STANDINGS)

    async def add(self, deliveries: Sequence[Delivery]) -> None:
        """What is there already stays as it is."""
        if deliveries:
            await self._deliveries.insert([_row(delivery) for delivery in deliveries])

    async def waiting(self, partition: int) -> list[Delivery]:
        """Without their bodies."""
        rows = await self._deliveries.find({"partition": partition}, _LIGHT)
        return [_delivery(row) for row in rows]

    async def body(self, name: str) -> bytes | None:
        """None: it was withdrawn meanwhile (its customer forgotten, its subscription deleted)."""
        rows = await self._deliveries.find({"_id": name}, ("body",))
        return rows[0]["body"].encode() if rows else None

    async def postpone(self, delivery: Delivery) -> None:
        """Where it is still there and nobody else has counted this attempt."""
        await self._deliveries.swap([(_row(delivery), delivery.attempts - 1)], "attempts")

    async def remove(self, names: Group[str]) -> None:
        await self._deliveries.delete({"_id": {"$in": list(names)}})

    async def forget(self, customers: Group[str]) -> None:
        await self._deliveries.delete({"customer": {"$in": list(customers)}})

    async def drop(self, subscription: str, partition: int) -> None:
        """All that there is of a subscription in one partition."""
        for collection in (self._deliveries, self._cursors):
            await collection.delete({"partition": partition, "subscription": subscription})

    async def count(self, subscription: str) -> int:
        return await self._deliveries.count({"subscription": subscription})

    async def take_over(self, partition: int) -> list[Cursor]:
        """Ours from now on: an earlier owner that still writes is refused."""
        cursors = await self.cursors({"partition": partition})
        taken = [replace(cursor, rev=cursor.rev + 1) for cursor in cursors]
        rows = [(_cursor_row(cursor), cursor.rev - 1) for cursor in taken]
        if rows and not await self._cursors.swap(rows, "rev"):
            raise Superseded("somebody else moves this partition's cursors")
        return taken

    async def cursors(self, wanted: dict[str, Any]) -> list[Cursor]:
        return [_cursor(row) for row in await self._cursors.find(wanted)]

    async def save_cursor(self, cursor: Cursor) -> Cursor:
        """As saved. Raises Superseded where its revision is not the one that we saw."""
        after = replace(cursor, rev=cursor.rev + 1)
        if not await self._cursors.swap([(_cursor_row(after), cursor.rev or None)], "rev"):
            raise Superseded("somebody else has moved this cursor")
        return after

    async def standings(self) -> dict[str, Standing]:
        rows = await self._standings.find({})
        found = [Standing(row.pop("_id"), **row) for row in rows]
        return {standing.subscription: standing for standing in found}

    async def save_standing(self, standing: Standing) -> bool:
        """False: somebody else changed it; read it again."""
        after = replace(standing, rev=standing.rev + 1)
        row = _named(asdict(after), after.subscription)
        return await self._standings.swap([(row, standing.rev or None)], "rev")


def _row(delivery: Delivery) -> dict[str, Any]:
    row = _named({name: getattr(delivery, name) for name in _LIGHT[1:]}, delivery.id)
    return {**row, "subscription": delivery.subscription, "body": (delivery.body or b"").decode()}


def _delivery(row: dict[str, Any]) -> Delivery:
    return Delivery(row["_id"], **{name: row[name] for name in _LIGHT[1:]})


def _cursor_row(cursor: Cursor) -> dict[str, Any]:
    row = _named(asdict(cursor), f"{cursor.subscription}:{cursor.partition}")
    return {**row, "subscription": cursor.subscription}


def _cursor(row: dict[str, Any]) -> Cursor:
    return Cursor(**{name: value for name, value in row.items() if name != "_id"})


def _named(fields: dict[str, Any], name: str) -> dict[str, Any]:
    return {"_id": name, **{key: value for key, value in fields.items() if key != "subscription"}}
