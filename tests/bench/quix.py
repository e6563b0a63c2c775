"""The same job as a quix-streams application: state in RocksDB with a changelog topic, at-least-once, no document store."""

import json
import os
from pathlib import Path
from typing import Any

from quixstreams import Application, State

from services.segmentation.processor import build_domain
from shared.events.codec import decode

GROUP = "bench.quix"
OUTPUT = "bench.quix.v1"


def main() -> None:
    app = Application(
        broker_address=os.environ["GUANXI_KAFKA_BOOTSTRAP"],
        consumer_group=GROUP,
        auto_offset_reset="earliest",
        auto_create_topics=True,
        state_dir=os.environ["BENCH_STATE_DIR"],
        commit_interval=1.0,
        producer_extra_config={"enable.idempotence": True, "acks": "all"},
        loglevel="ERROR",
    )
    domain = build_domain(Path(os.environ["GUANXI_CONFIG_DIR"]))
    source = app.topic("guanxi.customers.v1", value_deserializer="bytes", key_deserializer="str")
    output = app.topic(OUTPUT, value_serializer="bytes", key_serializer="str")

    def step(value: bytes, state: State) -> list[bytes]:
        event = decode(value)
        kept: dict[str, Any] | None = state.get("customer")
        text = kept["state"] if kept else None
        current = domain.state_type.model_validate_json(text) if text else domain.initial(event.subject or "")
        at = max(kept["at"] if kept else 0, event.recorded_at)
        said = []
        while (due := domain.wake_at(current)) is not None and due <= at:
            decision = domain.on_time(current, due)
            current = decision.state
            said += decision.events
        decision = domain.on_event(current, event, at)
        state.set("customer", {"at": at, "state": decision.state.model_dump_json(exclude_defaults=True)})
        return [data.model_dump_json(exclude_none=True).encode() for data in (*said, *decision.events)]

    frame = app.dataframe(source)
    frame.apply(step, stateful=True, expand=True).to_topic(output)
    app.run()


if __name__ == "__main__":
    print(json.dumps({"group": GROUP}), flush=True)
    main()
