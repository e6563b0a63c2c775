"""When something went wrong: dead letters, parked customers, rebuilds, proofs; and the right to be forgotten."""

import time
from dataclasses import asdict
from typing import Annotated, Any

import typer

from deploy.client import Client
from deploy.commands.delegating import delegate
from deploy.console import Failure, Json, say, show, system, table, wrong_use
from deploy.topics import Stored, Topics
from deploy.watch import parked_customers
from shared.clock import to_rfc3339
from shared.events.catalog import OUTPUT, SERVICES, dead_letters
from shared.events.catalog import topic as topic_of

dead = typer.Typer(help="Records that a service could not read, kept untouched.", no_args_is_help=True)
parked = typer.Typer(help="Customers whose events wait because one of them failed.", no_args_is_help=True)

ServiceName = Annotated[str, typer.Argument(metavar="SERVICE", help=", ".join(SERVICES))]
ProcessingName = Annotated[str, typer.Argument(metavar="SERVICE", help=", ".join(OUTPUT))]
Place = Annotated[str, typer.Argument(metavar="PARTITION:OFFSET", help="As `list` shows it.")]

_CLOUDEVENT = "application/cloudevents+json"
_RECEIPT_SECONDS = 60


@dead.command("list")
def list_dead(service: ServiceName, as_json: Json = False) -> None:
    """Each with where it lies, where it came from and why."""
    topic = dead_letters(_checked(service))
    found = [_told(record) for record in Topics(system().addresses().kafka).read(topic, last=None, follow=False)]
    if as_json:
        show(found)
    else:
        columns = ("place", "failed_at", "origin", "reason", "error")
        table(columns, [[entry[column] for column in columns] for entry in found])


@dead.command("show")
def show_dead(service: ServiceName, place: Place) -> None:
    """The record's headers and its untouched bytes."""
    record = _record(service, place)
    for name, value in sorted(record.headers.items()):
        print(f"{name}: {value}")
    print(f"\n{_untouched(record).decode('utf-8', 'backslashreplace')}")


@dead.command("redrive")
def redrive(service: ServiceName, place: Place) -> None:
    """Send it through intake's door again, for when it can be read now; doing so twice changes nothing."""
    record = _record(service, place)
    answer = Client(system()).post_bytes("intake", "/v1/events", _untouched(record), _CLOUDEVENT)
    say(f"accepted as {answer.get('event_id')} at {answer.get('position')}")


@parked.command("list")
def list_parked(
    service: Annotated[str | None, typer.Argument(metavar="[SERVICE]", help=", ".join(OUTPUT))] = None,
    as_json: Json = False,
) -> None:
    """Who is parked, since when, why, and how many records wait."""
    this = system()
    settings = this.settings(this.addresses())
    names = [_processing(service)] if service else list(OUTPUT)
    found = [(name, document) for name in names for document in parked_customers(settings, name)]
    if as_json:
        show([{"service": n, "customer_id": d.id, **asdict(d.parked)} for n, d in found if d.parked])
        return
    rows = [(n, d.id, to_rfc3339(d.parked.since), len(d.parked.waiting), d.parked.error) for n, d in found if d.parked]
    table(("service", "customer", "since", "waiting", "error"), rows)


@parked.command("resume")
def resume(service: ProcessingName, customer: str) -> None:
    """Apply the waiting records as if nothing had been; first repair what made them fail."""
    answer = Client(system()).post("intake", f"/v1/customers/{customer}/resume", {"service": _processing(service)})
    say(f"asked for at {answer.get('position')}; `guanxi parked list {service}` shows whether it went through")


def erase(
    customer: Annotated[str, typer.Argument(help="The customer's id.")],
    reason: Annotated[str, typer.Option("--reason", help="Why; no personal data.")] = "requested",
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: Json = False,
) -> None:
    """Destroy the customer's key, so that every copy becomes unreadable; returns with the services' receipts."""
    if not yes and not typer.confirm(f"Erase {customer}? This cannot be undone"):
        raise typer.Abort
    client = Client(system())
    receipt_id = client.post("intake", f"/v1/customers/{customer}/erasure", {"reason": reason})["receipt_id"]
    receipt = _receipt(client, receipt_id)
    if as_json:
        show(receipt)
    else:
        say(f"erased; receipt {receipt_id}")


def rebuild(service: ProcessingName, as_json: Json = False) -> None:
    """Make a service's state anew from the log and switch to it; reads go on meanwhile."""
    delegate(_processing(service), ["rebuild", *(["--json"] if as_json else [])])


def verify(service: ProcessingName, as_json: Json = False) -> None:
    """Compare a service's live state with a rebuild; names the customers that differ."""
    delegate(_processing(service), ["verify", *(["--json"] if as_json else [])])


def _receipt(client: Client, receipt_id: str) -> dict[str, Any]:
    deadline = time.monotonic() + _RECEIPT_SECONDS
    while True:
        receipt = client.get("intake", f"/v1/erasures/{receipt_id}")
        if receipt["complete"]:
            return receipt
        if time.monotonic() > deadline:
            raise Failure(
                f"the key is destroyed, but not every service has answered yet: receipt {receipt_id}."
                " `guanxi status` shows which one lags; the same command again goes on waiting"
            )
        time.sleep(0.5)


def _checked(service: str) -> str:
    if service not in SERVICES:
        wrong_use(f"services are {', '.join(SERVICES)}")
    return service


def _processing(service: str) -> str:
    if service not in OUTPUT:
        wrong_use(f"services that process are {', '.join(OUTPUT)}")
    return service


def _record(service: str, place: str) -> Stored:
    topic = dead_letters(_checked(service))
    partition, _, offset = place.partition(":")
    if not (partition.isdigit() and offset.isdigit()):
        wrong_use("a place is PARTITION:OFFSET, as `guanxi dead-letters list` shows it")
    record = Topics(system().addresses().kafka).one(topic, int(partition), int(offset))
    if record is None:
        raise Failure(f"nothing lies at {place}: see `guanxi dead-letters list {service}`")
    return record


def _untouched(record: Stored) -> bytes:
    """What was too large to be set aside lies where it came from."""
    if "left-out" not in record.headers:
        return record.value
    topic, partition, offset = (record.headers[f"original-{part}"] for part in ("topic", "partition", "offset"))
    original = Topics(system().addresses().kafka).one(topic_of(topic), int(partition), int(offset))
    if original is None:
        raise Failure(f"{topic}:{partition}:{offset} is gone; it was too large to be kept here as well")
    return original.value


def _told(record: Stored) -> dict[str, Any]:
    told = {name: record.headers.get(name) for name in ("reason", "error")}
    origin = ":".join(record.headers.get(f"original-{part}", "?") for part in ("topic", "partition", "offset"))
    return {"place": record.place, "failed_at": record.headers.get("failed-at"), "origin": origin, **told}
