"""What waits for a receiver goes in order per customer and behind nobody else, and an answer means what it should."""

from datetime import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from services.segmentation.webhooks import signing
from services.segmentation.webhooks.deliveries import Delivery, Lanes, delivery_id
from services.segmentation.webhooks.signing import Signer, signed
from services.segmentation.webhooks.subscriptions import Subscription, Subscriptions
from services.segmentation.webhooks.verdicts import Answer, Policy, judge
from shared.clock import DAY, HOUR, MINUTE, SECOND, Instant, to_datetime, wall_clock
from shared.events import subscriptions as s
from shared.events.envelope import Event
from shared.events.segments import CustomerForgotten, SegmentChange, SegmentsChanged
from shared.privacy import SubscriptionSeal

NOW: Instant = 1_790_000_000_000
SEAL = SubscriptionSeal(b"k" * 32)


def delivery(customer: str, sequence: int, due_at: Instant = 0) -> Delivery:
    return Delivery(
        delivery_id("s", customer, sequence), "s", 0, customer, sequence, f"{customer}{sequence}", 0, due_at=due_at
    )


def taken(lanes: Lanes, now: Instant = NOW) -> list[str]:
    found = []
    while (one := lanes.take(now)) is not None:
        found.append(one.event_id)
    return found


# Lanes


def test_one_of_each_customer_goes_at_a_time_in_the_order_of_numbers() -> None:
    lanes = Lanes()
    for one in (delivery("a", 1), delivery("a", 2), delivery("b", 7)):
        assert lanes.add(one)
    first = lanes.take(NOW)
    assert first is not None
    assert taken(lanes) == ["b7"]
    lanes.done(first)
    assert taken(lanes) == ["a2"]
    assert len(lanes) == 2


def test_whoever_failed_holds_up_its_own_customer_only() -> None:
    lanes = Lanes()
    for one in (delivery("a", 1), delivery("a", 2), delivery("b", 1)):
        lanes.add(one)
    failed = lanes.take(NOW)
    assert failed is not None
    lanes.again(failed, NOW + 5)
    assert taken(lanes) == ["b1"]
    assert lanes.next_at() == NOW + 5
    assert taken(lanes, NOW + 5) == ["a1"]


def test_what_waits_already_is_not_added_again_and_what_is_older_goes_first() -> None:
    lanes = Lanes()
    lanes.add(delivery("a", 5, due_at=NOW + HOUR))
    assert not lanes.add(delivery("a", 5))
    assert taken(lanes) == []
    assert lanes.add(delivery("a", 3))
    head = lanes.take(NOW)
    assert head is not None
    assert (head.event_id, lanes.add(delivery("a", 2))) == ("a3", True)
    lanes.done(head)
    assert taken(lanes) == ["a2"]


def test_a_forgotten_customer_waits_for_nothing() -> None:
    lanes = Lanes()
    for number in (1, 2):
        lanes.add(delivery("a", number))
    under_way = lanes.take(NOW)
    assert under_way is not None
    lanes.forget("a")
    lanes.add(delivery("a", 3))
    assert taken(lanes) == []
    lanes.done(under_way)
    assert (taken(lanes), len(lanes)) == (["a3"], 1)


steps = st.lists(
    st.tuples(st.sampled_from(["add", "take", "done", "again", "forget"]), st.integers(0, 3), st.integers(1, 6)),
    max_size=60,
)


@given(steps)
def test_lanes_never_lose_repeat_or_overtake(moves: list[tuple[str, int, int]]) -> None:
    """Against the plainest model: sets of numbers per customer, of which the least may go."""
    lanes, now = Lanes(), NOW
    model: dict[str, set[int]] = {}
    busy: dict[str, Delivery] = {}
    blocked: dict[str, Instant] = {}
    for kind, which, number in moves:
        customer = "abcd"[which]
        if kind == "add":
            if number > max((busy[customer].sequence if customer in busy else 0), 0):
                assert lanes.add(delivery(customer, number)) == (number not in model.setdefault(customer, set()))
                if number < min(model[customer], default=99):
                    blocked.pop(customer, None)
                model[customer].add(number)
        elif kind == "take":
            one = lanes.take(now)
            free = [c for c, numbers in model.items() if numbers and c not in busy and blocked.get(c, 0) <= now]
            assert (one is None) == (not free)
            if one is not None:
                assert one.customer in free
                assert one.sequence == min(model[one.customer])
                busy[one.customer] = one
        elif kind == "done" and customer in busy:
            lanes.done(busy[customer])
            model[customer].discard(busy.pop(customer).sequence)
            blocked.pop(customer, None)
        elif kind == "again" and customer in busy and busy[customer].sequence in model[customer]:
            now += 1
            blocked[customer] = now + number
            lanes.again(busy.pop(customer), now + number)
        elif kind == "forget" and customer not in busy:
            lanes.forget(customer)
            model[customer] = set()
            blocked.pop(customer, None)
        assert len(lanes) == sum(map(len, model.values()))


