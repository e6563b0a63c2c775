"""One question to the whole log, partition by partition, in several processes; touches nothing live."""

import asyncio
import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from multiprocessing.process import BaseProcess
from typing import Any, NamedTuple, Protocol

from shared.clock import Instant
from shared.events.catalog import CUSTOMERS, group_of
from shared.processing.connections import Kafka
from shared.processing.domain import Domain
from shared.processing.garbage import collect_seldom
from shared.processing.ports import FatalError, LogScanner, TransientError
from shared.processing.replay import Replay
from shared.settings import Settings

STEP = 5_000
"""Records between two words on progress."""
POLL_SECONDS = 0.5

Report = Callable[[int], None]
"""Called with how many records of the partition were applied."""


class Question(Protocol):
    """Travels to other processes, so it holds plain data only."""

    async def ask(self, number: int, stop: int, scanner: LogScanner, report: Report) -> Any:
        """The answer of one partition, of its records before `stop`."""


class Progress(NamedTuple):
    """`applied` of `records` in all."""

    applied: int
    records: int
    partitions: int


class Lost(FatalError):
    """A process of ours ended by itself."""


class Constant:
    """A domain over the whole log, whatever was activated in it: a replay finds no way to succeed it."""

    def __init__(self, domain: Domain[Any]) -> None:
        self.service, self.state_type = domain.service, domain.state_type
        self.initial, self.on_event, self.on_time = domain.initial, domain.on_event, domain.on_time
        self.wake_at, self.view = domain.wake_at, domain.view


async def fold(domain: Domain[Any], number: int, stop: int, scanner: LogScanner, report: Report) -> Replay:
    replay = Replay(Constant(domain), scanner, (CUSTOMERS.name,), number)
    for end in range(STEP, stop + STEP, STEP):
        await replay.advance({CUSTOMERS.name: min(end, stop)})
        report(replay.applied)
    return replay


def shown_at(at: Instant, time_: Instant, wake_at: Instant | None) -> Instant:
    """As far on as the partition is, but not up to what has not happened to the customer yet."""
    until = time_ if wake_at is None else min(time_, wake_at - 1)
    return max(at, until)


async def applied_so_far(settings: Settings) -> dict[int, int]:
    """Per partition, up to where segmentation has applied the log; nothing of one where it has applied nothing."""
    async with AsyncExitStack() as stack:
        kafka = Kafka(settings, "segmentation-sweep", stack)
        await kafka.check((CUSTOMERS.name,))
        wanted = list(await kafka.scanner().range(CUSTOMERS.name))
        found = await kafka.group_positions(group_of("segmentation"), wanted)
        return {place.partition: found[place].offset if place in found else 0 for place in wanted}


def processes_for(partitions: int) -> int:
    """As many as there are cores to run on, and no more than there is to do."""
    return max(1, min(len(os.sched_getaffinity(0)), partitions))


def sweep(
    question: Question, stops: Mapping[int, int], settings: Settings, processes: int, told: Callable[[Progress], None]
) -> Iterator[Any]:
    """Answers as they come, in any order; `told` about twice a second. Raises Lost, TransientError, FatalError."""
    context = multiprocessing.get_context("spawn")
    tasks, answers = context.SimpleQueue(), context.SimpleQueue()
    # Largest first, so that no process is left alone with a long one.
    for number in sorted(stops, key=lambda number: -stops[number]):
        tasks.put((number, stops[number]))
    workers = [
        context.Process(target=_work, args=(question, settings, tasks, answers), daemon=True) for _ in range(processes)
    ]
    for worker in workers:
        tasks.put(None)
        worker.start()
    try:
        yield from _collected(stops, answers, workers, told)
    finally:
        for worker in workers:
            worker.kill()
            worker.join()


def _collected(
    stops: Mapping[int, int], answers: Any, workers: Sequence[BaseProcess], told: Callable[[Progress], None]
) -> Iterator[Any]:
    applied, done, said = dict.fromkeys(stops, 0), 0, 0.0
    while done < len(stops):
        if answers.empty():
            if any(worker.exitcode for worker in workers):
                raise Lost("a process that read the log was ended; run the command again")
            time.sleep(POLL_SECONDS / 10)
            continue
        kind, number, content = answers.get()
        if kind == "failed":
            raise TransientError(content)
        if kind == "applied":
            applied[number] = content
        else:
            done += 1
            yield content
        if time.monotonic() - said > POLL_SECONDS or done == len(stops):
            said = time.monotonic()
            told(Progress(sum(applied.values()), sum(stops.values()), done))


def _work(question: Question, settings: Settings, tasks: Any, answers: Any) -> None:
    """In a process of its own; who began it ends it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    collect_seldom()
    with suppress(BrokenPipeError, EOFError):
        try:
            asyncio.run(_answer(question, settings, tasks, answers))
        except (TransientError, FatalError) as error:
            answers.put(("failed", -1, str(error)))


async def _answer(question: Question, settings: Settings, tasks: Any, answers: Any) -> None:
    async with AsyncExitStack() as stack:
        scanner = Kafka(settings, "segmentation-sweep", stack).scanner()
        while (task := tasks.get()) is not None:
            number, stop = task

            def report(applied: int, number: int = number) -> None:
                answers.put(("applied", number, applied))

            answers.put(("answer", number, await question.ask(number, stop, scanner, report)))
