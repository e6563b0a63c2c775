"""The command line that every processing service has: run, rebuild, verify."""

import asyncio
import json
from collections.abc import Callable, Coroutine
from typing import Annotated, Any

import typer

from shared.config_files import ConfigError
from shared.events.catalog import PARTITIONS
from shared.processing.garbage import prepare_heap
from shared.processing.maintenance import Maintenance, open_maintenance
from shared.processing.ports import FatalError, TransientError
from shared.processing.service import Service, run
from shared.processing.verify import Verdict
from shared.settings import Settings, SettingsError

SHOWN = 20
"""Customer ids that a difference names; `--json` has all."""

Json = Annotated[bool, typer.Option("--json", help="Print data as JSON.")]


def service_app(service: Service) -> typer.Typer:
    """A service adds commands of its own to what this returns."""
    app = typer.Typer(help=f"The {service.name} service.", no_args_is_help=True, add_completion=False)

    @app.command("run")
    def run_() -> None:
        """Run one worker with its HTTP reads, until SIGTERM."""
        raise typer.Exit(guarded(lambda settings: run(service, settings)))

    @app.command("rebuild")
    def rebuild(as_json: Json = False) -> None:
        """Make the state anew from the log and switch to it; reads go on, consuming pauses for the last moments."""
        raise typer.Exit(guarded(lambda settings: _rebuild(service, settings, as_json)))

    @app.command("verify")
    def verify(as_json: Json = False) -> None:
        """Compare the live state with a rebuild; names the customers that differ (exit code 1)."""
        raise typer.Exit(guarded(lambda settings: _verify(service, settings, as_json)))

    return app


def guarded(command: Callable[[Settings], Coroutine[Any, Any, int]], interrupted: str = "nothing was changed") -> int:
    """Runs it with the environment's settings; what fails is told with the way out, exit code 1. `interrupted`: what Ctrl-C
    leaves behind."""
    prepare_heap()
    try:
        return asyncio.run(command(Settings.from_environment()))
    except TransientError as error:
        hint = "do GUANXI_KAFKA_BOOTSTRAP and GUANXI_MONGO_URL name running servers? `guanxi` sets them for this copy"
        typer.echo(f"failed: {error}; {hint}", err=True)
        return 1
    except (SettingsError, ConfigError, FatalError) as error:
        typer.echo(f"failed: {error}", err=True)
        return 1
    except KeyboardInterrupt:
        typer.echo(f"interrupted; {interrupted}", err=True)
        return 1


async def _rebuild(service: Service, settings: Settings, as_json: bool) -> int:
    def report(phase: str, partition: int, applied: int) -> None:
        typer.echo(f"{phase}: partition {partition + 1}/{PARTITIONS}, {applied} records", err=True)

    async with open_maintenance(service, settings) as maintenance:
        rebuild = await maintenance.rebuild()
        applied = await rebuild.run(report)
        result = {"service": service.name, "records": applied, "collection": maintenance.fresh_name}
    typer.echo(json.dumps(result) if as_json else f"{service.name}: rebuilt from {applied} records, now live")
    return 0


async def _verify(service: Service, settings: Settings, as_json: bool) -> int:
    async with open_maintenance(service, settings) as maintenance:
        verdict = await _compare(maintenance, as_json)
    typer.echo(json.dumps(_as_data(service, verdict)) if as_json else _as_text(service, verdict))
    return 0 if verdict.equal else 1


async def _compare(maintenance: Maintenance, quiet: bool) -> Verdict:
    verification = await maintenance.verification()
    for number in range(PARTITIONS):
        await verification.partition(number)
        if not quiet:
            typer.echo(f"partition {number + 1}/{PARTITIONS}, {verification.verdict.customers} customers", err=True)
    return verification.verdict


def _as_data(service: Service, verdict: Verdict) -> dict[str, Any]:
    return {
        "service": service.name,
        "equal": verdict.equal,
        "customers": verdict.customers,
        "differing": verdict.differing,
        "disordered": verdict.disordered,
        "moving": verdict.moving,
    }


def _as_text(service: Service, verdict: Verdict) -> str:
    lines = [f"{service.name}: {'equal' if verdict.equal else 'DIFFERENT'}, {verdict.customers} customers compared"]
    for title, ids in (
        ("differ", verdict.differing),
        ("differ because a neighbour was late when they were decided", verdict.disordered),
        ("moved on while they were compared; run verify again", verdict.moving),
    ):
        if ids:
            more = f" … and {len(ids) - SHOWN} more" if len(ids) > SHOWN else ""
            lines.append(f"  {len(ids)} {title}: {', '.join(ids[:SHOWN])}{more}")
    return "\n".join(lines)
