"""`guanxi demo`: the main job on one machine, on real purchases; then a slow trickle of generated events to watch."""

import asyncio
import json
import random
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer
from confluent_kafka import KafkaException
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from deploy.client import Client
from deploy.console import INTERRUPTED, Failure, say, system
from deploy.demo_data import SEED, DemoEvent, demo_events, read_purchases, trickle
from deploy.demo_summary import Summary, collect, show
from deploy.system import System
from deploy.watch import health_of_all
from services.intake.importer import ImportFailed, Mode, import_events
from services.intake.importer import Progress as Progressed
from shared.clock import wall_clock
from shared.events.catalog import SERVICES
from shared.processing.ports import TransientError

SETTLE_SECONDS = 900
PATIENT = {"GUANXI_MERGE_PATIENCE_SECONDS": "60"}
"""A year in a minute wants order more than latency: a neighbour that restarts is waited for, so that every run ends alike."""
MODES: tuple[Mode, ...] = ("history", "replay")
MARK = "demo.json"
"""In the data directory: the day for which the demo's dates were shifted."""
_EVERY = 2.0
"""Seconds between two events of the trickle, on average."""


def demo(
    keep: Annotated[
        bool, typer.Option("--keep/--no-keep", help="Stay up until Ctrl-C, or end after the summary.")
    ] = True,
    in_memory: Annotated[
        bool, typer.Option("--in-memory", help="One process, no Kafka, no store; nothing is kept.")
    ] = False,
) -> None:
    """Replay real purchases and a generated company's days through all four services, and show what became of them."""
    if in_memory:
        from deploy.demo_in_memory import run

        run(keep=keep)
        return
    this = system()
    with _running(this):
        show(play(this))
        if keep:
            with suppress(KeyboardInterrupt):
                _live_on(this)
    say("stopped what the demo had started; the data is kept (`make reset` deletes it)" if not keep else "stopped")


@contextmanager
def _running(this: System) -> Iterator[None]:
    """Up for as long as needed; stops only what it started. Broken off, it ends with INTERRUPTED, so that no script takes
    it for done."""
    ours = not this.states()
    today = _day_of(this, fresh=ours and not (this.machine.data_dir / "run").exists())
    try:
        this.up(PATIENT)
        _remember(this, today)
        yield
    except KeyboardInterrupt:
        say("\ninterrupted")
        raise typer.Exit(INTERRUPTED) from None
    except ImportFailed as error:
        raise Failure(f"the import stopped: {error}. `make demo` again goes on where it stopped") from None
    finally:
        if ours:
            say("\nstopping what the demo started …")
            this.down()


def play(this: System) -> Summary:
    """Imports the past and replays the last 30 days; what came of it by their last instant, so that every first run of a
    day tells the same (over data that has come to the present before: what is now); then lets the present begin and waits
    until every service has come to it."""
    events = demo_events(read_purchases(), _today(this))
    say(
        f"{len(events)} events: the purchases are real (the public CDNOW sample, dates shifted to end yesterday);"
        " people, inquiries, calls, surveys, refunds, complaints and staff actions are generated from a seed"
    )
    with Progress(
        TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[words]}"), transient=False
    ) as bar:
        with _Lags(this) as lags:
            told = _Told(lags, bar, len(events))
            asyncio.run(_import(this, events, told.chunk))
        _settle(this, told)
        summary = collect(this)
        asyncio.run(_end(this))
        _settle(this, told)
    return replace(summary, health=health_of_all(this.settings(this.addresses())))


class _Lags:
    """Each service's lag, looked at from a thread of its own every two seconds, so that looking slows nothing."""

    def __init__(self, this: System) -> None:
        self.words = ""
        self._this = this
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> "_Lags":
        self._thread.start()
        return self

    def __exit__(self, *_raised: object) -> None:
        self._over.set()
        self._thread.join(30)

    def _look(self) -> None:
        while not self._over.wait(2):
            with suppress(KafkaException, TransientError, RuntimeError):
                self.words = _words(_health(self._this))


