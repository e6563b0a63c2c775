"""Decoding: the codec's `decode` of one 450-byte purchase against pydantic's `model_validate_json` of the bare model.

`python -m tests.bench.bench_decode` prints medians of five interleaved rounds and fails above the limit.
"""

import json
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

from shared.events.codec import decode, event_model
from shared.events.customers import PurchaseMade

LIMIT = 2.0
ROUNDS, CALLS = 5, 20_000
CUSTOMER = "0b7e5c1e-4a55-4c6e-9a0f-6f1f6f2f7d10"


def sample() -> bytes:
    event = {
        "specversion": "1.0",
        "id": "8f14e45f-ceea-467f-a0e6-4d1f6a0b2c33",
        "source": "imports",
        "type": PurchaseMade.event_type,
        "time": "2026-03-02T12:00:00.000Z",
        "recordedtime": "2026-03-02T12:00:00.000Z",
        "subject": CUSTOMER,
        "partitionkey": CUSTOMER,
        "history": True,
        "data": {
            "customer_id": CUSTOMER,
            "order_id": "10234",
            "amount": {"amount": "29.33", "currency": "USD"},
            "category": "music",
        },
    }
    value = json.dumps(event, separators=(",", ":")).encode()
    assert abs(len(value) - 450) <= 10, len(value)
    return value


def nanoseconds_per_call(call: Callable[[bytes], Any], value: bytes) -> float:
    began = time.perf_counter_ns()
    for _ in range(CALLS):
        call(value)
    return (time.perf_counter_ns() - began) / CALLS


def measure() -> dict[str, float]:
    value, bare = sample(), event_model(PurchaseMade).model_validate_json
    pairs = [(nanoseconds_per_call(decode, value), nanoseconds_per_call(bare, value)) for _ in range(ROUNDS)]
    return {
        "decode_us": round(statistics.median(pair[0] for pair in pairs) / 1_000, 2),
        "bare_us": round(statistics.median(pair[1] for pair in pairs) / 1_000, 2),
        "ratio": round(statistics.median(pair[0] / pair[1] for pair in pairs), 2),
        "limit": LIMIT,
    }


if __name__ == "__main__":
    figures = measure()
    print(json.dumps({"decode": figures}))
    sys.exit(figures["ratio"] > LIMIT)
