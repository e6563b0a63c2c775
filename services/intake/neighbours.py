"""What intake hears of the other services: that they want a tick, and that they have forgotten a customer."""

import asyncio
import logging
from collections.abc import Callable, Collection

from services.intake.registers import ReceiptRegister
from services.intake.ticks import Ticker
from shared.clock import Clock, to_instant
from shared.events.catalog import OUTPUT, WAKEUPS
from shared.events.codec import UndecodableEvent, decode
from shared.events.segments import CustomerForgotten
from shared.events.wakeups import ClockTickWanted
from shared.processing.ports import LogReader, LogScanner, TransientError
from shared.processing.records import Committed, Record, TopicPartition

FORGOTTEN = f'"{CustomerForgotten.event_type}"'.encode()
COMMIT_EVERY = 5.0
LIMIT = 1_000
SERVICE_OF = {topic.name: service for service, topic in OUTPUT.items()}

log = logging.getLogger(__name__)


class Neighbours:
    """A member of intake's own group. `make_reader`: a reader lives once, so a broken connection needs a new one."""

    def __init__(
        self,
        make_reader: Callable[[], LogReader],
        scanner: LogScanner,
        ticker: Ticker,
        receipts: ReceiptRegister,
        clock: Clock,
    ) -> None:
        self._make_reader = make_reader
        self._scanner = scanner
        self._ticker = ticker
        self._receipts = receipts
        self._clock = clock
        self._heard: dict[TopicPartition, int] = {}

    async def run(self) -> None:
        """Until cancelled. FatalError: an operator must help."""
        while True:
            try:
                await self._listen(self._make_reader())
            except TransientError:
                log.warning("kafka does not answer; listening again")
                await asyncio.sleep(1)

    async def _listen(self, reader: LogReader) -> None:
        async def assigned(partitions: Collection[TopicPartition]) -> None:
            self._heard.clear()
            await self._begin(reader, partitions)

        async def revoked(_partitions: Collection[TopicPartition]) -> None:
            await self._commit(reader)

        try:
            await reader.start(assigned, revoked)
            await self._hear(reader)
        finally:
            await reader.stop()

    async def _hear(self, reader: LogReader) -> None:
        loop = asyncio.get_running_loop()
        committed_at = loop.time()
        while True:
            fetched = await reader.fetch(LIMIT, 1.0)
            for record in fetched.records:
                await self._note(record)
                if fetched.epoch == reader.epoch():
                    self._heard[record.source] = record.offset + 1
            if loop.time() - committed_at > COMMIT_EVERY:
                await self._commit(reader)
                committed_at = loop.time()

    async def _begin(self, reader: LogReader, partitions: Collection[TopicPartition]) -> None:
        """Requests for ticks are repeated while they matter and kept for an hour only, so old ones are passed over."""
        wakeups = [p for p in partitions if p.topic == WAKEUPS.name]
        kept = [p for p in partitions if p.topic != WAKEUPS.name]
        if wakeups:
            ranges = await self._scanner.range(WAKEUPS.name)
            for partition in wakeups:
                reader.seek(partition, ranges[partition][1])
        for partition, committed in (await reader.committed(kept)).items() if kept else ():
            reader.seek(partition, committed.offset)

    async def _commit(self, reader: LogReader) -> None:
        """What a commit could not say the next one says, also where nothing more comes: a quiet log has no lag."""
        heard = dict(self._heard)
        if heard and await reader.commit({partition: Committed(offset) for partition, offset in heard.items()}):
            self._heard = {partition: at for partition, at in self._heard.items() if heard.get(partition) != at}

    async def _note(self, record: Record) -> None:
        """Almost everything on the neighbours' topics is not for us, so only what can be is decoded."""
        value = record.value or b""
        if record.topic != WAKEUPS.name and FORGOTTEN not in value:
            return
        try:
            event = decode(value)
        except UndecodableEvent:
            log.warning("a neighbour's record cannot be read", extra={"topic": record.topic, "offset": record.offset})
            return
        match event.data:
            case ClockTickWanted() as wanted:
                self._ticker.want(record.partition, to_instant(wanted.until))
            case CustomerForgotten() as forgotten:
                await self._receipts.forgotten(forgotten.receipt_id, SERVICE_OF[record.topic], self._clock())
