"""Reading what the system says: the records of a topic, a customer's segments, a segment's members."""

import sys
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import typer

from deploy.client import Client
from deploy.console import Json, show, system, table, wrong_use
from deploy.topics import Stored, Topics
from shared.clock import to_rfc3339
from shared.events.catalog import TOPICS, Topic, topic
from shared.events.codec import UndecodableEvent, decode
from shared.events.segments import SegmentsChanged

segments = typer.Typer(help="A customer's segments and a segment's customers.", no_args_is_help=True)

_PAGE = 500


def tail(
    name: Annotated[str, typer.Argument(metavar="TOPIC", help="Full or short: guanxi.segments.v1, or segments.")],
    last: Annotated[int, typer.Option("--last", min=0, help="Begin with so many per partition.")] = 0,
    everything: Annotated[bool, typer.Option("--all", help="Begin with the first record.")] = False,
    follow: Annotated[bool, typer.Option("--follow/--no-follow", help="Wait for what comes, until Ctrl-C.")] = True,
    as_json: Json = False,
) -> None:
    """Show records as people read them; with --json one untouched event per line."""
    of = _topic(name)
    records = Topics(system().addresses().kafka).read(of, last=None if everything else last, follow=follow)
    try:
        for record in records:
            _print(record, as_json)
    except KeyboardInterrupt:
        return


@segments.command("show")
def show_segments(customer: str, as_json: Json = False) -> None:
    """A customer's value in every dimension, and since when."""
    answer = _segments_of(customer)
    if as_json:
        show(answer)
        return
    table(("dimension", "value", "since"), [(n, m["value"], m["since"]) for n, m in answer["memberships"].items()])
    print(_freshness(answer))


@segments.command("explain")
def explain(
    customer: str,
    dimension: Annotated[str | None, typer.Argument(help="All where none is named.")] = None,
    as_json: Json = False,
) -> None:
    """Why: the measured values against the thresholds."""
    answer = _segments_of(customer)
    found = {n: m for n, m in answer["memberships"].items() if dimension in (None, n)}
    if not found:
        wrong_use(f"this customer has no such dimension; it has {', '.join(answer['memberships']) or 'none'}")
    if as_json:
        show(found)
        return
    for name, membership in found.items():
        print(f"{name}: {membership['value']} since {membership['since']}")
        for line in _because(membership.get("because") or {}):
            print(f"    {line}")
    print(_freshness(answer))


@segments.command("members")
def members(
    dimension: str,
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


def _topic(name: str) -> Topic:
    try:
        return topic(name)
    except KeyError:
        wrong_use(f"topics are {', '.join(t.name for t in TOPICS)}")


def _segments_of(customer: str) -> dict[str, Any]:
    return Client(system()).get("segmentation", f"/v1/customers/{customer}/segments")


def _members(dimension: str, value: str, limit: int) -> Iterator[dict[str, Any]]:
    client, after = Client(system()), None
    while limit > 0:
        page = client.get(
            "segmentation", f"/v1/segments/{dimension}/{value}", after=after, limit=min(limit, _PAGE)
        )  # fmt: skip
        yield from page["members"]
        limit -= len(page["members"])
        after = page["next"]
        if after is None:
            return


def _freshness(answer: Mapping[str, Any]) -> str:
    return f"as of {answer.get('as_of')}, {answer.get('behind_seconds')} s behind"


def _print(record: Stored, as_json: bool) -> None:
    if as_json:
        sys.stdout.write(record.value.decode("utf-8", "replace") + "\n")
    else:
        sys.stdout.write(readable(record) + "\n")
    sys.stdout.flush()


def readable(record: Stored) -> str:
    """One line (segment changes: one more per dimension); personal fields travel sealed, so none is shown."""
    try:
        event = decode(record.value)
    except UndecodableEvent as error:
        return f"{to_rfc3339(record.time)}  {record.place}  undecodable: {record.headers.get('reason') or error}"
    kind = event.type.removeprefix("guanxi.").rpartition(".v")[0]
    head = f"{to_rfc3339(event.occurred_at)}  {event.subject or '-':36}  {kind}"
    if isinstance(event.data, SegmentsChanged):
        return "\n".join([head, *(f"    {line}" for line in _changes(event.data))])
    return f"{head}  {_summary(event.data.model_dump(mode='json', by_alias=True, exclude_none=True))}"


def _changes(data: SegmentsChanged) -> Iterator[str]:
    for change in data.changes:
        reasons = "; ".join(_because(change.because.model_dump(mode="json")))
        yield f"{change.dimension}: {change.from_} → {change.to}" + (f"  ({reasons})" if reasons else "")


def _because(because: Mapping[str, Any]) -> Iterator[str]:
    for metric, measured in (because.get("values") or {}).items():
        threshold = measured.get("threshold")
        yield f"{metric} {measured.get('value')}" + ("" if threshold is None else f", threshold {threshold}")
    if because.get("expired"):
        yield f"{len(because['expired'])} event(s) left the window"
    if because.get("rule"):
        yield f"rule: {because['rule']}"


def _summary(data: Mapping[str, Any]) -> str:
    """The plain facts; nothing nested, so nothing sealed."""
    plain = {
        name: value for name, value in data.items() if isinstance(value, str | int | float) and name != "customer_id"
    }
    return "  ".join(f"{name}={value}" for name, value in plain.items())
