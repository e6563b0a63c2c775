"""A customer's segments in words: what, since when, why, and what comes next if nothing happens."""

from collections.abc import Iterator, Mapping
from typing import Any

COMPOSITES = "composites"


def explained(name: str, membership: Mapping[str, Any]) -> list[str]:
    """One dimension as the service tells it; notes in every language that the rules have."""
    head = f"{name}: {shown(membership['value'])}"
    lines = [head + (f", since {membership['since']}" if membership.get("since") else "")]
    notes = [text for text in (membership.get("note") or {}).values() if text]
    lines += [f"    {' / '.join(notes)}"] if notes else []
    lines += [f"    {line}" for line in reasons(membership.get("because") or {})]
    upcoming = membership.get("next")
    if upcoming is not None:
        lines.append(f"    next: {shown(upcoming['to'])} on {upcoming['at']}, if nothing happens")
    elif "next" in membership:
        lines.append("    stays so for as long as nothing happens")
    return lines


def composites_of(answer: Mapping[str, Any]) -> dict[str, Any]:
    """The composites in the same form as a dimension."""
    return {
        "value": answer[COMPOSITES],
        "since": answer.get("composites_since"),
        "because": answer.get("composites_because"),
        "next": (answer.get("upcoming") or {}).get(COMPOSITES),
    }


def reasons(because: Mapping[str, Any]) -> Iterator[str]:
    """Measured values against thresholds, how many events counted, how many left, and the rule."""
    for metric, measured in (because.get("values") or {}).items():
        threshold = measured.get("threshold")
        yield f"{metric} {shown(measured.get('value'))}" + ("" if threshold is None else f", threshold {threshold}")
    if because.get("events"):
        yield f"{len(because['events'])} event(s) counted"
    if because.get("expired"):
        yield f"{len(because['expired'])} event(s) left the window"
    if because.get("rule"):
        yield f"rule: {because['rule']}"


def shown(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {one}" for name, one in value.items()) or "none"
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value)) or "none"
    return "none" if value is None else str(value)
