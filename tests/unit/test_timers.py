"""A heap of timers stays small: what is far is given up and read of the store again, and nothing fires later for it."""

import pytest

from shared.clock import DAY, HOUR, MINUTE
from shared.processing import timers as module
from shared.processing.ports import Timer
from shared.processing.timers import MOST, Timers
from tests.support.example_domains import WINDOW, Counts
from tests.support.happenings import START, customer, purchase, tick
from tests.support.small_world import SmallWorld, settle


def filled(count: int, step: int = 1) -> Timers:
    timers = Timers()
    timers.horizon = START + 100 * DAY
    for number in range(count):
        timers.arm(Timer(START + number * step, str(number)), None)
    return timers


def test_too_many_are_cut_to_the_near_ones_and_all_up_to_the_horizon_are_there() -> None:
    timers = filled(MOST + 1)
    timers.come_nearer(START)
    kept = timers.due(START + 100 * DAY, 0, MOST)
    assert timers.horizon == START + MOST // 2 - 1
    assert kept == [str(number) for number in range(MOST // 2)]


def test_the_horizon_never_falls_behind_the_partitions_time() -> None:
    timers = filled(MOST + 1)
    timers.come_nearer(START + MOST - 10)
    assert timers.horizon == START + MOST - 10
    assert len(timers) == MOST - 9


def test_of_those_that_have_come_none_is_given_up() -> None:
    timers = filled(MOST + 1, step=0)
    timers.come_nearer(START)
    assert len(timers.due(START, 0, 2 * MOST)) == MOST + 1


@pytest.mark.parametrize("most", [2, 5])
async def test_what_was_given_up_fires_all_the_same(most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three purchases of each of nine customers, hours apart; then time passes until all their windows have ended."""
    monkeypatch.setattr(module, "MOST", most)
    world = SmallWorld(Counts(), partitions=1)
    people = [customer(number) for number in range(9)]
    for turn in range(3):
        at = START + turn * HOUR
        world.append(*(purchase(who, f"{who}-{turn}", at + n * MINUTE) for n, who in enumerate(people)))
        await world.drain()
    worker = await world.worker()
    world.append(tick(0, START + MINUTE * 200))
    await settle(worker)
    owned = worker.owned[0]
    owned.timers.come_nearer(owned.time.now)
    assert len(owned.timers) < len(people)
    world.append(tick(0, START + 2 * HOUR + WINDOW + DAY))
    await settle(worker)
    documents = world.documents()
    assert {who: documents[who].wake_at for who in people} == dict.fromkeys(people)