# Answers


def judged(status: int | None, attempts: int = 1, retry_after: Instant | None = None, chance: float = 0.0) -> Any:
    failure = None if status is not None else "timed_out"
    return judge(Answer(status, failure, retry_after), attempts, NOW, Policy(), chance)  # type: ignore[arg-type]


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_only_a_yes_is_a_yes(status: int) -> None:
    assert judged(status).outcome == "delivered"


@pytest.mark.parametrize("status", [None, 100, 301, 302, 307, 308, 400, 401, 404, 429, 500, 502, 503, 504])
def test_everything_else_is_tried_again(status: int | None) -> None:
    assert judged(status).outcome == "again"


def test_the_waits_are_those_of_standard_webhooks() -> None:
    waits = [judged(500, attempts).at - NOW for attempts in range(1, 10)]
    assert waits == [
        5 * SECOND,
        5 * MINUTE,
        30 * MINUTE,
        2 * HOUR,
        5 * HOUR,
        10 * HOUR,
        14 * HOUR,
        20 * HOUR,
        24 * HOUR,
    ]
    assert judged(500, 10).outcome == "given_up"
    assert judged(500, 2, chance=1.0).at - NOW == 5.5 * MINUTE


def test_gone_ends_the_subscription() -> None:
    assert judged(410).outcome == "ended"


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_a_busy_receiver_rests_as_long_as_it_asks_within_bounds(status: int) -> None:
    assert judged(status, retry_after=7 * SECOND).rest_until == NOW + 7 * SECOND
    assert judged(status, retry_after=7 * SECOND).at == NOW + 7 * SECOND
    assert judged(status, retry_after=30 * DAY).rest_until == NOW + HOUR
    assert judged(status).rest_until == NOW + 5 * SECOND
    assert judged(status, 3, retry_after=SECOND).at == NOW + 30 * MINUTE


def test_whoever_fails_otherwise_gets_no_rest() -> None:
    assert judged(500, retry_after=7 * SECOND).rest_until == 0


# Subscriptions

ID = "5d9f0a52-8f5e-4c0e-9d5b-1f3a6f1c2b77"
CUSTOMER = "0b7e5c1e-4a55-4c6e-9a0f-6f1f6f2f7d10"
SECRETS = ("whsec_" + "QUJD" * 8, "whsec_" + "REVG" * 8)


def event(number: int, data: Any) -> Event:
    at = to_datetime(NOW)
    return Event(
        id=str(number), source="x", type=data.event_type, time=at, recordedtime=at, sequence=str(number), data=data
    )


def secrets(*until: Instant | None) -> tuple[s.SubscriptionSecret, ...]:
    return tuple(
        s.SubscriptionSecret(sealed=SEAL.seal(ID, text[-4:], text), until=None if end is None else to_datetime(end))
        for text, end in zip(SECRETS, until, strict=False)
    )


def known(*more: Any) -> Subscriptions:
    subscriptions = Subscriptions()
    first = s.SubscriptionCreated(
        subscription_id=ID, url="https://x.example/", dimensions=("value",), secrets=secrets(None)
    )
    for number, data in enumerate((first, *more), 1):
        subscriptions.take(event(number, data), NOW + number)
    return subscriptions


def the_one(*more: Any) -> Subscription:
    found = known(*more).get(ID)
    assert found is not None
    return found


def restated(**more: Any) -> s.SubscriptionChanged:
    return s.SubscriptionChanged(
        **{"subscription_id": ID, "url": "https://y.example/", "secrets": secrets(None), **more}
    )


def test_a_subscription_is_what_was_last_said_of_it_and_began_when_it_was_made() -> None:
    one = the_one(restated(paused=True))
    assert (one.url, one.paused, one.dimensions, one.since, one.changed) == (
        "https://y.example/",
        True,
        frozenset(),
        NOW + 1,
        2,
    )


