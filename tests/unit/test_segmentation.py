"""Segmentation by examples: instants, reasons, orders, refunds, money, objection, limits."""

import json
from decimal import Decimal

import pytest

from services.segmentation.domain import SegmentationDomain
from services.segmentation.language.grammar import Limits
from services.segmentation.language.program import compile_rules
from services.segmentation.language.spans import parse_span, write_span
from services.segmentation.measures.money import Rates
from services.segmentation.measures.orders import Book, with_purchase, with_refund
from services.segmentation.state import CustomerState
from shared.clock import DAY, HOUR, from_rfc3339
from shared.events.customers import CustomerErased
from shared.events.fields import Money
from shared.events.segments import SegmentChange, SegmentsChanged
from tests.support.segmentation_drive import CUSTOMER, Drive, driven, event_of, standard_domain
from tests.support.segmentation_oracle import Fact

T0 = from_rfc3339("2025-03-01T12:00:00Z")
YEAR = 365 * DAY
FIRST = {
    "purchase_frequency": "none",
    "spend_level": "none",
    "value": "none",
    "lifecycle": "prospect",
    "status": "potential",
    "engagement": "none",
    "engagement_trend": "steady",
    "satisfaction": "unknown",
    "top_categories": (),
    "needs": (),
}


@pytest.fixture(scope="module")
def domain() -> SegmentationDomain:
    return standard_domain()


def bought(event_id: str, at: int, amount: str = "100", order_id: str | None = None, late: int = 0) -> Fact:
    return Fact("purchase", event_id, at - late, at, order_id, "CNY", amount)


def moves(event: SegmentsChanged) -> dict[str, tuple[object, object]]:
    return {change.dimension: (change.from_, change.to) for change in event.changes}


def change_of(event: SegmentsChanged, dimension: str) -> SegmentChange:
    return next(change for change in event.changes if change.dimension == dimension)


def test_a_new_customer_gets_its_first_memberships_from_nothing(domain: SegmentationDomain) -> None:
    changes, drive = driven(domain, [Fact("other", "r", T0, T0)], T0 + 9 * YEAR)
    [(at, event)] = changes
    assert at == T0
    assert moves(event) == {dimension: (None, value) for dimension, value in FIRST.items()}
    assert event.memberships == FIRST
    assert event.rules_version == "1"
    assert domain.wake_at(drive.state) is None
    shown = domain.view(drive.state)
    assert shown == {"memberships": {name: list(v) if isinstance(v, tuple) else v for name, v in FIRST.items()}}


def test_a_view_is_what_the_store_gives_back(domain: SegmentationDomain) -> None:
    """`verify` compares one that was stored with one that was made anew."""
    _, drive = driven(domain, [bought("p", T0, "1000")], T0 + 130 * DAY)
    shown = domain.view(drive.state)
    assert shown["composites"] == ["win_back"]
    assert json.loads(json.dumps(shown)) == shown


def test_what_one_purchase_becomes_when_nothing_follows(domain: SegmentationDomain) -> None:
    changes, _ = driven(domain, [bought("p", T0, "1000")], T0 + 9 * YEAR)
    assert [(at - T0, moves(event)) for at, event in changes[1:]] == [
        (
            30 * DAY,
            {
                "lifecycle": ("acquired", "growing"),
                "status": ("new", "active"),
                "engagement": ("medium", "none"),
            },
        ),
        (60 * DAY, {"value": ("medium", "low")}),
        (90 * DAY, {"status": ("active", "dormant")}),
        (120 * DAY, {"lifecycle": ("growing", "declining"), "composites": ((), ("win_back",))}),
        (240 * DAY, {"lifecycle": ("declining", "churned"), "status": ("dormant", "lost")}),
        (YEAR, {"purchase_frequency": ("low", "none"), "spend_level": ("medium", "none"), "value": ("low", "none")}),
    ]


def test_a_window_loses_a_purchase_exactly_a_year_later_and_names_it(domain: SegmentationDomain) -> None:
    facts = [bought("a", T0, "10"), bought("b", T0 + 100 * DAY, "10"), bought("c", T0 + 200 * DAY, "10")]
    changes, _ = driven(domain, facts, T0 + 2 * YEAR)
    at, event = next(pair for pair in changes if moves(pair[1]).get("purchase_frequency") == ("medium", "low"))
    because = change_of(event, "purchase_frequency").because
    assert at == T0 + YEAR
    assert because.values["purchases_in_year"].model_dump() == {"value": 2, "threshold": 3}
    assert because.expired == ("a",)
    assert because.events == ("b", "c")
    assert because.rule == "purchase_frequency: low when purchases_in_year >= 1"


