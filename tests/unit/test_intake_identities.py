"""What an intake remembers of whom keys name, and what it must not remember."""

from services.intake.batches import Batch, Entry, Line, Verdict
from services.intake.domain import Offer, Person
from services.intake.entries import Held
from services.intake.identities import KnownKeys


def test_who_is_about_to_be_erased_is_not_remembered() -> None:
    known = KnownKeys()
    known.put(["phone:1", "email:1"], "x")
    known.put(["phone:2"], "y")
    known.avoid({"x"})
    known.put(["phone:1"], "x")
    assert [known.get(key) for key in ("phone:1", "email:1", "phone:2")] == [None, None, "y"]
    known.avoid(set())
    known.put(["phone:1"], "x")
    assert known.get("phone:1") == "x"


def test_who_cannot_hear_of_erasures_remembers_nobody() -> None:
    known = KnownKeys()
    known.put(["phone:2"], "y")
    known.avoid(None)
    known.put(["phone:2"], "y")
    assert known.get("phone:2") is None


def offer(customer_id: str | None = None, *keys: str) -> Offer:
    return Offer("e", "/s", "t", 1, 1, Person(customer_id, {key.partition(":")[0]: key for key in keys}))


def test_who_waits_for_a_registration_is_not_overtaken_under_another_key() -> None:
    held = Held({"phone:1": "x", "email:1": "x", "phone:2": "y"}, {"phone:1"})
    asked = [offer(None, "email:1"), offer(None, "phone:1"), offer(None, "email:1"), offer("x"), offer(None, "phone:2")]
    assert [held.includes(one) for one in asked] == [False, True, True, True, False]


def test_what_follows_of_a_customer_is_lost_with_it_and_nothing_else() -> None:
    batch = Batch("b", "me", 1, 1, tuple(Entry(f"e{n}", customer, (Line("x"),)) for n, customer in enumerate("xyxyx")))
    verdict = Verdict()
    verdict.lose(batch, {2})
    assert verdict.live(batch) == [0, 1, 3]
