"""`prepare`: a version made ready ahead of its activation; for services whose domain may be succeeded."""

import hashlib
import json
from pathlib import Path
from typing import Annotated

import typer

from shared.events.catalog import PARTITIONS
from shared.events.customers import RulesActivated
from shared.processing.commands import Json, guarded
from shared.processing.maintenance import Maintenance, open_maintenance
from shared.processing.ports import FatalError
from shared.processing.service import Service
from shared.settings import Settings

KEPT = "what was prepared is kept: run it again to go on, or with --call-off to drop it"

Number = Annotated[int, typer.Option("--number", min=2, help="The version's number, as intake gave it.")]
File = Annotated[Path | None, typer.Argument(exists=True, dir_okay=False, help="The rules of this version.")]
CallOff = Annotated[bool, typer.Option("--call-off", help="Drop what was prepared.")]


def add_prepare(app: typer.Typer, service: Service) -> None:
    @app.command("prepare")
    def prepare(number: Number, file: File = None, call_off: CallOff = False, as_json: Json = False) -> None:
        """Fold the whole log under another version, beside the live service and without touching it.

        Its activation then takes moments. It may be interrupted and run again; it never has to be run.
        """
        if (file is None) != call_off:
            raise typer.BadParameter("give either FILE, to prepare it, or --call-off")
        if file is None:
            raise typer.Exit(guarded(lambda settings: _call_off(service, settings, number, as_json)))
        written = _written(number, file)
        raise typer.Exit(guarded(lambda settings: _prepare(service, settings, written, as_json), KEPT))


def _written(number: int, file: Path) -> RulesActivated:
    text = file.read_text("utf-8")
    return RulesActivated(number=number, rules=text, digest=hashlib.sha256(text.encode()).hexdigest())


async def _prepare(service: Service, settings: Settings, written: RulesActivated, as_json: bool) -> int:
    async with open_maintenance(service, settings) as maintenance:
        preparation = await maintenance.preparation(written)
        records = await preparation.run(_report)
    result = {"service": service.name, "number": written.number, "records": records}
    typer.echo(json.dumps(result) if as_json else f"version {written.number} is prepared: {records} records folded")
    return 0


def _report(partition: int, records: int) -> None:
    typer.echo(f"preparing: partition {partition + 1}/{PARTITIONS}, {records} records", err=True)


async def _call_off(service: Service, settings: Settings, number: int, as_json: bool) -> int:
    async with open_maintenance(service, settings) as maintenance:
        await _drop(maintenance, number)
    result = {"service": service.name, "number": number, "called_off": True}
    typer.echo(json.dumps(result) if as_json else f"version {number} is called off; what was prepared is dropped")
    return 0


async def _drop(maintenance: Maintenance, number: int) -> None:
    if not await maintenance.versions.call_off(number):
        raise FatalError(
            f"version {number} is being activated and cannot be called off; activate the former file again"
        )
