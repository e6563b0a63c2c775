"""The subscriptions topic as every deliverer process reads it for itself, whole and outside any group."""

import logging

from services.segmentation.webhooks.subscriptions import Subscriptions
from shared.events.catalog import SUBSCRIPTIONS
from shared.events.codec import UndecodableEvent, decode
from shared.processing.ports import LogScanner
from shared.processing.records import Record, TopicPartition

CHUNK = 1_000

log = logging.getLogger(__name__)


class SubscriptionLog:
    """Small enough to be read from its first record at every start: it grows with what operators do."""

    def __init__(self, scanner: LogScanner, subscriptions: Subscriptions) -> None:
        self._scanner = scanner
        self._subscriptions = subscriptions
        self._next: dict[TopicPartition, int] = {}

    async def refresh(self) -> None:
        """When it returns, everything counts that stood in the log when it was called."""
        for place, (first, end) in (await self._scanner.range(SUBSCRIPTIONS.name)).items():
            start = self._next.get(place, first)
            while start < end and (records := await self._scanner.read(place, start, end, CHUNK)):
                for record in records:
                    self._take(record)
                start = self._next[place] = records[-1].offset + 1

    def _take(self, record: Record) -> None:
        try:
            self._subscriptions.take(decode(record.value or b""), record.timestamp)
        except UndecodableEvent:
            log.warning("a subscription cannot be read", extra={"partition": record.partition, "offset": record.offset})
