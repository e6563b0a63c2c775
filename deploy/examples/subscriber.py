"""A downstream system on Kafka: a table of every customer's segments that survives crashes and proves its completeness.

`python -m deploy.examples.subscriber run`: reads from the first record, then goes on. `… prove`: what it has; exit code 1
where something is missing. EXAMPLE_KAFKA and EXAMPLE_TABLE say where from and where to.
"""

import asyncio
import json
import os
import sys
from pathlib import Path

from faststream import AckPolicy, FastStream
from faststream.kafka import KafkaBroker, KafkaMessage

from deploy.examples.memberships import Memberships

TOPIC = "guanxi.segments.v1"
GROUP = "example.subscriber"


def build(bootstrap: str, memberships: Memberships) -> FastStream:
    broker = KafkaBroker(bootstrap, allow_auto_create_topics=False, logger=None)

    @broker.subscriber(
        TOPIC, group_id=GROUP, auto_offset_reset="earliest", ack_policy=AckPolicy.NACK_ON_ERROR, no_reply=True
    )
    async def hear(message: KafkaMessage) -> None:
        """The offset is committed when this returns. A crash before repeats the event, which then changes nothing."""
        event = json.loads(message.body)
        if event.get("subject") is None:  # a mark of time concerns no customer
            return
        gap = memberships.apply(event)
        if gap:
            print(f"gap: {gap} number(s) missing before {event['id']}", file=sys.stderr, flush=True)

    return FastStream(broker, logger=None)


def prove(memberships: Memberships) -> int:
    """Every customer's numbers are 1 to n, and each was applied once: then nothing is missing and nothing came twice."""
    proof = memberships.proof()
    print(json.dumps(proof))
    return 0 if proof["missed"] == 0 and proof["applied"] == proof["numbers"] else 1


def main() -> None:
    memberships = Memberships(Path(os.environ.get("EXAMPLE_TABLE", "memberships.db")))
    match sys.argv[1:]:
        case ["run"]:
            asyncio.run(build(os.environ.get("EXAMPLE_KAFKA", "127.0.0.1:9092"), memberships).run())
        case ["prove"]:
            sys.exit(prove(memberships))
        case _:
            sys.exit("run or prove")


if __name__ == "__main__":
    main()
