"""The example of ARCHITECTURE.md is real: the very text of the page runs on the engine."""

import json
import random
import re
from pathlib import Path
from types import ModuleType
from typing import Any

from prometheus_client import CollectorRegistry

from shared.clock import DAY, from_rfc3339, to_rfc3339
from shared.processing.memory import MemoryLog, MemoryReader, MemoryScanner, MemoryWriter
from shared.processing.memory_store import MemoryStore
from shared.processing.metrics import engine_metrics
from shared.processing.records import Committed, Message, TopicPartition
from shared.processing.retry import Retry
from shared.processing.worker import Options, Ports, Worker

CUSTOMERS = "guanxi.customers.v1"
OUTPUT = "guanxi.loyalty.v1"
ALICE = "00000000-0000-4000-8000-000000000001"
START = from_rfc3339("2026-01-01T00:00:00Z")


def the_example() -> ModuleType:
    page = (Path(__file__).parents[2] / "ARCHITECTURE.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    code = next(block for block in blocks if "class LoyaltyDomain" in block)
    assert len(code.splitlines()) < 60
    module = ModuleType("loyalty")
    exec(compile(code, "ARCHITECTURE.md", "exec"), module.__dict__)
    return module


def purchase(number: int, at: int) -> Message:
    event = {
        "specversion": "1.0",
        "id": f"p{number}",
        "source": "shop",
        "type": "guanxi.purchase.made.v1",
        "time": to_rfc3339(at),
        "recordedtime": to_rfc3339(at),
        "subject": ALICE,
        "data": {"customer_id": ALICE, "amount": {"amount": "10", "currency": "CNY"}},
    }
    return Message(CUSTOMERS, ALICE.encode(), json.dumps(event).encode(), partition=0)


def tick(at: int) -> Message:
    event = {
        "specversion": "1.0",
        "id": f"t{at}",
        "source": "guanxi/intake",
        "type": "guanxi.clock.ticked.v1",
        "time": to_rfc3339(at),
        "recordedtime": to_rfc3339(at),
        "data": {},
    }
    return Message(CUSTOMERS, None, json.dumps(event).encode(), partition=0)


async def test_the_example_of_the_page_runs_on_the_engine() -> None:
    now = START + 90 * DAY

    async def no_sleep(_seconds: float) -> None:
        return None

    log = MemoryLog({CUSTOMERS: 1, OUTPUT: 1, "guanxi.wakeups.v1": 1}, lambda: now)
    log.group("guanxi.loyalty").offsets[TopicPartition(CUSTOMERS, 0)] = Committed(0)
    writer = MemoryWriter(log)
    store = MemoryStore()
    ports = Ports(
        MemoryReader(log, "guanxi.loyalty", [CUSTOMERS], "one"),
        writer,
        MemoryScanner(log),
        store,
        Retry(no_sleep, lambda: now, random.Random(1)),
        lambda: now,
        engine_metrics(CollectorRegistry()),
    )
    worker: Any = Worker(the_example().LoyaltyDomain(), ports, Options((CUSTOMERS,), OUTPUT, asks=False))
    await writer.publish([purchase(n, START + n * DAY) for n in range(3)] + [tick(START + 40 * DAY)])
    await ports.reader.start(worker.ownership.assigned, worker.ownership.revoked)
    for _ in range(6):
        await worker.step()

    said = [json.loads(r.value) for r in log.read(TopicPartition(OUTPUT, 0), 0, 100) if r.key]
    assert [(e["data"]["regular"], e["time"], int(e["sequence"])) for e in said] == [
        (True, to_rfc3339(START + 2 * DAY), 1),
        (False, to_rfc3339(START + 30 * DAY), 2),
    ]
    assert said[0]["causationid"] == "p2"
