"""Many timers due at once: all of them fire, and whoever comes meanwhile does not wait for all of them."""

from collections import Counter
from collections.abc import Sequence

from shared.clock import SECOND
from shared.processing.document import Document
from shared.processing.memory_store import MemoryStore
from shared.processing.portion import FEWEST, Portion
from shared.processing.timer_turns import LONG_TURN
from tests.support.example_domains import WINDOW, Counts
from tests.support.happenings import START, customer, purchase, tick
from tests.support.small_world import SmallWorld, settle

MANY = 4_000


class Slow(MemoryStore):
    """Takes a millisecond for each document, and ten for each write."""

    def __init__(self, world: SmallWorld) -> None:
        super().__init__()
        self._world = world

    async def save(self, documents: Sequence[Document]) -> bool:
        self._world.clock += 10 + len(documents)
        return await super().save(documents)


async def test_who_comes_while_many_timers_are_due_waits_for_two_short_turns() -> None:
    world = SmallWorld(Counts(), partitions=1)
    world.store = store = Slow(world)
    world.append(*(purchase(customer(n), f"bought-{n}", START) for n in range(MANY)))
    worker = await world.worker(store=store)
    await settle(worker)
    world.append(tick(0, START + WINDOW + SECOND))

    turns: list[int] = []
    while worker.owned[0].overdue() is not None or not turns:
        newcomer, began = customer(MANY + len(turns)), world.clock
        world.append(purchase(newcomer, f"new-{len(turns)}", world.clock))
        await worker.step()
        turns.append(world.clock - began)
        assert (await world.document(newcomer)).sequence == 1

    assert max(turns) <= 2 * LONG_TURN
    assert len(turns) < MANY / FEWEST
    await settle(worker)
    said = Counter(event["subject"] for event in world.said())
    assert all(said[customer(n)] == 2 for n in range(MANY))


def test_a_portion_shrinks_fast_grows_slowly_and_keeps_its_bounds() -> None:
    portion = Portion(first=400, most=500, long=100)
    sizes = []
    for took in (101, 100, 50, 49, 49, 49, 49, 1_000, 1_000, 1_000, 1_000):
        portion.fit(took)
        sizes.append(portion.size)
    assert sizes == [200, 200, 200, 251, 314, 393, 492, 246, 123, 61, FEWEST]


async def test_a_timer_that_has_fired_is_not_taken_out_again() -> None:
    """The document as it was read still bears it: armed anew, each customer that was not cached came twice."""
    world = SmallWorld(Counts(), partitions=1)
    world.append(*(purchase(customer(n), f"bought-{n}", START) for n in range(20)))
    await world.drain()
    worker = await world.worker()
    await settle(worker)
    world.append(tick(0, START + WINDOW + SECOND))
    while not await worker.step():
        pass
    assert [(await world.document(customer(n))).sequence for n in range(20)] == [2] * 20
    assert len(worker.owned[0].timers) == 0
