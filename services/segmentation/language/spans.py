"""Spans of time as people write them: `30d`, `12h`, `1d12h30m5.25s`; exact to the millisecond in both directions."""

import re

from shared.clock import DAY, HOUR, MINUTE, SECOND

_SPAN = re.compile(r"(?=\d)(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)(?:\.(\d{1,3}))?s)?")
_UNITS = ((DAY, "d"), (HOUR, "h"), (MINUTE, "m"))


def parse_span(text: str) -> int | None:
    """Milliseconds; None where the text is no span."""
    found = _SPAN.fullmatch(text)
    if found is None:
        return None
    days, hours, minutes, seconds, fraction = found.groups()
    whole = int(days or 0) * DAY + int(hours or 0) * HOUR + int(minutes or 0) * MINUTE + int(seconds or 0) * SECOND
    return whole + int((fraction or "").ljust(3, "0"))


def write_span(milliseconds: int) -> str:
    if milliseconds % DAY == 0 and milliseconds:
        return f"{milliseconds // DAY}d"
    text = ""
    for unit, letter in _UNITS:
        count, milliseconds = divmod(milliseconds, unit)
        text += f"{count}{letter}" if count else ""
    return text + _seconds(milliseconds) if milliseconds or not text else text


def _seconds(milliseconds: int) -> str:
    whole, rest = divmod(milliseconds, SECOND)
    fraction = f".{rest:03d}".rstrip("0") if rest else ""
    return f"{whole}{fraction}s"
