"""Segments: how large they are, who is in them, who moved between them; and all changes, for systems without Kafka."""

import json
from datetime import date
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query

from services.segmentation.chronicle.feed import BadCursor, Cursor, read_cursor
from services.segmentation.chronicle.moves import COMPOSITES, Moves, summed
from services.segmentation.language.program import Program
from services.segmentation.reads import Reads
from services.segmentation.store import Customer
from shared.clock import Instant, to_rfc3339
from shared.web.problems import Problem

MemberCursor = Annotated[str | None, Query(pattern=r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")]
Limit = Annotated[int, Query(ge=1, le=1000)]
ChangeCursor = Annotated[str | None, Query(max_length=1000, description="`next` of the page before")]
Dimension = Annotated[str | None, Query(max_length=64)]
Day = Annotated[date | None, Query(description="A day, UTC")]
Value = Annotated[str, Path(min_length=1, max_length=200)]
Answer = dict[str, Any]


def add_routes(router: APIRouter, reads: Reads) -> None:
    _counting_routes(router, reads)
    _members_route(router, reads)
    _changes_route(router, reads)


def _counting_routes(router: APIRouter, reads: Reads) -> None:
    @router.get("/segments")
    async def sizes(from_: Annotated[date | None, Query(alias="from")] = None, to: Day = None) -> Answer:
        """How many customers are in each value and composite now; with `from` and `to` who moved meanwhile, too."""
        program = (await reads.in_force.newest()).program
        tallies = await reads.ledgers.tallies()
        counted = _complete(summed(tally.sizes for tally in tallies), program)
        moved = {} if from_ is None and to is None else {"flows": await _flows(reads, from_, to, None)}
        fresh = await reads.followed.freshness(tallies, None)
        composites = counted.pop(COMPOSITES)
        return {"dimensions": counted, COMPOSITES: composites, **moved, "rules_version": program.rules.version, **fresh}

    @router.get("/segments/flows")
    async def flows(
        from_: Annotated[date | None, Query(alias="from")] = None, to: Day = None, dimension: Dimension = None
    ) -> Answer:
        """Moves between values on the days from `from` until before `to`: from, to, and how often. No value is null."""
        if dimension is not None:
            _known_dimension((await reads.in_force.newest()).program, dimension)
        moved = await _flows(reads, from_, to, dimension)
        return {"flows": moved, **await reads.followed.of(None)}


async def _flows(reads: Reads, start: date | None, stop: date | None, dimension: str | None) -> Answer:
    if start is None or stop is None or start >= stop:
        raise Problem(422, "No period", "Give `from` and a later `to`, as 2026-01-01 and 2026-02-01.")
    return matrices(await reads.ledgers.flows(start, stop), dimension)


def matrices(moves: Moves, dimension: str | None) -> Answer:
    """Per dimension the cells of its matrix that are not empty, the largest first."""
    found: Answer = {}
    for (name, before, after), number in sorted(moves.items(), key=lambda item: (-item[1], str(item[0]))):
        if number and dimension in (None, name):
            found.setdefault(name, []).append({"from": before, "to": after, "count": number})
    return found


def _complete(sizes: dict[str, dict[str, int]], program: Program) -> dict[str, dict[str, int]]:
    """Values and composites that the rules name are there, also where nobody is in them."""
    whole = {name: dict.fromkeys(values, 0) | sizes.get(name, {}) for name, values in named_values(program).items()}
    composites = dict.fromkeys((composite.name for composite in program.composites), 0)
    return {**sizes, **whole, COMPOSITES: composites | sizes.get(COMPOSITES, {})}


def named_values(program: Program) -> dict[str, tuple[str, ...]]:
    """Per dimension the values that its rules name; none for those that repeat what is stated."""
    return {dimension.name: tuple(dict.fromkeys(dimension.values)) for dimension, _ in program.dimensions}


def _members_route(router: APIRouter, reads: Reads) -> None:
    @router.get("/segments/{dimension}/{value:path}")
    async def members(dimension: str, value: Value, after: MemberCursor = None, limit: Limit = 100) -> Answer:
        """Who is in a value now, by id; for `composites` who is in the one of that name."""
        _known_segment((await reads.in_force.newest()).program, dimension, value)
        found, following = await reads.queries.members(dimension, value, after, limit)
        page = [_member(customer, dimension) for customer in found]
        return {"members": page, "next": following, **await reads.followed.of(None)}


def _known_dimension(program: Program, dimension: str) -> None:
    if dimension != COMPOSITES and dimension not in named_values(program):
        raise Problem(404, "Unknown segment", "GET /v1/segments names every dimension and its values.")


def _known_segment(program: Program, dimension: str, value: str) -> None:
    _known_dimension(program, dimension)
    named = named_values(program).get(dimension, tuple(composite.name for composite in program.composites))
    if named and value not in named:
        raise Problem(404, "Unknown segment", "GET /v1/segments names every dimension and its values.")


def _member(customer: Customer, dimension: str) -> Answer:
    since = _since(customer, dimension)
    return {"customer_id": customer.state.customer_id, "since": None if since is None else to_rfc3339(since)}


def _since(customer: Customer, dimension: str) -> Instant | None:
    """Of the dimension's value as a whole, where several hold at once."""
    if dimension == COMPOSITES:
        return None if customer.state.composites is None else customer.state.composites[1]
    return customer.state.segments[dimension][1] if dimension in customer.state.segments else None


def _changes_route(router: APIRouter, reads: Reads) -> None:
    @router.get("/changes")
    async def changes(after: ChangeCursor = None, limit: Limit = 100, dimension: Dimension = None) -> Answer:
        """The events of guanxi.segments.v1 that concern a customer, each once, in order per customer, beyond `after`.

        Keep `next` and ask with it again, also when the page is empty. An erasure is there whatever the dimension.
        """
        page = await reads.feed.page(_cursor(after), limit, dimension)
        events = [json.loads(recorded.text) for recorded in page.found]
        fresh = await reads.followed.of(None)
        return {"changes": events, "next": page.following.text(), "more": page.more, **fresh}


def _cursor(text: str | None) -> Cursor:
    try:
        return read_cursor(text)
    except BadCursor:
        raise Problem(422, "No such cursor", "`after` is `next` of an earlier answer, or left out.") from None
