"""Logs: one JSON object per line; what is not known to be harmless does not get through."""

import io
import json
import logging
import warnings
from collections.abc import Iterator
from typing import Any

import pytest

from shared.events.codec import UndecodableEvent, decode
from shared.telemetry import REDACTED, configure_logging

CANARY = "zhang.wei.canary@example.com"
PHONE = "+86 138-0013-8000"

log = logging.getLogger("shared.trial")


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    root, ours = logging.getLogger(), [logging.getLogger(name) for name in ("shared", "services", "deploy")]
    before = (root.handlers[:], root.level)
    stream = io.StringIO()
    configure_logging("intake", "DEBUG", stream)
    yield stream
    root.handlers[:] = before[0]
    root.setLevel(before[1])
    for logger in ours:
        logger.setLevel(logging.NOTSET)


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_known_names_pass_and_unknown_ones_are_redacted(stream: io.StringIO) -> None:
    log.info("batch applied", extra={"events": 12, "phone": PHONE, "reason": f"sent by {CANARY}"})
    (line,) = lines(stream)
    assert (line["service"], line["level"], line["message"]) == ("intake", "INFO", "batch applied")
    assert (line["events"], line["phone"], line["reason"]) == (12, REDACTED, f"sent by {REDACTED}")


def test_arguments_of_a_message_show_only_when_they_are_numbers(stream: io.StringIO) -> None:
    log.debug("took %d records", 3)
    log.debug("took %s", PHONE)
    assert [line["message"] for line in lines(stream)] == ["took 3 records", "took %s"]


def test_a_line_break_cannot_forge_a_line(stream: io.StringIO) -> None:
    log.info("stopped", extra={"reason": 'x\n{"level": "INFO", "message": "forged"}'})
    assert len(lines(stream)) == 1


def test_a_library_is_heard_from_warning_on_and_scrubbed(stream: io.StringIO) -> None:
    library = logging.getLogger("aiokafka.trial")
    library.debug("record %s", CANARY)
    library.warning("could not take %s of %s", CANARY, PHONE)
    assert [line["message"] for line in lines(stream)] == [f"could not take {REDACTED} of {REDACTED}"]


def test_a_warning_shows_its_category_and_place_and_never_its_text(stream: io.StringIO) -> None:
    """Pydantic's serializer quotes the value that it warns about."""
    with warnings.catch_warnings():
        configure_logging("intake", "DEBUG", stream)
        warnings.simplefilter("always")
        warnings.warn(f"the value is {CANARY} of Li Lei", UserWarning, stacklevel=1)
    (line,) = lines(stream)
    assert (line["level"], line["category"]) == ("WARNING", "UserWarning")
    assert line["file"].endswith("test_telemetry.py")
    assert isinstance(line["line"], int)
    assert "Li Lei" not in stream.getvalue()


def test_of_a_group_each_exception_is_shown(stream: io.StringIO) -> None:
    """Tasks that run together fail as a group: its own type and place say nothing."""
    try:
        raise ExceptionGroup(
            "tasks", [ValueError(CANARY), ExceptionGroup("more", [UndecodableEvent("data.amount: missing")])]
        )
    except ExceptionGroup:
        log.exception("stopped")
    shown = lines(stream)[0]["exception"]
    first, second = shown["of"]
    assert (shown["type"], first["type"]) == ("ExceptionGroup", "ValueError")
    assert [one["message"] for one in second["of"]] == ["data.amount: missing"]
    assert CANARY not in json.dumps(shown)


def test_an_exception_shows_its_type_and_place_but_its_message_only_if_it_is_ours(stream: io.StringIO) -> None:
    try:
        try:
            int(CANARY)
        except ValueError as error:
            raise UndecodableEvent("data.amount: missing") from error
    except UndecodableEvent:
        log.exception("dead-lettered")
    shown = lines(stream)[0]["exception"]
    assert (shown["type"], shown["message"]) == ("UndecodableEvent", "data.amount: missing")
    assert shown["cause"]["type"] == "ValueError"
    assert "message" not in shown["cause"]
    assert "test_telemetry.py" in shown["at"][0]
    assert CANARY not in stream.getvalue()


def test_what_cannot_be_decoded_is_named_without_its_values() -> None:
    with pytest.raises(UndecodableEvent) as caught:
        decode(json.dumps({"type": CANARY, "id": CANARY}).encode())
    assert CANARY not in str(caught.value)
