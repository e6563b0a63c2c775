"""The rules language: what may stand in a rules file, part by part. Whether names fit together is found out when compiled."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, Tag, model_validator

from services.segmentation.language.misfits import unknown
from services.segmentation.language.spans import parse_span

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
Value = Annotated[str, Field(min_length=1, max_length=64)]
LANGUAGES = ("en", "zh")
Scalar = bool | int | float | str


def _span(text: Any) -> Any:
    span = parse_span(text) if isinstance(text, str) else None
    if not span:
        raise ValueError("expected a span such as 365d, 12h or 1d12h")
    return span


def _listed(value: Any) -> Any:
    return value if isinstance(value, list | tuple) else [value]


def _in_known_languages(note: dict[str, str]) -> dict[str, str]:
    for language in note:
        if language not in LANGUAGES:
            raise ValueError(unknown(language, LANGUAGES))
    return note


def _share(text: Any) -> Any:
    """Percent, in thousandths of a percent so that it stays exact."""
    number = text.removesuffix("%").strip() if isinstance(text, str) and text.endswith("%") else ""
    whole, _, fraction = number.partition(".")
    if not (whole.isdigit() and len(fraction) <= 3 and (fraction.isdigit() or not fraction)):
        raise ValueError("expected a share such as 30%")
    return int(whole) * 1000 + int(fraction.ljust(3, "0"))


SpanText = Annotated[
    str, Field(pattern=r"^(?=\d)(\d+d)?(\d+h)?(\d+m)?(\d+(\.\d{1,3})?s)?$", description="a span: 365d, 12h, 1d12h")
]
ShareText = Annotated[str, Field(pattern=r"^\d+(\.\d{1,3})? *%$", description="a share: 30%")]
Note = Annotated[
    dict[str, str],
    Field(
        description="for people, per language: {en: …, zh: …}",
        json_schema_extra={"propertyNames": {"enum": [*LANGUAGES]}},
    ),
    AfterValidator(_in_known_languages),
]
Span = Annotated[int, BeforeValidator(_span, json_schema_input_type=SpanText)]
Share = Annotated[int, Field(gt=0, le=100_000), BeforeValidator(_share, json_schema_input_type=ShareText)]


class Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", validate_by_name=False, validate_by_alias=True)


class EntryRule(Strict):
    """Events of these kinds that fit `where` count with `points`; `value` is the field that is kept, `as` names its ranges."""

    on: Annotated[
        tuple[str, ...],
        Field(min_length=1),
        BeforeValidator(_listed, json_schema_input_type=str | Annotated[list[str], Field(min_length=1)]),
    ]
    where: dict[str, Scalar | list[Scalar]] = {}
    points: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    value: str | None = None
    as_: Annotated[dict[Value, str], Field(alias="as")] = {}

    @model_validator(mode="after")
    def _ranges_of_a_value(self) -> "EntryRule":
        if self.as_ and self.value is None:
            raise ValueError("`as` names ranges of a `value`: expected `value` beside it")
        return self


class OfWindow(Strict):
    """Over what lies in (now - within, now - until]; without `within` over all that ever was."""

    within: Span | None = None
    until: Span | None = None

    @model_validator(mode="after")
    def _until_inside(self) -> "OfWindow":
        if self.until is not None and (self.within is None or self.until >= self.within):
            raise ValueError("`until` ends a window: expected a longer `within` beside it")
        return self


class CountOf(OfWindow):
    count: Name


class SumOf(OfWindow):
    sum: Name


class PointsOf(OfWindow):
    points: Name


class DistinctDays(OfWindow):
    """Days are those of UTC."""

    distinct_days: Name


class NewestOf(OfWindow):
    newest: Name


class CollectedOf(OfWindow):
    collected: Name


class ShareOf(OfWindow):
    """Net spend by category, against all net spend of the window."""

    share: Literal["purchases"]


class SinceFirst(Strict):
    since_first: Name


class SinceLast(Strict):
    since_last: Name


class MedianGapOf(Strict):
    """`within`: the span that ends at the last one. `otherwise`: where there are fewer than two gaps."""

    median_gap: Name
    within: Span
    at_least: Span
    at_most: Span
    otherwise: Span

    @model_validator(mode="after")
    def _from_least_to_most(self) -> "MedianGapOf":
        if self.at_least > self.at_most:
            raise ValueError("`at_least` is more than `at_most`")
        return self


class ScoreOf(Strict):
    """The first step that holds gives its points."""

    score: Name
    steps: dict[str, int] = Field(min_length=1)
    otherwise: int


class TotalOf(Strict):
    total: Annotated[tuple[Name, ...], Field(min_length=1)]


METRICS: dict[str, type[Strict]] = {
    "count": CountOf,
    "sum": SumOf,
    "points": PointsOf,
    "distinct_days": DistinctDays,
    "newest": NewestOf,
    "collected": CollectedOf,
    "share": ShareOf,
    "since_first": SinceFirst,
    "since_last": SinceLast,
    "median_gap": MedianGapOf,
    "score": ScoreOf,
    "total": TotalOf,
}


def _metric_kind(rule: Any) -> str | None:
    return next((kind for kind in METRICS if isinstance(rule, dict) and kind in rule), None)


MetricRule = Annotated[
    Annotated[CountOf, Tag("count")]
    | Annotated[SumOf, Tag("sum")]
    | Annotated[PointsOf, Tag("points")]
    | Annotated[DistinctDays, Tag("distinct_days")]
    | Annotated[NewestOf, Tag("newest")]
    | Annotated[CollectedOf, Tag("collected")]
    | Annotated[ShareOf, Tag("share")]
    | Annotated[SinceFirst, Tag("since_first")]
    | Annotated[SinceLast, Tag("since_last")]
    | Annotated[MedianGapOf, Tag("median_gap")]
    | Annotated[ScoreOf, Tag("score")]
    | Annotated[TotalOf, Tag("total")],
    Discriminator(
        _metric_kind, custom_error_type="metric", custom_error_message=f"expected one of {', '.join(METRICS)}"
    ),
]

Sentence = Annotated[
    str, Field(description="`spend_in_year >= 5000`, `lifecycle in growing, mature`, `facet.region = east`")
]


class AllOf(Strict):
    all: Annotated[tuple["When", ...], Field(min_length=1)]


class AnyOf(Strict):
    any: Annotated[tuple["When", ...], Field(min_length=1)]


class NotThat(Strict):
    not_: Annotated["When", Field(alias="not")]


def _when_kind(rule: Any) -> str | None:
    if isinstance(rule, str):
        return "sentence"
    return next((kind for kind in ("all", "any", "not") if isinstance(rule, dict) and kind in rule), None)


When = Annotated[
    Annotated[Sentence, Tag("sentence")]
    | Annotated[AllOf, Tag("all")]
    | Annotated[AnyOf, Tag("any")]
    | Annotated[NotThat, Tag("not")],
    Discriminator(
        _when_kind, custom_error_type="when", custom_error_message="expected a sentence, or one of all, any, not"
    ),
]
Whens = Annotated[
    tuple[When, ...],
    Field(min_length=1),
    BeforeValidator(_listed, json_schema_input_type=When | Annotated[list[When], Field(min_length=1)]),
]
"""A list: all of them."""


class CaseRule(Strict):
    """`when`; or `enter` to come in and `leave` to stay: what must hold while it is the present value."""

    value: Value
    when: Whens | None = None
    enter: Whens | None = None
    leave: Whens | None = None

    @model_validator(mode="after")
    def _one_way(self) -> "CaseRule":
        if (self.when is None) == (self.enter is None) or (self.enter is None) != (self.leave is None):
            raise ValueError("expected `when`, or both `enter` and `leave`")
        return self


class CasesRule(Strict):
    """The first case that holds, from the top. Without `otherwise` a customer for whom none holds is in no value.

    `shown`: a text of {metrics} beside the value. `hold_for`: after a change nothing changes for so long.
    """

    cases: Annotated[tuple[CaseRule, ...], Field(min_length=1)]
    otherwise: Value | None = None
    hold_for: Span | None = None
    shown: str | None = None
    note: Note = {}


class FacetRule(Strict):
    """As stated of the customer: `region`, `channel`, `interests`, `custom.tier` …"""

    facet: Annotated[str, Field(pattern=r"^(custom\.)?[A-Za-z0-9_\-]{1,64}$")]
    note: Note = {}


class ListRule(Strict):
    """All values of a metric that has several; of shares those that reach `at_least`."""

    list: Name
    at_least: Share | None = None
    note: Note = {}


DIMENSIONS: dict[str, type[Strict]] = {"cases": CasesRule, "facet": FacetRule, "list": ListRule}


def _dimension_kind(rule: Any) -> str | None:
    return next((kind for kind in DIMENSIONS if isinstance(rule, dict) and kind in rule), None)


DimensionRule = Annotated[
    Annotated[CasesRule, Tag("cases")] | Annotated[FacetRule, Tag("facet")] | Annotated[ListRule, Tag("list")],
    Discriminator(
        _dimension_kind, custom_error_type="dimension", custom_error_message="expected one of cases, facet, list"
    ),
]


class CompositeRule(Strict):
    when: Whens
    note: Note = {}


class Limits(Strict):
    """Per customer: orders, and events of each stream; per order: payments and refunds that it names."""

    orders: Annotated[int, Field(ge=1, le=10_000)] = 512
    payments: Annotated[int, Field(ge=1, le=10_000)] = 64
    events: Annotated[int, Field(ge=1, le=10_000)] = 512
