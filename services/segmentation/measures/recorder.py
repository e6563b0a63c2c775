"""Events taken into a customer's record: orders, entries of streams, facets; only what the rules in force ask for."""

from collections.abc import Sequence
from typing import Any

from services.segmentation.language.grammar import Limits
from services.segmentation.measures.facets import stated, with_stated
from services.segmentation.measures.facts import PURCHASES, Record
from services.segmentation.measures.goods import weighed
from services.segmentation.measures.money import Rates
from services.segmentation.measures.orders import Book, with_purchase, with_refund
from services.segmentation.measures.streams import Stream
from services.segmentation.state import Entry
from shared.clock import Instant
from shared.events.customers import (
    CustomerAssigned,
    CustomerCorrected,
    CustomerRegistered,
    PurchaseMade,
    PurchaseRefunded,
)
from shared.events.envelope import Event

ORDERED = frozenset((PurchaseMade, PurchaseRefunded))
STATING = frozenset((CustomerRegistered, CustomerCorrected, CustomerAssigned))
NOTHING: frozenset[str] = frozenset()


def stream_key(name: str) -> str:
    """What a touched stream is called among all that rules read."""
    return name if name == PURCHASES else f"stream.{name}"


def facet_key(name: str) -> str:
    return f"facet.{name}"


def dimension_key(name: str) -> str:
    return f"dimension.{name}"


def composite_key(name: str) -> str:
    return f"composite.{name}"


class Recorder:
    """`orders`: whether any rule looks at purchases; `goods`: at their categories. `facets`: those that rules name."""

    def __init__(
        self, rates: Rates, limits: Limits, streams: Sequence[Stream], orders: bool, goods: bool, facets: Sequence[str]
    ) -> None:
        self._rates, self._limits, self._orders, self._goods = rates, limits, orders, goods
        self._facets = tuple(facets)
        self._streams = {stream.name: stream for stream in streams}
        self._feeds: dict[type, tuple[Stream, ...]] = {}
        for stream in streams:
            for kind in stream.fits:
                self._feeds[kind] = (*self._feeds.get(kind, ()), stream)
        heard = {*self._feeds, *(ORDERED if orders else ()), *(STATING if facets else ())}
        self.hears = frozenset(heard)
        """Types of data that may matter; all others cost nothing."""

    def take(self, record: Record, event: Event, at: Instant) -> tuple[Record, frozenset[str]]:
        """The record with the event, and the keys of what it touched.

        What arrives late counts from when it happened; what comes from the future, from now.
        """
        data, time = event.data, min(event.occurred_at, at)
        kind = type(data)  # asked for itself, because pydantic makes isinstance slow
        touched: set[str] = set()
        if self._orders and kind in ORDERED:
            record = record._replace(book=self._booked(record.book, event, time))
            touched.add(PURCHASES)
        if self._facets and kind in STATING and (values := stated(data, self._facets)):
            record = record._replace(facets=with_stated(record.facets, values, event.id))
            touched.update(facet_key(name) for name in values)
        for stream in self._feeds.get(kind, ()):
            worth = stream.worth(data, self._rates, time)
            if worth is not None and (stream.horizon is None or time > at - stream.horizon):
                record = self._entered(record, stream, (time, (event.id,), *worth), at)
                touched.add(stream_key(stream.name))
        return record, frozenset(touched)

    def _booked(self, book: Book, event: Event, time: Instant) -> Book:
        data, limits = event.data, self._limits
        if isinstance(data, PurchaseMade):
            weights = weighed(data) if self._goods else ()
            return with_purchase(book, self._rates, limits, time, event.id, data.order_id, data.amount, weights)
        assert isinstance(data, PurchaseRefunded)  # noqa: S101 - the only other event that is booked
        return with_refund(book, self._rates, limits, time, event.id, data.order_id, data.amount)

    def _entered(self, record: Record, stream: Stream, entry: Entry, at: Instant) -> Record:
        name, folds = stream.name, record.folds
        entries = stream.with_entry(record.streams.get(name, ()), entry, at)
        entries, fold = stream.folded(entries, folds.get(name))
        if fold is not None:
            folds = {**folds, name: fold}
        return record._replace(streams={**record.streams, name: entries}, folds=folds)

    def pruned(self, record: Record, at: Instant) -> Record:
        """Without what no rule looks back to any more."""
        if not record.streams:
            return record
        kept: dict[str, Any] = {
            name: self._streams[name].pruned(entries, at) for name, entries in record.streams.items()
        }
        if all(kept[name] is entries for name, entries in record.streams.items()):
            return record
        return record._replace(streams={name: entries for name, entries in kept.items() if entries})
