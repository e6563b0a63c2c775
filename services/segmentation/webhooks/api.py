"""How deliveries stand, for operators: per subscription what waits, whether its receiver ended it, what was given up."""

from typing import Any

from fastapi import APIRouter, Depends

from services.segmentation.webhooks.board import Board
from services.segmentation.webhooks.store import Cursor, DeliverStore, Standing
from services.segmentation.webhooks.subscriptions import Subscription
from shared.clock import Instant, to_rfc3339
from shared.web.keys import requires


def build_router(board: Board, store: DeliverStore) -> APIRouter:
    router = APIRouter(prefix="/v1", dependencies=[Depends(requires("read"))])

    @router.get("/deliveries")
    async def deliveries() -> dict[str, Any]:
        """`waiting` and `behind` (partitions that are gone through in the log) over all processes."""
        standings = await store.standings()
        cursors = await store.cursors({"next": {"$ne": None}})
        shown = [
            _shown(one, standings.get(one.id) or Standing(one.id), await store.count(one.id), cursors)
            for one in board.subscriptions
        ]
        return {"subscriptions": shown}

    return router


def _shown(one: Subscription, standing: Standing, waiting: int, cursors: list[Cursor]) -> dict[str, Any]:
    ended = standing.ended >= one.changed
    return {
        "id": one.id,
        "state": "ended" if ended else "paused" if one.paused else "open",
        "ended_at": _told(standing.ended_at) if ended else None,
        "waiting": waiting,
        "behind": sum(cursor.subscription == one.id for cursor in cursors),
        "given_up": standing.given_up,
        "given_up_from": _told(standing.given_up_from),
        "given_up_to": _told(standing.given_up_to),
    }


def _told(at: Instant) -> str | None:
    return to_rfc3339(at) if at else None
