"""The demo as a script and a person at a terminal meet it: how it ends, and what an interruption or a hiccup does."""

import asyncio
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn, cast

import pytest
import typer

from deploy import demo, demo_in_memory
from deploy.client import Client
from deploy.console import Failure
from deploy.demo_data import DemoEvent
from deploy.demo_summary import Summary
from deploy.settings import Machine
from deploy.system import System

INTERRUPTED = 130


def interrupted(*_arguments: Any) -> NoReturn:
    raise KeyboardInterrupt


@pytest.fixture
def this(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> System:
    """A copy in which nothing really starts, and every play succeeds."""
    copy = System(Machine.from_environment({"GUANXI_DATA_DIR": str(tmp_path)}, Path("/nonexistent")), lambda _: None)
    monkeypatch.setattr(demo, "system", lambda: copy)
    monkeypatch.setattr(System, "up", lambda *_: None)
    monkeypatch.setattr(demo, "play", lambda _: cast("Summary", None))
    monkeypatch.setattr(demo, "show", lambda _: None)
    return copy


@pytest.fixture
def stopped(monkeypatch: pytest.MonkeyPatch) -> list[System]:
    found: list[System] = []

    def down(copy: System) -> None:
        found.append(copy)

    monkeypatch.setattr(System, "down", down)
    return found


def exit_code(run: Callable[[], None]) -> int:
    try:
        run()
    except typer.Exit as ended:
        return ended.exit_code
    return 0


@pytest.mark.parametrize("keep", [True, False])
@pytest.mark.parametrize("step", ["up", "play", "show"])
def test_a_demo_broken_off_before_its_summary_does_not_say_done(
    step: str, keep: bool, this: System, stopped: list[System], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(System if step == "up" else demo, step, interrupted)
    assert exit_code(lambda: demo.demo(keep=keep, in_memory=False)) == INTERRUPTED
    assert stopped == [this]


def test_a_demo_that_lives_on_is_done_at_ctrl_c(
    this: System, stopped: list[System], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo, "_live_on", interrupted)
    assert exit_code(lambda: demo.demo(keep=True, in_memory=False)) == 0
    assert stopped == [this]


def test_a_hiccup_of_intake_is_waited_out_and_no_event_lost(this: System, monkeypatch: pytest.MonkeyPatch) -> None:
    answers: Iterator[BaseException | None] = iter([None, Failure("away", passing=True), None, KeyboardInterrupt()])
    sent: list[str] = []

    def post(_client: Client, _service: str, _path: str, document: dict[str, Any]) -> None:
        sent.append(document["id"])
        if (raised := next(answers)) is not None:
            raise raised

    monkeypatch.setattr(Client, "post", post)
    monkeypatch.setattr("time.sleep", lambda _: None)
    with pytest.raises(KeyboardInterrupt):
        demo._live_on(this)
    assert (sent[1] == sent[2], len(set(sent))) == (True, 3)


def test_a_refusal_in_the_trickle_is_a_failure(this: System, monkeypatch: pytest.MonkeyPatch) -> None:
    def post(*_arguments: Any) -> NoReturn:
        raise Failure("refused")

    monkeypatch.setattr(Client, "post", post)
    with pytest.raises(Failure, match="refused"):
        demo._live_on(this)


@pytest.fixture
def nothing_played(monkeypatch: pytest.MonkeyPatch) -> None:
    """In memory, without its events: only what frames them is left."""

    async def at_once(*_arguments: Any) -> None: ...

    monkeypatch.setattr(demo_in_memory, "demo_events", lambda *_: [DemoEvent(0, True, {})])
    monkeypatch.setattr(demo_in_memory, "_import", at_once)
    monkeypatch.setattr(demo_in_memory, "_come_to_the_present", at_once)
    monkeypatch.setattr(demo_in_memory, "_show", lambda _: None)


async def ctrl_c(*_arguments: Any) -> None:
    signal.raise_signal(signal.SIGINT)
    await asyncio.sleep(60)


@pytest.mark.usefixtures("nothing_played")
def test_in_memory_ends_after_the_summary_unless_it_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo_in_memory, "_live_on", lambda _: pytest.fail("it lives on"))
    assert exit_code(lambda: demo.demo(keep=False, in_memory=True)) == 0


@pytest.mark.usefixtures("nothing_played")
def test_in_memory_is_done_at_ctrl_c_once_the_summary_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo_in_memory, "_live_on", ctrl_c)
    assert exit_code(lambda: demo.demo(keep=True, in_memory=True)) == 0


@pytest.mark.usefixtures("nothing_played")
@pytest.mark.parametrize("keep", [True, False])
def test_in_memory_broken_off_before_its_summary_does_not_say_done(keep: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo_in_memory, "_import", ctrl_c)
    assert exit_code(lambda: demo.demo(keep=keep, in_memory=True)) == INTERRUPTED
