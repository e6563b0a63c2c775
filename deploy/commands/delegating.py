"""Commands that a service itself carries out: they run as its own process, in this copy's environment."""

import os
import subprocess
import sys

import typer

from deploy.console import system

PASS_ON = {"allow_extra_args": True, "ignore_unknown_options": True}


def import_(context: typer.Context) -> None:
    """Take customers and events in from CSV or NDJSON: guanxi import FILE [OPTIONS]; --help lists them."""
    delegate("intake", ["import", *context.args])


def keys(context: typer.Context) -> None:
    """API keys: create, list, revoke."""
    delegate("intake", ["keys", *context.args], serving=False)


def delegate(service: str, arguments: list[str], *, serving: bool = True) -> None:
    """Ends with that process's exit code; Ctrl-C reaches it by the terminal, and it tidies up itself.

    `serving`: it needs the servers, so StartError where nothing runs, except to ask for help.
    """
    process = _begun(service, arguments, serving)
    while True:
        try:
            code = process.wait()
        except KeyboardInterrupt:
            continue
        raise typer.Exit(code if code in (0, 1, 2) else 1)


def carry_out(service: str, arguments: list[str], *, quiet: bool = False) -> int:
    """One step of a longer command; its exit code. Raises KeyboardInterrupt once that process has tidied up.

    `quiet`: what it prints is not passed on, what it says (the error stream) is.
    """
    process = _begun(service, arguments, serving=True, quiet=quiet)
    interrupted = False
    while True:
        try:
            code = process.wait()
        except KeyboardInterrupt:
            interrupted = True
            continue
        if interrupted:
            raise KeyboardInterrupt
        return code


def _begun(service: str, arguments: list[str], serving: bool, *, quiet: bool = False) -> "subprocess.Popen[bytes]":
    environ = dict(os.environ)
    if serving and "--help" not in arguments:
        this = system()
        environ |= this.environ(this.addresses())
    argv = [sys.executable, "-m", f"services.{service}", *arguments]
    return subprocess.Popen(argv, env=environ, stdout=subprocess.DEVNULL if quiet else None)
