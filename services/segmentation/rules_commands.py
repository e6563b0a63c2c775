"""Commands of segmentation that ask the whole log: what would other rules make of it, where do its customers stand."""

import asyncio
import json
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from services.segmentation.bootstrap import SERVICE
from services.segmentation.language.program import compile_rules
from services.segmentation.questions.calibration import Calibration, thresholds
from services.segmentation.questions.calibration_question import Measured, probing
from services.segmentation.questions.sweep import Progress, Question, applied_so_far, processes_for, sweep
from services.segmentation.questions.what_if import Tally
from services.segmentation.questions.what_if_question import WhatIf
from services.segmentation.questions.what_if_report import Run, as_data, as_text, moved_lines
from services.segmentation.rules import Rules, RulesError, load_rates, load_rules, parse_rules
from shared.clock import to_instant
from shared.events.catalog import PARTITIONS
from shared.processing.domain import FIRST_VERSION
from shared.processing.maintenance import open_maintenance
from shared.processing.ports import FatalError, TransientError
from shared.settings import Settings, SettingsError

Json = Annotated[bool, typer.Option("--json", help="Print data as JSON.")]
File = Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="A rules file.")]
Against = Annotated[Path | None, typer.Option(help="Compare with this file instead of the rules in force.")]
Partitions = Annotated[
    list[int] | None,
    typer.Option("--partition", min=0, max=PARTITIONS - 1, help="Only these partitions: sooner, and a fair sample."),
]
Processes = Annotated[int | None, typer.Option(min=1, max=PARTITIONS, help="As many as there are cores, if not given.")]


def add_commands(app: typer.Typer) -> None:
    app.command("what-if")(what_if)
    app.command("calibrate")(calibrate)


def what_if(
    file: File,
    against: Against = None,
    since: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d"], help="Count history from this day on (UTC).")
    ] = None,
    partition: Partitions = None,
    flapping: Annotated[int, typer.Option(min=1, help="Changes within 30 days that are still calm.")] = 3,
    processes: Processes = None,
    customers: Annotated[Path | None, typer.Option(help="Write every customer that would move to this file.")] = None,
    as_json: Json = False,
) -> None:
    """What another rules file would make of all that ever happened: who would move, when, how restlessly, and why.

    Reads the log in processes of its own and touches nothing that is live.
    """
    with _guarded():
        tally, run = _what_if(Settings.from_environment(), file, against, since, partition, flapping, processes)
    if customers is not None:
        customers.write_text("".join(json.dumps(line) + "\n" for line in moved_lines(tally)), "utf-8")
    data = as_data(tally, run)
    typer.echo(json.dumps(data, ensure_ascii=False) if as_json else "\n".join(as_text(data)))


def calibrate(
    file: Annotated[
        Path | None, typer.Argument(exists=True, dir_okay=False, help="A rules file; without it the rules in force.")
    ] = None,
    dimension: Annotated[list[str] | None, typer.Option(help="Only this one; may be given several times.")] = None,
    top: Annotated[
        list[str] | None,
        typer.Option(
            help="Share of customers that the first case is to hold for, then the second: 20%. Several times."
        ),
    ] = None,
    output: Annotated[Path | None, typer.Option(help="Write the proposed file here; it must not exist.")] = None,
    partition: Partitions = None,
    processes: Processes = None,
    as_json: Json = False,
) -> None:
    """Propose thresholds from where the customers stand now, as a difference to the file. The file itself is never changed.

    Shares are of those customers for whom the measured amount is above zero.
    """
    if output is not None and output.exists():
        raise typer.BadParameter("this file exists; choose another name", param_hint="--output")
    shares = [_share(text) for text in top or ["20%"]]
    with _guarded():
        found = _calibration(Settings.from_environment(), file, dimension, shares, partition, processes)
    if output is not None:
        output.write_text(found.after, "utf-8")
    if as_json:
        typer.echo(json.dumps(found.to_data(), ensure_ascii=False))
        return
    for line in found.remarks():
        typer.echo(line, err=True)
    typer.echo(found.difference, nl=False)


