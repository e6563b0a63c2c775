"""One incarnation of a service's worker: the real engine behind ports that can fail, crash, stall and land late."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from hashlib import blake2b
from typing import Any, TypeVar

from shared.clock import Instant
from shared.events.customers import RulesActivated
from shared.processing.document import Document
from shared.processing.memory import MemoryLog, MemoryReader, MemoryScanner, MemoryWriter
from shared.processing.memory_store import MemoryStore
from shared.processing.memory_versions import MemoryVersions
from shared.processing.ports import Assigned, Revoked, Timer, TransientError
from shared.processing.records import Committed, Fetched, Message, Record, TopicPartition
from shared.processing.versions import Prepared, Version
from tests.simulation.faults import Faults

T = TypeVar("T")
SLOWEST_CALL = 0.01


class Crashed(BaseException):
    """The process is gone: whatever it would do next does not happen."""


class Nature:
    """What all processes share: chance, faults, the trace of all that happened."""

    def __init__(self, seed: int, faults: Faults) -> None:
        self.chance = random.Random(seed)
        self.faults = faults
        self.steps = 0
        self.struck: dict[str, int] = {}
        self.story: list[str] = []
        self.under_way: list[Callable[[], Awaitable[Any]]] = []
        """Late effects whose moment a script has chosen."""
        self._trace = blake2b(digest_size=8)

    def note(self, what: str) -> None:
        self.steps += 1
        line = f"{asyncio.get_running_loop().time():.6f} {what}"
        self._trace.update(line.encode())
        self.story.append(line)

    def trace(self) -> str:
        return self._trace.hexdigest()


class Process:
    """`stalled` calls back when the process stands still, so that the group may give up on it."""

    def __init__(self, name: str, nature: Nature, reader: MemoryReader) -> None:
        self.name = name
        self.nature = nature
        self.reader = reader
        self.dead = False

    async def call(
        self, what: str, effect: Callable[[], Awaitable[T]], part: Callable[[], Awaitable[Any]] | None = None
    ) -> T:
        """`part` does some of the effect; a fault that leaves the outcome unknown does that or all of it."""
        await self._pause(self.nature.chance.random() * SLOWEST_CALL)
        fault = self.nature.faults.at(self.name, what)
        self.nature.note(f"{self.name} {what} {fault or ''}")
        await self._land()
        if fault is None:
            return await effect()
        self.nature.struck[f"{what} {fault}"] = self.nature.struck.get(f"{what} {fault}", 0) + 1
        return await self._suffer(fault, effect, part)

    async def _suffer(
        self, fault: str, effect: Callable[[], Awaitable[T]], part: Callable[[], Awaitable[Any]] | None
    ) -> T:
        some = part if part is not None and self.nature.chance.random() < 0.5 else effect
        if fault == "stall":
            await self._stall()
            return await effect()
        if fault in ("lost", "crash_after"):
            await some()
        if fault in ("late", "crash_late"):
            self._later(some)
        if fault.startswith("crash"):
            self.dead = True
            raise Crashed
        raise TransientError(fault)

    async def _stall(self) -> None:
        """The group gives the partitions away; afterwards the process goes on, and learns of it only some time later."""
        self.reader.deaf = True
        self.reader.expire()
        await self._pause(1.0 + 2 * self.nature.chance.random())
        asyncio.get_running_loop().call_later(self.nature.chance.random(), self._hear)

    def _hear(self) -> None:
        self.reader.deaf = False

    async def _land(self) -> None:
        late = self.nature.under_way
        while late and self.nature.faults.lands_now():
            await late.pop()()

    def _later(self, effect: Callable[[], Awaitable[Any]]) -> None:
        if self.nature.faults.lands_now() is not None:
            self.nature.under_way.append(effect)
            return

        async def land() -> None:
            await asyncio.sleep(self.nature.chance.random() * 3)
            self.nature.note(f"{self.name} lands late")
            await effect()

        LANDING.add(asyncio.get_running_loop().create_task(land()))

    async def _pause(self, seconds: float) -> None:
        if self.dead:
            raise Crashed
        await asyncio.sleep(seconds)
        if self.dead:
            raise Crashed

    async def sleep(self, seconds: float) -> None:
        await self._pause(seconds)


LANDING: set[Any] = set()
"""Tasks under way; a set keeps them from being collected."""


class FaultyReader:
    """LogReader of one process."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._reader = process.reader

    async def start(self, assigned: Assigned, revoked: Revoked) -> None:
        await self._reader.start(assigned, revoked)

    async def stop(self) -> None:
        if self._process.dead:
            raise Crashed
        await self._reader.stop()

    async def fetch(self, limit: int, wait: float, full: frozenset[TopicPartition] = frozenset()) -> Fetched:
        return await self._process.call("fetch", lambda: self._reader.fetch(limit, wait, full))

    async def committed(self, partitions: Collection[TopicPartition]) -> dict[TopicPartition, Committed]:
        return await self._process.call("committed", lambda: self._reader.committed(partitions))

    async def commit(self, positions: Mapping[TopicPartition, Committed]) -> bool:
        return await self._process.call("commit", lambda: self._reader.commit(positions))

    def seek(self, partition: TopicPartition, offset: int) -> None:
        self._reader.seek(partition, offset)

    def epoch(self) -> int:
        return self._reader.epoch()

    def read_to_end(self, partition: TopicPartition) -> bool:
        return self._reader.read_to_end(partition)


