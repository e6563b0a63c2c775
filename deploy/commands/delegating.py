"""Commands that a service itself carries out: they run as its own process, in this copy's environment."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import NoReturn

import typer

from deploy.console import system

PASS_ON = {"allow_extra_args": True, "ignore_unknown_options": True}

_BREAK_OFF = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM)
_LOOK_SECONDS = 0.05


def import_(context: typer.Context) -> None:
    """Take customers and events in from CSV or NDJSON: guanxi import FILE [OPTIONS]; --help lists them."""
    delegate("intake", ["import", *context.args])


def keys(context: typer.Context) -> None:
    """API keys: create, list, revoke."""
    delegate("intake", ["keys", *context.args], serving=False)


def delegate(service: str, arguments: list[str], *, serving: bool = True) -> NoReturn:
    """This process becomes that one, so that every signal and the exit code are its own.

    `serving`: it needs the servers, so StartError where nothing runs, except to ask for help.
    """
    argv, environ = _command(service, arguments, serving)
    sys.stdout.flush()
    sys.stderr.flush()
    os.execve(argv[0], argv, environ)  # noqa: S606 - no shell is wanted


def carry_out(service: str, arguments: list[str], *, quiet: bool = False) -> int:
    """One step of a longer command; its exit code. Broken off, it raises KeyboardInterrupt once that process has ended.

    `quiet`: what it prints is not passed on, what it says (the error stream) is.
    """
    argv, environ = _command(service, arguments, serving=True)
    with _broken_off_by() as signals:
        code = _ended(_begun(argv, environ, quiet), signals)
    if signals:
        raise KeyboardInterrupt
    return code


def _begun(argv: list[str], environ: Mapping[str, str], quiet: bool) -> "subprocess.Popen[bytes]":
    """In a group of its own, so that a terminal's Ctrl-C comes to it once, from here: a second breaks off its tidying up."""
    out = subprocess.DEVNULL if quiet else None
    return subprocess.Popen(argv, env=environ, stdin=subprocess.DEVNULL, stdout=out, process_group=0)


def _ended(process: "subprocess.Popen[bytes]", signals: list[int]) -> int:
    told = 0
    while (code := process.poll()) is None:
        for number in signals[told:]:
            process.send_signal(number)
            told += 1
        time.sleep(_LOOK_SECONDS)
    return code


@contextmanager
def _broken_off_by() -> Iterator[list[int]]:
    """The signals that came meanwhile; none of them ends this process. What was ignored before (nohup) still is."""
    signals: list[int] = []
    numbers = [number for number in _BREAK_OFF if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, lambda number, _frame: signals.append(number)) for number in numbers}
    try:
        yield signals
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _command(service: str, arguments: list[str], serving: bool) -> tuple[list[str], dict[str, str]]:
    environ = dict(os.environ)
    if serving and "--help" not in arguments:
        this = system()
        environ |= this.environ(this.addresses())
    return [sys.executable, "-m", f"services.{service}", *arguments], environ
