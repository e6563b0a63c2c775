"""What a what-if found, as data and as people read it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from services.segmentation.questions.what_if import ACTIVE, CANDIDATE, Dimension, Example, Tally, Value
from shared.clock import to_rfc3339

MONTHS = 24
MOVES = 12
"""Lines of a table that people are shown; the data have them all."""
NOWHERE = "-"


@dataclass(frozen=True, slots=True)
class Run:
    """How it was asked. `in_force`, `candidate`: what the two are called."""

    candidate: str
    in_force: str
    flapping: int
    processes: int
    seconds: float


def as_data(tally: Tally, run: Run) -> dict[str, Any]:
    return {
        "candidate": run.candidate,
        "in_force": run.in_force,
        "customers": tally.customers,
        "customers_moved": len(tally.moved),
        "customers_parked": tally.parked,
        "records": tally.records,
        "seconds": round(run.seconds, 3),
        "records_per_second": round(tally.records / run.seconds) if run.seconds else None,
        "processes": run.processes,
        "dimensions": {name: _dimension(found, run) for name, found in tally.dimensions.items()},
    }


def _dimension(found: Dimension, run: Run) -> dict[str, Any]:
    moves = sorted(found.moves.items(), key=lambda item: (-item[1], str(item[0])))
    months = sorted({month for month, _ in found.changes} | set(found.parted))
    return {
        "moves": [
            {
                "from": move[0],
                "to": move[1],
                "customers": count,
                "examples": [_example(e) for e in found.examples[move]],
            }
            for move, count in moves
        ],
        "sizes": {"in_force": _sizes(found, ACTIVE), "candidate": _sizes(found, CANDIDATE)},
        "by_month": [
            {
                "month": month,
                "changes_in_force": found.changes[month, ACTIVE],
                "changes_candidate": found.changes[month, CANDIDATE],
                "customers_parted": found.parted[month],
            }
            for month in months
        ],
        "flapping": {
            "more_than": run.flapping,
            "in_force": found.flapping[ACTIVE],
            "candidate": found.flapping[CANDIDATE],
            "most": [{"customer_id": customer, "changes": count} for count, customer in found.restless],
        },
    }


def _sizes(found: Dimension, side: int) -> dict[str, int]:
    return {_named(value): count for (of, value), count in sorted(found.sizes.items(), key=str) if of == side}


def _example(example: Example) -> dict[str, Any]:
    return {
        "customer_id": example.customer_id,
        "since": to_rfc3339(example.since),
        "because": example.because,
    }


def moved_lines(tally: Tally) -> Iterator[dict[str, Any]]:
    """One per customer that would be elsewhere, by id."""
    for customer_id in sorted(tally.moved):
        changes = [{"dimension": n, "from": a, "to": b} for n, (a, b) in tally.moved[customer_id].items()]
        yield {"customer_id": customer_id, "changes": changes}


def as_text(data: Mapping[str, Any]) -> Iterator[str]:
    yield f"{data['candidate']} against {data['in_force']}"
    yield (
        f"{data['customers']:,} customers, {data['records']:,} records in {data['seconds']:.1f} s "
        f"({data['records_per_second'] or 0:,}/s, {data['processes']} process{'es' * (data['processes'] > 1)})"
    )
    if data["customers_parked"]:
        yield f"{data['customers_parked']:,} customers would be parked: some event of theirs cannot be decided"
    if not data["dimensions"]:
        yield "nothing that a customer is in means anything else: nobody would move"
        return
    yield f"{data['customers_moved']:,} customers would be elsewhere now"
    for name, found in data["dimensions"].items():
        yield ""
        yield name
        yield from _moves_text(found)
        yield from _sizes_text(found)
        yield from _months_text(found)
        yield _flapping_text(found["flapping"])


def _moves_text(found: Mapping[str, Any]) -> Iterator[str]:
    if not found["moves"]:
        yield "  nobody would be elsewhere now"
    for move in found["moves"][:MOVES]:
        yield f"  {_named(move['from'])} → {_named(move['to'])}: {move['customers']:,} customers"
        for example in move["examples"]:
            yield f"      {example['customer_id']} since {example['since']}{_why(example['because'])}"
    if rest := found["moves"][MOVES:]:
        yield f"  … {sum(move['customers'] for move in rest):,} customers in {len(rest)} more ways; --json has them"


def _sizes_text(found: Mapping[str, Any]) -> Iterator[str]:
    before, after = found["sizes"]["in_force"], found["sizes"]["candidate"]
    values = sorted(dict.fromkeys((*before, *after)), key=lambda value: -after.get(value, 0))[:MOVES]
    yield f"  {'value':28} {'in force':>10} {'candidate':>10}"
    for value in values:
        yield f"  {value:28.28} {before.get(value, 0):10,} {after.get(value, 0):10,}"


def _months_text(found: Mapping[str, Any]) -> Iterator[str]:
    shown = found["by_month"][-MONTHS:]
    if not shown:
        return
    yield f"  {'month':28} {'changes':>10} {'candidate':>10} {'parted':>10}"
    if left := len(found["by_month"]) - len(shown):
        yield f"  … {left} months before; --json has them"
    for row in shown:
        counts = (row["changes_in_force"], row["changes_candidate"], row["customers_parted"])
        yield f"  {row['month']:28} " + " ".join(f"{count:10,}" for count in counts)


def _flapping_text(flapping: Mapping[str, Any]) -> str:
    most = "; ".join(f"{one['customer_id']} {one['changes']} times" for one in flapping["most"])
    told = (
        f"  more than {flapping['more_than']} changes within 30 days: {flapping['in_force']:,} customers in force, "
        f"{flapping['candidate']:,} under the candidate"
    )
    return f"{told}; most: {most}" if most else told


def _why(because: Mapping[str, Any] | None) -> str:
    if not because:
        return ""
    values = [
        f"{metric} {measured.get('value')}"
        + ("" if measured.get("threshold") is None else f", threshold {measured['threshold']}")
        for metric, measured in (because.get("values") or {}).items()
    ]
    return f": {'; '.join([*values, *filter(None, [because.get('rule')])])}"


def _named(value: Value) -> str:
    return NOWHERE if value is None else value
