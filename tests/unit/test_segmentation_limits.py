"""What is kept of a customer is bounded whatever comes, and what was given up is counted."""

from typing import Any

import pytest

from services.segmentation.domain import SegmentationDomain
from services.segmentation.state import CustomerState
from shared.clock import DAY, Instant
from shared.events.envelope import Event
from shared.processing.domain import Decision
from tests.support.segmentation_drive import driven
from tests.support.segmentation_facts import Fact
from tests.unit.segmentation_story import T0, rules

HEAD = "limits: {orders: 3, payments: 4}\n"
SPEND = "metrics: {spend: {sum: purchases, within: 365d}}\n"
LEVELS = SPEND + "dimensions: {level: {cases: [{value: owing, when: spend < 0}], otherwise: fine}}\n"
SHARES = """
metrics: {by: {share: purchases, within: 365d}}
dimensions: {tops: {list: by, at_least: 1%}}
"""


def paid(number: int, order: str | None = "subscription", amount: str = "10", **said: Any) -> Fact:
    return Fact("purchase", f"p{number}", T0 + number, T0 + number, order, "CNY", amount, said)


def refunded(number: int, order: str | None, amount: str = "1") -> Fact:
    return Fact("refund", f"r{number}", T0 + number, T0 + number, order, "CNY", amount)


def kept(text: str, facts: list[Fact]) -> tuple[CustomerState, Any]:
    domain = rules(HEAD + text)
    _, drive = driven(domain, facts, T0 + DAY)
    return drive.state, domain.because(drive.state, T0 + DAY)


def test_an_order_of_many_payments_names_its_first_and_its_newest_events_and_keeps_its_money() -> None:
    facts = [paid(n) for n in range(6)] + [refunded(n, "subscription") for n in range(6, 9)]
    state, because = kept(LEVELS, facts)
    assert [order[1] for order in state.orders] == [("p0", "r6", "r7", "r8")]
    assert because["level"]["values"]["spend"]["value"] == "57"
    assert state.given_up == 5


def test_each_decision_says_how_much_it_gave_up(monkeypatch: pytest.MonkeyPatch) -> None:
    decisions: list[Decision[CustomerState]] = []
    decide = SegmentationDomain.on_event

    def heard(self: SegmentationDomain, state: CustomerState, event: Event, at: Instant) -> Decision[CustomerState]:
        decisions.append(decide(self, state, event, at))
        return decisions[-1]

    monkeypatch.setattr(SegmentationDomain, "on_event", heard)
    objected = Fact("objected", "no", T0 + 5, T0 + 5)
    state, _ = kept(LEVELS, [*(paid(n) for n in range(5)), objected, *(paid(n) for n in range(6, 9))])
    assert sum(decision.given_up for decision in decisions) == state.given_up == 4


def test_refunds_that_waited_are_not_named_without_end_either() -> None:
    state, because = kept(LEVELS, [*(refunded(n, "late") for n in range(3)), *(paid(n, "late") for n in range(3, 7))])
    assert [order[1] for order in state.orders] == [("p3", "p4", "p5", "p6")]
    assert (because["level"]["values"]["spend"]["value"], state.given_up) == ("37", 3)


def test_refunds_without_an_order_are_given_up_oldest_first_and_counted() -> None:
    state, _ = kept(LEVELS, [refunded(n, f"o{n}") for n in range(8)])
    assert [refund[1] for refund in state.refunds] == [("r5",), ("r6",), ("r7",)]
    assert state.given_up == 5


def test_what_an_order_of_many_payments_was_spent_on_is_bounded_too() -> None:
    facts = [paid(n, category="tea" if n < 3 else "cups") for n in range(6)]
    state, because = kept(SHARES, facts)
    assert {key: len(purchases) for key, purchases in state.goods.items()} == {"p0": 4}
    assert because["tops"]["values"]["by"]["value"] == {"cups": "30"}
    assert because["tops"]["values"]["by.whole"]["value"] == "60"
