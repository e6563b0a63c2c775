"""From the log to what waits: each change becomes a delivery for whoever wants it, stored before its offset is committed."""

import logging
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace

from services.segmentation.webhooks.board import FRESH, HELD, Board, Outgoing
from services.segmentation.webhooks.deliveries import Delivery, delivery_id
from services.segmentation.webhooks.store import Cursor, DeliverStore
from services.segmentation.webhooks.subscription_log import SubscriptionLog
from services.segmentation.webhooks.subscriptions import Replay, Subscription
from shared.events.catalog import SEGMENTS
from shared.events.codec import UndecodableEvent, decode
from shared.events.envelope import Event
from shared.events.segments import CustomerForgotten
from shared.processing.follower import Seat
from shared.processing.ports import LogScanner, TransientError
from shared.processing.records import Record, TopicPartition

SLICE = HELD // 2
"""Records of the past that become deliveries in one go."""
LOOKED_AT = 20_000
"""Records of the past that are looked at in one turn, so that the present is not kept waiting."""

log = logging.getLogger(__name__)
Erased = Callable[[Collection[str]], Awaitable[set[str]]]
Read = tuple[Record, Event]


class Feed:
    """Implements Listener. `erased`: which of these customers were erased; nothing is told of them any more."""

    def __init__(
        self,
        board: Board,
        store: DeliverStore,
        subscriptions: SubscriptionLog,
        scanner: LogScanner,
        erased: Erased,
        unreadable: Callable[[], None],
    ) -> None:
        self._board = board
        self._store = store
        self._subscriptions = subscriptions
        self._scanner = scanner
        self._erased = erased
        self._unreadable = unreadable
        self.turns = 0
        """Rises while all goes well."""

    def begin(self) -> None:
        """What is under way ends as it will; whoever owns the partition now may send it again, under the same id."""
        self._board.outgoing.clear()

    def held(self) -> Mapping[TopicPartition, int]:
        return {}

    async def take(self, records: Sequence[Record]) -> None:
        """Subscriptions are read to their end first: whatever was subscribed before these records counts for them."""
        await self._subscriptions.refresh()
        if not any(True for _ in self._board.subscriptions):
            return
        for partition, mine in _by_partition(await self._lawful(self._read(_changes(records)))).items():
            outgoing = await self._opened(partition)
            async with _Doubt(outgoing):
                await self._feed(outgoing, mine)
        self._board.work.set()

    async def turn(self, seat: Seat) -> None:
        await self._subscriptions.refresh()
        owned = {place.partition for place in seat.owned if place.topic == SEGMENTS.name}
        for partition in sorted(owned):
            outgoing = await self._opened(partition)
            async with _Doubt(outgoing):
                await self._drop_deleted(outgoing)
                for subscription in self._board.subscriptions:
                    await self._replay(outgoing, subscription, seat)
                    await self._catch_up(outgoing, subscription, seat)
        self.turns += 1
        self._board.work.set()

    async def _opened(self, partition: int) -> Outgoing:
        """Ours, with all that waits in the store."""
        outgoing = self._board.outgoing.setdefault(partition, Outgoing(partition))
        if not outgoing.sure:
            cursors = await self._store.take_over(partition)
            for delivery in await self._store.waiting(partition):
                outgoing.add(delivery)
            outgoing.cursors = {cursor.subscription: cursor for cursor in cursors}
            outgoing.sure = True
        return outgoing

    async def _feed(self, outgoing: Outgoing, read: list[Read]) -> None:
        await self._forget(outgoing, read)
        for subscription in self._board.subscriptions:
            if outgoing.cursor_of(subscription.id).next is not None:
                continue
            wanted = [one for one in read if _is_new(subscription, one)]
            room = HELD - len(outgoing.lanes_of(subscription.id))
            if len(wanted) > room:
                cursor = replace(outgoing.cursor_of(subscription.id), next=wanted[max(room, 0)][0].offset, until=0)
                await self._save(outgoing, cursor)
                wanted = wanted[: max(room, 0)]
            await self._add(outgoing, subscription, wanted)

    async def _add(self, outgoing: Outgoing, subscription: Subscription, wanted: list[Read]) -> None:
        made = [_delivery(subscription, record, event) for record, event in wanted]
        if self._board.delivered.intersection(one.id for one in made):
            await self._board.remove_delivered(self._store)
        await self._store.add(made)
        soon = FRESH - len(outgoing.lanes_of(subscription.id)) if self._board.open(subscription) else 0
        for place, delivery in enumerate(made):
            if place >= soon:
                delivery.body = None
            outgoing.add(delivery)

    async def _forget(self, outgoing: Outgoing, read: list[Read]) -> None:
        """What was still to be told of an erased customer is not told any more; that it was forgotten is."""
        gone = [_customer(event) for _, event in read if _forgets(event)]
        for customer in gone:
            outgoing.forget(customer)
        if gone:
            await self._store.forget(gone)

    async def _drop_deleted(self, outgoing: Outgoing) -> None:
        for name in {*outgoing.lanes, *outgoing.cursors}:
            if self._board.subscriptions.over(name):
                outgoing.lanes.pop(name, None)
                outgoing.cursors.pop(name, None)
                await self._store.drop(name, outgoing.partition)

    async def _replay(self, outgoing: Outgoing, subscription: Subscription, seat: Seat) -> None:
        """Begins what was asked for: the log is gone through again up to where this subscription was."""
        cursor = outgoing.cursor_of(subscription.id)
        wanted = [replay for replay in subscription.replays if replay.number > cursor.replayed]
        if not wanted:
            return
        place = TopicPartition(SEGMENTS.name, outgoing.partition)
        first, _ = (await self._scanner.range(SEGMENTS.name))[place]
        position = seat.position(place)
        if position is None:
            return
        for replay in wanted:
            cursor = begun(cursor, replay, first, position)
        await self._save(outgoing, cursor)

    async def _catch_up(self, outgoing: Outgoing, subscription: Subscription, seat: Seat) -> None:
        """A slice of the past; where it meets the present, the subscription goes with the live reading again."""
        cursor = outgoing.cursor_of(subscription.id)
        if cursor.next is None or len(outgoing.lanes_of(subscription.id)) > HELD - SLICE:
            return
        place = TopicPartition(SEGMENTS.name, outgoing.partition)
        stop = seat.position(place)
        if stop is None:
            return
        wanted, seen, next_ = list[Read](), 0, cursor.next
        while next_ < stop and len(wanted) < SLICE and seen < LOOKED_AT:
            records = await self._scanner.read(place, next_, stop, SLICE - len(wanted))
            if not records:
                break
            seen += len(records)
            next_ = records[-1].offset + 1
            wanted += [one for one in self._read(records) if _is_due(subscription, cursor, one)]
        await self._add(outgoing, subscription, await self._lawful(wanted))
        after = replace(cursor, next=next_)
        if next_ >= stop and await seat.rewind({place: stop}):
            after = Cursor(subscription.id, outgoing.partition, replayed=cursor.replayed, rev=cursor.rev)
        if after != cursor:
            await self._save(outgoing, after)

    async def _lawful(self, read: list[Read]) -> list[Read]:
        """Whatever is read is of the past: who is erased by now is only forgotten."""
        customers = {_customer(event) for _, event in read if not _forgets(event)}
        erased = await self._erased(customers) if customers else set[str]()
        return [(record, event) for record, event in read if _forgets(event) or _customer(event) not in erased]

    async def _save(self, outgoing: Outgoing, cursor: Cursor) -> None:
        outgoing.cursors[cursor.subscription] = await self._store.save_cursor(cursor)

    def _read(self, records: Iterable[Record]) -> list[Read]:
        found = []
        for record in records:
            try:
                found.append((record, decode(record.value or b"")))
            except UndecodableEvent:
                self._unreadable()
                log.warning("a change cannot be read", extra={"partition": record.partition, "offset": record.offset})
        return found


