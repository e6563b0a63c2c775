"""What others may read: a customer's segments and why, how large the segments are, who is in them, the rules."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query

from services.segmentation import rules_api
from services.segmentation.domain import SegmentationDomain
from services.segmentation.evaluation import Moves
from services.segmentation.program import Program
from services.segmentation.rules_in_force import RulesInForce
from services.segmentation.store import Customer, SegmentationQueries
from shared.clock import Instant, from_rfc3339, to_rfc3339
from shared.web.freshness import Freshness
from shared.web.keys import requires
from shared.web.problems import Problem

CustomerId = Annotated[str, Path(pattern=r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")]
Cursor = Annotated[str | None, Query(pattern=r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")]
Limit = Annotated[int, Query(ge=1, le=1000)]
Answer = dict[str, Any]


def build_router(
    queries: SegmentationQueries, freshness: Freshness, domain: SegmentationDomain, in_force: RulesInForce
) -> APIRouter:
    router = APIRouter(prefix="/v1", dependencies=[Depends(requires("read"))])
    _customer_routes(router, queries, freshness, in_force)
    _segment_routes(router, queries, freshness, domain.program)
    router.include_router(rules_api.build_router(in_force))
    return router


def _customer_routes(
    router: APIRouter, queries: SegmentationQueries, freshness: Freshness, in_force: RulesInForce
) -> None:
    async def known(customer_id: CustomerId) -> Customer:
        customer = await queries.customer(customer_id)
        if customer is None:
            raise Problem(404, "Unknown customer", "Segmentation has nothing of a customer with this id.")
        return customer

    Known = Annotated[Customer, Depends(known)]  # noqa: N806 - a type

    @router.get("/customers/{customer_id}/segments")
    async def segments(customer: Known) -> Answer:
        fresh = await freshness.of(customer.partition)
        at = _shown_at(customer, fresh["as_of"])
        return {**_segments(customer, await in_force.of(customer.version), at), **fresh}

    @router.get("/customers/{customer_id}/segments/history")
    async def history(customer: Known) -> Answer:
        """The newest changes, newest first; all of them, with their reasons, are on guanxi.segments.v1."""
        changes = [_moves(at, moves) for at, moves in reversed(customer.state.recent)]
        fresh = await freshness.of(customer.partition)
        return {"customer_id": customer.state.customer_id, "changes": changes, **fresh}


def _segment_routes(router: APIRouter, queries: SegmentationQueries, freshness: Freshness, program: Program) -> None:
    values = {dimension.name: tuple(dict.fromkeys(dimension.values)) for dimension, _ in program.dimensions}

    @router.get("/segments")
    async def sizes() -> Answer:
        counted = {name: await queries.sizes(name, values[name]) for name in values}
        return {"dimensions": counted, "rules_version": program.rules.version, **await freshness.of(None)}

    @router.get("/segments/{dimension}/{value}")
    async def members(dimension: str, value: str, after: Cursor = None, limit: Limit = 100) -> Answer:
        if value not in values.get(dimension, ()):
            raise Problem(404, "Unknown segment", "GET /v1/segments names every dimension and its values.")
        found = await queries.members(dimension, value, after, limit)
        page = [_member(customer, dimension) for customer in found]
        following = found[-1].state.customer_id if len(found) == limit else None
        return {"members": page, "next": following, **await freshness.of(None)}


def _shown_at(customer: Customer, as_of: str | None) -> Instant:
    """As far on as the partition is known to be, but never past an instant at which something changes."""
    at = max(customer.at, from_rfc3339(as_of)) if as_of is not None else customer.at
    upcoming = customer.state.next_at
    return at if upcoming is None else max(customer.at, min(at, upcoming - 1))


def _segments(customer: Customer, domain: SegmentationDomain, at: Instant) -> Answer:
    state = customer.state
    because = domain.because(state, at)
    memberships = {
        name: {"value": value, "since": to_rfc3339(since), "because": because.get(name)}
        for name, (value, since, _) in state.segments.items()
        if value is not None
    }
    return {
        "customer_id": state.customer_id,
        "memberships": memberships,
        "composites": [] if state.composites is None else list(state.composites[0]),
        "objected": state.objected,
        "evaluated_at": to_rfc3339(at),
        "next_change_at": None if state.next_at is None else to_rfc3339(state.next_at),
        "folded": state.given_up,
        "rules_version": domain.program.rules.version,
    }


def _moves(at: Instant, moves: Moves) -> Answer:
    changes = [{"dimension": name, "from": before, "to": after} for name, (before, after) in moves.items()]
    return {"at": to_rfc3339(at), "changes": changes}


def _member(customer: Customer, dimension: str) -> Answer:
    """`since` None: the customer left the segment while the page was read."""
    _, since, _ = customer.state.segments.get(dimension, (None, None, None))
    return {"customer_id": customer.state.customer_id, "since": None if since is None else to_rfc3339(since)}
