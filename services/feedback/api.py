"""Reads over HTTP: cases, a customer's cases, statistics, and the service levels with their labels."""

from typing import Annotated, Any, Protocol

from fastapi import APIRouter, Depends, Query
from pydantic import AwareDatetime

from services.feedback.answers import CaseInFull, CasePage, Fresh, Statistics, in_full, shown
from services.feedback.case import State
from services.feedback.rules import Rules
from services.feedback.statistics import By, group, grouped
from services.feedback.store import FeedbackQueries
from shared.clock import DAY, to_instant
from shared.events.fields import CustomerId
from shared.web.freshness import AsOf
from shared.web.keys import requires
from shared.web.problems import Problem

LONGEST_RANGE = 3_660 * DAY
"""Ten years of statistics in one answer; a bound, because an answer is made in memory."""

Limit = Annotated[int, Query(ge=1, le=200)]
Cursor = Annotated[CustomerId | None, Query(description="`next_cursor` of the page before.")]
Assignee = Annotated[str | None, Query(min_length=1, max_length=256)]


class FreshnessOf(Protocol):
    async def of(self, partition: int | None) -> AsOf: ...


def build_router(queries: FeedbackQueries, freshness: FreshnessOf, rules: Rules) -> APIRouter:
    """Scope `read`. A page holds whole customers, so it may be a few cases longer than asked."""
    router = APIRouter(prefix="/v1", tags=["feedback"], dependencies=[Depends(requires("read"))])

    async def fresh(partition: int | None = None) -> Fresh:
        return Fresh(**await freshness.of(partition))

    @router.get("/cases")
    async def cases(
        state: State | None = None, assignee: Assignee = None, cursor: Cursor = None, limit: Limit = 50
    ) -> CasePage:
        found, after = await queries.page(state, assignee, cursor, limit)
        return CasePage(cases=[shown(one) for one in found], next_cursor=after, **(await fresh()).model_dump())

    @router.get("/cases/{case_id}")
    async def case(case_id: str) -> CaseInFull:
        found = await queries.case(case_id)
        if found is None:
            raise Problem(404, "No such case", "It is unknown, of an erased customer, or was closed long ago.")
        return in_full(found, await fresh(found.partition))

    @router.get("/customers/{customer_id}/cases")
    async def of_customer(customer_id: CustomerId) -> CasePage:
        found = await queries.of_customer(customer_id)
        if found is None:
            raise Problem(404, "Unknown customer", "No event of this customer has been applied, or it was erased.")
        return CasePage(cases=[shown(one) for one in found.cases], **(await fresh(found.partition)).model_dump())

    @router.get("/statistics")
    async def statistics(
        start: Annotated[AwareDatetime, Query(alias="from")],
        end: Annotated[AwareDatetime, Query(alias="to")],
        by: By = "category",
    ) -> Statistics:
        """Cases opened at or after `from` and before `to`, as far as they are kept."""
        first, last = to_instant(start), to_instant(end)
        if not first < last <= first + LONGEST_RANGE:
            errors = [("to", "must be after `from`, by ten years at most")]
            raise Problem(422, "No such range", errors=[{"field": f, "reason": r} for f, r in errors])
        found = [case async for case in queries.opened(first, last)]
        groups = grouped(found, by)
        return Statistics(by=by, total=group(None, found), groups=groups, **(await fresh()).model_dump())

    @router.get("/service-levels")
    async def service_levels() -> dict[str, Any]:
        """The rules in force, with the words for people in English and Chinese."""
        return rules.model_dump(mode="json", by_alias=True)

    return router
