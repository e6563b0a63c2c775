"""Rules and lives drawn at random, all on a grid of half days; and segmentation that looks at every point of that grid."""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from random import Random
from typing import Any

from services.segmentation.domain import SegmentationDomain
from services.segmentation.evaluation import Evaluation
from services.segmentation.measures.facts import Record
from services.segmentation.state import CustomerState
from shared.clock import DAY, Instant
from shared.processing.domain import Decision
from tests.support.segmentation_facts import Fact

HALF_DAY = DAY // 2
STREAMS = """
streams:
  touches:
    - {on: purchases, points: 3}
    - {on: visit.held, points: 2}
    - {on: usage.reported, points: 1, value: amount}
  amounts: [{on: usage.reported, value: amount}]
  opinions: [{on: survey.answered, value: nps, as: {good: ">= 7", bad: ">= 0"}}]
  stars: [{on: survey.answered, value: csat}]
  wishes: [{on: survey.answered, value: needs}]
metrics:
  touched: {count: touches}
  first: {since_first: purchases}
  silence: {since_last: touches}
"""
IN_A_WINDOW = {
    "bought": "count: purchases",
    "touches_in": "count: touches",
    "spend": "sum: purchases",
    "amount": "sum: amounts",
    "points": "points: touches",
    "points_more": "points: touches",
    "days": "distinct_days: touches",
    "opinion": "newest: opinions",
    "star": "newest: stars",
    "needs": "collected: wishes",
}
NUMBERS = (
    "bought",
    "touches_in",
    "touched",
    "spend",
    "amount",
    "points",
    "points_more",
    "days",
    "late",
    "warm",
    "total",
)
WORDS = {"opinion": ("good", "bad"), "needs": ("a", "b"), "facet.region": ("east", "north")}
SPANS = ("1d", "2d", "5d", "9d12h", "1 * gap", "2 * gap", "3 * gap")
KINDS = (
    ["purchase"] * 2 + ["refund", "visit.held", "registered", "objected"]
    + ["usage.reported", "survey.answered", "withdrawn"] * 2
)  # fmt: skip


Known = dict[str, list[str]]
"""The dimensions so far, and their values."""


class Grid(SegmentationDomain):
    """Takes nothing for granted: everything is looked at anew at every one of `points`, whatever was expected."""

    points: Sequence[Instant] = ()

    def _evaluated(
        self, state: CustomerState, record: Record, at: Instant, _touched: Iterable[str]
    ) -> Decision[CustomerState]:
        record = self._recorder.pruned(record, at)
        evaluation = _Everything(self.program, state, self._facts(record), at)
        evaluation.judge(None if state.composites is None else self.program.resting)
        evaluation.moment.forget()
        following = bisect_right(self.points, at)
        next_at = self.points[following] if following < len(self.points) else None
        update = {**record.fields(), "next_at": next_at, **evaluation.fields()}
        return self._decided(state, evaluation.changes, update)


class _Everything(Evaluation):
    def _overtaken(self) -> None:
        self._looked.update(range(len(self._program.dimensions) + 1))


def grid(start: Instant, end: Instant) -> list[Instant]:
    """Every half day and the millisecond after it, where `>` turns."""
    return [at + more for at in range(start, end, HALF_DAY) for more in (0, 1)]


def drawn_rules(draw: Random) -> str:
    text = STREAMS + "".join(f"  {name}: {{{what}, {_window(draw)}}}\n" for name, what in IN_A_WINDOW.items())
    text += _of_metrics(draw) + "dimensions:\n"
    known: Known = {}
    for number in range(draw.randint(1, 4)):
        body, values = _dimension(draw, known)
        text += f"  d{number}:\n{body}"
        known[f"d{number}"] = values
    text += "  listed: {list: needs}\n"
    among = _few(draw, known)
    one, other = _condition(draw, known, among), _condition(draw, known, among)
    return f"{text}composites:\n  c1: {{when: {one}}}\n  c2: {{when: {{any: [c1, {other}]}}}}\n"


def _window(draw: Random) -> str:
    within = draw.choice([5, 10, 20, 30])
    until = draw.choice([days for days in (1, 3, 5, 10, 20) if days < within])
    return f"within: {within}d" + (f", until: {until}d" if draw.random() < 0.35 else "")