class _Told:
    """The progress bar: the date reached, events per second, each service's lag."""

    def __init__(self, lags: _Lags, bar: Progress, total: int) -> None:
        self._lags = lags
        self._bar = bar
        self._task: TaskID = bar.add_task("importing", total=total, words="")
        self._started = time.monotonic()
        self._count = 0
        self._plain = not Console().is_terminal

    def chunk(self, rows: int, last: Mapping[str, Any]) -> None:
        self._count += rows
        rate = self._count / (time.monotonic() - self._started)
        self.say(f"{str(last['time'])[:10]}  {rate:,.0f} events/s  {self._lags.words}", self._count)

    def say(self, words: str, done: int | None = None, description: str = "importing") -> None:
        self._bar.update(self._task, completed=done, words=words, description=description)
        if self._plain:
            say(f"{description}: {words}")


async def _import(this: System, events: list[DemoEvent], progress: Progressed) -> None:
    for mode in MODES:
        documents = [event.document for event in events if event.history == (mode == "history")]
        await _imported(this, mode, documents, hold=True, progress=progress)


async def _end(this: System) -> None:
    """The present begins: the bracket that the imports left open is closed."""
    await _imported(this, MODES[-1], [], hold=False)


async def _imported(
    this: System, mode: Mode, documents: list[dict[str, Any]], *, hold: bool, progress: Progressed | None = None
) -> None:
    headers = {"authorization": f"Bearer {this.installation.operator_key()}"}
    name = f"demo-{_today(this).isoformat()}-{mode}"
    async with httpx.AsyncClient(base_url=this.url("intake"), headers=headers) as client:
        outcome = await import_events(client, documents, mode, name, name=name, hold=hold, progress=progress)
    if outcome.refused:
        raise Failure(f"intake refused rows of the demo: {outcome.refused[:3]}")


def _settle(this: System, told: _Told) -> None:
    """Until nothing is left to apply anywhere, twice in a row: what a service says last its neighbour reads next."""
    deadline = time.monotonic() + SETTLE_SECONDS
    quiet = 0
    while quiet < 3:
        if time.monotonic() > deadline:
            raise Failure(f"the services did not catch up within {SETTLE_SECONDS} s; `guanxi status` shows which lags")
        lags = _health(this)
        quiet = quiet + 1 if not any(lags.values()) else 0
        told.say(_words(lags), description="catching up")
        time.sleep(1)


def _health(this: System) -> dict[str, int]:
    """What each has yet to apply, and what the chronicle, which the summary asks, has yet to take in."""
    found = health_of_all(this.settings(this.addresses()))
    return {one.service: one.lag for one in found} | {"chronicle": sum(one.unrecorded for one in found)}


def _words(lags: Mapping[str, int]) -> str:
    return "  ".join(f"{name} -{lag}" for name, lag in lags.items())


def _live_on(this: System) -> None:
    """A slow trickle of generated events, until Ctrl-C."""
    key_file = this.installation.operator_file
    say("\nopen:")
    for service in SERVICES:
        say(f"  {service:<13} {this.url(service)}/openapi.json")
    say(f"  key           in {key_file} (authorization: Bearer …)")
    say("  watch         guanxi tail guanxi.segments.v1   |   guanxi status")
    say("\na slow trickle of generated events goes on; Ctrl-C stops everything that the demo started")
    client = Client(this)
    for document in trickle(SEED, wall_clock()):
        while not _taken(client, document):
            time.sleep(_EVERY)
        time.sleep(random.uniform(0.5, 1.5) * _EVERY)  # noqa: S311 - a pause, not a secret


def _taken(client: Client, document: Mapping[str, Any]) -> bool:
    """False where it may go better soon; however often it is sent, its id is taken once."""
    try:
        client.post("intake", "/v1/events", document)
    except Failure as failure:
        if not failure.passing:
            raise
        say(f"{failure}; trying again …")
        return False
    return True


def _day_of(this: System, *, fresh: bool) -> date:
    """The dates of a demo are shifted once; another day's demo over the same data would be another past."""
    path = _mark(this)
    if fresh or not path.exists():
        return datetime.now(UTC).date()
    return date.fromisoformat(json.loads(path.read_text("utf-8"))["today"])


def _today(this: System) -> date:
    return _day_of(this, fresh=False)


def _remember(this: System, today: date) -> None:
    _mark(this).write_text(json.dumps({"today": today.isoformat()}), "utf-8")


def _mark(this: System) -> Path:
    return this.machine.data_dir / MARK
