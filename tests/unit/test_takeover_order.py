"""Whoever dies in the middle of saying a batch, and however its successor cuts: what is said keeps the order of its instants.

Whoever merges the output takes the input's time from what it has shown, so a late word would be met in another order.
"""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.clock import HOUR, MINUTE
from shared.events.catalog import group_of
from shared.processing.records import Message
from shared.processing.worker import Worker
from tests.support.example_domains import WINDOW, Counts
from tests.support.happenings import START, customer, purchase, tick
from tests.support.small_world import SmallWorld, settle

ALICE, BOB = customer(1), customer(2)
GROUP = group_of("segmentation")


class Gone(BaseException):
    """The process is dead."""


def dies_after(worker: Worker, messages: int) -> None:
    """In its first publishing: so many of its messages reach the log."""
    publish: Callable[[Sequence[Message]], Any] = worker._ports.writer.publish

    async def dying(said: Sequence[Message]) -> Any:
        await publish(said[:messages])
        raise Gone

    worker._ports.writer.publish = dying  # type: ignore[method-assign]


async def taken_over(story: list[Message], first: int, said: int, second: int) -> SmallWorld:
    """`first`, `second`: batch sizes of the one that dies and of its successor."""
    world = SmallWorld(Counts(), partitions=1)
    world.append(*story)
    worker = await world.worker(batch_size=first)
    dies_after(worker, said)
    with pytest.raises(Gone):
        await settle(worker)
    world.log.group(GROUP).leave("member-1")
    await world.drain(batch_size=second)
    return world


def first_told(world: SmallWorld) -> list[tuple[str, str, str]]:
    """Without repeats: when, who, which number. A mark of time is told every time."""
    found = {(event["subject"], event["sequence"]): event["time"] for event in reversed(world.said())}
    told: dict[tuple[str, str], str] = {}
    for event in world.said():
        told.setdefault((event["subject"], event["sequence"]), event["time"])
    assert found == told, "a repeat is another event"
    return [(time, *key) for key, time in told.items()]


async def test_a_successor_with_smaller_batches_says_the_rest_by_its_instants() -> None:
    story = [
        purchase(ALICE, "a1", START),
        purchase(BOB, "b1", START + MINUTE),
        purchase(ALICE, "a2", START + 3 * WINDOW),  # before it, Alice's first purchase leaves at its own instant
        purchase(BOB, "b2", START + 3 * WINDOW + MINUTE),
    ]
    whole = SmallWorld(Counts(), partitions=1)
    whole.append(*story)
    await whole.drain()
    for said in range(6):
        assert first_told(await taken_over(story, 100, said, 1)) == first_told(whole)


stories = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 9 * 60)), min_size=3, max_size=30)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(stories, st.integers(2, 40), st.integers(0, 40), st.integers(1, 12))
async def test_any_death_and_any_cut_keeps_the_order(
    told: list[tuple[int, int]], first: int, said: int, second: int
) -> None:
    story, now = [], START
    for number, (who, minutes) in enumerate(told):
        now += minutes * MINUTE
        story.append(purchase(customer(who), f"e{number}", now, mark="replay") if who else tick(0, now))
    world = await taken_over([*story, tick(0, now + 99 * HOUR)], first, said, second)
    times = [time for time, _, _ in first_told(world)]
    assert times == sorted(times)
    marks = 0
    for record in world.records(world.output):
        marks += record.key is None
    assert marks, "nobody was told the time"
