"""One question to the whole log, partition by partition, in several processes; touches nothing live."""

import asyncio
import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AsyncExitStack, ExitStack, contextmanager, suppress
from itertools import islice
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from typing import Any, NamedTuple, Protocol

from shared.clock import Instant
from shared.events.catalog import CUSTOMERS, group_of
from shared.processing.connections import Kafka
from shared.processing.domain import Domain
from shared.processing.garbage import prepare_heap
from shared.processing.ports import FatalError, LogScanner, TransientError
from shared.processing.replay import Replay
from shared.settings import Settings

STEP = 5_000
"""Records between two words on progress."""
TOLD_SECONDS = 0.5
ENDING_SECONDS = 5
"""A process closes its pipe a moment before one can see how it ended."""

Task = tuple[int, int]
"""A partition, and where to stop in it."""
Said = tuple[str, int, Any]
"""`applied`, `answer` or `failed`; of which partition; and how many records, which answer or why."""
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
    # Largest first, so that no process is left alone with a long one.
    tasks = iter(sorted(stops.items(), key=lambda task: -task[1]))
    with ExitStack() as stack:
        workers = [_Worker(question, settings, stack) for _ in range(min(processes, len(stops)))]
        for worker, task in zip(workers, islice(tasks, len(workers)), strict=True):
            worker.give(task)
        yield from _collected(stops, _heard(workers, tasks), told)


class _Worker:
    """A process of ours, and our end of its pipe: it has the other, alone, so that each hears of the other's end."""

    def __init__(self, question: Question, settings: Settings, stack: ExitStack) -> None:
        # A process that is spawned is handed its own end only; a forked one would have all that are open.
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self._process = context.Process(target=_work, args=(question, settings, theirs), daemon=True)
        self._number = -1
        with theirs, _deaf():
            self._process.start()
        stack.callback(self._end)

    def give(self, task: Task) -> None:
        """Raises Lost."""
        self._number = task[0]
        try:
            self.pipe.send(task)
        except ConnectionError as error:
            raise self._lost() from error

    def hear(self) -> Said:
        """Raises Lost, also in the middle of a word."""
        try:
            said: Said = self.pipe.recv()
        except (EOFError, OSError) as error:
            raise self._lost() from error
        return said

    def _lost(self) -> Lost:
        self._process.join(ENDING_SECONDS)
        code = self._process.exitcode
        how = f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"
        who = f"process {self._process.pid}, which read partition {self._number},"
        return Lost(f"{who} was ended ({how}); run the command again")

    def _end(self) -> None:
        self.pipe.close()
        self._process.kill()
        self._process.join()


@contextmanager
def _deaf() -> Iterator[None]:
    """What starts in here never hears Ctrl-C, from its first import on; we hear it afterwards, and end what we started."""
    # It starts with the first process otherwise, and lifts the block.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _heard(workers: Iterable[_Worker], tasks: Iterator[Task]) -> Iterator[Said]:
    """All they say, until all is answered; who answers is given the next task, or may go."""
    busy: dict[Any, _Worker] = {worker.pipe: worker for worker in workers}
    while busy:
        for pipe in wait(busy):
            said = busy[pipe].hear()
            if said[0] == "answer":
                _go_on(busy, pipe, tasks)
            yield said


def _go_on(busy: dict[Any, _Worker], pipe: Any, tasks: Iterator[Task]) -> None:
    task = next(tasks, None)
    if task is None:
        del busy[pipe]
        pipe.close()
    else:
        busy[pipe].give(task)


def _collected(stops: Mapping[int, int], heard: Iterable[Said], told: Callable[[Progress], None]) -> Iterator[Any]:
    applied, done, said = dict.fromkeys(stops, 0), 0, 0.0
    for kind, number, content in heard:
        if kind == "failed":
            raise TransientError(content)
        if kind == "applied":
            applied[number] = content
        else:
            done += 1
            yield content
        if time.monotonic() - said > TOLD_SECONDS or done == len(stops):
            said = time.monotonic()
            told(Progress(sum(applied.values()), sum(stops.values()), done))


def _work(question: Question, settings: Settings, pipe: Connection) -> None:
    """In a process of its own, which ends when the pipe does: there is nothing more to do, or nobody to do it for."""
    prepare_heap()
    with suppress(ConnectionError, EOFError):
        try:
            asyncio.run(_answer(question, settings, pipe))
        except (TransientError, FatalError) as error:
            pipe.send(("failed", -1, str(error)))


async def _answer(question: Question, settings: Settings, pipe: Connection) -> None:
    async with AsyncExitStack() as stack:
        scanner = Kafka(settings, "segmentation-sweep", stack).scanner()
        while True:
            number, stop = pipe.recv()

            def report(applied: int, number: int = number) -> None:
                pipe.send(("applied", number, applied))

            pipe.send(("answer", number, await question.ask(number, stop, scanner, report)))