def _calibration(
    settings: Settings,
    file: Path | None,
    dimension: list[str] | None,
    shares: list[float],
    partition: list[int] | None,
    processes: int | None,
) -> Calibration:
    rates = settings.config_dir / "exchange_rates.yaml"
    rules, called = (load_rules(file), str(file)) if file else asyncio.run(_in_force(settings))
    compile_rules(rules, load_rates(rates))
    judged = [one for one in thresholds(rules.text) if dimension is None or one.dimension in dimension]
    if not judged:
        raise RulesError(f"{called}: no case here compares a count or an amount with a number; nothing to calibrate")
    metrics = tuple(dict.fromkeys(one.metric for one in judged))
    question = Measured(probing(rules.text, metrics), metrics, rates)
    values: dict[str, list[float]] = {metric: [] for metric in metrics}
    for part in _swept(question, settings, partition, processes or processes_for(PARTITIONS)):
        for metric, more in part.items():
            values[metric] += more
    return Calibration.of(called, rules.text, judged, values, shares)


def _share(text: str) -> float:
    number = text.removesuffix("%")
    if not text.endswith("%") or not number.replace(".", "", 1).isdigit() or not 0 < float(number) < 100:
        raise typer.BadParameter(f"{text!r}: expected a share such as 20%", param_hint="--top")
    return float(number) / 100


@contextmanager
def _guarded() -> Iterator[None]:
    """Exit code 1 with the reason."""
    try:
        yield
    except (RulesError, SettingsError, TransientError, FatalError) as error:
        typer.echo(f"failed: {error}", err=True)
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        typer.echo("interrupted; nothing was changed", err=True)
        raise typer.Exit(1) from None


def _what_if(
    settings: Settings,
    file: Path,
    against: Path | None,
    since: datetime | None,
    partition: list[int] | None,
    flapping: int,
    processes: int | None,
) -> tuple[Tally, Run]:
    rates = settings.config_dir / "exchange_rates.yaml"
    candidate = load_rules(file)
    in_force, called = (load_rules(against), str(against)) if against else asyncio.run(_in_force(settings))
    for rules in (candidate, in_force):
        compile_rules(rules, load_rates(rates))
    begin = 0 if since is None else to_instant(since.replace(tzinfo=UTC))
    question = WhatIf(candidate=candidate, active=in_force, rates=rates, since=begin, flapping=flapping)
    began = time.monotonic()
    count = processes or processes_for(len(partition or range(PARTITIONS)))
    tally = Tally()
    for part in _swept(question, settings, partition, count) if question.dimensions else ():
        tally.merge(part)
    run = Run(str(file), called, flapping, count, time.monotonic() - began)
    return tally, run


def _swept(question: Question, settings: Settings, partition: list[int] | None, count: int) -> Iterator[Any]:
    stops = asyncio.run(applied_so_far(settings))
    wanted: Mapping[int, int] = {n: stops[n] for n in partition} if partition else stops
    return sweep(question, wanted, settings, count, _tell)


def _tell(progress: Progress) -> None:
    share = progress.applied / progress.records if progress.records else 1
    line = f"{share:4.0%}: {progress.applied:,} of {progress.records:,} records, {progress.partitions} partitions done"
    sys.stderr.write(
        f"\r{line}" + "\n" * (progress.applied >= progress.records) if sys.stderr.isatty() else f"{line}\n"
    )
    sys.stderr.flush()


async def _in_force(settings: Settings) -> tuple[Rules, str]:
    """The newest version that holds everywhere, and what it is called; before anything ever ran, the configured file."""
    async with open_maintenance(SERVICE, settings) as maintenance:
        versions = await maintenance.versions.all()
    everywhere = [version for version in versions if version.number == FIRST_VERSION or len(version.done) == PARTITIONS]
    if not everywhere:
        file = settings.config_dir / "segmentation.yaml"
        return load_rules(file), str(file)
    newest = max(everywhere, key=lambda version: version.number)
    called = f"version {newest.number}, the rules in force"
    return parse_rules(newest.rules, called), called
