"""The rules as people write them: models of `segmentation.yaml` and `exchange_rates.yaml`, read with errors that say where."""

from datetime import UTC, date, datetime
from decimal import Decimal
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BeforeValidator, Field, PrivateAttr, ValidationError
from pydantic_core import ErrorDetails

from services.segmentation.language.grammar import (
    DIMENSIONS,
    METRICS,
    CaseRule,
    CompositeRule,
    DimensionRule,
    EntryRule,
    Limits,
    MetricRule,
    Name,
    Strict,
)
from services.segmentation.language.source import RulesError, Source, path_of, read_yaml
from services.segmentation.measures.money import Rates
from shared.clock import to_instant
from shared.events.fields import CurrencyCode

__all__ = ["Limits", "Rules", "RulesError", "load_rates", "load_rules", "parse_rules"]


class Rules(Strict):
    """One version of the rules; `version` is what `segments.changed` names."""

    version: Annotated[str, Field(min_length=1, max_length=32)] = "1"
    base_currency: CurrencyCode
    limits: Limits = Limits()
    streams: dict[Name, Annotated[tuple[EntryRule, ...], Field(min_length=1)]] = {}
    metrics: dict[Name, MetricRule] = {}
    dimensions: Annotated[dict[Name, DimensionRule], Field(min_length=1)]
    composites: dict[Name, CompositeRule] = {}
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


MODELS: tuple[type[Strict], ...] = (
    Rules,
    Limits,
    EntryRule,
    CaseRule,
    CompositeRule,
    *METRICS.values(),
    *DIMENSIONS.values(),
)
KEYS = sorted({field.alias or key for model in MODELS for key, field in model.model_fields.items()})
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
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise RulesError(f"{path}:{line}: no text in UTF-8: {error.reason}") from None
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
