"""Reading what the system says: the records of a topic, as people read them."""

import sys
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import typer

from deploy.console import Json, system, wrong_use
from deploy.explaining import reasons
from deploy.topics import Stored, Topics
from shared.clock import to_rfc3339
from shared.events.catalog import TOPICS, Topic, topic
from shared.events.codec import UndecodableEvent, decode
from shared.events.segments import SegmentsChanged


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


def _topic(name: str) -> Topic:
    try:
        return topic(name)
    except KeyError:
        wrong_use(f"topics are {', '.join(t.name for t in TOPICS)}")


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
        why = "; ".join(reasons(change.because.model_dump(mode="json")))
        yield f"{change.dimension}: {change.from_} → {change.to}" + (f"  ({why})" if why else "")


def _summary(data: Mapping[str, Any]) -> str:
    """The plain facts; nothing nested, so nothing sealed."""
    plain = {
        name: value for name, value in data.items() if isinstance(value, str | int | float) and name != "customer_id"
    }
    return "  ".join(f"{name}={value}" for name, value in plain.items())
