"""The rules as people write them: models of `segmentation.yaml` and `exchange_rates.yaml`, read with errors that say where."""

import hashlib
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, Tag, ValidationError

from services.segmentation.money import Rates
from services.segmentation.spans import parse_span
from shared.clock import to_instant
from shared.events.fields import CurrencyCode

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
Value = Annotated[str, Field(min_length=1, max_length=64)]
Kind = Literal["purchases"]


class RulesError(Exception):
    """Names the file, the path inside it, what is wrong and what was expected."""


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

    version: Annotated[str, Field(min_length=1, max_length=32)]
    base_currency: CurrencyCode
    limits: Limits = Limits()
    metrics: dict[Name, MetricRule]
    dimensions: Annotated[dict[Name, DimensionRule], Field(min_length=1)]
    digest: Annotated[str, Field(exclude=True)] = ""


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
    text = _text(path)
    rules = _validated(Rules, path, text)
    return rules.model_copy(update={"digest": hashlib.sha256(text.encode()).hexdigest()})


def load_rates(path: Path) -> Rates:
    """Raises RulesError."""
    table = _validated(ExchangeRates, path, _text(path))
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


def _validated(model: type[Read], path: Path, text: str) -> Read:
    try:
        return model.model_validate(yaml.safe_load(text))
    except yaml.YAMLError as error:
        raise RulesError(f"{path}: no YAML: {' '.join(str(error).split())}") from None
    except ValidationError as error:
        found = (f"{path}: {_where(e['loc'])}: {e['msg']}" for e in error.errors(include_url=False))
        raise RulesError("\n".join(found)) from None


def _where(location: tuple[int | str, ...]) -> str:
    """`dimensions.value.cases[0].when`; the tag that pydantic adds for a metric's kind is left out."""
    shown = ""
    for index, part in enumerate(location):
        if not (location[0] == "metrics" and index == 2 and part in KINDS):
            shown += f"[{part}]" if isinstance(part, int) else f".{part}"
    return shown.removeprefix(".") or "the file"
