"""`guanxi`: everything that an operator does, also as `python -m deploy`."""

import importlib
import importlib.util
import sys

import typer
from confluent_kafka import KafkaException

from deploy.cache import MissingTool
from deploy.commands import activation, delegating, reading, repairing, rules, running, segments, subscribing
from deploy.console import Failure, say
from deploy.offsets import ProvisionError
from deploy.processes import StartError
from shared.config_files import ConfigError
from shared.processing.ports import FatalError, TransientError
from shared.settings import SettingsError
from shared.web.keys import KeyFileError

_FAILURES = (Failure, StartError, MissingTool, ProvisionError, SettingsError, ConfigError, KeyFileError, FatalError)


def build() -> typer.Typer:
    app = typer.Typer(
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        help="Guanxi: customers' events, kept and acted on.",
    )
    for command in (running.up, running.down, running.status, running.doctor, running.scale, running.provision):
        app.command()(command)
    app.command()(reading.tail)
    app.command()(repairing.erase)
    app.command()(repairing.rebuild)
    app.command()(repairing.verify)
    whole = {**delegating.PASS_ON, "help_option_names": []}
    app.command("import", context_settings=whole)(delegating.import_)
    app.command("keys", context_settings=whole)(delegating.keys)
    app.add_typer(segments.segments, name="segments")
    app.add_typer(repairing.dead, name="dead-letters")
    app.add_typer(repairing.parked, name="parked")
    for name, about_versions in activation.COMMANDS.items():
        rules.rules.command(name)(about_versions)
    app.add_typer(rules.rules, name="rules")
    app.add_typer(subscribing.subscriptions, name="subscriptions")
    if importlib.util.find_spec("deploy.demo") is not None:
        app.command("demo")(importlib.import_module("deploy.demo").demo)
    return app


def main() -> None:
    """Exit codes: 0 done, 1 failed (with what to do next), 2 wrong use."""
    try:
        build()()
    except _FAILURES as error:
        say(f"failed: {error}")
        sys.exit(1)
    except (KafkaException, TransientError) as error:
        words = f"Kafka: {error.args[0].str()}" if isinstance(error, KafkaException) else error
        say(f"failed: {words}. `guanxi status` and `guanxi doctor` tell more")
        sys.exit(1)


if __name__ == "__main__":
    main()