class _Doubt:
    """Where the store does not answer, or another process has been there, what is known of the partition is read anew."""

    def __init__(self, outgoing: Outgoing) -> None:
        self._outgoing = outgoing

    async def __aenter__(self) -> None:
        return

    async def __aexit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, TransientError):
            self._outgoing.sure = False


def begun(cursor: Cursor, replay: Replay, first: int, position: int) -> Cursor:
    """Replays that meet in one cursor become one that covers both; what it repeats in excess carries the same ids."""
    replaying = cursor.next is not None and cursor.next < cursor.until
    until = max(cursor.until, cursor.next) if cursor.next is not None else position
    return replace(
        cursor,
        next=first,
        until=until,
        of_customer=replay.of_customer if not replaying or cursor.of_customer == replay.of_customer else None,
        after_sequence=min(replay.after_sequence, cursor.after_sequence if replaying else replay.after_sequence),
        since=min(replay.since, cursor.since if replaying else replay.since),
        replayed=replay.number,
    )


def _is_new(subscription: Subscription, read: Read) -> bool:
    record, event = read
    return record.timestamp >= subscription.since and subscription.wants(event)


def _is_due(subscription: Subscription, cursor: Cursor, read: Read) -> bool:
    record, event = read
    if record.offset >= cursor.until:
        return _is_new(subscription, read)
    return (
        record.timestamp >= cursor.since
        and cursor.of_customer in (None, _customer(event))
        and (event.number or 0) > cursor.after_sequence
        and subscription.wants(event)
    )


def _delivery(subscription: Subscription, record: Record, event: Event) -> Delivery:
    customer, number = _customer(event), event.number or 0
    return Delivery(
        delivery_id(subscription.id, customer, number),
        subscription.id,
        record.partition,
        customer,
        number,
        event.id,
        record.timestamp,
        body=record.value,
    )


def _customer(event: Event) -> str:
    return event.subject or ""


def _forgets(event: Event) -> bool:
    return isinstance(event.data, CustomerForgotten)


def _changes(records: Iterable[Record]) -> list[Record]:
    return [record for record in records if record.topic == SEGMENTS.name and record.key is not None]


def _by_partition(read: Iterable[Read]) -> dict[int, list[Read]]:
    found: dict[int, list[Read]] = {}
    for one in read:
        found.setdefault(one[0].partition, []).append(one)
    return found
