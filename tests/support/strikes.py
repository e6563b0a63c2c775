"""Runs a service as it is, but kills or freezes its process at the n-th call of one port: `python -m tests.support.strikes`.

Arguments: SERVICE POINT SIGNAL NUMBER FILE [COMMAND ...]. The file tells what was under way, and when. While another of its name that
ends in `.hold` is there, calls do not count. Without a command: run.
"""

import json
import os
import runpy
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from motor.motor_asyncio import AsyncIOMotorClientSession

from services.intake.store import IntakeStore
from shared.processing.kafka_reader import KafkaReader
from shared.processing.kafka_writer import KafkaWriter
from shared.processing.mongo_store import MongoStore
from shared.processing.mongo_versions import MongoVersions


class Strike:
    def __init__(self, signum: int, number: int, file: Path) -> None:
        self._signum = signum
        self._left = number
        self._file = file
        self._hold = file.with_suffix(".hold")
        self.under_way: list[str] = []

    def hit(self) -> None:
        """Everything before this call has happened, nothing of it."""
        if self._hold.exists():
            return
        self._left -= 1
        if self._left == 0:
            self._file.write_text(json.dumps({"at": time.time(), "events": self.under_way}), "utf-8")
            os.kill(os.getpid(), self._signum)


def at_publish(strike: Strike) -> None:
    """After the write, before the publish, of a batch that says something of customers."""
    publish = KafkaWriter.publish

    async def struck(self: KafkaWriter, messages: Sequence[Any]) -> Any:
        strike.under_way = [json.loads(m.value)["id"] for m in messages if m.key and m.value]
        if strike.under_way:
            strike.hit()
        return await publish(self, messages)

    KafkaWriter.publish = struck  # type: ignore[method-assign]


def at_commit(strike: Strike) -> None:
    """After the publish was acknowledged, before the commit."""
    publish, commit = KafkaWriter.publish, KafkaReader.commit

    async def noted(self: KafkaWriter, messages: Sequence[Any]) -> Any:
        found = [json.loads(m.value)["id"] for m in messages if m.key and m.value]
        answer = await publish(self, messages)
        strike.under_way = found or strike.under_way
        return answer

    async def struck(self: KafkaReader, positions: Any) -> bool:
        if positions and strike.under_way:
            strike.hit()
            strike.under_way = []
        return await commit(self, positions)

    KafkaWriter.publish = noted  # type: ignore[method-assign]
    KafkaReader.commit = struck  # type: ignore[method-assign]


def at_save(strike: Strike) -> None:
    """Before the write, when everything has been decided."""
    save = MongoStore.save

    async def struck(self: MongoStore, documents: Any) -> bool:
        strike.under_way = [document.id for document in documents]
        strike.hit()
        return await save(self, documents)

    MongoStore.save = struck  # type: ignore[method-assign]


def at_transaction(strike: Strike) -> None:
    """Inside a write: its statements are in the store, its end is not."""
    commit = AsyncIOMotorClientSession.commit_transaction

    async def struck(self: Any) -> None:
        strike.hit()
        await commit(self)

    AsyncIOMotorClientSession.commit_transaction = struck


def at_acknowledge(strike: Strike) -> None:
    """Intake's own end of a batch: Kafka has it, the store does not know yet."""
    acknowledge = IntakeStore.acknowledge

    async def struck(self: IntakeStore, batch_id: str, positions: Any) -> None:
        strike.hit()
        await acknowledge(self, batch_id, positions)

    IntakeStore.acknowledge = struck  # type: ignore[method-assign]


def at_prepared(strike: Strike) -> None:
    """Before it is noted how far a version is prepared on some partition."""
    prepared = MongoVersions.prepared

    async def struck(self: MongoVersions, *noted: Any) -> bool:
        strike.hit()
        return await prepared(self, *noted)

    MongoVersions.prepared = struck  # type: ignore[method-assign]


POINTS: dict[str, Callable[[Strike], None]] = {
    "publish": at_publish,
    "commit": at_commit,
    "save": at_save,
    "transaction": at_transaction,
    "acknowledge": at_acknowledge,
    "prepared": at_prepared,
}


def main() -> None:
    service, point, signal_name, number, file, *command = sys.argv[1:]
    POINTS[point](Strike(signal.Signals[signal_name], int(number), Path(file)))
    sys.argv = [f"services.{service}", *(command or ["run"])]
    runpy.run_module(f"services.{service}", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
