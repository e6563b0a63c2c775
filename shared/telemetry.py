"""Logs without personal data: one JSON object per line, only names that are known to be harmless."""

import json
import logging
import re
import sys
import traceback
import warnings
from types import TracebackType
from typing import Any, TextIO

from shared.clock import to_rfc3339

REDACTED = "[redacted]"

ALLOWED = frozenset(
    """
    action attempt attempts batch behind_seconds bytes category chunk code collection command count customer_id
    customers documents duration_seconds emitted epoch error event_type events expected field fields file
    group host import_id instance key_id lag late line line_number method offset offsets operation outcome
    parked partition partitions path_template pid port position positions principal process published queued
    reason receipt_id records rejected repeated route rows rules_version scope scopes seconds sequence service
    signal state status store timers topic topics unit until url_scheme version waiting what worker
    """.split()  # noqa: SIM905 - read as a word list
)
"""Names of `extra` that may be logged as they are; anything else is redacted. Customer ids are random: they say
nothing of the person."""

OUR_PACKAGES = ("shared", "services", "deploy")
LONGEST = 500

log = logging.getLogger(__name__)

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_EMAIL = re.compile(r"[^\s@<>\"']+@[^\s@<>\"']+")
_NUMBER = re.compile(r"\+?\d(?:[ -]?\d){6,}")


def configure_logging(service: str, level: str = "INFO", stream: TextIO | None = None) -> None:
    """Call once per process. Libraries are heard from WARNING on: their debug lines print records and commands."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonLines(service))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    for package in OUR_PACKAGES:
        logging.getLogger(package).setLevel(level)
    warnings.showwarning = _log_warning


def _log_warning(
    message: Warning | str,  # noqa: ARG001 - the names are those of `warnings.showwarning`
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,  # noqa: ARG001
    line: str | None = None,  # noqa: ARG001
) -> None:
    """Not its text, which may quote the value that it warns about, nor the line of code."""
    extra = {"category": category.__name__, "file": _within(filename), "line": lineno}
    log.warning("a warning was given", extra=extra)


class JsonLines(logging.Formatter):
    """A message is a constant sentence; what varies comes as `extra`. Arguments show only when they are numbers."""

    def __init__(self, service: str) -> None:
        super().__init__()
        self._service = service

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": to_rfc3339(int(record.created * 1000)),
            "level": record.levelname,
            "service": self._service,
            "logger": record.name,
            "message": _message(record),
        }
        line.update(_extras(record))
        if record.exc_info and record.exc_info[1] is not None:
            line["exception"] = _exception(record.exc_info[1])
        return json.dumps(line, ensure_ascii=False, default=lambda _: REDACTED)


def _message(record: logging.LogRecord) -> str:
    if record.name.partition(".")[0] in OUR_PACKAGES:
        return record.getMessage() if _all_numbers(record.args) else str(record.msg)
    return _scrubbed(record.getMessage())


def _all_numbers(args: Any) -> bool:
    values = args.values() if isinstance(args, dict) else args or ()
    return all(isinstance(value, int | float) for value in values)


def _scrubbed(text: str) -> str:
    """A second layer, for sentences of libraries: addresses and long numbers go."""
    return _NUMBER.sub(REDACTED, _EMAIL.sub(REDACTED, text))[:LONGEST]


def _extras(record: logging.LogRecord) -> dict[str, Any]:
    given = {name: value for name, value in vars(record).items() if name not in _STANDARD}
    return {name: _shown(value) if name in ALLOWED else REDACTED for name, value in given.items()}


def _shown(value: Any) -> Any:
    return _EMAIL.sub(REDACTED, value)[:LONGEST] if isinstance(value, str) else value


def _exception(error: BaseException) -> dict[str, Any]:
    """Type and place; the message only of our own exceptions, since a library's may quote the data it choked on. A group says
    nothing without those it is of."""
    shown: dict[str, Any] = {"type": type(error).__name__, "at": _places(error.__traceback__)}
    if any(base.__module__.partition(".")[0] == "shared" for base in type(error).__mro__):
        shown["message"] = str(error)
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if cause is not None:
        shown["cause"] = _exception(cause)
    if isinstance(error, BaseExceptionGroup):
        shown["of"] = [_exception(one) for one in error.exceptions]
    return shown


def _places(trace: TracebackType | None) -> list[str]:
    frames = traceback.extract_tb(trace)[-5:]
    return [f"{_within(frame.filename)}:{frame.lineno} {frame.name}" for frame in frames]


def _within(filename: str) -> str:
    return filename.rpartition("site-packages/")[2]