def test_a_change_by_time_says_which_threshold_was_reached(domain: SegmentationDomain) -> None:
    changes, _ = driven(domain, [bought("p", T0)], T0 + YEAR)
    event = next(event for _, event in changes if moves(event).get("lifecycle") == ("growing", "declining"))
    because = change_of(event, "lifecycle").because
    assert because.values["since_last_purchase"].model_dump() == {"value": "120d", "threshold": "120d"}
    assert because.values["usual_gap"].value == "60d"
    assert because.rule == "lifecycle: declining when since_last_purchase >= 2 * usual_gap"


def test_the_cell_is_shown_beside_the_value(domain: SegmentationDomain) -> None:
    changes, _ = driven(domain, [bought("p", T0, "2000")], T0)
    because = change_of(changes[-1][1], "value").because
    assert because.values["shown"].value == "R5F1M4"
    assert because.values["rfm"].model_dump() == {"value": 10, "threshold": 8}


def test_a_late_purchase_counts_where_it_belongs_and_the_change_carries_now(domain: SegmentationDomain) -> None:
    facts = [bought("p", T0), bought("late", T0 + 10 * DAY, late=400 * DAY)]
    [*_, (at, event)] = driven(domain, facts, T0 + 10 * DAY)[0]
    assert at == T0 + 10 * DAY
    assert moves(event) == {"lifecycle": ("acquired", "growing"), "status": ("new", "active")}


def test_a_purchase_from_the_future_counts_from_now(domain: SegmentationDomain) -> None:
    _, drive = driven(domain, [Fact("purchase", "p", T0 + HOUR, T0)], T0)
    assert drive.state.orders[0][0] == T0


def test_a_full_refund_makes_the_only_buyer_a_prospect_again(domain: SegmentationDomain) -> None:
    facts = [bought("p", T0, order_id="o"), Fact("refund", "r", T0 + DAY, T0 + DAY, "o", "CNY", "100")]
    [*_, (_, event)] = driven(domain, facts, T0 + DAY)[0]
    assert event.memberships == FIRST
    assert change_of(event, "lifecycle").because.rule == "lifecycle: prospect when purchases_ever = 0"


def test_a_refund_waits_for_its_purchase(domain: SegmentationDomain) -> None:
    facts = [
        bought("p", T0, "1500"),
        Fact("refund", "r", T0 + DAY, T0 + DAY, "o", "CNY", "600"),
        bought("q", T0 + 2 * DAY, "800", "o"),
    ]
    changes, drive = driven(domain, facts, T0 + 2 * DAY)
    assert [moves(event).get("spend_level") for _, event in changes] == [
        (None, "medium"),
        ("medium", "low"),
        ("low", "medium"),
    ]
    assert drive.state.refunds == ()
    assert drive.state.orders[1][1:3] == (("q", "r"), "o")
    assert drive.state.orders[1][4] == "200"


def test_money_without_a_rate_is_a_purchase_and_said_so(domain: SegmentationDomain) -> None:
    [(_, event)] = driven(domain, [Fact("purchase", "p", T0, T0, currency="XYZ", amount="9999")], T0)[0]
    assert event.memberships["purchase_frequency"] == "low"
    assert event.memberships["spend_level"] == "none"
    assert change_of(event, "spend_level").because.values["unconverted"].value == {"XYZ": "9999"}


def test_refunds_beyond_what_was_bought_are_reported(domain: SegmentationDomain) -> None:
    facts = [
        bought("p", T0, "100"),
        bought("q", T0, "900", "o"),
        Fact("refund", "r", T0 + DAY, T0 + DAY, "o", "CNY", "950"),
    ]
    [*_, (_, event)] = driven(domain, facts, T0 + DAY)[0]
    because = change_of(event, "spend_level").because
    assert because.values["spend_in_year"].value == "100"
    assert because.values["refunded_beyond"].value == {"CNY": "50"}


