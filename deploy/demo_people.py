"""Who the demo's customers are: plainly invented names and numbers around the anonymous ids of the CDNOW sample. Generated."""

from dataclasses import dataclass
from random import Random
from typing import Any

AREAS: tuple[tuple[str, str, str], ...] = (
    ("201", "New Jersey", "America/New_York"),
    ("202", "District of Columbia", "America/New_York"),
    ("203", "Connecticut", "America/New_York"),
    ("205", "Alabama", "America/Chicago"),
    ("206", "Washington", "America/Los_Angeles"),
    ("207", "Maine", "America/New_York"),
    ("208", "Idaho", "America/Boise"),
    ("212", "New York", "America/New_York"),
    ("213", "California", "America/Los_Angeles"),
    ("214", "Texas", "America/Chicago"),
    ("215", "Pennsylvania", "America/New_York"),
    ("216", "Ohio", "America/New_York"),
    ("217", "Illinois", "America/Chicago"),
    ("218", "Minnesota", "America/Chicago"),
    ("225", "Louisiana", "America/Chicago"),
    ("228", "Mississippi", "America/Chicago"),
    ("229", "Georgia", "America/New_York"),
    ("240", "Maryland", "America/New_York"),
    ("252", "North Carolina", "America/New_York"),
    ("262", "Wisconsin", "America/Chicago"),
    ("269", "Michigan", "America/Detroit"),
    ("270", "Kentucky", "America/Chicago"),
    ("303", "Colorado", "America/Denver"),
    ("305", "Florida", "America/New_York"),
    ("316", "Kansas", "America/Chicago"),
    ("405", "Oklahoma", "America/Chicago"),
)
FICTITIOUS = 100
"""Numbers 555-0100 to 555-0199 of each area are set aside for invented people."""

AGE_BANDS = ("20-29", "30-39", "40-49", "50-59", "60-69")
GENDERS = ("female", "male", None)
GENRES = ("jazz", "classical", "pop", "rock", "folk", "soundtrack")
OWNERS = ("agent-lin", "agent-wu", "agent-zhao", "agent-reed", "agent-ortiz")


@dataclass(frozen=True, slots=True)
class Person:
    """`key` is what every event names the customer by; `profile` goes with the first event only."""

    key: dict[str, str]
    zone: str
    owner: str
    profile: dict[str, Any]


def buyer(seed: int, cdnow_id: str) -> Person:
    """The same person for the same seed and id."""
    return _person(seed, "cdnow", cdnow_id, int(cdnow_id) - 1)


def prospect(seed: int, system: str, number: int) -> Person:
    """Somebody without purchases, and without a phone number."""
    return _person(seed, system, f"{number:04d}", None)


def _person(seed: int, system: str, number: str, place: int | None) -> Person:
    random = Random(f"{seed}:person:{system}:{number}")  # noqa: S311 - invented people, no secrets
    area, region, zone = AREAS[(place if place is not None else random.randrange(1 << 20)) % len(AREAS)]
    owner = random.choice(OWNERS)
    profile: dict[str, Any] = {
        "name": f"Sample Customer {system}-{number} 示例客户",
        "email": f"sample-{system}-{number}@example.com",
        "region": region,
        "country": "US",
        "timezone": zone,
        "language": random.choice(("en", "en", "en", "zh")),
        "age_band": random.choice(AGE_BANDS),
        "interests": sorted(random.sample(GENRES, k=random.choice((1, 1, 2)))),
        "birthday": {"month": random.randint(1, 12), "day": random.randint(1, 28)},
        "owner": owner,
        "channel": random.choice(("web", "web", "phone", "mail")),
    }
    gender = random.choice(GENDERS)
    profile |= {"gender": gender} if gender else {}
    if place is not None and place < len(AREAS) * FICTITIOUS:
        profile["phone"] = f"+1{area}555{100 + place // len(AREAS):04d}"
    return Person({"system": system, "id": number}, zone, owner, profile)
