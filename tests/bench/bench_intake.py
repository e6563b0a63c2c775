"""Intake's accept rate beside a bare Starlette and aiokafka endpoint on the same Kafka: `python -m tests.bench.bench_intake`.

32 clients, each sending its next event when the one before was accepted; customers are known; both get the same bodies.
"""

import asyncio
import json
import sys
import time
from itertools import count
from uuid import uuid4

from deploy.processes import free_port
from tests.bench import bare
from tests.bench.figures import Effort, Figure, ratios, table
from tests.bench.running import api_key, prepare, ready, service
from tests.bench.stage import process, stage
from tests.bench.wire import Connection, register

CLIENTS = 32
CUSTOMERS = 500
SECONDS = 6.0
WARM_UP = 1.0


async def accept_rate(port: int, key: str, customers: list[str], seconds: float) -> float:
    """Events per second that were answered with 202."""
    numbers, run = count(), uuid4().hex
    began = time.monotonic()
    until = began + seconds

    async def client() -> int:
        accepted = 0
        async with await Connection.open(port, key) as connection:
            while time.monotonic() < until:
                number = next(numbers)
                status, answer = await connection.ask("POST", "/v1/events", body(run, number, customers))
                if status != 202:
                    raise RuntimeError(f"{status}: {answer[:300]!r}")
                accepted += 1
        return accepted

    accepted = sum(await asyncio.gather(*(client() for _ in range(CLIENTS))))
    return accepted / (time.monotonic() - began)


def body(run: str, number: int, customers: list[str]) -> bytes:
    event = {
        "type": "purchase.made",
        "id": f"{run}-{number}",
        "source": "urn:guanxi:bench",
        "customer": {"id": customers[number % len(customers)]},
        "data": {
            "order_id": f"order-{number}",
            "amount": {"amount": "129.50", "currency": "CNY"},
            "items": [{"category": "music", "quantity": 1}],
        },
    }
    return json.dumps(event).encode()


async def measure(effort: Effort) -> list[Figure]:
    ours: list[float] = []
    theirs: list[float] = []
    with stage() as on:
        await prepare(on)
        await on.create([bare.TOPIC])
        key, port = api_key(on), free_port()
        with process(["-m", "tests.bench.bare", str(port)], on.environment()):
            async with service(on, "intake") as intake:
                await ready(port, "/health", 30)
                customers = await register(intake.port, key, [f"c{n}" for n in range(effort.of(CUSTOMERS, 8))])
                for _ in range(effort.runs):
                    for where, rates in ((intake.port, ours), (port, theirs)):
                        await accept_rate(where, key, customers, WARM_UP * effort.share)
                        rates.append(await accept_rate(where, key, customers, SECONDS * effort.share))
                    print(f"intake {ours[-1]:,.0f}/s, bare {theirs[-1]:,.0f}/s", flush=True)
    return [
        Figure("intake: accepted", tuple(ours), "/s"),
        Figure("bare endpoint: accepted", tuple(theirs), "/s"),
        Figure("intake ÷ bare endpoint", ratios(ours, theirs), "×", 0.5, note=f"{CLIENTS} clients, known customers"),
    ]


if __name__ == "__main__":
    print(table(asyncio.run(measure(Effort(int(sys.argv[1]) if len(sys.argv) > 1 else 3)))))
