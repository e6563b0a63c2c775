"""What most would write first: a FastStream handler per message; find_one, decide, replace_one, publish, ack.

The same domain and the same five dimensions as the real service, so that only the way around them differs.
"""

import asyncio
import os
from pathlib import Path
from uuid import uuid4

from faststream import AckPolicy, FastStream
from faststream.kafka import KafkaBroker, KafkaMessage
from motor.motor_asyncio import AsyncIOMotorClient

from services.segmentation.processor import build_domain
from shared.clock import to_rfc3339
from shared.events.codec import decode
from shared.events.envelope import Data

GROUP = "bench.naive"
OUTPUT = "bench.naive.v1"


def build() -> FastStream:
    broker = KafkaBroker(os.environ["GUANXI_KAFKA_BOOTSTRAP"], enable_idempotence=True, acks="all", logger=None)
    client: AsyncIOMotorClient = AsyncIOMotorClient(os.environ["GUANXI_MONGO_URL"], w="majority", journal=True)
    customers = client["bench_naive"]["customers"]
    domain = build_domain(Path(os.environ["GUANXI_CONFIG_DIR"]))

    @broker.subscriber(
        "guanxi.customers.v1",
        group_id=GROUP,
        auto_offset_reset="earliest",
        ack_policy=AckPolicy.MANUAL,
        decoder=_as_it_is,
        no_reply=True,
    )
    async def handle(_body: bytes, message: KafkaMessage) -> None:
        event = decode(message.body)
        found = await customers.find_one({"_id": event.subject})
        state = domain.state_type.model_validate_json(found["state"]) if found else domain.initial(event.subject or "")
        at = max(found["at"] if found else 0, event.recorded_at)
        said: list[Data] = []
        while (due := domain.wake_at(state)) is not None and due <= at:
            decision = domain.on_time(state, due)
            state, said = decision.state, [*said, *decision.events]
        decision = domain.on_event(state, event, at)
        document = {"_id": event.subject, "at": at, "state": decision.state.model_dump_json(exclude_defaults=True)}
        await customers.replace_one({"_id": event.subject}, document, upsert=True)
        for data in (*said, *decision.events):
            await broker.publish(_written(data, at), OUTPUT, key=(event.subject or "").encode())
        await message.ack()

    return FastStream(broker, logger=None)


async def _as_it_is(message: KafkaMessage) -> bytes:
    return bytes(message.body)


def _written(data: Data, at: int) -> bytes:
    moment = to_rfc3339(at)
    return (
        f'{{"specversion":"1.0","id":"{uuid4()}","source":"naive","type":"{data.event_type}","time":"{moment}",'
        f'"recordedtime":"{moment}","data":{data.model_dump_json(exclude_none=True)}}}'
    ).encode()


if __name__ == "__main__":
    asyncio.run(build().run())
