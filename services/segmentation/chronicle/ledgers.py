"""Sizes of segments and moves between them, each document fenced by the last offset of the output that it has counted.

One document per partition (sizes) and per partition and day (moves), so that one owner writes each of them, and a crash
between two writes neither loses nor doubles anything: what is read again counts only where it lies beyond the fence.
"""

import json
from collections import Counter
from collections.abc import Collection as Group
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, NamedTuple

from services.segmentation.chronicle.moves import Move, Moves, Sizes, moved
from shared.clock import Instant, to_datetime
from shared.processing.mongo import Collection, Index
from shared.processing.mongo_collection import Row
from shared.processing.ports import TransientError

SIZES = "sizes"
FLOWS = "flows"
FLOWS_INDEXES = (Index((("day", 1), ("partition", 1))),)

FENCE = "offset"
NOWHERE = -1
"""The fence before anything was counted."""
ATTEMPTS = 20
"""More conflicts than this in a row are no other owner that is about to go, but something wrong."""


class Step(NamedTuple):
    """What one record of the output moved. `at` says on which day (UTC)."""

    partition: int
    offset: int
    at: Instant
    moves: Moves

    @property
    def day(self) -> str:
        return to_datetime(self.at).date().isoformat()

    @property
    def flow_id(self) -> str:
        return f"{self.day}:{self.partition:03d}"


@dataclass(frozen=True, slots=True)
class Mark:
    """How far a partition of the output was followed. `time`: its logical time; `appended_at`: the last record's."""

    offset: int
    time: Instant
    appended_at: Instant


@dataclass(frozen=True, slots=True)
class Tally:
    """One partition's sizes. `generation` rises with every remaking from the beginning."""

    partition: int
    mark: Mark
    sizes: Sizes
    generation: int = 0

    def row(self) -> Row:
        return {
            "_id": self.partition,
            FENCE: self.mark.offset,
            "time": self.mark.time,
            "appended_at": self.mark.appended_at,
            "generation": self.generation,
            "counts": json.dumps(self.sizes, ensure_ascii=False),
        }

    def after(self, mark: Mark, steps: Iterable[Step]) -> "Tally":
        moves: Moves = Counter()
        for step in steps:
            if step.offset > self.mark.offset:
                moves.update(step.moves)
        further = Mark(mark.offset, max(self.mark.time, mark.time), mark.appended_at)
        return Tally(self.partition, further, moved(self.sizes, moves), self.generation)


class Ledgers:
    def __init__(self, sizes: Collection, flows: Collection) -> None:
        self._sizes = sizes
        self._flows = flows

    async def count(self, marks: Mapping[int, Mark], steps: Sequence[Step]) -> None:
        """Counts what lies beyond each document's fence. A conflict: another owner wrote, whose fences are read first."""
        for _ in range(ATTEMPTS):
            if await self._count_flows(steps) and await self._count_sizes(marks, steps):
                return
        raise TransientError("counting sizes: another process writes the same partitions")

    async def _count_sizes(self, marks: Mapping[int, Mark], steps: Sequence[Step]) -> bool:
        found = {row["_id"]: row for row in await self._sizes.find({"_id": {"$in": sorted(marks)}})}
        swaps: list[tuple[Row, Any]] = []
        for partition, mark in marks.items():
            tally = read_tally(found[partition]) if partition in found else _nothing(partition)
            if mark.offset > tally.mark.offset:
                further = tally.after(mark, [step for step in steps if step.partition == partition])
                swaps.append((further.row(), found[partition][FENCE] if partition in found else None))
        return await self._sizes.swap(swaps, FENCE)

    async def _count_flows(self, steps: Sequence[Step]) -> bool:
        days: dict[str, list[Step]] = {}
        for step in steps:
            days.setdefault(step.flow_id, []).append(step)
        found = {row["_id"]: row for row in await self._flows.find({"_id": {"$in": sorted(days)}})} if days else {}
        swaps = [_further(found.get(flow_id), some) for flow_id, some in days.items()]
        return await self._flows.swap([swap for swap in swaps if swap is not None], FENCE)

    async def tallies(self, partitions: Group[int] | None = None) -> list[Tally]:
        """Of these partitions, as far as they were ever followed; None: of all."""
        wanted: Row = {} if partitions is None else {"_id": {"$in": sorted(partitions)}}
        return [read_tally(row) for row in await self._sizes.find(wanted, order=[("_id", 1)])]

    async def flows(self, start: date, stop: date) -> Moves:
        """All moves on the days from `start` until before `stop`."""
        wanted = {"day": {"$gte": start.isoformat(), "$lt": stop.isoformat()}}
        total: Moves = Counter()
        for row in await self._flows.find(wanted, ["moves"]):
            total.update(_moves(row["moves"]))
        return total

    async def reset(self, tally: Tally, generation: int) -> bool:
        """As if this partition had never been followed. False: another process was faster."""
        await self._flows.delete({"partition": tally.partition})
        fresh = Tally(tally.partition, Mark(NOWHERE, tally.mark.time, tally.mark.appended_at), {}, generation)
        return await self._sizes.swap([(fresh.row(), tally.mark.offset)], FENCE)


def read_tally(row: Row) -> Tally:
    mark = Mark(row[FENCE], row["time"], row["appended_at"])
    return Tally(row["_id"], mark, json.loads(row["counts"]), row["generation"])


def _nothing(partition: int) -> Tally:
    return Tally(partition, Mark(NOWHERE, 0, 0), {})


def _further(row: Row | None, steps: Sequence[Step]) -> tuple[Row, Any] | None:
    """One day's document after these steps; None where it has counted them all."""
    fence = NOWHERE if row is None else row[FENCE]
    new = [step for step in steps if step.offset > fence]
    if not new:
        return None
    total: Moves = Counter() if row is None else _moves(row["moves"])
    for step in new:
        total.update(step.moves)
    first = new[0]
    fields = {"_id": first.flow_id, "day": first.day, "partition": first.partition, FENCE: new[-1].offset}
    return fields | {"moves": _text(total)}, None if row is None else row[FENCE]


def _text(moves: Moves) -> str:
    return json.dumps([[*move, number] for move, number in moves.items()], ensure_ascii=False)


def _moves(text: str) -> Moves:
    found: Moves = Counter()
    for dimension, before, after, number in json.loads(text):
        move: Move = (dimension, before, after)
        found[move] += number
    return found
