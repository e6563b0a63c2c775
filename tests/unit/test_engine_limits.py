"""What must not grow, spin, stand still or vanish when something else is slow, full or wrong."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import pytest
from prometheus_client import CollectorRegistry

from shared.clock import DAY, HOUR, MINUTE, SECOND, Instant
from shared.events.catalog import WAKEUPS
from shared.events.envelope import Event
from shared.processing import customer as one_customer
from shared.processing import owned as one_partition
from shared.processing import parking
from shared.processing.closing import Closing
from shared.processing.control import FRESH, Progress, behind_now
from shared.processing.domain import Decision
from shared.processing.memory import MemoryWriter
from shared.processing.metrics import engine_metrics
from shared.processing.ports import FatalError
from shared.processing.records import Message
from shared.processing.worker import Worker
from tests.support.example_domains import WINDOW, Book, Counts
from tests.support.happenings import START, customer, happened, poison, purchase, resume, tick
from tests.support.small_world import SmallWorld, settle

ALICE, BOB = customer(1), customer(2)


async def test_what_went_wrong_in_closing_is_heard_by_everybody() -> None:
    """The first who waits may be a heartbeat; the worker would commit behind what was never said."""

    async def fails() -> dict[str, int]:
        raise FatalError("refused")

    closing = Closing()
    closing.begin(fails())
    for _ in range(2):
        with pytest.raises(FatalError, match="refused"):
            await closing.done()


class Broken(MemoryWriter):
    """Kafka refuses from some moment on."""

    broken = False

    async def publish(self, messages: Sequence[Message]) -> list[tuple[int, int]]:
        await asyncio.sleep(0)
        if self.broken and any(message.key for message in messages):
            raise FatalError("refused")
        return await super().publish(messages)


async def test_a_worker_stops_where_another_heard_first_that_nothing_was_said() -> None:
    world = SmallWorld(Counts(mended=True), partitions=1)
    worker, writer = await world.worker(), Broken(world.log)
    worker._ports = replace(worker._ports, writer=writer)
    world.append(purchase(ALICE, "a", START))
    await settle(worker)
    writer.broken = True
    world.append(purchase(ALICE, "b", START + 1))
    await worker.step()
    with pytest.raises(FatalError):
        async with worker.ownership.at_rest():
            pass
    writer.broken = False
    world.append(purchase(ALICE, "c", START + 2))
    with pytest.raises(FatalError):
        await settle(worker)
    worker._ports.reader.expire()
    await world.drain()
    assert [int(event["sequence"]) for event in world.said(ALICE)] == [1, 2, 3]


@pytest.fixture
def short_list(monkeypatch: pytest.MonkeyPatch) -> None:
    for place in (one_customer, parking):
        monkeypatch.setattr(place, "PARKED_LIMIT", 3)


@pytest.mark.usefixtures("short_list")
@pytest.mark.parametrize("batch_size", [1, 100])
@pytest.mark.parametrize("way_out", ["resume", "erase", "none"])
async def test_a_full_parking_list_says_what_to_do_and_what_it_says_helps(way_out: str, batch_size: int) -> None:
    """The request to resume stands behind the record that no longer fits."""
    world = SmallWorld(Counts(), partitions=1)
    waiting = [purchase(ALICE, f"a{number}", START + number) for number in range(1, 6)]
    world.append(poison(ALICE, "p", START), *waiting[:2])
    await world.drain(batch_size=batch_size)
    world.append(*waiting[2:], purchase(BOB, "b", START + 9))
    worker = await world.worker(batch_size=batch_size)
    with pytest.raises(FatalError, match=r"`guanxi parked list segmentation`.*Mend") as refused:
        await settle(worker)
    assert ALICE not in str(refused.value)
    await world.retire(worker)

    world.domain = Counts(mended=True)
    if way_out == "resume":
        world.append(resume(ALICE, "r", START + 10, "segmentation"))
    elif way_out == "erase":
        world.append(happened(ALICE, "customer.erased", "gone", START + 10, receipt_id="r"))
    await world.drain(batch_size=batch_size)

    assert world.said(BOB)
    assert (await world.document(ALICE)).parked is None
    counted = [event["data"]["memberships"]["count"] for event in world.said(ALICE) if "memberships" in event["data"]]
    assert counted[:5] == ["1", "2", "3", "4", "5"]


@pytest.mark.usefixtures("short_list")
async def test_what_no_longer_fits_beside_what_waits_is_not_lost_either() -> None:
    """Two wait, three fit, two come in one batch: what waited is tried once, not again with each of them."""
    world = SmallWorld(Counts(), partitions=1)
    world.append(poison(ALICE, "p", START), purchase(ALICE, "a1", START + 1))
    await world.drain()
    world.append(purchase(ALICE, "a2", START + 2), purchase(ALICE, "a3", START + 3), purchase(BOB, "b", START + 4))
    worker = await world.worker()
    with pytest.raises(FatalError, match="parked list"):
        await settle(worker)
    await world.retire(worker)
    world.domain = Counts(mended=True)
    await world.drain()
    assert [event["data"]["memberships"]["count"] for event in world.said(ALICE)] == ["1", "2", "3"]


async def test_many_that_wait_for_one_parked_customer_are_no_bad_deploy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parking, "PARKED_LIMIT", 30)
    monkeypatch.setattr(one_customer, "PARKED_LIMIT", 1_000)
    world = SmallWorld(Counts(), partitions=1)
    world.append(poison(ALICE, "p", START))
    await world.drain()
    world.append(*(purchase(ALICE, f"a{number}", START + number) for number in range(1, 50)))
    await world.drain()
    parked = (await world.document(ALICE)).parked
    assert parked is not None
    assert [waiting.offset for waiting in parked.waiting] == list(range(50))


async def test_what_waits_in_memory_is_bounded_while_nothing_may_be_applied(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(one_partition, "MOST_HELD", 100)
    world = SmallWorld(Counts(mended=True), partitions=1)
    world.append(*(purchase(customer(number % 9), f"e{number}", START + number) for number in range(500)))
    worker = await world.worker(batch_size=50)
    worker.paused = True
    for _ in range(40):
        await worker.step()
    assert 100 <= _held(worker) < 150
    worker.paused = False
    await settle(worker)
    assert (_held(worker), worker.owned[0].next) == (0, {"guanxi.customers.v1": 500})


def _held(worker: Worker) -> int:
    return sum(owned.merge.held(topic) for owned in worker.owned.values() for topic in owned.next)


async def test_a_clock_that_was_ahead_for_a_moment_delays_no_timer() -> None:
    world = SmallWorld(Counts(mended=True), partitions=1, clock=START)
    worker = await world.worker(asks=True)
    world.append(purchase(ALICE, "a", START))
    await settle(worker)
    world.clock = START + 30 * DAY
    await worker.step()
    asked = len(world.records(WAKEUPS.name))
    assert asked
    world.clock = START + MINUTE
    world.append(tick(0, START + MINUTE))
    await settle(worker)
    world.clock = START + WINDOW + HOUR
    await settle(worker)
    assert len(world.records(WAKEUPS.name)) > asked


async def test_how_late_timers_fire_is_measured() -> None:
    registry = CollectorRegistry()
    world = SmallWorld(Counts(mended=True), partitions=1, clock=START)
    worker = await world.worker()
    worker._ports = replace(worker._ports, metrics=engine_metrics(registry))
    world.append(purchase(ALICE, "a", START))
    await settle(worker)
    world.clock = START + WINDOW + 7 * SECOND
    world.append(tick(0, world.clock))
    await settle(worker)
    assert registry.get_sample_value("guanxi_timers_late_seconds_count") == 1
    assert registry.get_sample_value("guanxi_timers_late_seconds_sum") == 7


class Forgetful(Counts):
    def on_event(self, state: Book, event: Event, at: Instant) -> Decision[Book]:
        return replace(super().on_event(state, event, at), given_up=2)


async def test_what_a_domain_gives_up_is_counted() -> None:
    registry = CollectorRegistry()
    world = SmallWorld(Forgetful(mended=True), partitions=1)
    worker = await world.worker()
    worker._ports = replace(worker._ports, metrics=engine_metrics(registry))
    world.append(purchase(ALICE, "a", START), purchase(ALICE, "b", START), purchase(BOB, "c", START))
    await settle(worker)
    assert registry.get_sample_value("guanxi_engine_total", {"kind": "given_up"}) == 6


@pytest.mark.parametrize(("silent", "behind"), [(0, 0.5), (FRESH - 1, 0.5), (FRESH, 5.5), (60 * SECOND, 60.5)])
def test_a_partition_of_which_nobody_says_anything_does_not_look_fresh(silent: int, behind: float) -> None:
    progress = Progress(0, "worker", START, 0.5, 0, 0, START)
    assert behind_now(progress, START + silent) == behind
