"""Making rules hold: proposed, prepared beside the running system, activated through the log, or called off before that."""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from deploy.client import Client
from deploy.commands.delegating import carry_out
from deploy.commands.rules import File, checked
from deploy.console import Failure, Json, say, show, system, table
from services.segmentation.rules import RulesError
from shared.events.catalog import PARTITIONS

T = TypeVar("T")
Number = Annotated[int, typer.Argument(min=2, help="As `guanxi rules list` shows it.")]

PATIENCE_SECONDS = 120.0
"""How long a service may be away in between: it may be killed and come back."""
POLL_SECONDS = 0.5


def activate(file: File, as_json: Json = False) -> None:
    """Make these rules hold from a position of the log on, for every customer, without stopping anything.

    Their state is prepared beside the running system first. Interrupted or killed at any point, the same command goes on.
    """
    try:
        text = checked(file).text
    except RulesError as error:
        raise Failure(str(error)) from None
    client = Client(system())
    began = time.monotonic()
    version = _in_force(client, text) or client.post("intake", "/v1/rules", {"rules": text})
    number = version["number"]
    try:
        _activated(client, version, file)
    except KeyboardInterrupt:
        raise Failure(
            f"interrupted; `guanxi rules activate {file}` goes on, `guanxi rules call-off {number}` gives it up"
        ) from None
    seconds = round(time.monotonic() - began, 1)
    if as_json:
        show({"number": number, "digest": version["digest"], "partitions": PARTITIONS, "seconds": seconds})
    else:
        print(f"version {number} holds on every partition, after {seconds:.0f} s")


def call_off(number: Number, as_json: Json = False) -> None:
    """Give a version up that was not activated yet, and drop what was prepared of it."""
    client = Client(system())
    client.post("intake", f"/v1/rules/{number}/withdrawal", {})
    if carry_out("segmentation", ["prepare", "--number", str(number), "--call-off"], quiet=as_json):
        raise Failure(f"version {number} is withdrawn, but what was prepared of it is still there: run this again")
    if as_json:
        show({"number": number, "state": "withdrawn"})
    else:
        print(f"version {number} is called off; its number is not given again")


def list_versions(as_json: Json = False) -> None:
    """All versions, with the partitions that are under each now."""
    client = Client(system())
    held = client.get("segmentation", "/v1/rules")
    first = {"number": 1, "state": "activated", "by": "the file of the start", **_first(client)}
    found = [first, *client.get("intake", "/v1/rules")["versions"]]
    for version in found:
        version["partitions"] = sum(number == version["number"] for number in held["versions"].values())
    if as_json:
        show({"versions": found, "shadow": held.get("shadow"), "activation": held.get("activation")})
        return
    columns = ("number", "state", "partitions", "by", "proposed_at", "activated_at", "digest")
    table(columns, [[str(version.get(column) or "")[:36] for column in columns] for version in found])


def _first(client: Client) -> dict[str, Any]:
    return {"digest": client.get("segmentation", "/v1/rules/1")["digest"]}


def _in_force(client: Client, text: str) -> dict[str, Any] | None:
    """The version of this text where it holds everywhere already: that of the start has no number at intake."""
    held = client.get("segmentation", "/v1/rules")["versions"].values()
    version = client.get("segmentation", f"/v1/rules/{max(held)}")
    return {**version, "state": "activated"} if version["rules"] == text and min(held) == max(held) else None


def _activated(client: Client, version: Mapping[str, Any], file: Path) -> None:
    number = version["number"]
    if version["state"] == "proposed":
        say(f"version {number}: preparing its state beside the running system …")
        if carry_out("segmentation", ["prepare", "--number", str(number), str(file)], quiet=True):
            raise Failure(f"version {number} could not be prepared; nothing was activated. Run the same command again")
    if version["state"] != "activated":
        say(f"version {number}: activating …")
        _patiently(lambda: client.post("intake", f"/v1/rules/{number}/activation", {}))
    _wait(client, number)


def _wait(client: Client, number: int) -> None:
    """Until every partition is under this version or a later one."""
    said = -1
    while True:
        under = _patiently(lambda: client.get("segmentation", "/v1/rules"))["versions"]
        done = sum(held >= number for held in under.values())
        if done != said:
            say(f"version {number}: {done} of {PARTITIONS} partitions")
            said = done
        if done == PARTITIONS:
            return
        time.sleep(POLL_SECONDS)


def _patiently(ask: Callable[[], T]) -> T:
    """Again while the service is away, and where the outcome was unknown: each of these is harmless to repeat."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            return ask()
        except Failure as failure:
            if time.monotonic() > deadline or not failure.passing:
                raise
            time.sleep(POLL_SECONDS)


COMMANDS: dict[str, Callable[..., None]] = {"activate": activate, "call-off": call_off, "list": list_versions}
