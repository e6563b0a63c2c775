"""What segmentation says: a customer's segments and their history, a segment's members, sizes and flows."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import typer

from deploy.client import Client
from deploy.console import Json, show, system, table, wrong_use
from deploy.explaining import COMPOSITES, composites_of, explained, reasons, shown

segments = typer.Typer(help="A customer's segments and a segment's customers.", no_args_is_help=True)

_PAGE = 500


@segments.command("show")
def show_segments(
    customer: str,
    at: Annotated[str | None, typer.Option("--at", help="What was true then, with all we know now (RFC 3339).")] = None,
    known_at: Annotated[str | None, typer.Option("--known-at", help="What we had said by then (RFC 3339).")] = None,
    as_json: Json = False,
) -> None:
    """A customer's value in every dimension, and since when."""
    answer = _segments_of(customer, at=at, known_at=known_at)
    if as_json:
        show(answer)
        return
    rows = [(name, shown(m["value"]), m["since"]) for name, m in answer["memberships"].items()]
    rows += [(COMPOSITES, shown(answer[COMPOSITES]), answer.get("composites_since"))] if answer[COMPOSITES] else []
    table(("dimension", "value", "since"), rows)
    print(_freshness(answer))


@segments.command("explain")
def explain(
    customer: str,
    dimension: Annotated[str | None, typer.Argument(help="All where none is named.")] = None,
    as_json: Json = False,
) -> None:
    """Every dimension: since when, why, and when it will next change if nothing happens."""
    answer = _segments_of(customer)
    whole = {**answer["memberships"], COMPOSITES: composites_of(answer)}
    found = {name: membership for name, membership in whole.items() if dimension in (None, name)}
    if not found:
        wrong_use(f"this customer has no such dimension; it has {', '.join(whole)}")
    if as_json:
        show(found)
        return
    if answer["objected"]:
        print("the customer objects to profiling: nothing is published until that is withdrawn")
    for name, membership in found.items():
        print("\n".join(explained(name, membership)))
    print(_freshness(answer))


@segments.command("history")
def history(
    customer: str,
    limit: Annotated[int, typer.Option("--limit", min=1, help="At most so many changes.")] = 20,
    as_json: Json = False,
) -> None:
    """Every change with its reasons, newest first."""
    found = list(_history(customer, limit))
    if as_json:
        show(found)
        return
    for change in found:
        print(f"{change['at']}  {change['sequence']}")
        for moved in change["changes"]:
            why = "; ".join(reasons(moved.get("because") or {}))
            print(f"    {moved['dimension']}: {shown(moved['from'])} → {shown(moved['to'])}  ({why})")


@segments.command("members")
def members(
    dimension: Annotated[str, typer.Argument(help="A dimension, or composites.")],
    value: str,
    limit: Annotated[int, typer.Option("--limit", min=1, help="At most so many.")] = 100,
    as_json: Json = False,
) -> None:
    """Customers who are in a segment now, by id."""
    found = list(_members(dimension, value, limit))
    if as_json:
        show(found)
    else:
        table(("customer", "since"), [(member["customer_id"], member["since"]) for member in found])


@segments.command("sizes")
def sizes(as_json: Json = False) -> None:
    """How many customers are in each value and composite."""
    answer = Client(system()).get("segmentation", "/v1/segments")
    if as_json:
        show(answer)
        return
    counted = {**answer["dimensions"], COMPOSITES: answer[COMPOSITES]}
    table(("dimension", "value", "customers"), [(d, v, n) for d, values in counted.items() for v, n in values.items()])
    print(_freshness(answer))


@segments.command("flows")
def flows(
    start: Annotated[str, typer.Argument(metavar="FROM", help="The first day, as 2026-01-01.")],
    stop: Annotated[str, typer.Argument(metavar="TO", help="The day after the last.")],
    dimension: Annotated[str | None, typer.Argument(help="All where none is named.")] = None,
    as_json: Json = False,
) -> None:
    """How often customers moved from which value to which."""
    query = {"from": start, "to": stop, "dimension": dimension}
    answer = Client(system()).get("segmentation", "/v1/segments/flows", **query)
    if as_json:
        show(answer)
        return
    rows = [(d, shown(c["from"]), shown(c["to"]), c["count"]) for d, cells in answer["flows"].items() for c in cells]
    table(("dimension", "from", "to", "moves"), rows)
    print(_freshness(answer))


def _segments_of(customer: str, **query: str | None) -> dict[str, Any]:
    return Client(system()).get("segmentation", f"/v1/customers/{customer}/segments", **query)


def _history(customer: str, limit: int) -> Iterator[dict[str, Any]]:
    client, before = Client(system()), None
    while limit > 0:
        path = f"/v1/customers/{customer}/segments/history"
        page = client.get("segmentation", path, before=before, limit=min(limit, _PAGE))
        yield from page["changes"]
        limit -= len(page["changes"])
        before = page["next"]
        if before is None:
            return


def _members(dimension: str, value: str, limit: int) -> Iterator[dict[str, Any]]:
    client, after = Client(system()), None
    while limit > 0:
        page = client.get("segmentation", f"/v1/segments/{dimension}/{value}", after=after, limit=min(limit, _PAGE))
        yield from page["members"]
        limit -= len(page["members"])
        after = page["next"]
        if after is None:
            return


def _freshness(answer: Mapping[str, Any]) -> str:
    return f"as of {answer.get('as_of')}, {answer.get('behind_seconds')} s behind"
