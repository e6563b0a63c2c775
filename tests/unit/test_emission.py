"""What a decision says to the world: ids that anyone can compute again, texts that every reader can read."""

from uuid import NAMESPACE_URL, uuid5

from hypothesis import given
from hypothesis import strategies as st

from shared.events.codec import decode
from shared.events.segments import CustomerForgotten
from shared.processing.emission import Cause, event_id, write

CUSTOMER = "0b7e5c1e-4a55-4c6e-9a0f-6f1f6f2f7d10"
GUANXI = uuid5(NAMESPACE_URL, "https://guanxi.dev/events")


@given(st.integers(min_value=1, max_value=10**19))
def test_an_id_is_the_uuid5_of_service_customer_and_number(sequence: int) -> None:
    assert event_id("segmentation", CUSTOMER, sequence) == str(uuid5(GUANXI, f"segmentation:{CUSTOMER}:{sequence}"))


@given(st.text(min_size=1), st.none() | st.text(), st.sampled_from([None, "history", "replay"]))
def test_causes_of_any_text_come_back_as_they_were(cause: str, correlation: str | None, mark: str | None) -> None:
    said = CustomerForgotten(customer_id=CUSTOMER, receipt_id="r")
    text = write(
        "segmentation", CUSTOMER, 7, said, 1_764_181_182_123, Cause("", cause, correlation, mark), "customers:0:9"
    )
    event = decode(text.encode())
    assert (event.causationid, event.correlationid, event.number) == (cause, correlation, 7)
    assert (event.occurred_at, event.history, event.replay) == (
        1_764_181_182_123,
        True if mark == "history" else None,
        True if mark == "replay" else None,
    )
