"""Rules of segmentation: is a file right, how does it differ, what would it change, and then: activate it."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from deploy.client import Client
from deploy.commands.delegating import PASS_ON, delegate
from deploy.console import Failure, Json, show, system
from services.segmentation.language.program import compile_rules
from services.segmentation.language.revision import Difference, Written, differences, dimensions_of, touched
from services.segmentation.rules import Rules, RulesError, load_rates, load_rules
from shared.settings import Settings

rules = typer.Typer(help="What the segments mean: check, compare, try and activate rules.", no_args_is_help=True)

WHOLE: dict[str, Any] = {**PASS_ON, "help_option_names": []}
"""The command that carries it out knows the options, --help among them."""

File = Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="A rules file.")]
Against = Annotated[
    Path | None, typer.Option(exists=True, dir_okay=False, help="Compare with this file, not with the rules in force.")
]


@rules.command("check")
def check(file: File, as_json: Json = False) -> None:
    """Whether segmentation would take this file; names line, path, expectation and the nearest right spelling."""
    try:
        checked(file)
    except RulesError as error:
        if as_json:
            show({"file": str(file), "right": False, "errors": str(error).splitlines()})
            raise typer.Exit(1) from None
        raise Failure(str(error)) from None
    if as_json:
        show({"file": str(file), "right": True, "errors": []})
    else:
        print(f"{file}: right. `guanxi rules what-if {file}` tells what it would change")


@rules.command("diff")
def diff(file: File, against: Against = None, as_json: Json = False) -> None:
    """What differs from the rules in force, part by part, and which dimensions that can touch."""
    try:
        before = Written(checked(against).text if against is not None else text_in_force(Client(system()))[1])
        after = Written(checked(file).text)
    except RulesError as error:
        raise Failure(str(error)) from None
    found, names = differences(before, after), touched(before, after)
    dimensions = list(dict.fromkeys((*dimensions_of(before, names), *dimensions_of(after, names))))
    if as_json:
        show({"differences": [asdict(one) for one in found], "touched": dimensions})
        return
    for one in found:
        print(_told(one))
    print(f"can touch: {', '.join(dimensions)}" if dimensions else "touches nobody's segments")


@rules.command("what-if", context_settings=WHOLE)
def what_if(context: typer.Context) -> None:
    """What a file would make of the whole log: who would move, when, why. --help lists the options."""
    delegate("segmentation", ["what-if", *context.args])


@rules.command("calibrate", context_settings=WHOLE)
def calibrate(context: typer.Context) -> None:
    """Propose thresholds from where the customers stand now, as a difference to a file. --help lists the options."""
    delegate("segmentation", ["calibrate", *context.args])


def checked(file: Path) -> Rules:
    """Read, and compiled with the exchange rates of this copy. Raises RulesError."""
    found = load_rules(file)
    compile_rules(found, load_rates(Settings.from_environment().config_dir / "exchange_rates.yaml"))
    return found


def text_in_force(client: Client) -> tuple[int, str]:
    """The newest version that every partition is under, and its whole text."""
    number = min(client.get("segmentation", "/v1/rules")["versions"].values())
    return number, client.get("segmentation", f"/v1/rules/{number}")["rules"]


def _told(one: Difference) -> str:
    if one.what == "added":
        return f"+ {one.path}: {one.after}"
    if one.what == "removed":
        return f"- {one.path}: {one.before}"
    return f"~ {one.path}: {one.before} → {one.after}"
