"""`python -m services.intake`: run the service, import files, manage API keys."""

import asyncio
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from services.intake import bootstrap, importing
from services.intake.importer import Mode, Outcome
from shared.config_files import ConfigError
from shared.processing.ports import FatalError, TransientError
from shared.settings import Settings, SettingsError
from shared.web.keys import KeyFileError, KeyRing

app = typer.Typer(help="The intake service.", no_args_is_help=True, add_completion=False)
keys = typer.Typer(help="API keys: who may call, with which scopes.", no_args_is_help=True)
app.add_typer(keys, name="keys")

Json = Annotated[bool, typer.Option("--json", help="Print data as JSON.")]


def _settings() -> Settings:
    try:
        return Settings.from_environment()
    except SettingsError as error:
        raise _failed(str(error)) from None


def _failed(why: str, code: int = 1) -> typer.Exit:
    typer.echo(f"failed: {why}", err=True)
    return typer.Exit(code)


@app.command("run")
def run() -> None:
    """Run one intake, until SIGTERM."""
    settings = _settings()
    try:
        code = asyncio.run(bootstrap.run(settings))
    except (FatalError, TransientError, OSError, ValueError) as error:
        raise _failed(str(error)) from None
    raise typer.Exit(code)


@app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="A CSV or NDJSON file.")],
    mapping: Annotated[
        Path | None, typer.Option(help="Says what the columns mean; not needed for NDJSON events.")
    ] = None,
    history: Annotated[
        bool, typer.Option("--history", help="Rows in their own time; nothing is made of them.")
    ] = False,
    replay: Annotated[bool, typer.Option("--replay", help="Rows in their own time; tasks and cases are made.")] = False,
    sort: Annotated[bool, typer.Option("--sort", help="Sort by time first.")] = False,
    hold: Annotated[bool, typer.Option("--hold", help="Leave the history open at its last instant.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check every row, send nothing.")] = False,
    rejected: Annotated[Path | None, typer.Option(help="Where rejected rows go.")] = None,
    url: Annotated[str | None, typer.Option(help="Intake's address.")] = None,
    as_json: Json = False,
) -> None:
    """Send a file's rows as events. Stopped or crashed, run it again: it goes on, and adds nothing twice."""
    if history and replay:
        raise _failed("choose --history or --replay", 2)
    mode: Mode = "history" if history else "replay" if replay else "live"
    settings = _settings()
    rejects = rejected or file.with_name(f"{file.name}.rejected.csv")
    rules = settings.config_dir / "intake.yaml"
    task = importing.Task(file, mapping, mode, sort, hold, dry_run, rejects, rules)
    where = url or f"http://{settings.host}:{settings.intake_port}"
    try:
        outcome, refused, count = importing.run(task, where, "" if dry_run else _key(settings), sys.stderr)
    except (importing.WrongFile, ConfigError) as error:
        raise _failed(str(error), 2) from None
    except importing.ImportFailed as error:
        raise _failed(str(error)) from None
    except KeyboardInterrupt:
        raise _failed("interrupted; run the same command again to go on where it stopped") from None
    _tell(outcome, refused, count, task.rejected, as_json)


def _key(settings: Settings) -> str:
    """GUANXI_KEY, else the operator's key of this copy."""
    if key := os.environ.get("GUANXI_KEY"):
        return key
    file = settings.data_dir / "operator.key"
    if not file.exists():
        raise _failed(f"no API key: set GUANXI_KEY (scope admin), or run `guanxi up`, which makes {file}")
    return file.read_text("utf-8").strip()


def _tell(outcome: Outcome | None, rejected: int, count: int, file: Path, as_json: bool) -> None:
    data = {
        "rows": count,
        "accepted": outcome.accepted if outcome else 0,
        "repeated": outcome.repeated if outcome else 0,
        "rejected": rejected,
        "status": outcome.status if outcome else "dry run",
    }
    if as_json:
        typer.echo(json.dumps(data))
        return
    if outcome is None:
        typer.echo(f"dry run: {count} rows, {count - rejected} good, {rejected} rejected; nothing was sent")
    else:
        typer.echo(f"{outcome.accepted} rows accepted, {outcome.repeated} known already, {rejected} rejected")
    if rejected:
        typer.echo(f"rejected rows with their reasons: {file}", err=True)


@contextmanager
def _keys() -> Iterator[KeyRing]:
    try:
        yield KeyRing(_settings().keys_file)
    except KeyFileError as error:
        raise _failed(str(error)) from None


@keys.command("create")
def create(
    name: Annotated[str, typer.Argument(help="What the key is for.")],
    scope: Annotated[list[str], typer.Option(help="emit, staff, read, unseal, admin; may be given several times.")],
    as_json: Json = False,
) -> None:
    """Make a key. It is shown this once."""
    try:
        with _keys() as ring:
            key, record = ring.create(name, scope)
    except ValueError as error:
        raise _failed(str(error), 2) from None
    typer.echo(json.dumps({"id": record.id, "key": key, "scopes": list(record.scopes)}) if as_json else key)


@keys.command("list")
def list_(as_json: Json = False) -> None:
    """Show all keys, without what is secret of them."""
    with _keys() as ring:
        records = ring.list()
    if as_json:
        shown = [{"id": r.id, "name": r.name, "scopes": list(r.scopes), "revoked_at": r.revoked_at} for r in records]
        typer.echo(json.dumps(shown))
        return
    for record in records:
        state = f"revoked {record.revoked_at}" if record.revoked_at else "valid"
        typer.echo(f"{record.id}  {record.name}  {','.join(record.scopes)}  {state}")


@keys.command("revoke")
def revoke(key_id: Annotated[str, typer.Argument(help="The id that `list` shows.")]) -> None:
    """Make a key invalid at once."""
    try:
        with _keys() as ring:
            ring.revoke(key_id)
    except KeyError:
        raise _failed("no such key; `keys list` shows them", 2) from None
    typer.echo("revoked")


def main() -> None:
    app()


if __name__ == "__main__":
    main()