@pytest.mark.parametrize(
    ("refunds", "reported"),
    [
        ([("USD", "5")], None),  # some 35 yuan of the 100
        ([("USD", "50")], {"CNY": "255.00"}),  # of 355 yuan 100 were bought
        ([("XYZ", "5")], {"XYZ": "5"}),
        ([("CNY", "120"), ("XYZ", "5")], {"CNY": "20", "XYZ": "5"}),
    ],
)
def test_what_is_refunded_beyond_an_order_is_judged_as_its_money_is(
    domain: SegmentationDomain, refunds: list[tuple[str, str]], reported: dict[str, str] | None
) -> None:
    facts = [bought("p", T0, "100", "o")]
    facts += [Fact("refund", f"r{n}", T0 + n, T0 + n, "o", *refund) for n, refund in enumerate(refunds, 1)]
    found, _ = driven(domain, [*facts, bought("q", T0 + DAY, "2000")], T0 + DAY)
    values = change_of(found[-1][1], "spend_level").because.values
    assert (values["refunded_beyond"].value if "refunded_beyond" in values else None) == reported


def asked(event_id: str, at: int, needs: list[str], budget: str, currency: str = "CNY") -> Fact:
    said = {"needs": needs, "budget": {"amount": budget, "currency": currency}}
    return Fact("inquiry.received", event_id, at, at, said=said)


def test_needs_and_the_budget_stand_as_stated_however_long_ago(domain: SegmentationDomain) -> None:
    _, drive = driven(domain, [asked("i", T0, ["price", "gift"], "5000")], T0 + 9 * YEAR)
    memberships = drive.state.memberships()
    assert (memberships["needs"], memberships["budget_band"]) == (("gift", "price"), "medium")
    assert domain.wake_at(drive.state) is None


def test_a_newer_budget_without_a_rate_leaves_no_old_band(domain: SegmentationDomain) -> None:
    facts = [asked("i", T0, [], "5000"), asked("j", T0 + DAY, [], "9", "XYZ"), asked("k", T0 + 2 * DAY, [], "900")]
    found, _ = driven(domain, facts, T0 + 2 * DAY)
    changes = [change_of(event, "budget_band") for _, event in found]
    assert [change.to for change in changes] == ["medium", None, "low"]
    assert (changes[1].because.values["budget"].value, changes[1].because.events) == (None, ("j",))


def test_the_rate_of_the_orders_own_day(domain: SegmentationDomain) -> None:
    reform = from_rfc3339("2005-07-21T00:00:00Z")
    book = Book((), (), None)
    for number, at in enumerate((reform - 1, reform)):
        book = with_purchase(book, domain.program.rates, Limits(), at, f"p{number}", f"o{number}", money("100", "USD"))
    book = with_refund(book, domain.program.rates, Limits(), reform + YEAR, "r", "o0", money("50", "USD"))
    assert [order[4] for order in book.orders] == ["414.00", "809.00"]


def money(amount: str, currency: str = "CNY") -> Money:
    return Money(amount=Decimal(amount), currency=currency)


def test_sums_are_never_rounded(domain: SegmentationDomain) -> None:
    facts = [bought("a", T0, "9999999999999999.00000001"), bought("b", T0, "0.00000001")]
    [*_, (_, event)] = driven(domain, [*facts, bought("c", T0, "5")], T0)[0]
    assert event.memberships["spend_level"] == "high"
    because = domain.because(driven(domain, facts, T0)[1].state, T0)
    assert because["spend_level"]["values"]["spend_in_year"]["value"] == "9999999999999999.00000002"


def test_objection_withdraws_everything_and_its_withdrawal_restores_it(domain: SegmentationDomain) -> None:
    day = [T0 + n * DAY for n in range(5)]
    facts = [
        bought("p", day[0]),
        Fact("objected", "no", day[1], day[1]),
        bought("q", day[2]),
        Fact("objected", "again", day[2], day[2]),
        Fact("withdrawn", "yes", day[3], day[3]),
    ]
    changes, drive = driven(domain, facts, day[4])
    before, gone, back = (event for _, event in changes)
    assert gone.memberships == {}
    assert moves(gone) == {dimension: (value, None) for dimension, value in before.memberships.items()}
    assert change_of(gone, "status").because.events == ("no",)
    assert all(change.from_ is None for change in back.changes)
    assert back.memberships == before.memberships | {"value": "medium"}
    assert change_of(back, "purchase_frequency").because.events == ("p", "q")
    assert not drive.state.objected


def test_who_objected_has_no_next_instant(domain: SegmentationDomain) -> None:
    _, drive = driven(domain, [bought("p", T0), Fact("objected", "no", T0, T0)], T0)
    assert domain.wake_at(drive.state) is None
    assert domain.view(drive.state) == {"memberships": {}}