def test_what_stands_twice_in_the_log_counts_once() -> None:
    subscriptions = known(restated(), s.SubscriptionReplayRequested(subscription_id=ID, after_sequence=4))
    subscriptions.take(event(1, s.SubscriptionDeleted(subscription_id=ID)), NOW)
    subscriptions.take(event(3, s.SubscriptionReplayRequested(subscription_id=ID, after_sequence=4)), NOW)
    found = subscriptions.get(ID)
    assert found is not None
    assert [(replay.number, replay.after_sequence) for replay in found.replays] == [(3, 4)]
    assert (found.number, found.changed) == (3, 2)


def test_deleted_is_over_and_unknown_is_not() -> None:
    subscriptions = known(s.SubscriptionDeleted(subscription_id=ID))
    assert (list(subscriptions), subscriptions.over(ID), subscriptions.over("other")) == ([], True, False)


def test_dimensions_choose_and_whom_everybody_must_forget_concerns_all() -> None:
    one, everything = the_one(), the_one(restated())
    for dimension, wanted in (("value", True), ("lifecycle", False)):
        change = SegmentChange(dimension=dimension)
        data = SegmentsChanged(customer_id=CUSTOMER, changes=(change,), memberships={}, rules_version="1")
        assert (one.wants(event(1, data)), everything.wants(event(1, data))) == (wanted, True)
    assert one.wants(event(1, CustomerForgotten(customer_id=CUSTOMER, receipt_id="r")))
    assert not everything.wants(event(1, s.SubscriptionDeleted(subscription_id=ID)))


# Signatures

BODY = '{"id": "é", "n": 1}'.encode()


def verified(secret: str, headers: dict[str, str], body: bytes = BODY) -> bool:
    try:
        Webhook(secret).verify(body, headers)
    except WebhookVerificationError:
        return False
    return True


def test_the_signature_of_the_specification() -> None:
    """Its own example: https://github.com/standard-webhooks/standard-webhooks, libraries' test vector."""
    secret, body = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", b'{"test": 2432232314}'
    headers = dict(signed("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330 * SECOND + 999, body, [secret]))
    assert headers["webhook-timestamp"] == "1614265330"
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def exchangeable() -> list[str]:
    """What of a delivery could be replaced without the receiver's noticing; "all": it does not even verify as it is."""
    now = wall_clock()
    headers = dict(signed("one", now, BODY, [SECRETS[0]]))
    if not verified(SECRETS[0], headers):
        return ["all"]
    forged = {
        "id": (headers | {"webhook-id": "two"}, BODY),
        "timestamp": (headers | {"webhook-timestamp": str(now // SECOND + 60)}, BODY),
        "body": (headers, BODY + b" "),
    }
    return [name for name, (given, body) in forged.items() if verified(SECRETS[0], given, body)]


def test_nothing_that_is_sent_can_be_exchanged() -> None:
    assert exchangeable() == []


def test_planted_a_signature_that_does_not_cover_the_timestamp_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """On our side alone, and on both: then an old delivery could be sent again by anybody."""
    right = Webhook.sign
    beginning = to_datetime(0)

    def careless(self: Webhook, msg_id: str, timestamp: datetime, data: str) -> str:
        return right(self, msg_id, beginning, data)

    class OnOurSide(Webhook):
        sign = careless

    with monkeypatch.context() as patched:
        patched.setattr(signing, "Webhook", OnOurSide)
        assert exchangeable() == ["all"]
    monkeypatch.setattr(Webhook, "sign", careless)
    assert exchangeable() == ["timestamp"]


def test_a_replaced_secret_signs_beside_its_successor_until_its_time_is_over() -> None:
    now = wall_clock()
    one = the_one(restated(secrets=secrets(None, now + HOUR)))
    signer = Signer(SEAL)
    both = dict(signer.headers(one, "1", now, BODY))
    assert [verified(secret, both) for secret in SECRETS] == [True, True]
    assert len(both["webhook-signature"].split()) == 2
    later = dict(signer.headers(one, "1", now + HOUR, BODY))
    assert len(later["webhook-signature"].split()) == 1
    rotated = the_one(restated(), restated(secrets=secrets(now, None)))
    assert [verified(secret, dict(signer.headers(rotated, "1", now, BODY))) for secret in SECRETS] == [False, True]
