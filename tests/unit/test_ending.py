"""A process that is told to go goes, whatever its libraries do with the cancellation."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from shared import ending
from shared.ending import end
from shared.processing.kafka import KafkaLag
from shared.processing.records import TopicPartition


async def _cancelled_after(steps: int) -> bool:
    """Whether a cancellation that comes so many turns of the loop after Kafka's answer is heard."""
    answer: asyncio.Future[dict[Any, int]] = asyncio.get_running_loop().create_future()
    asked = asyncio.Event()

    async def end_offsets(_places: Any) -> dict[Any, int]:
        asked.set()
        return await answer

    lag = KafkaLag(None)  # type: ignore[arg-type]
    lag._consumer = SimpleNamespace(end_offsets=end_offsets)
    asking = asyncio.create_task(lag.ends([TopicPartition("t", 0)]))
    await asked.wait()
    answer.set_result({})
    for _ in range(steps):
        await asyncio.sleep(0)
    heard = asking.cancel()
    await asyncio.wait({asking}, timeout=5)
    return asking.cancelled() or not heard


@pytest.mark.parametrize("steps", range(4))
async def test_a_cancellation_that_comes_with_the_answer_is_heard(steps: int) -> None:
    assert await _cancelled_after(steps)


async def test_what_swallows_a_cancellation_is_told_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ending, "AGAIN_AFTER", 0.01)
    swallowed = []

    async def deaf() -> None:
        while len(swallowed) < 2:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                swallowed.append(True)
        await asyncio.sleep(60)

    async def told() -> str:
        return "done"

    async def broken() -> None:
        raise ValueError("broken")

    tasks = [asyncio.create_task(one) for one in (deaf(), told(), broken())]
    await asyncio.sleep(0)
    gone, given, raised = await end(*tasks)
    assert isinstance(gone, asyncio.CancelledError)
    assert (given, str(raised)) == ("done", "broken")
    assert len(swallowed) == 2
