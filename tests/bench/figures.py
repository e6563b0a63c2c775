"""What a benchmark finds: a value per run, its median, and whether that keeps to its bound."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Effort:
    """`runs`: how often each figure is taken. `share`: of the full sizes; below 1 only shows that it works."""

    runs: int = 3
    share: float = 1.0

    def of(self, size: int, least: int = 1) -> int:
        return max(least, round(size * self.share))


@dataclass(frozen=True, slots=True)
class Figure:
    """`bound` None: only reported. `at_least`: whether the bound is a lowest or a highest value."""

    what: str
    runs: tuple[float, ...]
    unit: str = ""
    bound: float | None = None
    at_least: bool = True
    note: str = ""

    @property
    def value(self) -> float:
        return statistics.median(self.runs)

    @property
    def met(self) -> bool | None:
        """None where nothing was promised."""
        if self.bound is None:
            return None
        return self.value >= self.bound if self.at_least else self.value <= self.bound

    def to_json(self) -> dict[str, Any]:
        return {
            "what": self.what,
            "median": self.value,
            "runs": list(self.runs),
            "unit": self.unit,
            "bound": self.bound,
            "at_least": self.at_least,
            "met": self.met,
            "note": self.note,
        }


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> tuple[float, ...]:
    """Run by run, for figures taken side by side: the machine's moods meet both."""
    return tuple(a / b for a, b in zip(ours, theirs, strict=True))


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` of all do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(round(share * len(ordered), 6)) - 1)]


def table(figures: Sequence[Figure]) -> str:
    """Markdown, one line per figure."""
    head = "| what | median | runs | bound | |\n|---|---:|---|---:|---|"
    return "\n".join([head, *map(_line, figures)])


def _line(figure: Figure) -> str:
    sign = "≥" if figure.at_least else "≤"
    bound = "" if figure.bound is None else f"{sign} {shown(figure.bound)}"
    verdict = {True: "met", False: "**missed**", None: ""}[figure.met]
    runs = " ".join(map(shown, figure.runs))
    what = f"{figure.what} ({figure.note})" if figure.note else figure.what
    return f"| {what} | {shown(figure.value)} {figure.unit} | {runs} | {bound} | {verdict} |"


def shown(value: float) -> str:
    """Three or more digits, never more than mean anything."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
