"""Intake is told to go: what was accepted is sent first, and what cannot be is not passed over in silence."""

import asyncio
import socket
from collections.abc import Callable
from types import SimpleNamespace

import pytest
from fastapi import FastAPI

from services.intake import bootstrap
from shared.processing.ports import FatalError
from shared.web.server import listen

Told = Callable[[], None]


class Parts:
    """What is behind the door. `drains`: whether what was accepted can be sent; `dies`: whether sending fails for good."""

    def __init__(self, *, drains: bool, dies: bool) -> None:
        self.app = FastAPI()
        self.draining = asyncio.Event()
        self.intake = SimpleNamespace(drained=self._drained)
        self._drains = drains
        self._dies = dies

    async def run(self) -> None:
        await self.draining.wait()
        if self._dies:
            raise FatalError("can never be sent")
        await asyncio.Event().wait()

    async def _drained(self) -> None:
        self.draining.set()
        if not self._drains:
            await asyncio.Event().wait()


async def _stopped(parts: Parts, monkeypatch: pytest.MonkeyPatch) -> int:
    told: list[Told] = []
    monkeypatch.setattr(bootstrap, "on_stop", told.append)
    bound: socket.socket = listen("127.0.0.1", 0)
    serving = asyncio.create_task(bootstrap._serve(parts, bound))  # type: ignore[arg-type]
    while not told:  # noqa: ASYNC110 - a list tells nobody
        await asyncio.sleep(0.01)
    told[0]()
    async with asyncio.timeout(10):
        return await serving


async def test_what_was_accepted_is_sent_before_it_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    parts = Parts(drains=True, dies=False)
    assert await _stopped(parts, monkeypatch) == 0
    assert parts.draining.is_set()


async def test_what_fails_for_good_meanwhile_is_neither_waited_for_nor_passed_over(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(bootstrap, "STOP_WITHIN", 60.0)
    assert await _stopped(Parts(drains=False, dies=True), monkeypatch) == 1
    assert "can never be sent" in caplog.text


async def test_what_kafka_does_not_take_is_left_to_the_next_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bootstrap, "STOP_WITHIN", 0.1)
    assert await _stopped(Parts(drains=False, dies=False), monkeypatch) == 0
