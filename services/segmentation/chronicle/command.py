"""`python -m services.segmentation chronicle`: how far the recorded changes are, and making them anew."""

import asyncio
import json
import time
from contextlib import AsyncExitStack
from typing import Annotated

import typer

from services.segmentation.bootstrap import COLLECTIONS, indexes
from services.segmentation.chronicle.changes import CHANGES, Changes
from services.segmentation.chronicle.ledgers import FLOWS, SIZES, Ledgers
from services.segmentation.chronicle.members import MEMBERS, Members
from services.segmentation.chronicle.remaking import WANTED, Remaking
from services.segmentation.chronicle.trail import TRAIL, Trail
from shared.events.catalog import CHRONICLE
from shared.processing.commands import Json, guarded
from shared.processing.connections import Kafka
from shared.processing.mongo import open_database
from shared.processing.ports import FatalError
from shared.processing.records import TopicPartition
from shared.settings import Settings

LOOK_EVERY = 1.0
"""Seconds between two looks at how far the owners are."""
STANDSTILL = 60.0
"""Seconds without any progress after which nobody seems to follow."""


def command(
    from_start: Annotated[
        bool, typer.Option("--from-start", help="Drop what is recorded and record all again; the service runs on.")
    ] = False,
    as_json: Json = False,
) -> None:
    """How far changes, sizes and trails have been recorded; with --from-start they are made anew by who follows them."""
    raise typer.Exit(guarded(lambda settings: _run(settings, from_start, as_json), "what was asked for goes on"))


async def _run(settings: Settings, from_start: bool, as_json: bool) -> int:
    async with AsyncExitStack() as stack:
        desk = await _Desk.open(settings, stack)
        if from_start:
            await desk.remake()
        behind = await desk.behind(await desk.ends())
        result = {"generation": await desk.remaking.generation(), "behind": behind}
        typer.echo(json.dumps(result) if as_json else f"the chronicle is {behind} records behind")
    return 0


class _Desk:
    def __init__(self, kafka: Kafka, ledgers: Ledgers, remaking: Remaking) -> None:
        self._kafka = kafka
        self._ledgers = ledgers
        self.remaking = remaking
        self._lag = kafka.lag()

    @classmethod
    async def open(cls, settings: Settings, stack: AsyncExitStack) -> "_Desk":
        database = await open_database(
            settings, "segmentation", indexes(settings.config_dir), stack, COLLECTIONS
        )  # fmt: skip
        changes, trail = Changes(database.collection(CHANGES)), Trail(database.collection(TRAIL))
        ledgers = Ledgers(database.collection(SIZES), database.collection(FLOWS))
        members = Members(database.collection(MEMBERS))
        remaking = Remaking(database.collection(WANTED), changes, members, ledgers, trail)
        return cls(Kafka(settings, "segmentation-chronicle", stack), ledgers, remaking)

    async def ends(self) -> dict[TopicPartition, int]:
        places = [TopicPartition(t.name, number) for t in CHRONICLE.topics for number in range(t.partitions)]
        return dict(await self._lag.ends(places))

    async def behind(self, ends: dict[TopicPartition, int]) -> int:
        """Records below `ends` that the group has not committed."""
        committed = await self._kafka.group_positions(CHRONICLE.group, list(ends))
        return sum(max(0, end - committed[place].offset) for place, end in ends.items() if place in committed)

    async def remake(self) -> None:
        """Asked for in the store; the owners do it, partition by partition. Interrupted, they go on all the same."""
        ends = await self.ends()
        generation = await self.remaking.ask()
        moved_at, before = time.monotonic(), (-1, -1)
        while True:
            begun = [tally.generation for tally in await self._ledgers.tallies()].count(generation)
            left = await self.behind(ends)
            if begun == len(await self._ledgers.tallies()) and left == 0:
                return
            if (begun, left) != before:
                moved_at, before = time.monotonic(), (begun, left)
                typer.echo(f"{begun} partitions begun anew, {left} records left", err=True)
            elif time.monotonic() - moved_at > STANDSTILL:
                raise FatalError(
                    f"nobody has followed for {STANDSTILL:.0f} s: is segmentation running (`guanxi status`)? "
                    "It begins anew as soon as it does"
                )
            await asyncio.sleep(LOOK_EVERY)
