"""One customer: segments now, as they were known, as they were true; why, since when, what comes next; every change."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query
from pydantic import AwareDatetime

from services.segmentation.chronicle.as_of import NotFollowedYet
from services.segmentation.chronicle.changes import Changes, Recorded
from services.segmentation.chronicle.moves import COMPOSITES
from services.segmentation.domain import SegmentationDomain
from services.segmentation.reads import Reads
from services.segmentation.rules import Rules
from services.segmentation.state import CustomerState
from services.segmentation.store import Customer
from shared.clock import Instant, from_rfc3339, to_instant, to_rfc3339
from shared.events.segments import SegmentsChanged
from shared.web.problems import RETRY, Problem

CustomerId = Annotated[str, Path(pattern=r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")]
When = Annotated[AwareDatetime | None, Query(description="RFC 3339 with an offset")]
Before = Annotated[int | None, Query(ge=1, description="`next` of the page before")]
Limit = Annotated[int, Query(ge=1, le=1000)]
Answer = dict[str, Any]

PAGE = 50
"""Changes that are read at once where the last one of each dimension is looked for."""


def add_routes(router: APIRouter, reads: Reads) -> None:
    async def known(customer_id: CustomerId) -> Customer:
        customer = await reads.queries.customer(customer_id)
        if customer is None:
            raise Problem(404, "Unknown customer", "Segmentation has nothing of a customer with this id.")
        return customer

    Known = Annotated[Customer, Depends(known)]  # noqa: N806 - a type

    @router.get("/customers/{customer_id}/segments")
    async def segments(customer: Known, at: When = None, known_at: When = None) -> Answer:
        """Now; or `known_at` an instant: what had been published by then; or `at` an instant: what was true then, with all
        that is known now, under the rules in force now."""
        if at is not None and known_at is not None:
            raise Problem(422, "One instant only", "Ask for `at` or for `known_at`.")
        if known_at is not None:
            return await _known_at(reads, customer, to_instant(known_at))
        if at is not None:
            return await _true_at(reads, customer, to_instant(at))
        return await _now(reads, customer)

    @router.get("/customers/{customer_id}/segments/history")
    async def history(customer: Known, before: Before = None, limit: Limit = 100) -> Answer:
        """Every change with its reasons, newest first."""
        page = await reads.changes.page(customer.state.customer_id, before, limit)
        following = page[-1].sequence if len(page) == limit and page[-1].sequence > 1 else None
        fresh = await reads.followed.of(customer.partition)
        changes = [described(recorded, data) for recorded in page if (data := recorded.changed) is not None]
        return {"customer_id": customer.state.customer_id, "changes": changes, "next": following, **fresh}


async def _now(reads: Reads, customer: Customer) -> Answer:
    fresh = await reads.freshness.of(customer.partition)
    domain = await reads.in_force.of(customer.document.version)
    state, at = customer.state, _shown_at(customer, fresh["as_of"])
    forecast = domain.forecast(state, at).items()
    upcoming = {name: {"at": to_rfc3339(instant), "to": to} for name, (instant, to) in forecast}
    answer = standing(domain, state, at)
    for name, membership in answer["memberships"].items():
        membership["next"] = upcoming.get(name)
    absent = {name: to for name, to in upcoming.items() if name not in answer["memberships"]}
    return {
        **answer,
        "upcoming": absent,
        "next_change_at": None if state.next_at is None else to_rfc3339(state.next_at),
        **fresh,
    }


async def _true_at(reads: Reads, customer: Customer, at: Instant) -> Answer:
    fresh = await reads.freshness.of(customer.partition)
    if at > _shown_at(customer, fresh["as_of"]):
        raise Problem(422, "Not known yet", "`at` lies beyond what has been applied (`as_of` of an answer about now).")
    domain = await reads.in_force.of(customer.document.version)
    try:
        state = await reads.as_of.state(domain, customer.document, at)
    except NotFollowedYet:
        detail = "This customer's newest records are still being noted down; ask again in a moment."
        raise Problem(503, "Not followed yet", detail, headers=RETRY) from None
    return {**standing(domain, state, at), "at": to_rfc3339(at), **fresh}


async def _known_at(reads: Reads, customer: Customer, at: Instant) -> Answer:
    newest = await reads.changes.newest_at(customer.state.customer_id, at)
    data = None if newest is None else newest.changed
    if newest is None or data is None:
        raise Problem(404, "Nothing known then", "Nothing had been published of this customer by that instant.")
    fresh = await reads.followed.of(customer.partition)
    return {
        "customer_id": newest.customer_id,
        "known_at": to_rfc3339(at),
        "memberships": await _last_changes(reads.changes, newest, data),
        "composites": list(data.composites),
        "sequence": newest.sequence,
        "rules_version": data.rules_version,
        **fresh,
    }


async def _last_changes(changes: Changes, newest: Recorded, data: SegmentsChanged) -> Answer:
    """For each dimension the change that brought its value, looked for from the newest one backwards."""
    found: Answer = {name: {"value": value, "since": None, "because": None} for name, value in data.memberships.items()}
    missing = {name for name, value in data.memberships.items() if value is not None}
    before = newest.sequence + 1
    while missing and (page := await changes.page(newest.customer_id, before, PAGE)):
        for recorded in page:
            for change in recorded.changed.changes if recorded.changed is not None else ():
                if change.dimension in missing:
                    missing.discard(change.dimension)
                    because = change.because.model_dump(mode="json")
                    found[change.dimension] |= {"since": to_rfc3339(recorded.at), "because": because}
        before = page[-1].sequence
    return found


def standing(domain: SegmentationDomain, state: CustomerState, at: Instant) -> Answer:
    """Every dimension in which the customer is in a value, since when and why; and the composites."""
    because, rules = domain.because(state, at), domain.program.rules
    memberships = {
        name: {"value": value, "since": to_rfc3339(since), "because": because.get(name), "note": note_of(rules, name)}
        for name, (value, since, _) in state.segments.items()
        if value is not None
    }
    return {
        "customer_id": state.customer_id,
        "memberships": memberships,
        **_composites(state, because),
        "objected": state.objected,
        "evaluated_at": to_rfc3339(at),
        "folded": state.given_up,
        "rules_version": rules.version,
    }


def _composites(state: CustomerState, because: Answer) -> Answer:
    names, since, _ = state.composites if state.composites is not None else ((), None, None)
    return {
        "composites": list(names),
        "composites_since": None if since is None or not names else to_rfc3339(since),
        "composites_because": because.get(COMPOSITES),
    }


def note_of(rules: Rules, dimension: str) -> dict[str, str]:
    """What a dimension or a composite means, per language."""
    written = rules.dimensions.get(dimension) or rules.composites.get(dimension)
    return dict(written.note) if written is not None else {}


def described(recorded: Recorded, data: SegmentsChanged) -> Answer:
    """One change as it was published."""
    said = data.model_dump(
        mode="json", by_alias=True, include={"changes", "memberships", "composites", "rules_version"}
    )
    return {"sequence": recorded.sequence, "at": to_rfc3339(recorded.at), **said}


def _shown_at(customer: Customer, as_of: str | None) -> Instant:
    """As far on as the partition is known to be, but never past an instant at which something changes."""
    at = max(customer.at, from_rfc3339(as_of)) if as_of is not None else customer.at
    upcoming = customer.state.next_at
    return at if upcoming is None else max(customer.at, min(at, upcoming - 1))
