"""All recorded changes in an order that stays: per partition by place, page by page, for systems without Kafka."""

import base64
import binascii
import json
from collections.abc import Awaitable, Callable, Mapping
from typing import NamedTuple

from services.segmentation.chronicle.changes import Changes, Recorded
from services.segmentation.chronicle.ledgers import NOWHERE
from shared.events.catalog import SEGMENTS

STRIDE = 500
"""Offsets that are asked for at once."""
MOST_STRIDES = 40
"""Of one page: where a filter finds nothing for long, the page ends early and the next one goes on."""

Ends = Callable[[], Awaitable[Mapping[int, int]]]
"""Per partition the last offset that was followed."""


class BadCursor(ValueError):
    """Not one that an answer has given."""


class Cursor(NamedTuple):
    """The last offset that was handed out of each partition, and whose turn it is, so that a busy one starves no other."""

    turn: int
    offsets: tuple[int, ...]

    def text(self) -> str:
        return base64.urlsafe_b64encode(json.dumps([self.turn, *self.offsets]).encode()).decode().rstrip("=")


BEGINNING = Cursor(0, (NOWHERE,) * SEGMENTS.partitions)


def read_cursor(text: str | None) -> Cursor:
    """None: the beginning. Raises BadCursor."""
    if text is None:
        return BEGINNING
    try:
        turn, *offsets = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    except (ValueError, TypeError, binascii.Error):
        raise BadCursor from None
    numbers = [turn, *offsets]
    if len(offsets) != SEGMENTS.partitions or not all(type(number) is int and number >= NOWHERE for number in numbers):
        raise BadCursor
    return Cursor(turn % SEGMENTS.partitions, tuple(offsets))


class Page(NamedTuple):
    """`more`: whether something lies beyond already."""

    found: list[Recorded]
    following: Cursor
    more: bool


class Feed:
    def __init__(self, changes: Changes, ends: Ends) -> None:
        self._changes = changes
        self._ends = ends

    async def page(self, cursor: Cursor, limit: int, dimension: str | None) -> Page:
        """One customer's changes are in one partition, and so in order. An erasure is there whatever the dimension."""
        ends, at = await self._ends(), list(cursor.offsets)
        found: list[Recorded] = []
        strides = 0
        number = cursor.turn
        for number in (*range(cursor.turn, len(at)), *range(cursor.turn)):
            while at[number] < ends.get(number, NOWHERE) and len(found) < limit and strides < MOST_STRIDES:
                until = min(at[number] + STRIDE, ends[number])
                some = await self._changes.between(number, at[number], until, dimension)
                taken = some[: limit - len(found)]
                found += taken
                at[number] = until if len(taken) == len(some) else taken[-1].offset
                strides += 1
            if len(found) == limit or strides == MOST_STRIDES:
                break
        more = any(offset < ends.get(number, NOWHERE) for number, offset in enumerate(at))
        return Page(found, Cursor((number + 1) % len(at), tuple(at)), more)
