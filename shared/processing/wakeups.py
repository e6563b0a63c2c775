"""Asking for ticks: when the wall clock has passed what no record has said, the log must be told that time went on."""

from collections.abc import Iterable

from shared.clock import SECOND, Clock, Instant, to_datetime, to_rfc3339
from shared.events.catalog import CUSTOMERS, WAKEUPS
from shared.events.codec import HEADERS
from shared.events.wakeups import ClockTickWanted
from shared.processing.emission import event_id
from shared.processing.owned import Owned
from shared.processing.records import Message

ASK_AGAIN = 1 * SECOND
MERGE_WAIT = 20
"""Milliseconds that a derived record waits for its quiet original input before a tick is asked for."""


class TickAsker:
    def __init__(self, service: str, clock: Clock) -> None:
        self._service = service
        self._clock = clock

    def next_at(self, owned: Owned) -> Instant | None:
        """The wall-clock instant at which this partition will want a tick; None: not while nothing new arrives."""
        wants = [at for at in (self._timer(owned), self._merge(owned)) if at is not None]
        if not wants:
            return None
        wanted = min(wants)
        if owned.asked_at > self._clock():  # a clock that was ahead for a moment was put right
            owned.asked_at = owned.asked_for = 0
        return max(wanted, owned.asked_at + ASK_AGAIN) if owned.asked_for >= wanted else wanted

    def ask(self, partitions: Iterable[Owned]) -> list[Message]:
        now = self._clock()
        due = [owned for owned in partitions if (at := self.next_at(owned)) is not None and at <= now]
        for owned in due:
            owned.asked_at = owned.asked_for = now
        return [self._message(owned.partition, now) for owned in due]

    def _timer(self, owned: Owned) -> Instant | None:
        due = owned.timers.next_at()
        return due if due is not None and due > owned.time.now else None

    def _merge(self, owned: Owned) -> Instant | None:
        """A record that waits for the customers' own time to pass: nobody but a tick will say so in a quiet hour. Marks of
        time alone ask for none, else each tick, passed on by our neighbours, would make us ask for the next one."""
        head = owned.merge.head() if owned.merge.events else None
        if head is None or owned.time.bracket is not None or CUSTOMERS.name not in owned.merge.blocked_by(head):
            return None
        if owned.waits_for is not head:
            owned.waits_for, owned.waits_since = head, self._clock()
        return owned.waits_since + MERGE_WAIT

    def _message(self, partition: int, until: Instant) -> Message:
        data = ClockTickWanted(until=to_datetime(until))
        moment = to_rfc3339(until)
        identity = event_id(self._service, f"partition-{partition}", until)
        text = (
            f'{{"specversion":"1.0","id":"{identity}","source":"guanxi/{self._service}","type":"{data.event_type}",'
            f'"time":"{moment}","recordedtime":"{moment}","data":{data.model_dump_json()}}}'
        )
        return Message(WAKEUPS.name, None, text.encode(), HEADERS, partition)
