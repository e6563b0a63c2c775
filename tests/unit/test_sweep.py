"""One question to all partitions in several processes: every answer once, and no process that outlives its question."""

import multiprocessing
import os
from pathlib import Path

import pytest

from services.segmentation.questions.sweep import Progress, Question, shown_at, sweep
from shared.processing.ports import FatalError, TransientError
from shared.settings import Settings
from tests.support.questions import Dying, Refusing, Twice

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


@pytest.mark.parametrize(
    ("question", "said"),
    [(Refusing(), "is not for you"), (Dying(), "run the command again")],
    ids=["refused", "killed"],
)
def test_who_cannot_answer_ends_the_question_and_all_its_processes(question: Question, said: str) -> None:
    with pytest.raises((FatalError, TransientError), match=said):
        list(sweep(question, STOPS, settings(), 2, lambda _progress: None))
    assert multiprocessing.active_children() == []


def test_a_customer_is_shown_up_to_its_partitions_time_but_not_beyond_what_happened_to_it() -> None:
    assert shown_at(5, 90, None) == 90
    assert shown_at(5, 90, 40) == 39
    assert shown_at(5, 3, None) == 5
