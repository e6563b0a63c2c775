"""Reads over HTTP: a customer's follow-ups, worklists, lists by state, the load ahead, the playbooks."""

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import date, timedelta
from typing import Annotated, Protocol, get_args

from fastapi import APIRouter, Depends, Path, Query
from pydantic import TypeAdapter

from services.followup.answers import (
    Counts,
    CustomerFollowups,
    FollowupPage,
    Forecast,
    Load,
    Playbooks,
    Shown,
    written,
)
from services.followup.rules import Rules
from services.followup.state import TaskState
from services.followup.store import FollowupQueries, Place
from shared.calendar import BusinessCalendar
from shared.clock import Clock, from_rfc3339
from shared.events.fields import CustomerId
from shared.web.freshness import AsOf
from shared.web.keys import requires
from shared.web.problems import Problem

STATES: tuple[TaskState, ...] = get_args(TaskState)

Limit = Annotated[int, Query(ge=1, le=1_000)]
Staff = Annotated[str, Path(min_length=1, max_length=256)]
AfterPlace = Annotated[str | None, Query(max_length=1_000, description="`next_cursor` of the page before.")]
AfterCustomer = Annotated[CustomerId | None, Query(description="`next_cursor` of the page before.")]

_PLACE: TypeAdapter[Place] = TypeAdapter(Place)


class FreshnessOf(Protocol):
    async def of(self, partition: int | None) -> AsOf: ...


def build_router(
    queries: FollowupQueries, freshness: FreshnessOf, rules: Rules, calendar: BusinessCalendar, clock: Clock
) -> APIRouter:
    """Scope `read`. `clock` serves only while nothing is known of the log's time."""
    router = APIRouter(prefix="/v1", tags=["follow-up"], dependencies=[Depends(requires("read"))])
    show = Shown(rules)

    def today(as_of: AsOf) -> date:
        known = as_of["as_of"]
        return calendar.local_day(clock() if known is None else from_rfc3339(known))

    @router.get("/customers/{customer_id}/followups")
    async def of_customer(customer_id: CustomerId) -> CustomerFollowups:
        known = await queries.of_customer(customer_id)
        if known is None:
            raise Problem(404, "Unknown customer", "Follow-up has heard nothing of this customer, or forgot it.")
        return CustomerFollowups(
            customer_id=customer_id,
            last_contact_at=written(known.state.last_contact_at),
            followups=show.of_customer(known.state),
            **await freshness.of(known.partition),
        )

    @router.get("/worklists/{staff}")
    async def worklist(staff: Staff, limit: Limit = 100, cursor: AfterPlace = None) -> FollowupPage:
        """What was escalated, what is due (by deadline), what is due soon: `section` says which."""
        as_of = await freshness.of(None)
        # Yesterday too: a task stays on its day until the log's time of its own partition has passed it.
        sections = ["escalated", "due", *_days(today(as_of) - timedelta(days=1), rules.soon_days + 2)]
        found, after = await queries.worklist(staff, sections, _place(cursor), limit)
        return FollowupPage(followups=[show.task(one) for one in found], next_cursor=_cursor(after), **as_of)

    @router.get("/followups")
    async def followups(
        state: TaskState | None = None, limit: Limit = 100, cursor: AfterCustomer = None
    ) -> FollowupPage:
        """Whole customers, in the order of their ids, so a page may be a few tasks longer than asked."""
        found, after = await queries.page(state, cursor, limit)
        fresh = await freshness.of(None)
        return FollowupPage(followups=[show.task(one) for one in found], next_cursor=after, **fresh)

    @router.get("/followups/counts")
    async def counts() -> Counts:
        customers = {state: await queries.customers_with(state) for state in STATES}
        return Counts(customers=customers, **await freshness.of(None))

    @router.get("/forecast")
    async def forecast(days: Annotated[int, Query(ge=1, le=60)] = 14) -> Forecast:
        """Tasks already promised: those due now, and those that fall on each day from today. What will be promised once
        these are done is not foretold."""
        as_of = await freshness.of(None)
        ahead = [await _load(queries, rules, day) for day in _days(today(as_of), days)]
        return Forecast(due=await _load(queries, rules, "due"), days=ahead, **as_of)

    @router.get("/playbooks")
    async def playbooks() -> Playbooks:
        shown = rules.model_dump(include={"version", "default_assignee", "escalate_to", "playbooks", "contents"})
        return Playbooks(**shown, **await freshness.of(None))

    return router


async def _load(queries: FollowupQueries, rules: Rules, section: str) -> Load:
    counted = {name: await queries.load(section, name) for name in rules.playbooks}
    return Load(section=section, total=sum(counted.values()), playbooks=counted)


def _days(first: date, count: int) -> list[str]:
    return [(first + timedelta(days=number)).isoformat() for number in range(count)]


def _cursor(place: Place | None) -> str | None:
    return None if place is None else urlsafe_b64encode(json.dumps(place).encode()).decode().rstrip("=")


def _place(cursor: str | None) -> Place | None:
    if cursor is None:
        return None
    try:
        return _PLACE.validate_json(urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except ValueError as error:
        reason = "is none that was given out"
        raise Problem(422, "Invalid content", errors=[{"field": "cursor", "reason": reason}]) from error
