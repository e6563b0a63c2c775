"""Reads over HTTP: a customer's follow-ups, worklists, lists by state, the load ahead, the playbooks."""

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass
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
from shared.clock import Clock
from shared.events.fields import CustomerId
from shared.web.freshness import AsOf
from shared.web.keys import requires
from shared.web.problems import Problem

STATES: tuple[TaskState, ...] = get_args(TaskState)

Limit = Annotated[int, Query(ge=1, le=1_000)]
Staff = Annotated[str, Path(min_length=1, max_length=256)]
FirstDay = Annotated[
    date | None,
    Query(alias="from", ge=date(1970, 1, 1), le=date(2999, 1, 1), description="The first day; left out: today."),
]
AfterPlace = Annotated[str | None, Query(max_length=1_000, description="`next_cursor` of the page before.")]
AfterCustomer = Annotated[CustomerId | None, Query(description="`next_cursor` of the page before.")]

_PLACE: TypeAdapter[Place] = TypeAdapter(Place)


class FreshnessOf(Protocol):
    async def of(self, partition: int | None) -> AsOf: ...


@dataclass(frozen=True, slots=True)
class Reads:
    """What the routes answer from. `clock` says what today is for whoever reads a worklist: not the log's time, for
    that of a quiet partition stands still while people's days go on."""

    queries: FollowupQueries
    freshness: FreshnessOf
    rules: Rules
    calendar: BusinessCalendar
    clock: Clock

    def first_day(self, asked: date | None) -> date:
        return asked or self.calendar.local_day(self.clock())


def build_router(reads: Reads) -> APIRouter:
    """Scope `read`."""
    router = APIRouter(prefix="/v1", tags=["follow-up"], dependencies=[Depends(requires("read"))])
    _add_tasks(router, reads)
    _add_plans(router, reads)
    return router


def _add_tasks(router: APIRouter, reads: Reads) -> None:
    queries, freshness, show = reads.queries, reads.freshness, Shown(reads.rules)

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
    async def worklist(
        staff: Staff, first: FirstDay = None, limit: Limit = 100, cursor: AfterPlace = None
    ) -> FollowupPage:
        """What was escalated, what is due (by deadline), what is due soon: `section` says which."""
        # The day before too: a task stays on its day until the log's time of its own partition has passed it.
        sections = ["escalated", "due", *_days(reads.first_day(first) - timedelta(days=1), reads.rules.soon_days + 2)]
        found, after = await queries.worklist(staff, sections, _place(cursor), limit)
        fresh = await freshness.of(None)
        return FollowupPage(followups=[show.task(one) for one in found], next_cursor=_cursor(after), **fresh)

    @router.get("/followups")
    async def followups(
        state: TaskState | None = None, limit: Limit = 100, cursor: AfterCustomer = None
    ) -> FollowupPage:
        """Whole customers, in the order of their ids, so a page may be a few tasks longer than asked."""
        found, after = await queries.page(state, cursor, limit)
        fresh = await freshness.of(None)
        return FollowupPage(followups=[show.task(one) for one in found], next_cursor=after, **fresh)


def _add_plans(router: APIRouter, reads: Reads) -> None:
    queries, freshness, rules = reads.queries, reads.freshness, reads.rules

    @router.get("/followups/counts")
    async def counts() -> Counts:
        customers = {state: await queries.customers_with(state) for state in STATES}
        return Counts(customers=customers, **await freshness.of(None))

    @router.get("/forecast")
    async def forecast(first: FirstDay = None, days: Annotated[int, Query(ge=1, le=60)] = 14) -> Forecast:
        """Tasks already promised: those due now, and those that fall on each day. What will be promised once these are
        done is not foretold."""
        ahead = [await _load(queries, rules, day) for day in _days(reads.first_day(first), days)]
        due = await _load(queries, rules, "due")
        return Forecast(due=due, days=ahead, **await freshness.of(None))

    @router.get("/playbooks")
    async def playbooks() -> Playbooks:
        """The playbooks in force, with the words for people in English and Chinese."""
        shown = rules.model_dump(include=set(Playbooks.model_fields))
        return Playbooks(**shown, **await freshness.of(None))


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
