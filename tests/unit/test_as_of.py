"""What was true at an instant, with all that is known now: facts by their own times, statements by the log, no objector."""

from collections.abc import Sequence

import pytest
from hypothesis import given, settings

from services.segmentation.chronicle.as_of import replayed
from services.segmentation.state import CustomerState
from shared.clock import DAY, MINUTE, from_rfc3339
from shared.events.catalog import CUSTOMERS
from shared.processing.arrivals import Arrival
from shared.processing.records import Record
from tests.support.segmentation_drive import CUSTOMER, driven, event_of, standard_domain
from tests.support.segmentation_facts import FACETS, Fact
from tests.support.segmentation_histories import histories

T = from_rfc3339("2026-03-01T00:00:00Z")
DOMAIN = standard_domain()


def arrivals(facts: Sequence[Fact]) -> list[Arrival]:
    """As the log has them, appended when they were recorded."""
    return [
        Arrival(Record(CUSTOMERS.name, 0, number, fact.at, CUSTOMER.encode(), b""), event_of(fact), CUSTOMER)
        for number, fact in enumerate(facts)
    ]


def true_at(at: int, *facts: Fact) -> CustomerState:
    return replayed(DOMAIN, CUSTOMER, arrivals(facts), at)


def bought(name: str, time: int, at: int) -> Fact:
    return Fact("purchase", name, time, at, name, amount="400")


def registered(time: int, **facets: str) -> Fact:
    return Fact("registered", "r", time, time, said={"facets": facets})


def corrected(name: str, time: int, at: int, **changes: str) -> Fact:
    return Fact("corrected", name, time, at, said={"changes": {field: {"to": to} for field, to in changes.items()}})


def objected(what: str, time: int) -> Fact:
    return Fact(what, f"{what}{time}", time, time)


def test_what_comes_from_the_future_counts_from_when_it_was_taken_in() -> None:
    ahead = bought("p", T + 4 * MINUTE, T)
    _, drive = driven(DOMAIN, [ahead], T + MINUTE)
    assert true_at(T + MINUTE, ahead).memberships() == drive.state.memberships()
    assert true_at(T - 1, ahead).memberships() == {}


def test_the_customers_clock_never_runs_backwards() -> None:
    """The second record is stamped earlier than the first; it counts from the first one's instant, as it did live."""
    facts = (bought("p", T, T), bought("q", T + MINUTE, T - MINUTE))
    assert true_at(T, *facts).orders[-1][0] == T


def test_what_is_stated_later_in_the_log_holds_from_its_own_time_on() -> None:
    """It says that it replaces what was stated before it, so nothing of that returns at a later time."""
    facts = (
        registered(T, region="north", industry="retail"),
        corrected("c", T + 5 * DAY, T + 5 * DAY, region="east", industry="toys"),
        corrected("d", T + 3 * DAY, T + 9 * DAY, region="west"),
    )

    def held(days: int) -> tuple[object, object]:
        memberships = true_at(T + days * DAY, *facts).memberships()
        return memberships["region"], memberships["industry"]

    assert [held(days) for days in (1, 4, 6, 10)] == [
        ("north", "retail"),
        ("west", "retail"),
        ("west", "toys"),
        ("west", "toys"),
    ]
    assert true_at(T + 10 * DAY, *facts).segments["region"][1] == T + 3 * DAY


def test_a_registration_is_replaced_facet_by_facet() -> None:
    facts = (registered(T, region="north", industry="retail"), corrected("c", T - DAY, T + DAY, region="west"))
    assert true_at(T - DAY, *facts).memberships()["region"] == "west"
    assert "industry" not in true_at(T - DAY, *facts).memberships()
    after = true_at(T + DAY, *facts)
    assert (after.memberships()["region"], after.memberships()["industry"]) == ("west", "retail")


@given(histories())
@settings(max_examples=60, deadline=None)
def test_what_is_stated_now_is_what_was_true_now(facts: Sequence[Fact]) -> None:
    end = max(fact.at for fact in facts)
    _, drive = driven(DOMAIN, facts, end)
    if not drive.erased and not drive.state.objected:
        then = true_at(end, *facts)
        assert then.facets == drive.state.facets
        stated = {name: value for name, value in drive.state.memberships().items() if name in FACETS}
        assert {name: value for name, value in then.memberships().items() if name in FACETS} == stated


@pytest.mark.parametrize("days", [1, 30])
def test_who_objects_now_is_not_profiled_for_the_past_either(days: int) -> None:
    facts = (bought("p", T, T), objected("objected", T + 10 * DAY))
    state = true_at(T + days * DAY, *facts)
    assert (state.memberships(), state.objected, state.orders) == ({}, True, ())


def test_an_objection_that_was_withdrawn_held_while_it_held() -> None:
    facts = (bought("p", T, T), objected("objected", T + 10 * DAY), objected("withdrawn", T + 20 * DAY))
    held = [true_at(T + days * DAY, *facts) for days in (5, 15, 25)]
    assert [bool(state.memberships()) for state in held] == [True, False, True]
    assert [state.objected for state in held] == [False, True, False]
