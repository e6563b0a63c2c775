"""Starting, stopping, looking: up, down, status, scale, provision, doctor."""

from dataclasses import asdict
from typing import Annotated, Any

import typer

from deploy.cache import MissingTool
from deploy.console import Failure, Json, say, show, system, table, wrong_use
from deploy.doctor import examine
from deploy.processes import StartError
from deploy.programs import PROGRAMS
from deploy.supervisor import WorkerState
from deploy.system import System
from deploy.watch import ServiceHealth, health_of_all


def up() -> None:
    """Start Kafka, the store and the services in the background; returns when all are ready."""
    this = system()
    ran_before = bool(this.states())
    try:
        addresses = this.up()
    except KeyboardInterrupt:
        if not ran_before:
            say("interrupted: stopping what was started …")
            this.down()
        raise typer.Exit(1) from None
    except (StartError, MissingTool) as error:
        raise Failure(f"{error}\n`guanxi down` stops what did start; `guanxi doctor` looks at this machine") from error
    say(f"ready. Kafka {addresses.kafka}; " + ", ".join(f"{name} {this.url(name)}" for name in PROGRAMS))
    say(f"the operator's key is in {this.installation.operator_file}; stop with `guanxi down`")


def down(
    delete: Annotated[
        bool, typer.Option("--delete", help="Also delete the data, keys and secrets; nobody asks.")
    ] = False,
) -> None:
    """Stop what `up` started here, and only that; data stays."""
    if not delete:
        system().down()
        say("stopped; the data is kept")
        return
    gone = system().delete()
    say(f"stopped; deleted: {', '.join(gone) or 'nothing, there was no data'}")


def status(as_json: Json = False) -> None:
    """Show each service: processes, lag in events and seconds, parked customers, dead letters. 1 when one is not ready."""
    this = system()
    addresses = this.addresses()
    states, health = this.states(), health_of_all(this.settings(addresses))
    ready = {state.service for state in states if state.pid and state.ready()}
    if as_json:
        show(_as_data(states, health, ready))
    else:
        _as_table(this, states, health, ready)
    if ready != set(PROGRAMS):
        raise Failure(f"not ready: {', '.join(sorted(set(PROGRAMS) - ready))}. `guanxi up` starts them")


def scale(
    service: Annotated[str, typer.Argument(help=", ".join(PROGRAMS))],
    count: Annotated[int, typer.Argument(help="How many processes; at most one per partition does work.")],
) -> None:
    """Run N processes of one service; the partitions move by themselves."""
    try:
        system().scale(service, count)
    except ValueError as error:
        wrong_use(str(error))
    say(f"{service}: {count} ready")


def provision(
    repair: Annotated[
        bool, typer.Option("--repair", help="Also set offsets that are missing or outside the log.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Make topics, first offsets, collections, secrets; doing it again changes nothing."""
    this = system()
    this.installation.prepare()
    report = this.provision(this.addresses(), repair=repair)
    if as_json:
        show({"done": report.done})
    else:
        say("\n".join(report.done) or "everything was there already")


def doctor(as_json: Json = False) -> None:
    """Name what this machine lacks, with the command that installs it. 1 when something is missing."""
    findings = examine(system().machine)
    if as_json:
        show([asdict(finding) for finding in findings])
    else:
        table(("", "what", "found or missing"), [("ok" if f.ok else "--", f.what, f.words) for f in findings])
    if any(finding.needed and not finding.ok for finding in findings):
        raise Failure("something that is needed is missing, see above")


def _as_data(states: list[WorkerState], health: list[ServiceHealth], ready: set[str]) -> dict[str, Any]:
    return {
        "services": [{**asdict(h), "ready": h.service in ready} for h in health],
        "processes": [asdict(state) for state in states],
    }


def _as_table(this: System, states: list[WorkerState], health: list[ServiceHealth], ready: set[str]) -> None:
    rows = []
    for h in health:
        own = [state for state in states if state.service == h.service]
        behind = None if h.behind_seconds is None else f"{h.behind_seconds:.1f} s"
        word = "ready" if h.service in ready else "DOWN"
        restarts = sum(state.restarts for state in own)
        counts = (restarts, h.lag, behind, h.unrecorded, h.parked, h.dead_letters)
        rows.append((h.service, word, len(own), *counts, this.url(h.service)))
    counted = ("restarts", "lag", "behind", "unrecorded", "parked", "dead letters")
    table(("service", "state", "processes", *counted, "address"), rows)