def _of_metrics(draw: Random) -> str:
    low, high, within = draw.choice([1, 3]), draw.choice([6, 20]), draw.choice([10, 30])
    ladders = {
        "late": ("silence", "< 3d", "<= 8d"),
        "warm": ("points", ">= 6", "> 2"),
        "pleased": ("star", ">= 4", "> 2"),
    }
    scores = ""
    for name, (of, first, second) in ladders.items():
        one, two, otherwise = draw.choices(range(4), k=3)
        scores += f'  {name}: {{score: {of}, steps: {{"{first}": {one}, "{second}": {two}}}, otherwise: {otherwise}}}\n'
    gap = f"median_gap: purchases, within: {within}d, at_least: {low}d, at_most: {high}d, otherwise: 4d"
    return f"  gap: {{{gap}}}\n{scores}  total: {{total: [late, warm, pleased]}}\n"


def _dimension(draw: Random, known: Known) -> tuple[str, list[str]]:
    values, body, among = [], "    cases:\n", _few(draw, known)
    for _ in range(draw.randint(1, 3)):
        values.append(draw.choice(["va", "vb", "vc"]))
        one, other = _condition(draw, known, among), _condition(draw, known, among)
        way = f"enter: {one}, leave: {other}" if draw.random() < 0.3 else f"when: {one}"
        body += f"      - {{value: {values[-1]}, {way}}}\n"
    if draw.random() < 0.6:
        values.append("vz")
        body += "    otherwise: vz\n"
    if draw.random() < 0.3:
        body += f"    hold_for: {draw.choice([1, 4, 12])}d\n"
    return body, sorted(set(values))


def _few(draw: Random, known: Known) -> list[str]:
    """What one dimension rests on: little, so that nothing else hides what is overlooked of it."""
    if draw.random() < 0.3:
        return ["touched", "facet.region", *known]
    return draw.sample([*NUMBERS, *WORDS, "star", "first", "silence", "gap", *known, *known], 2)


def _condition(draw: Random, known: Known, among: Sequence[str], depth: int = 0) -> str:
    kind = draw.choices(["sentence", "all", "any", "not"], [5, 2, 2, 1])[0]
    if depth > 1 or kind == "sentence":
        return f'"{_sentence(draw, known, draw.choice(among))}"'
    if kind == "not":
        return f"{{not: {_condition(draw, known, among, depth + 1)}}}"
    return f"{{{kind}: [{_condition(draw, known, among, depth + 1)}, {_condition(draw, known, among, depth + 1)}]}}"


def _sentence(draw: Random, known: Known, name: str) -> str:
    order, same = draw.choice([">=", ">", "<", "<="]), draw.choice(["=", "!="])
    if name in known:
        several = ", ".join(draw.sample(known[name], draw.randint(1, len(known[name]))))
        return draw.choice([f"ever {name} in {several}", f"{name} in {several}", f"{name} {same} {known[name][0]}"])
    if name in WORDS:
        return f"{name} {same} {draw.choice(WORDS[name])}"
    if name in ("first", "silence"):
        return f"{name} {order} {draw.choice(SPANS)}"
    if name == "gap":
        return f"gap {order} {draw.choice(['2d', '4d', '5d12h'])}"
    if name in NUMBERS and draw.random() < 0.3:
        return f"{name} {order} {draw.choice(['1', '2', '3', '0.5'])} * {draw.choice(NUMBERS)}"
    return f"{name} {draw.choice([order, order, order, '='])} {draw.choice([0, 1, 2, 3, 4, 5, 6, 8, 10])}"


def drawn_life(draw: Random, at: Instant) -> list[Fact]:
    facts = []
    for number in range(draw.randint(2, 14)):
        at += draw.choice([0, 0, 1, 1, 2, 4, 7, 13, 25]) * HALF_DAY
        late = draw.choice([0, 0, 0, 1, 4, 12, 30]) * HALF_DAY
        kind = draw.choice(KINDS)
        order = draw.choice([None, "o1", "o2", "o3"]) if kind in ("purchase", "refund") else None
        amount = draw.choice(["1", "2", "5"])
        facts.append(Fact(kind, f"e{number}", at - late, at, order, "CNY", amount, _said(draw, kind)))
    return facts


def _said(draw: Random, kind: str) -> dict[str, Any]:
    if kind == "usage.reported":
        return {"name": "x", "amount": draw.choice(["1", "3", "-2", "5"])}
    if kind == "registered":
        return {"facets": {"region": draw.choice(["east", "north"])}}
    if kind == "survey.answered":
        nps, stars = draw.choice([None, 3, 9]), draw.choice([None, 1, 3, 5])
        return {"survey": "s", "nps": nps, "csat": stars, "needs": draw.choice([[], ["a"], ["a", "b"], ["b"]])}
    return {}
