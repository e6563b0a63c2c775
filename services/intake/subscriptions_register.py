"""Subscriptions in intake's database, each saved only at the revision that was read."""

from typing import Any

from services.intake.store import inserted
from services.intake.subscriptions import Subscription
from shared.processing.mongo_connection import translated


class SubscriptionRegister:
    """Every method raises TransientError when the outcome is unknown."""

    def __init__(self, database: Any) -> None:
        self._subscriptions = database["subscriptions"]

    async def get(self, subscription_id: str) -> Subscription | None:
        """Also one that was deleted."""
        with translated("reading a subscription"):
            found = await self._subscriptions.find_one({"_id": subscription_id})
        return Subscription.model_validate_json(found["body"]) if found else None

    async def living(self) -> list[Subscription]:
        """By age; there are at most a hundred."""
        with translated("reading subscriptions"):
            found = await self._subscriptions.find({"deleted": False}).to_list(None)
        read = (Subscription.model_validate_json(document["body"]) for document in found)
        return sorted(read, key=lambda one: (one.created_at, one.id))

    async def unsent(self) -> list[Subscription]:
        """Those whose events Kafka may not have."""
        with translated("looking for what was not sent"):
            found = await self._subscriptions.find({"unsent": True}).to_list(None)
        return [Subscription.model_validate_json(document["body"]) for document in found]

    async def add(self, new: Subscription) -> bool:
        """False where the id is taken."""
        return await inserted(self._subscriptions, {"_id": new.id, **_fields(new)})

    async def save(self, changed: Subscription) -> bool:
        """False where somebody else changed it meanwhile. `rev` of the argument is the one that it was read with."""
        after = changed.model_copy(update={"rev": changed.rev + 1})
        with translated("keeping a subscription"):
            result = await self._subscriptions.replace_one({"_id": changed.id, "rev": changed.rev}, _fields(after))
        return bool(result.matched_count)


def _fields(subscription: Subscription) -> dict[str, Any]:
    return {
        "rev": subscription.rev,
        "deleted": subscription.deleted,
        "unsent": bool(subscription.outbox),
        "body": subscription.model_dump_json(),
    }
