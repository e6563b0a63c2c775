"""The rules for four trades, each on the lives of a few customers: what they become, when, and why."""

from dataclasses import dataclass, field
from typing import Any

import pytest

from services.segmentation.domain import SegmentationDomain
from shared.clock import DAY, from_rfc3339
from shared.events.segments import SegmentChange, SegmentsChanged
from tests.support.segmentation_drive import CONFIG, CUSTOMER, Drive, domain_of
from tests.support.segmentation_facts import Fact

PACKS = ("retail", "service", "manufacturing", "internet")
T0 = from_rfc3339("2025-03-03T09:00:00Z")
RELIED_ON = {"purchase_frequency": {"high", "medium", "low"}, "value": {"high"}}
"""What the standard playbooks of follow-up and the severities of feedback ask for."""


@dataclass
class Life:
    """One customer under one pack; days count from the first event."""

    domain: SegmentationDomain
    told: list[tuple[float, SegmentsChanged]] = field(default_factory=list)
    known: int = 0

    def __post_init__(self) -> None:
        self.drive = Drive(self.domain, self.domain.initial(CUSTOMER))

    def tell(self, event: str, day: float, amount: str = "0", order_id: str | None = None, **said: Any) -> "Life":
        at = T0 + int(day * DAY)
        self.known += 1
        fact = Fact(event, f"{event}-{self.known}", at, at, order_id, "CNY", amount, said)
        self._note(list(self.drive.apply(fact)))
        return self

    def wait(self, day: float) -> "Life":
        self._note(list(self.drive.until(T0 + int(day * DAY))))
        return self

    def _note(self, changes: list[tuple[int, SegmentsChanged]]) -> None:
        self.told += [((at - T0) / DAY, event) for at, event in changes]

    def now(self, *dimensions: str) -> tuple[Any, ...]:
        memberships = self.told[-1][1].memberships
        return tuple(memberships.get(dimension) for dimension in dimensions)

    @property
    def composites(self) -> tuple[str, ...]:
        return self.told[-1][1].composites

    def became(self, dimension: str) -> list[tuple[float, Any]]:
        return [(day, change.to) for day, change in self.changes(dimension)]

    def changes(self, dimension: str) -> list[tuple[float, SegmentChange]]:
        return [(day, one) for day, event in self.told for one in event.changes if one.dimension == dimension]


def life(pack: str) -> Life:
    return Life(domain_of(CONFIG / "packs" / f"{pack}.yaml"))


@pytest.mark.parametrize("pack", PACKS)
def test_a_pack_is_whole(pack: str) -> None:
    """Notes in both languages, and what the neighbours' standard settings rely on."""
    rules = domain_of(CONFIG / "packs" / f"{pack}.yaml").program.rules
    for name, rule in {**rules.dimensions, **rules.composites}.items():
        assert rule.note, name
        assert all(rule.note[language] for language in ("en", "zh")), name
    for dimension, values in RELIED_ON.items():
        assert values <= {case.value for case in rules.dimensions[dimension].cases}


def test_retail_a_weekly_shopper_is_a_regular_and_then_missed() -> None:
    shopper = life("retail").tell("registered", 0, facets={"interests": ["tea", "cooking"]})
    assert shopper.now("habit", "place", "preferred_goods") == ("none", None, ())
    for week in range(8):
        shopper.tell("purchase", 7 * week, "200", channel="store", category="tea")
    assert shopper.now("habit", "place", "lifecycle", "preferred_goods") == ("weekly", "shop", "growing", ("tea",))
    assert shopper.composites == ("regulars",)
    shopper.wait(49 + 14)
    assert shopper.became("lifecycle")[-1] == (49 + 14, "declining")
    assert "missed_regulars" in shopper.composites
    assert "regulars" not in shopper.composites
    _, change = shopper.changes("lifecycle")[-1]
    assert change.because.values["usual_gap"].value == "7d"
    assert change.because.values["since_last_purchase"].value == "14d"


def test_retail_preferred_goods_follow_the_lines_of_an_order_and_its_refund() -> None:
    shopper = life("retail").tell("registered", 0)
    lines = [
        {"category": "shoes", "amount": {"amount": "600", "currency": "CNY"}},
        {"category": "socks", "amount": {"amount": "100", "currency": "CNY"}},
    ]
    shopper.tell("purchase", 1, "700", "o1", channel="web", items=lines)
    shopper.tell("purchase", 2, "250", "o2", channel="store", category="tea")
    assert shopper.now("preferred_goods", "place") == (("shoes", "tea"), "both")
    shopper.tell("refund", 3, "700", "o1")
    assert shopper.now("preferred_goods", "returns") == (("tea",), "sometimes")


def test_retail_one_purchase_waits_for_the_second() -> None:
    shopper = life("retail").tell("purchase", 0, "99", channel="app")
    assert shopper.now("habit", "place", "purchase_frequency") == ("occasional", "online", "low")
    assert shopper.composites == ("second_purchase",)
    assert shopper.wait(46).composites == ()
    assert shopper.changes("composites")[-1][0] == 45


def test_retail_attention_dwells_three_days() -> None:
    shopper = life("retail").tell("registered", 0).tell("message.exchanged", 10, direction="inbound", channel="chat")
    assert shopper.became("attention")[-1] == (10, "low")
    for _ in range(7):
        shopper.tell("message.exchanged", 11, direction="inbound", channel="chat")
    shopper.wait(20)
    assert shopper.became("attention")[-1] == (13, "high")


