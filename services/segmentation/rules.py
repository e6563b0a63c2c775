"""The rules as people write them: models of `segmentation.yaml` and `exchange_rates.yaml`, read with errors that say where."""

from datetime import UTC, date, datetime
from decimal import Decimal
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, PrivateAttr, Tag, ValidationError
from pydantic_core import ErrorDetails

from services.segmentation.money import Rates
from services.segmentation.source import RulesError, Source, path_of, read_yaml
from services.segmentation.spans import parse_span
from shared.clock import to_instant
from shared.events.fields import CurrencyCode

__all__ = ["Limits", "Rules", "RulesError", "load_rates", "load_rules", "parse_rules"]

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
Value = Annotated[str, Field(min_length=1, max_length=64)]
Kind = Literal["purchases"]


def _span(text: Any) -> Any:
    span = parse_span(text) if isinstance(text, str) else None
    if not span:
        raise ValueError("expected a span such as 365d, 12h or 1d12h")
    return span


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


Span = Annotated[int, BeforeValidator(_span, json_schema_input_type=str)]
Sentence = Annotated[str, Field(description="metric operator threshold, as `spend_in_year >= 5000`")]
Sentences = Annotated[tuple[Sentence, ...], BeforeValidator(_listed), Field(min_length=1)]


class Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class CountOf(Strict):
    count: Kind
    within: Span | None = None


class SumOf(Strict):
    sum: Kind
    within: Span | None = None


class SinceFirst(Strict):
    since_first: Kind


class SinceLast(Strict):
    since_last: Kind


class MedianGapOf(Strict):
    """`within`: the span that ends at the last one. `otherwise`: where there are fewer than two gaps."""

    median_gap: Kind
    within: Span
    at_least: Span
    at_most: Span
    otherwise: Span


class ScoreOf(Strict):
    """The first step that holds gives its points."""

    score: Name
    steps: dict[str, int] = Field(min_length=1)
    otherwise: int


class TotalOf(Strict):
    total: Annotated[tuple[Name, ...], Field(min_length=1)]


KINDS = ("count", "sum", "since_first", "since_last", "median_gap", "score", "total")


def _kind_of(metric: Any) -> str | None:
    return next((kind for kind in KINDS if isinstance(metric, dict) and kind in metric), None)


MetricRule = Annotated[
    Annotated[CountOf, Tag("count")]
    | Annotated[SumOf, Tag("sum")]
    | Annotated[SinceFirst, Tag("since_first")]
    | Annotated[SinceLast, Tag("since_last")]
    | Annotated[MedianGapOf, Tag("median_gap")]
    | Annotated[ScoreOf, Tag("score")]
    | Annotated[TotalOf, Tag("total")],
    Discriminator(_kind_of, custom_error_type="metric", custom_error_message=f"expected one of {', '.join(KINDS)}"),
]


class CaseRule(Strict):
    value: Value
    when: Sentences


class DimensionRule(Strict):
    """The first case whose conditions all hold; `note` per language; `shown`: a text of {metrics} beside the value."""

    cases: Annotated[tuple[CaseRule, ...], Field(min_length=1)]
    otherwise: Value
    note: dict[str, str] = {}
    shown: str | None = None


class Limits(Strict):
    orders: Annotated[int, Field(ge=1, le=10_000)] = 512
    history: Annotated[int, Field(ge=0, le=100)] = 6


class Rules(Strict):
    """One version of the rules; `version` is what `segments.changed` names."""

    version: Annotated[str, Field(min_length=1, max_length=32)] = "1"
    base_currency: CurrencyCode
    limits: Limits = Limits()
    metrics: dict[Name, MetricRule]
    dimensions: Annotated[dict[Name, DimensionRule], Field(min_length=1)]
    _origin: Source | None = PrivateAttr(None)

    def of(self, source: Source) -> "Rules":
        self._origin = source
        return self

    @property
    def digest(self) -> str:
        """SHA-256 of the file's text in hex; empty for rules that were not read from text."""
        return "" if self._origin is None else self._origin.digest

    @property
    def text(self) -> str:
        return "" if self._origin is None else self._origin.text

    def error(self, path: str, message: str) -> RulesError:
        """A fault found at this path when the rules are compiled."""
        return RulesError(f"{path}: {message}" if self._origin is None else self._origin.error(path, message))


KEYS = sorted({key for model in (Rules, Limits, DimensionRule, CaseRule, MedianGapOf) for key in model.model_fields})
"""What a mistyped key may have been meant to be."""


def _money(amount: Any) -> Any:
    if isinstance(amount, float):
        raise ValueError("expected a decimal in quotes, so that it stays exact")  # noqa: TRY004 - pydantic wants it
    return amount


def _texts(rows: Any) -> Any:
    """YAML makes dates of the keys, which errors would show as Python writes them."""
    return {str(day): rate for day, rate in rows.items()} if isinstance(rows, dict) else rows


RateText = Annotated[Decimal, BeforeValidator(_money), Field(gt=0)]


class ExchangeRates(Strict):
    base_currency: CurrencyCode
    rates: dict[CurrencyCode, Annotated[dict[date, RateText], BeforeValidator(_texts), Field(min_length=1)]] = {}


Read = TypeVar("Read", bound=Strict)


def load_rules(path: Path) -> Rules:
    """Raises RulesError. Whether the names fit together is found out when the rules are compiled."""
    return parse_rules(_text(path), str(path))


def parse_rules(text: str, name: str) -> Rules:
    """Errors call the file `name`. Raises RulesError."""
    rules, source = _validated(Rules, text, name)
    return rules.of(source)


def load_rates(path: Path) -> Rates:
    """Raises RulesError."""
    table, _ = _validated(ExchangeRates, _text(path), str(path))
    dated = {
        currency: sorted((to_instant(datetime(d.year, d.month, d.day, tzinfo=UTC)), rate) for d, rate in rows.items())
        for currency, rows in table.rates.items()
    }
    return Rates(table.base_currency, dated)


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except OSError as error:
        raise RulesError(f"{path}: {error.strerror or error}") from None


def _validated(model: type[Read], text: str, name: str) -> tuple[Read, Source]:
    document, source = read_yaml(text, name)
    try:
        return model.model_validate(document), source
    except ValidationError as error:
        found = (source.error(path_of(e["loc"], source.lines), _said(e)) for e in error.errors(include_url=False))
        raise RulesError("\n".join(found)) from None


def _said(error: ErrorDetails) -> str:
    """What was expected; for a key that no part of the rules has, the nearest one that some part has."""
    if error["type"] != "extra_forbidden":
        return error["msg"]
    near = get_close_matches(str(error["loc"][-1]), KEYS, n=1)
    return f"not known here; did you mean {near[0]!r}?" if near else "not known here; remove it"
