"""Intake's own reading of the other services: what it has heard is committed in the end, also in a quiet log."""

import asyncio
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from typing import Any, cast

import pytest

from services.intake import neighbours
from services.intake.neighbours import Neighbours
from shared.processing.ports import LogReader
from shared.processing.records import Committed, Fetched, Record, TopicPartition

SEGMENTS = TopicPartition("guanxi.segments.v1", 3)


class Reader:
    """Hands out one record and is silent then; the group refuses the first `refusals` commits."""

    def __init__(self, refusals: int) -> None:
        self.refusals = refusals
        self.commits: list[dict[TopicPartition, int]] = []
        self._left = [Record(SEGMENTS.topic, SEGMENTS.partition, 7, 0, None, b"{}", ())]

    async def start(self, assigned: Callable[[Collection[TopicPartition]], Any], _revoked: object) -> None:
        await assigned([SEGMENTS])

    async def stop(self) -> None:
        pass

    async def fetch(self, _limit: int, _wait: float, _full: object = None) -> Fetched:
        await asyncio.sleep(0.001)
        records, self._left = self._left, []
        return Fetched(records, 1)

    async def committed(self, _partitions: Collection[TopicPartition]) -> dict[TopicPartition, Committed]:
        return {}

    async def commit(self, positions: Mapping[TopicPartition, Committed]) -> bool:
        self.commits.append({partition: at.offset for partition, at in positions.items()})
        return len(self.commits) > self.refusals

    def seek(self, _partition: TopicPartition, _offset: int) -> None:
        pass

    def epoch(self) -> int:
        return 1


async def heard(reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    """Until a commit was taken, and a while longer in which nothing more may be said."""
    monkeypatch.setattr(neighbours, "COMMIT_EVERY", 0.005)
    nobody = cast("Any", None)
    listening = Neighbours(lambda: cast("LogReader", reader), nobody, nobody, nobody, lambda: 0)
    running = asyncio.create_task(listening.run())
    async with asyncio.timeout(20):
        while len(reader.commits) <= reader.refusals:  # noqa: ASYNC110 - a reader tells nobody
            await asyncio.sleep(0.01)
    await asyncio.sleep(0.1)
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running


@pytest.mark.parametrize("refusals", [0, 1, 3])
async def test_a_commit_that_failed_is_said_again_although_nothing_more_comes(
    refusals: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = Reader(refusals)
    await heard(reader, monkeypatch)
    assert reader.commits == [{SEGMENTS: 8}] * (refusals + 1)