def test_service_poor_service_of_a_good_customer_wants_amends() -> None:
    guest = life("service").tell("registered", 0)
    for day in (1, 40, 80):
        guest.tell("purchase", day, "4000").tell("service.performed", day, category="repair", satisfaction=5)
    assert guest.now("value", "experience", "satisfaction", "use") == ("high", "good", "promoter", "occasional")
    guest.tell("service.performed", 90, category="repair", satisfaction=1)
    assert guest.now("experience", "use") == ("poor", "regular")
    assert guest.composites == ("make_amends",)
    _, change = guest.changes("experience")[-1]
    assert change.because.values["newest_rating"].value == "1"


def test_service_complaints_are_remembered_and_forgiven() -> None:
    guest = life("service").tell("registered", 0)
    guest.tell("feedback.received", 10, kind="complaint", category="noise")
    assert guest.now("complaints", "complaint_areas") == ("single", ("noise",))
    guest.tell("feedback.received", 20, kind="complaint", category="food", severity="normal")
    assert guest.now("complaints", "complaint_areas") == ("repeated", ("food", "noise"))
    guest.wait(400)
    assert guest.became("complaints")[-2:] == [(10 + 365, "past"), (20 + 365, "none")]
    guest.tell("feedback.received", 401, kind="complaint", category="food", severity="critical")
    assert guest.now("complaints") == ("grave",)


def test_service_a_detractor_who_comes_back_is_recovered() -> None:
    guest = life("service").tell("survey.answered", 0, survey="stay", nps=2)
    assert guest.now("satisfaction") == ("detractor",)
    guest.tell("survey.answered", 0.5, survey="stay", nps=9).wait(2)
    assert guest.became("satisfaction") == [(0, "detractor"), (1, "promoter")]
    assert guest.composites == ("recovered",)


def test_manufacturing_an_order_without_news_is_overdue() -> None:
    buyer = life("manufacturing").tell("registered", 0, facets={"industry": "textiles", "company_size": "large"})
    buyer.tell(
        "inquiry.received",
        1,
        needs=["304 steel", "M8"],
        usage_scenario="looms",
        budget={"amount": "600000", "currency": "CNY"},
    )
    assert buyer.now("specifications", "applications", "budget_band") == (("304 steel", "M8"), ("looms",), "high")
    assert buyer.composites == ("key_account_prospect",)
    buyer.tell("purchase", 10, "580000", "o1").tell("order.updated", 10, order_id="o1", state="placed")
    buyer.tell("order.updated", 20, order_id="o1", state="shipped").wait(70)
    assert buyer.became("delivery")[1:] == [(10, "under_way"), (65, "overdue")]
    assert buyer.composites == ("push_delivery",)
    buyer.tell("order.updated", 70, order_id="o1", state="delivered")
    assert buyer.now("delivery", "warranty") == ("delivered", "fresh")


def test_manufacturing_repairs_and_the_end_of_the_warranty_call_for_a_contract() -> None:
    buyer = life("manufacturing").tell("order.updated", 0, order_id="o1", state="delivered")
    for day in (30, 60, 90):
        buyer.tell("service.performed", day, category="spindle", satisfaction=4)
    assert buyer.now("after_sales", "repair_kinds", "satisfaction") == ("high", ("spindle",), "passive")
    assert buyer.composites == ("offer_service_contract",)
    buyer.wait(700)
    assert buyer.became("after_sales")[-2:] == [(60 + 180, "some"), (90 + 180, "none")]
    assert buyer.became("warranty") == [(0, "fresh"), (90, "running"), (640, "ending")]
    assert buyer.composites == ("offer_service_contract",)


def test_manufacturing_trouble_with_delivery_and_quality() -> None:
    buyer = life("manufacturing")
    for day in (0, 60, 120):
        buyer.tell("purchase", day, "200000")
    buyer.tell("feedback.received", 130, kind="complaint", category="delay")
    assert buyer.now("troubles", "value") == ("delivery", "high")
    buyer.tell("feedback.received", 131, kind="complaint", category="defect")
    assert buyer.now("troubles") == ("both",)
    assert buyer.composites == ("at_risk",)


def test_internet_a_daily_user_becomes_a_candidate_and_falls_asleep() -> None:
    user = life("internet").tell("registered", 0, facets={"region": "Chengdu", "interests": ["music"]}, channel="app")
    assert user.now("region", "interests", "stage", "usage") == ("Chengdu", ("music",), "visitor", "none")
    for day in range(1, 31):
        user.tell("usage.reported", day, name="editor" if day % 2 else "export")
    assert user.now("usage", "stage", "features") == ("daily", "activated", ("editor", "export"))
    assert user.composites == ("upgrade_candidate",)
    user.wait(200)
    assert (60, "sleeping") in user.became("stage")
    assert user.became("usage")[-3:] == [(45, "weekly"), (58, "rarely"), (60, "none")]
    assert user.became("features")[-1] == (120, ())
    assert user.composites == ("wake_up",)


def test_internet_a_paying_user_who_loses_interest_may_cancel() -> None:
    user = life("internet").tell("purchase", 0, "30")
    for day in range(40):
        user.tell("usage.reported", day, name="editor")
    user.tell("purchase", 30, "30").tell("purchase", 60, "30").wait(69)
    assert (64, "dropping") in user.became("usage_trend")
    assert user.composites == ("cancellation_risk", "wake_up")
    assert user.now("plan") == ("paying",)


def test_internet_advocates_are_loud_and_content() -> None:
    user = life("internet").tell("survey.answered", 0, survey="nps", nps=10)
    for _ in range(20):
        user.tell("signal.observed", 1, name="share")
    assert user.now("engagement", "signals", "satisfaction") == ("high", ("share",), "promoter")
    assert user.composites == ("advocates",)