class FaultyWriter:
    """`witness` is shown all that reaches the log, at the moment when it does."""

    def __init__(self, process: Process, log: MemoryLog, witness: Callable[[Sequence[Message]], None]) -> None:
        self._process = process
        self._writer = MemoryWriter(log)
        self._witness = witness

    async def publish(self, messages: Sequence[Message]) -> list[tuple[int, int]]:
        prefix = messages[: self._process.nature.chance.randint(0, len(messages))]
        return await self._process.call("publish", lambda: self._append(messages), lambda: self._append(prefix))

    async def _append(self, messages: Sequence[Message]) -> list[tuple[int, int]]:
        self._witness(messages)
        return await self._writer.publish(messages)


class FaultyScanner:
    def __init__(self, process: Process, log: MemoryLog) -> None:
        self._process = process
        self._scanner = MemoryScanner(log)

    async def range(self, topic: str) -> dict[TopicPartition, tuple[int, int]]:
        return await self._process.call("range", lambda: self._scanner.range(topic))

    async def read(self, partition: TopicPartition, start: int, stop: int, limit: int) -> list[Record]:
        return await self._process.call("read", lambda: self._scanner.read(partition, start, stop, limit))


class FaultyStore:
    def __init__(self, process: Process, store: MemoryStore) -> None:
        self._process = process
        self._store = store

    async def load(self, customer_ids: Collection[str]) -> dict[str, Document]:
        return await self._process.call("load", lambda: self._store.load(customer_ids))

    async def save(self, documents: Sequence[Document]) -> bool:
        chance = self._process.nature.chance
        some = [document for document in documents if chance.random() < 0.5]
        kept = [document.copied() for document in documents]
        return await self._process.call("save", lambda: self._store.save(kept), lambda: self._store.save(some))

    async def due(self, partition: int, after: Instant, until: Instant) -> list[Timer]:
        return await self._process.call("due", lambda: self._store.due(partition, after, until))

    async def unsent(self, partition: int) -> list[str]:
        return await self._process.call("unsent", lambda: self._store.unsent(partition))

    async def clear_unsent(self, revisions: Mapping[str, int]) -> None:
        return await self._process.call("clear_unsent", lambda: self._store.clear_unsent(revisions))

    async def parked(self, partition: int) -> list[str]:
        return await self._process.call("parked", lambda: self._store.parked(partition))

    async def ids(self, partition: int) -> list[str]:
        return await self._process.call("ids", lambda: self._store.ids(partition))


class FaultyVersions:
    """VersionStore of one process, and its shadows."""

    def __init__(self, process: Process, versions: MemoryVersions) -> None:
        self._process = process
        self._versions = versions

    async def all(self) -> list[Version]:
        return await self._process.call("versions", self._versions.all)

    async def keep(self, written: RulesActivated) -> Version:
        return await self._process.call("note", lambda: self._versions.keep(written))

    async def prepared(self, number: int, partition: int, prepared: Prepared) -> bool:
        return await self._process.call("note", lambda: self._versions.prepared(number, partition, prepared))

    async def began(self, written: RulesActivated, partition: int, position: int) -> None:
        return await self._process.call("note", lambda: self._versions.began(written, partition, position))

    async def finished(self, number: int, partition: int) -> None:
        return await self._process.call("note", lambda: self._versions.finished(number, partition))

    async def call_off(self, number: int) -> bool:
        return await self._process.call("note", lambda: self._versions.call_off(number))

    async def shadow(self, number: int) -> FaultyStore:
        return FaultyStore(self._process, await self._process.call("versions", lambda: self._versions.shadow(number)))

    async def drop_shadow(self, number: int) -> None:
        return await self._process.call("note", lambda: self._versions.drop_shadow(number))
