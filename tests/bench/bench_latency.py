"""From the 202 to the change on guanxi.segments.v1, 200 events/s in an open loop: `python -m tests.bench.bench_latency`.

Each event is the first purchase of a known customer, so each one changes segments. Measured from the moment the 202 was read to
the moment a consumer in the same process was handed the change: one clock, and the consumer's own fetch is part of it.
One run more than asked for goes first and does not count: Kafka's virtual machine still compiles itself then, on the same cores.
"""

import asyncio
import json
import sys
import time
from uuid import uuid4

from shared.events.catalog import CUSTOMERS, group_of
from tests.bench.figures import Effort, Figure, percentile, table
from tests.bench.running import Changes, api_key, prepare, service
from tests.bench.stage import Stage, stage
from tests.bench.wire import Connection, register

RATE = 200
SECONDS = 10
CONNECTIONS = 64


async def one_run(on: Stage, port: int, key: str, seconds: int) -> list[float]:
    """Milliseconds, one per event. Negative where the change was seen before the 202."""
    run = uuid4().hex
    customers = await register(port, key, [f"{run}-{n}" for n in range(RATE * seconds)])
    total = sum((await on.ends(CUSTOMERS.name)).values())
    await on.wait_committed(group_of("segmentation"), CUSTOMERS.name, total, 120)
    accepted: dict[str, float] = {}
    async with Changes(on.bootstrap) as changes:
        reading = asyncio.create_task(changes.until(len(customers), seconds + 60))
        await send_all(port, key, run, customers, accepted)
        seen = await reading
    return [(change.received - accepted[change.causation]) * 1_000 for change in seen]


async def send_all(port: int, key: str, run: str, customers: list[str], accepted: dict[str, float]) -> None:
    """At their times, whether or not those before were answered."""
    free: asyncio.Queue[Connection] = asyncio.Queue()
    for _ in range(CONNECTIONS):
        free.put_nowait(await Connection.open(port, key))
    began = time.monotonic()
    sending: list[asyncio.Task[None]] = []
    for number, customer in enumerate(customers):
        await asyncio.sleep(max(0.0, began + number / RATE - time.monotonic()))
        sending.append(asyncio.create_task(_send(free, f"{run}-{number}", customer, accepted)))
    await asyncio.gather(*sending)
    while not free.empty():
        async with free.get_nowait():
            pass


async def _send(free: "asyncio.Queue[Connection]", name: str, customer: str, accepted: dict[str, float]) -> None:
    connection = await free.get()
    event = {
        "type": "purchase.made",
        "id": name,
        "source": "urn:guanxi:bench",
        "customer": {"id": customer},
        "data": {"order_id": name, "amount": {"amount": "129.50", "currency": "CNY"}},
    }
    status, answer = await connection.ask("POST", "/v1/events", json.dumps(event).encode())
    accepted[name] = time.monotonic()
    free.put_nowait(connection)
    if status != 202:
        raise RuntimeError(f"{status}: {answer[:300]!r}")


async def measure(effort: Effort) -> list[Figure]:
    runs: list[list[float]] = []
    with stage() as on:
        await prepare(on)
        async with service(on, "intake") as intake, service(on, "segmentation"):
            key = api_key(on)
            await one_run(on, intake.port, key, effort.of(SECONDS))
            for _ in range(effort.runs):
                runs.append(await one_run(on, intake.port, key, effort.of(SECONDS)))
                print(f"202 to change: p50 {percentile(runs[-1], 0.5):.1f} ms, p99 {percentile(runs[-1], 0.99):.1f} ms")
    note = f"{RATE}/s, all standard dimensions, 202 read to change received"
    return [
        Figure("accepted → change, p50", tuple(percentile(r, 0.5) for r in runs), "ms", 20, at_least=False, note=note),
        Figure(
            "accepted → change, p99", tuple(percentile(r, 0.99) for r in runs), "ms", 100, at_least=False, note=note
        ),
    ]


if __name__ == "__main__":
    print(table(asyncio.run(measure(Effort(int(sys.argv[1]) if len(sys.argv) > 1 else 3)))))
