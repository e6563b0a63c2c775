"""One question to all partitions in several processes: every answer once, and no process that outlives its question."""

import multiprocessing
import os
import platform
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from services.segmentation.questions.sweep import Lost, Progress, Question, shown_at, sweep
from shared.processing.garbage import THRESHOLDS
from shared.processing.ports import FatalError, TransientError
from shared.settings import Settings
from tests.support.questions import Dying, Memory, Refusing, Torn, Twice

ROOT = Path(__file__).parent.parent.parent
STOPS = {0: 10, 1: 0, 2: 7, 3: 500}


def settings() -> Settings:
    return Settings.from_environment({}, Path("/nonexistent"))


def test_every_partition_is_answered_once_by_processes_that_end() -> None:
    told: list[Progress] = []
    found = list(sweep(Twice(), STOPS, settings(), 2, told.append))
    assert sorted((number, twice) for number, twice, _ in found) == [(n, 2 * stop) for n, stop in STOPS.items()]
    assert os.getpid() not in {process for _, _, process in found}
    assert told[-1] == Progress(sum(STOPS.values()), sum(STOPS.values()), len(STOPS))
    assert multiprocessing.active_children() == []


def test_a_process_with_nothing_more_to_do_ends_before_its_last_answer_is_worked_up() -> None:
    answers = sweep(Twice(), {0: 1}, settings(), 1, lambda _progress: None)
    next(answers)
    for process in multiprocessing.active_children():
        process.join(30)
        assert process.exitcode == 0
    assert list(answers) == []


@pytest.mark.parametrize(
    ("question", "said"),
    [(Refusing(), "is not for you"), (Dying(), r"partition \d.*exit code 9.*run the command again")],
    ids=["refused", "killed"],
)
def test_who_cannot_answer_ends_the_question_and_all_its_processes(question: Question, said: str) -> None:
    with pytest.raises((FatalError, TransientError), match=said):
        list(sweep(question, STOPS, settings(), 2, lambda _progress: None))
    assert multiprocessing.active_children() == []


@pytest.mark.timeout(60)
def test_a_process_killed_in_the_middle_of_its_answer_is_named_and_not_waited_for() -> None:
    answers = sweep(Torn(), {0: 2, 1: 1}, settings(), 1, lambda _progress: None)
    assert next(answers) == 0
    (process,) = multiprocessing.active_children()
    process.join(30)
    assert process.exitcode == -signal.SIGALRM
    with pytest.raises(Lost, match=rf"process {process.pid}.*partition 1.*signal {signal.SIGALRM:d}.*again"):
        next(answers)
    assert multiprocessing.active_children() == []


ASKING = """
import sys, time
from pathlib import Path
from services.segmentation.questions.sweep import sweep
from shared.settings import Settings
from tests.support import questions

def told(progress):
    print("told", flush=True)
    time.sleep(int(sys.argv[2]))

question = getattr(questions, sys.argv[1])()
try:
    print("asked", flush=True)
    list(sweep(question, dict.fromkeys(range(20), 1), Settings.from_environment({}, Path("/nonexistent")), 2, told))
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""


@contextmanager
def asking(question: str, pause: int) -> "Iterator[subprocess.Popen[str]]":
    """`pause`: seconds in which it reads no answer after it told of one."""
    argv = [sys.executable, "-c", ASKING, question, str(pause)]
    process = subprocess.Popen(
        argv, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def hear(process: "subprocess.Popen[str]", word: str) -> None:
    assert process.stdout is not None
    while (line := process.stdout.readline().strip()) != word:
        assert line, f"it ended before it said {word}"


@pytest.mark.parametrize(
    ("question", "pause", "signum"),
    [("Copious", 600, signal.SIGTERM), ("Endless", 0, signal.SIGKILL)],
    ids=["in an answer, by SIGTERM", "at work, by SIGKILL"],
)
def test_who_is_killed_takes_all_its_processes_along_in_silence(question: str, pause: int, signum: int) -> None:
    with asking(question, pause) as process:
        hear(process, "told")
        process.send_signal(signum)
        # The end of what it says is the end of all who could say something: they have its output too.
        said, _ = process.communicate(timeout=20)
    assert set(said.split()) <= {"told"}


@pytest.mark.parametrize("after", [0.0, 0.1, 0.2, 0.4])
def test_an_interruption_that_all_hear_is_told_by_none_but_who_asked_even_while_they_start(after: float) -> None:
    with asking("Endless", 0) as process:
        hear(process, "asked")
        time.sleep(after)
        os.killpg(process.pid, signal.SIGINT)
        said, _ = process.communicate(timeout=20)
    assert set(said.split()) - {"told"} == {"interrupted"}


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="skipped, because only glibc has arenas to count")
def test_its_processes_spare_memory_and_collect_seldom_as_a_service_does() -> None:
    assert list(sweep(Memory(), {0: 1}, settings(), 1, lambda _progress: None)) == [(THRESHOLDS, 1)]


def test_a_customer_is_shown_up_to_its_partitions_time_but_not_beyond_what_happened_to_it() -> None:
    assert shown_at(5, 90, None) == 90
    assert shown_at(5, 90, 40) == 39
    assert shown_at(5, 3, None) == 5
