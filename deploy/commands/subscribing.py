"""Webhooks: who is told of segment changes, how the deliveries stand, and telling again what is in the log."""

from typing import Annotated, Any

import typer

from deploy.client import Client
from deploy.console import Json, say, show, system, table, wrong_use
from deploy.programs import WEBHOOKS

subscriptions = typer.Typer(help="Webhooks for segment changes: who is told, and how it stands.", no_args_is_help=True)

_ROUTE = "/v1/subscriptions"
SubscriptionId = Annotated[str, typer.Argument(metavar="ID", help="As `list` shows it.")]


@subscriptions.command("create")
def create(
    url: Annotated[str, typer.Argument(help="Where to: a public https:// address.")],
    dimension: Annotated[
        list[str] | None, typer.Option("--dimension", help="Only changes of this one; may be given several times.")
    ] = None,
    description: Annotated[str | None, typer.Option("--description", help="What it is for.")] = None,
    as_json: Json = False,
) -> None:
    """Subscribe an address. The signing secret is shown this once."""
    body = {"url": url, "dimensions": dimension or [], **({"description": description} if description else {})}
    _told(Client(system()).post("intake", _ROUTE, body), as_json)


@subscriptions.command("list")
def list_(as_json: Json = False) -> None:
    """All subscriptions, and how their deliveries stand."""
    client = Client(system())
    standing = {one["id"]: one for one in client.get(WEBHOOKS, "/v1/deliveries")["subscriptions"]}
    found = [{**one, **standing.get(one["id"], {})} for one in client.get("intake", _ROUTE)["subscriptions"]]
    if as_json:
        show(found)
        return
    columns = ("id", "state", "waiting", "behind", "given_up", "given_up_from", "dimensions", "url", "description")
    table(columns, [[_cell(one, column) for column in columns] for one in found])


@subscriptions.command("pause")
def pause(subscription: SubscriptionId) -> None:
    """Send nothing until resumed; what happens meanwhile is kept."""
    Client(system()).patch("intake", f"{_ROUTE}/{subscription}", {"paused": True})
    say("paused; `guanxi subscriptions resume` goes on without a gap")


@subscriptions.command("resume")
def resume(subscription: SubscriptionId) -> None:
    """Go on, also where the receiver had ended it (410): everything missed is sent."""
    Client(system()).patch("intake", f"{_ROUTE}/{subscription}", {"paused": False})
    say("resumed; `guanxi subscriptions list` shows what waits")


@subscriptions.command("rotate")
def rotate(subscription: SubscriptionId, as_json: Json = False) -> None:
    """Make a new secret; the old one signs beside it for a day."""
    _told(Client(system()).patch("intake", f"{_ROUTE}/{subscription}", {"rotate_secret": True}), as_json)


@subscriptions.command("delete")
def delete(subscription: SubscriptionId) -> None:
    """End it for good; what waits is dropped."""
    Client(system()).delete("intake", f"{_ROUTE}/{subscription}")
    say("deleted")


@subscriptions.command("replay")
def replay(
    subscription: SubscriptionId,
    customer: Annotated[str | None, typer.Option("--customer", help="Only this one's changes.")] = None,
    after: Annotated[int | None, typer.Option("--after", min=0, help="Beyond this number; 0: from the first.")] = None,
    since: Annotated[
        str | None, typer.Option("--since", help="Since an instant, such as 2026-11-01T00:00:00Z.")
    ] = None,
) -> None:
    """Send again what is in the log, in order, under the same ids."""
    if (after is None) == (since is None):
        wrong_use("say either --after or --since")
    wanted = {"customer_id": customer, "after_sequence": after, "since": since}
    body = {name: value for name, value in wanted.items() if value is not None}
    Client(system()).post("intake", f"{_ROUTE}/{subscription}/replay", body)
    say("asked for; `guanxi subscriptions list` shows what waits")


def _told(answer: dict[str, Any], as_json: bool) -> None:
    if as_json:
        show(answer)
    else:
        say(f"subscription {answer['id']}; its secret, shown this once:")
        print(answer["secret"])


def _cell(one: dict[str, Any], column: str) -> Any:
    """`state` is the deliverer's word; one that it has not heard of yet is new."""
    value = one.get(column, "new" if column == "state" else None)
    return ", ".join(value) if isinstance(value, list) else value
