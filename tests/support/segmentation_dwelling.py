"""What segmentation_dwelling.yaml means, as the oracle understands it: hysteresis, minimum dwell, absent values."""

from pathlib import Path
from typing import Any

from tests.support.segmentation_facts import A_PURCHASE, Entry, Fact, Known
from tests.support.segmentation_measures import MONTH, SEASON, Measure, between
from tests.support.segmentation_oracle import Look, Meaning, Value
from tests.support.segmentation_orders import DAY, NOTHING

RULES = Path(__file__).with_suffix(".yaml")
FIVE_MONTHS, TWO_MONTHS, SILENCE = 150 * DAY, 60 * DAY, 45 * DAY


def _touches(known: Known) -> list[Entry]:
    bought = [Entry(touch.at, touch.ids, 2) for touch in known.touches if touch.worth == A_PURCHASE]
    others = [Entry(fact.counts_at, (fact.id,), 1) for fact in known.facts if _touches_us(fact)]
    return sorted([*bought, *others], key=lambda entry: entry.at)


def _touches_us(fact: Fact) -> bool:
    if fact.kind == "message.exchanged":
        return bool(fact.said["direction"] == "inbound")
    return fact.kind in ("visit.held", "call.ended", "survey.answered")


def _stars(known: Known) -> list[Entry]:
    rated = [(fact, _rating(fact)) for fact in known.facts]
    entries = [Entry(fact.counts_at, (fact.id,), stars) for fact, stars in rated if stars is not None]
    return sorted(entries, key=lambda entry: entry.at)


def _rating(fact: Fact) -> int | None:
    if fact.kind == "survey.answered":
        stars: int | None = fact.said.get("csat")
        return stars if stars is not None and stars >= 3 else None
    return fact.said.get("satisfaction") if fact.kind == "service.performed" else None


def _measures(known: Known, at: int) -> dict[str, Measure]:
    money = [*between(known.orders, at - FIVE_MONTHS, at), *between(known.loose, at - FIVE_MONTHS, at)]
    touches, stars = _touches(known), _stars(known)
    month, two_months = between(touches, at - MONTH, at), between(touches, at - TWO_MONTHS, at)
    last = [touch for touch in touches if touch.at == touches[-1].at]
    newest = between(stars, at - SEASON, at)[-1:]
    return {
        "spend_in_season": Measure(
            sum((entry.net for entry in money), NOTHING),
            money,
            ((known.orders, FIVE_MONTHS), (known.loose, FIVE_MONTHS)),
        ),
        "points_in_month": Measure(sum(touch.worth for touch in month), month, ((touches, MONTH),)),
        "touch_days": Measure(len({touch.at // DAY for touch in two_months}), two_months, ((touches, TWO_MONTHS),)),
        "since_touch": Measure(at - touches[-1].at if touches else None, last),
        "touches_ever": Measure(len(touches), touches),
        "newest_stars": Measure(newest[0].worth if newest else None, newest, ((stars, SEASON),)),
    }


def _spending(look: Look) -> Value:
    spend: Any = look["spend_in_season"]
    now = look.before.get("spending")
    if spend >= 1000 or (now == "high" and spend >= 90):
        return "high"
    if spend >= 300 or (now == "medium" and spend >= 5):
        return "medium"
    return "low" if spend > 0 else "none"


def _warmth(look: Look) -> Value:
    points: Any = look["points_in_month"]
    return "hot" if points >= 6 else "warm" if points >= 2 else "cold"


def _pace(look: Look) -> Value:
    days: Any = look["touch_days"]
    if days >= 4 or (look.before.get("pace") == "brisk" and days >= 2):
        return "brisk"
    return "slow" if days >= 1 else None


def _mood(look: Look) -> Value:
    stars: Any = look["newest_stars"]
    silence: Any = look["since_touch"]
    if look.after["warmth"] == "hot" and stars is not None and stars >= 4:
        return "good"
    silent = silence is not None and silence >= SILENCE and look.after["spending"] in ("low", "none")
    return "silent" if silent else "fair"


def _regular(look: Look) -> Value:
    touches: Any = look["touches_ever"]
    if touches >= 3 and look.stated("custom.tier") != "silver":
        return "yes"
    return "known" if look.after["warmth"] == "hot" else None


def _eager(look: Look) -> bool:
    return look.after["warmth"] in ("hot", "warm") and ("spending", "high") in look.ever


DWELLING = Meaning(
    spans=lambda _known: {MONTH, SILENCE, TWO_MONTHS, FIVE_MONTHS, SEASON},
    measures=_measures,
    dimensions={
        "spending": _spending,
        "warmth": _warmth,
        "pace": _pace,
        "mood": _mood,
        "tier": lambda look: look.stated("custom.tier"),
        "regular": _regular,
    },
    facets={"tier": "custom.tier"},
    composites={
        "eager": _eager,
        "golden_calm": lambda look: (
            look.stated("custom.tier") == "gold" and look.after["warmth"] != "hot" and look.after["pace"] != "brisk"
        ),
        "watched": lambda look: _eager(look) or look.after["mood"] != "fair",
    },
    hold={"warmth": 40 * DAY, "pace": 5 * DAY, "regular": 20 * DAY},
)
