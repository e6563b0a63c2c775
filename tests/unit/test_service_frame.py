"""The frame around a worker: what ends with it, and how long an end may take."""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import pytest
from fastapi import FastAPI

from shared.processing import service
from shared.processing.ports import FatalError
from shared.web.server import listen


class Worker:
    """Works until it is stopped; `hangs`: its batch in hand never ends."""

    def __init__(self, hangs: bool = False) -> None:
        self._hangs = hangs
        self._stopped = asyncio.Event()
        self.left = False

    async def run(self) -> None:
        try:
            await self._stopped.wait()
            if self._hangs:
                await asyncio.Event().wait()
        finally:
            self.left = True

    def stop(self) -> None:
        self._stopped.set()


async def _beats() -> None:
    await asyncio.Event().wait()


def frame(worker: Worker, beats: Callable[[], Awaitable[None]], following: Any = None) -> Any:
    bound: socket.socket = listen("127.0.0.1", 0)
    return service._Frame(worker, SimpleNamespace(run=beats), FastAPI(), bound, following)  # type: ignore[arg-type]


@pytest.mark.parametrize("what", ["heartbeat", "follower"])
async def test_a_part_that_dies_beside_the_worker_ends_the_process(what: str) -> None:
    async def dies() -> None:
        raise RuntimeError("unseen")

    worker = Worker()
    running = frame(worker, dies) if what == "heartbeat" else frame(worker, _beats, dies)
    assert await asyncio.wait_for(running.run(), 10) == 1
    assert worker.left


async def test_a_stop_does_not_wait_for_a_batch_that_never_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "STOP_WITHIN", 0.1)
    worker = Worker(hangs=True)
    running = frame(worker, _beats)
    ending = asyncio.create_task(running.run())
    await asyncio.sleep(0.1)
    running._stop()
    assert await asyncio.wait_for(ending, 5) == 1
    assert worker.left
    assert service.STOP_WITHIN + service.LEAVE_WITHIN < 15


async def test_a_stop_that_was_asked_for_is_no_failure_and_one_of_the_workers_own_is() -> None:
    running = frame(Worker(), _beats)
    ending = asyncio.create_task(running.run())
    await asyncio.sleep(0.1)
    running._stop()
    assert await asyncio.wait_for(ending, 5) == 0

    class Fatal(Worker):
        async def run(self) -> None:
            raise FatalError("no more")

    assert await asyncio.wait_for(frame(Fatal(), _beats).run(), 5) == 1
