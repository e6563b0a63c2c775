"""Versions of the rules: numbered once, activated in order, called off in time."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.intake.refusal import Refusal
from services.intake.rule_versions import LARGEST, Ledger, RuleVersion, activation, digest_of
from services.intake.rules_api import _check
from shared.events.catalog import PARTITIONS
from shared.events.codec import decode
from shared.events.customers import RulesActivated

RULES = "dimensions: {}\n"


def proposed(ledger: Ledger, text: str) -> tuple[Ledger, int]:
    ledger = ledger.proposed(digest_of(text), "amy", 1)
    version = ledger.known(digest_of(text))
    assert version is not None
    return ledger, version.number


def activated(ledger: Ledger, number: int) -> Ledger:
    return ledger.activating(number, 5).activated(number)


def test_numbers_begin_at_two_and_the_same_text_keeps_its_own() -> None:
    ledger, first = proposed(Ledger(), "a")
    ledger, second = proposed(ledger, "b")
    again, number = proposed(ledger, "a")
    assert (first, second, number) == (2, 3, 2)
    assert again == ledger


def test_an_old_text_that_comes_back_is_a_new_version() -> None:
    ledger, old = proposed(Ledger(), "a")
    ledger, new = proposed(activated(ledger, old), "b")
    ledger, back = proposed(activated(ledger, new), "a")
    assert back == new + 1
    assert activated(ledger, back).newest_activated == back


def test_what_is_older_than_the_newest_activated_stays_out() -> None:
    ledger, old = proposed(Ledger(), "a")
    ledger, new = proposed(ledger, "b")
    with pytest.raises(Refusal, match="Older") as refused:
        activated(ledger, new).activating(old, 9)
    assert refused.value.status == 409


def test_one_activation_waits_for_the_other_ones_acknowledgement() -> None:
    ledger, first = proposed(Ledger(), "a")
    ledger, second = proposed(ledger, "b")
    under_way = ledger.activating(first, 5)
    with pytest.raises(Refusal, match="Another version"):
        under_way.activating(second, 6)
    assert under_way.activating(first, 7) == under_way
    assert under_way.activated(first).activating(second, 8).get(second).state == "activating"


def test_called_off_until_it_is_activated() -> None:
    ledger, number = proposed(Ledger(), "a")
    withdrawn = ledger.withdrawn(number)
    with pytest.raises(Refusal, match="Withdrawn"):
        withdrawn.activating(number, 5)
    assert proposed(withdrawn, "a")[1] == number + 1
    with pytest.raises(Refusal, match="Activated already"):
        ledger.activating(number, 5).withdrawn(number)


def test_an_unknown_number_is_told_apart() -> None:
    with pytest.raises(Refusal, match="Unknown") as refused:
        Ledger().activating(7, 1)
    assert refused.value.status == 404


@given(st.lists(st.tuples(st.sampled_from(["propose", "activate", "acknowledge", "withdraw"]), st.integers(0, 5))))
def test_the_log_gets_rising_numbers_whatever_is_asked_for(asked: list[tuple[str, int]]) -> None:
    ledger, sent = Ledger(), []
    for what, which in asked:
        try:
            if what == "propose":
                ledger = ledger.proposed(f"text {which}", "amy", 1)
            elif what == "activate":
                before, ledger = ledger, ledger.activating(which + 2, 1)
                sent += [which + 2] if before != ledger else []
            elif what == "acknowledge":
                ledger = ledger.activated(which + 2) if ledger.get(which + 2).state == "activating" else ledger
            else:
                ledger = ledger.withdrawn(which + 2)
        except Refusal:
            continue
    assert sent == sorted(set(sent))
    assert [version.number for version in ledger.versions] == list(range(2, 2 + len(ledger.versions)))


def test_the_whole_text_stands_on_every_partition_and_fits_into_a_record() -> None:
    text = RULES + "# " + "客" * ((LARGEST - len(RULES)) // 3 - 2)
    version = RuleVersion(number=2, digest=digest_of(text), by="amy", proposed_at=1, activated_at=5)
    entry = activation(version, text)
    assert [line.partition for line in entry.lines] == list(range(PARTITIONS))
    assert max(len(line.value.encode()) for line in entry.lines) < 1 << 20
    events = [decode(line.value.encode()) for line in entry.lines]
    assert len({event.id for event in events}) == PARTITIONS
    assert {json.dumps(e.data.model_dump()) for e in events if isinstance(e.data, RulesActivated)} == {
        json.dumps({"number": 2, "rules": text, "digest": digest_of(text)})
    }
    assert activation(version, text) == entry


@pytest.mark.parametrize("text", ["dimensions: [", "- a list", "metrics: {}", "x" * (LARGEST + 1)])
def test_what_cannot_be_rules_is_refused(text: str) -> None:
    with pytest.raises(Refusal):
        _check(text)
