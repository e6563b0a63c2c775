"""What the standard rules mean (INTERFACES.md section 5), their numbers written down a second time."""

from collections.abc import Callable
from fractions import Fraction
from typing import Any

from tests.support.segmentation_facts import Known
from tests.support.segmentation_measures import HALF, MONTH, SEASON, YEAR, standard_measures, usual_gap
from tests.support.segmentation_oracle import Look, Meaning, Value
from tests.support.segmentation_orders import DAY

FACETS = ("region", "age_band", "gender", "industry", "company_size", "interests", "channel")


def _spans(known: Known) -> set[int]:
    spans = {YEAR, MONTH, SEASON, HALF, 60 * DAY, 90 * DAY, 240 * DAY}
    gap = usual_gap(known.orders)
    return spans | {int(2 * gap), int(4 * gap)} if known.orders else spans


def _level(measure: str, high: int, medium: int, low: int) -> Callable[[Look], Value]:
    def level(look: Look) -> Value:
        number: Any = look[measure]
        return "high" if number >= high else "medium" if number >= medium else "low" if number >= low else "none"

    return level


def _spend_level(look: Look) -> Value:
    spend: Any = look["spend_in_year"]
    return "none" if spend <= 0 else _level("spend_in_year", 5000, 1000, 0)(look)


def _value(look: Look) -> Value:
    return "none" if look["purchases_in_year"] == 0 else _level("rfm", 12, 8, 0)(look)


def _lifecycle(look: Look) -> Value:
    silence: Any = look["since_last_purchase"]
    first: Any = look["since_first_purchase"]
    gap: Any = look["usual_gap"]
    bought: Any = look["purchases_in_year"]
    if look["purchases_ever"] == 0:
        return "prospect"
    if silence >= max(4 * gap, HALF):
        return "churned"
    if silence >= 2 * gap:
        return "declining"
    if first < MONTH:
        return "acquired"
    return "mature" if first >= HALF and bought >= 4 else "growing"


def _status(look: Look) -> Value:
    first: Any = look["since_first_purchase"]
    silence: Any = look["since_last_purchase"]
    if look["purchases_ever"] == 0:
        return "potential"
    if look.after["lifecycle"] == "churned":
        return "lost"
    return "new" if first < MONTH else "active" if silence < 90 * DAY else "dormant"


def _trend(look: Look) -> Value:
    before: Any = look["points_before"]
    month: Any = look["points_in_month"]
    return "dropping" if before >= 15 and 6 * month < before else "steady"


def _satisfaction(look: Look) -> Value:
    opinion: Any = look["opinion"]
    return opinion or "unknown"


def _top_categories(look: Look) -> Value:
    """Nothing spent: none."""
    spent: Any = look["spend_by_category"]
    whole: Any = look["spend_by_category.whole"]
    return tuple(sorted(c for c, net in spent.items() if whole > 0 and net / whole >= Fraction(30, 100)))


def _needs(look: Look) -> Value:
    needs: Any = look["needs_named"]
    return needs


def _budget_band(look: Look) -> Value:
    budget: Any = look["budget"]
    bands = ((1_000, "low"), (10_000, "medium"), (100_000, "high"))
    return None if budget is None else next((band for below, band in bands if budget < below), "very_high")


def stated(facet: str) -> Callable[[Look], Value]:
    return lambda look: look.stated(facet)


def _win_back(look: Look) -> bool:
    return look.after["lifecycle"] in ("declining", "churned") and any(
        ("value", value) in look.ever for value in ("high", "medium")
    )


STANDARD = Meaning(
    spans=_spans,
    measures=standard_measures,
    dimensions={
        "purchase_frequency": _level("purchases_in_year", 12, 3, 1),
        "spend_level": _spend_level,
        "value": _value,
        "lifecycle": _lifecycle,
        "status": _status,
        "engagement": _level("points_in_month", 15, 5, 1),
        "engagement_trend": _trend,
        "satisfaction": _satisfaction,
        "top_categories": _top_categories,
        "needs": _needs,
        "budget_band": _budget_band,
        **{facet: stated(facet) for facet in FACETS},
    },
    facets={facet: facet for facet in FACETS},
    composites={
        "vip": lambda look: look.after["value"] == "high" and look.after["lifecycle"] in ("growing", "mature"),
        "win_back": _win_back,
        "at_risk": lambda look: (
            look.after["engagement_trend"] == "dropping" or look.after["satisfaction"] == "detractor"
        ),
        "key_account_prospect": lambda look: (
            look.after["lifecycle"] == "prospect" and look.after["company_size"] == "large"
        ),
    },
)