def test_the_forecast_says_when_each_dimension_changes_next_and_to_what(domain: SegmentationDomain) -> None:
    _, drive = driven(domain, [bought("p", T0, "1000")], T0)
    assert domain.forecast(drive.state, T0) == {
        "lifecycle": (T0 + 30 * DAY, "growing"),
        "status": (T0 + 30 * DAY, "active"),
        "engagement": (T0 + 30 * DAY, "none"),
        "composites": (T0 + 120 * DAY, ("win_back",)),
        "value": (T0 + 60 * DAY, "low"),
        "purchase_frequency": (T0 + YEAR, "none"),
        "spend_level": (T0 + YEAR, "none"),
    }


def test_the_difference_of_two_states_under_these_rules(domain: SegmentationDomain) -> None:
    _, one = driven(domain, [bought("p", T0, "1000")], T0)
    _, two = driven(domain, [bought("q", T0, "9000")], T0)
    event = domain.difference(one.state, two.state, T0, "rules 2")
    assert event is not None
    assert moves(event) == {"spend_level": ("medium", "high")}
    assert event.memberships["spend_level"] == "high"
    because = change_of(event, "spend_level").because
    assert (because.rule, because.events) == ("rules 2: spend_level: high when spend_in_year >= 5000", ("q",))
    assert domain.difference(two.state, two.state, T0, "rules 2") is None
    fresh = domain.difference(None, two.state, T0, "rules 2")
    assert fresh is not None
    assert all(change.from_ is None for change in fresh.changes)


def test_erasure_says_nothing_of_its_own(domain: SegmentationDomain) -> None:
    _, drive = driven(domain, [bought("p", T0)], T0)
    erased = CustomerErased(customer_id=CUSTOMER, receipt_id="r")
    event = event_of(Fact("other", "e", T0, T0)).model_copy(update={"data": erased})
    assert domain.on_event(drive.state, event, T0).events == ()


def test_what_cannot_matter_changes_nothing(domain: SegmentationDomain) -> None:
    drive = Drive(domain, domain.initial(CUSTOMER))
    list(drive.apply(bought("p", T0)))
    state = drive.state
    decision = domain.on_event(state, event_of(Fact("other", "x", T0 + DAY, T0 + DAY)), T0 + DAY)
    assert decision.state is state
    assert decision.events == ()


def test_beyond_the_limit_the_oldest_count_for_first_last_and_ever(domain: SegmentationDomain) -> None:
    limits = domain.program.rules.limits.model_copy(update={"orders": 2})
    rules = domain.program.rules.model_copy(update={"limits": limits})
    small = SegmentationDomain(compile_rules(rules, domain.program.rates))
    facts = [bought(f"p{n}", T0 + n * DAY, order_id=f"o{n}") for n in range(5)]
    _, drive = driven(small, [*facts, Fact("refund", "r", T0 + 5 * DAY, T0 + 5 * DAY, "o0", "CNY", "1")], T0 + 5 * DAY)
    assert drive.state.folded == (T0, T0 + 2 * DAY, 3)
    assert [order[2] for order in drive.state.orders] == ["o3", "o4"]
    assert [refund[2] for refund in drive.state.refunds] == ["o0"]
    assert domain.because(drive.state, T0 + 5 * DAY)["status"]["values"]["since_first_purchase"]["value"] == "5d"


def test_an_old_state_still_reads() -> None:
    assert CustomerState.model_validate_json(f'{{"customer_id":"{CUSTOMER}"}}') == CustomerState(customer_id=CUSTOMER)


@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [("30d", 30 * DAY), ("1d12h", 36 * HOUR), ("0s", 0), ("90m", 90 * 60_000), ("2d1h0.005s", 2 * DAY + HOUR + 5)],
)
def test_spans_are_read_and_written_exactly(text: str, milliseconds: int) -> None:
    assert parse_span(text) == milliseconds
    assert parse_span(write_span(milliseconds)) == milliseconds


@pytest.mark.parametrize("text", ["", "30", "d", "30 d", "-1d", "1.5d", "1h1d"])
def test_what_is_no_span(text: str) -> None:
    assert parse_span(text) is None


def test_before_the_first_date_there_is_no_rate() -> None:
    rates = Rates("CNY", {"USD": [(T0, Decimal(7))]})
    assert [rates.rate("USD", at) for at in (T0 - 1, T0)] == [None, Decimal(7)]
    assert rates.rate("CNY", 0) == 1
    assert rates.rate("EUR", T0) is None
