"""A process that is told to go goes, whatever its libraries do with the cancellation."""

import asyncio
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine
from types import SimpleNamespace
from typing import Any

import pytest

from shared import ending
from shared.ending import end, to_its_end, together
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
    deaf = Deaf(2)

    async def told() -> str:
        return "done"

    tasks = [asyncio.create_task(one) for one in (deaf(), told(), broken())]
    await asyncio.sleep(0)
    gone, given, raised = await end(*tasks)
    assert isinstance(gone, asyncio.CancelledError)
    assert (given, str(raised)) == ("done", "broken")
    assert deaf.swallowed == 2


class Deaf:
    """Swallows the first few cancellations."""

    def __init__(self, times: int) -> None:
        self._times = times
        self.swallowed = 0

    async def __call__(self) -> None:
        while True:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                if self.swallowed == self._times:
                    raise
                self.swallowed += 1


async def broken() -> None:
    raise ValueError("broken")


async def test_who_is_cancelled_while_ending_others_ends_them_first() -> None:
    deaf = Deaf(1)
    task = asyncio.create_task(deaf())
    await asyncio.sleep(0)
    ending_it = asyncio.create_task(end(task))
    await asyncio.sleep(0.05)
    ending_it.cancel()
    await asyncio.wait({ending_it}, timeout=5)
    assert ending_it.cancelled()
    assert task.cancelled()


@pytest.mark.parametrize("told", [True, False])
async def test_of_several_none_outlives_the_others(told: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether all are told to end, or one of them fails: also where another misses the first call."""
    monkeypatch.setattr(ending, "AGAIN_AFTER", 0.01)
    deaf = Deaf(2)
    other: Callable[[], Coroutine[Any, Any, None]] = Deaf(0) if told else broken
    working = asyncio.create_task(together(deaf(), other()))
    await asyncio.sleep(0)
    if told:
        (outcome,) = await end(working)
        assert isinstance(outcome, asyncio.CancelledError)
    else:
        with pytest.raises(ValueError, match="broken"):
            await working
    assert deaf.swallowed == 2


async def test_what_a_thread_does_anyway_is_waited_for() -> None:
    done: list[bool] = []

    async def write() -> None:
        await asyncio.sleep(0.05)
        done.append(True)

    writing = asyncio.create_task(to_its_end(write()))
    await asyncio.sleep(0)
    writing.cancel()
    await asyncio.wait({writing}, timeout=5)
    assert writing.cancelled()
    assert done
    with pytest.raises(ValueError, match="broken"):
        await to_its_end(broken())


WAITS_FOR_A_THREAD = """
import asyncio, threading, time
from shared import ending

async def main():
    stopping = asyncio.Event()
    ending.GONE_WITHIN = 0.2
    ending.on_stop(stopping.set)
    print("ready", flush=True)
    await stopping.wait()
    threading.Thread(target=time.sleep, args=(60,)).start()

asyncio.run(main())
"""


def test_a_process_that_was_told_to_go_is_gone_in_time() -> None:
    argv = [sys.executable, "-c", WAITS_FOR_A_THREAD]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        _, told = process.communicate(timeout=30)
    assert process.returncode == 1
    assert time.monotonic() - began < 20
    assert "took too long" in told
