"""The catalogue agrees with itself and with INTERFACES: who writes, who reads, how it is keyed and kept."""

import re

import pytest

from shared.events import catalog
from shared.events.catalog import (
    FOLLOWERS,
    KEPT,
    OUTPUT,
    PARTITIONS,
    SERVICES,
    TOPICS,
    Topic,
    followed_by,
    group_of,
    inputs_of,
    topic,
)
from shared.events.codec import data_types, short_name


@pytest.mark.parametrize("one", TOPICS, ids=lambda one: one.name)
def test_a_topic_is_named_keyed_and_served_by_services_that_exist(one: Topic) -> None:
    assert re.fullmatch(r"guanxi\.[a-z.-]+\.v[1-9]", one.name)
    assert set(one.producers) <= set(SERVICES)
    assert set(one.consumers) <= set(SERVICES)
    assert (one.partitions, one.key in {"customer_id", "subscription_id", "none", "original"}) == (PARTITIONS, True)
    assert topic(one.name) is topic(one.short) is one


def test_only_intake_writes_customers_and_each_service_its_own_topic() -> None:
    assert catalog.CUSTOMERS.producers == ("intake",)
    assert {service: one.producers for service, one in OUTPUT.items()} == {service: (service,) for service in OUTPUT}


def test_what_rebuilds_read_is_kept_for_good() -> None:
    for name in ("customers", "segments", "followups", "feedback", "subscriptions"):
        assert (topic(name).retention, topic(name).cleanup) == (KEPT, "delete")
    assert (topic("wakeups").retention, topic("segments.latest").cleanup) == (3_600_000, "compact")


def test_inputs_come_in_the_order_that_breaks_ties() -> None:
    assert [t.short for t in inputs_of("segmentation")] == ["customers"]
    assert [t.short for t in inputs_of("followup")] == ["customers", "feedback", "segments"]
    assert [t.short for t in inputs_of("feedback")] == ["customers", "segments"]
    assert [t.short for t in inputs_of("intake")] == ["feedback", "followups", "segments", "wakeups"]
    assert group_of("followup") == "guanxi.followup"


def test_a_follower_has_a_group_of_its_own_and_is_no_input() -> None:
    groups = [follower.group for follower in FOLLOWERS]
    assert len({*groups, *map(group_of, SERVICES)}) == len(groups) + len(SERVICES)
    for follower in FOLLOWERS:
        assert follower.service in SERVICES
        assert set(follower.topics) <= set(TOPICS)
    assert [t.short for t in followed_by("segmentation")] == [
        "customers",
        "segments",
        "segments.latest",
        "subscriptions",
    ]
    assert followed_by("feedback") == ()


def test_every_service_can_answer_an_erasure_and_pass_time_on() -> None:
    for one in OUTPUT.values():
        shorts = {short_name(t.event_type) for t in one.types}
        assert {"customer.forgotten", "clock.ticked", "history.began", "history.ended"} <= shorts


def test_every_service_has_a_place_for_what_it_cannot_read() -> None:
    assert {t.producer for t in TOPICS if t.name.endswith("dead-letters.v1")} == set(SERVICES)


def test_a_type_is_a_noun_and_a_participle_with_its_version() -> None:
    for name in data_types():
        assert re.fullmatch(r"guanxi\.[a-z]+\.[a-z_]+\.v[1-9]", name)


def test_an_unknown_topic_is_a_key_error() -> None:
    with pytest.raises(KeyError):
        topic("guanxi.nothing.v1")
