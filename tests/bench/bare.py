"""The least that an HTTP door before Kafka can be: JSON read, one acknowledged send, 202. It promises nothing else.

`python -m tests.bench.bare PORT`, Kafka from GUANXI_KAFKA_BOOTSTRAP.
"""

import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvicorn
from aiokafka import AIOKafkaProducer
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

TOPIC = "bench.bare.v1"


def build() -> Starlette:
    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        producer = AIOKafkaProducer(bootstrap_servers=os.environ["GUANXI_KAFKA_BOOTSTRAP"], acks="all")
        async with producer:
            app.state.producer = producer
            yield

    async def events(request: Request) -> Response:
        body = await request.body()
        document = await request.json()
        customer = document["customer"]["id"]
        at = await request.app.state.producer.send_and_wait(TOPIC, body, key=customer.encode())
        return JSONResponse(
            {"event_id": document["id"], "customer_id": customer, "position": f"{at.partition}:{at.offset}"}, 202
        )

    async def health(_request: Request) -> Response:
        return JSONResponse({"ready": True})

    routes = [Route("/v1/events", events, methods=["POST"]), Route("/health", health)]
    return Starlette(routes=routes, lifespan=lifespan)


if __name__ == "__main__":
    uvicorn.run(build(), host="127.0.0.1", port=int(sys.argv[1]), log_config=None, access_log=False)
