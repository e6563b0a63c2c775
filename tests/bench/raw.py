"""The ceiling: an aiokafka loop that decodes every event and does nothing with it."""

import asyncio
import os

from aiokafka import AIOKafkaConsumer

from shared.events.codec import decode

GROUP = "bench.raw"


async def main() -> None:
    consumer = AIOKafkaConsumer(
        "guanxi.customers.v1",
        bootstrap_servers=os.environ["GUANXI_KAFKA_BOOTSTRAP"],
        group_id=GROUP,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
    )
    await consumer.start()
    try:
        while True:
            found = await consumer.getmany(timeout_ms=200, max_records=2_000)
            for records in found.values():
                for record in records:
                    decode(record.value)
            if found:
                await consumer.commit()
    finally:
        await consumer.stop()


if __name__ == "__main__":
    asyncio.run(main())
