"""A version folded ahead of its activation: interrupted, resumed, overtaken, called off."""

import asyncio
import random
from collections.abc import Mapping
from typing import Any

import pytest

from shared.clock import HOUR, MINUTE
from shared.processing import preparation, shadow
from shared.processing.memory import MemoryScanner
from shared.processing.ports import FatalError
from shared.processing.preparation import Preparation
from shared.processing.records import Record, TopicPartition
from shared.processing.retry import Retry
from shared.processing.shadow import Shadow
from tests.support.example_domains import Counts, activated
from tests.support.happenings import START, activation, customer, purchase, tick
from tests.support.small_world import SmallWorld

LONGER = activated(2, 24)
PEOPLE = [customer(number) for number in range(5)]


class Counting(MemoryScanner):
    """Reads are counted; after `breaks_after` records the process is gone."""

    def __init__(self, log: Any, breaks_after: int = 1 << 30) -> None:
        super().__init__(log)
        self.read_records = 0
        self._breaks_after = breaks_after

    async def read(self, partition: TopicPartition, start: int, stop: int, limit: int) -> list[Record]:
        found = await super().read(partition, start, stop, limit)
        self.read_records += len(found)
        if self.read_records > self._breaks_after:
            raise KeyboardInterrupt
        return found


@pytest.fixture
async def world() -> SmallWorld:
    """60 purchases of five customers over ten hours, decided by a live worker."""
    made = SmallWorld(Counts(mended=True), partitions=1)
    made.append(*(purchase(PEOPLE[n % 5], f"e{n}", START + n * 10 * MINUTE) for n in range(60)))
    await made.drain()
    return made


@pytest.fixture(autouse=True)
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shadow, "KEPT_EVERY", 10)
    monkeypatch.setattr(shadow, "IN_MEMORY", 2)
    monkeypatch.setattr(preparation, "AT_ONCE", 5)
    monkeypatch.setattr(preparation, "NEAR", 1)
    monkeypatch.setattr("shared.processing.handover.FOLDED_AT_ONCE", 5)


def preparing(world: SmallWorld, scanner: MemoryScanner, written: Any = LONGER) -> Preparation:
    async def stops(number: int) -> Mapping[str, int]:
        offsets = world.log.group("guanxi.segmentation").offsets
        return {topic: offsets[TopicPartition(topic, number)].offset for topic in world.inputs}

    domain = Counts(True).succeeded_by(written)
    retry = Retry(asyncio.sleep, lambda: world.clock, random.Random(1))
    return Preparation(domain, scanner, world.inputs, world.partitions, stops, world.versions, retry)


def silent(_partition: int, _records: int) -> None:
    pass


async def activate(world: SmallWorld) -> None:
    world.append(activation(0, START + 10 * HOUR, LONGER), tick(0, START + 40 * HOUR))
    await world.drain()


async def said_without_preparing() -> list[dict[str, Any]]:
    made = SmallWorld(Counts(mended=True), partitions=1)
    made.append(*(purchase(PEOPLE[n % 5], f"e{n}", START + n * 10 * MINUTE) for n in range(60)))
    await made.drain()
    await activate(made)
    return made.said()


async def test_what_was_prepared_need_not_be_folded_by_the_owner(
    world: SmallWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert await preparing(world, MemoryScanner(world.log)).run(silent) == 60
    scanner = Counting(world.log)
    monkeypatch.setattr("tests.support.small_world.MemoryScanner", lambda _log: scanner)

    await activate(world)

    assert scanner.read_records == 1, "nothing but the record of the activation"
    assert world.said() == await said_without_preparing()


async def test_who_is_killed_goes_on_from_what_was_kept(world: SmallWorld) -> None:
    with pytest.raises(KeyboardInterrupt):
        await preparing(world, Counting(world.log, breaks_after=33)).run(silent)
    scanner = Counting(world.log)

    assert await preparing(world, scanner).run(silent) == 60

    assert scanner.read_records == 30
    await activate(world)
    assert world.said() == await said_without_preparing()


async def test_documents_ahead_of_what_is_said_of_them_do_no_harm(
    world: SmallWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed between the two writes: the customers are kept, how far they are is not."""

    async def killed(*_arguments: Any) -> bool:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(world.versions, "prepared", killed)
        with pytest.raises(KeyboardInterrupt):
            await preparing(world, MemoryScanner(world.log)).run(silent)
    assert await preparing(world, MemoryScanner(world.log)).run(silent) == 60

    await activate(world)
    assert world.said() == await said_without_preparing()


async def test_two_that_fold_the_same_partition_overtake_each_other(world: SmallWorld) -> None:
    domain = Counts(True).succeeded_by(LONGER)
    await world.versions.keep(LONGER)
    shadows = [Shadow(domain, MemoryScanner(world.log), world.inputs, 0, world.versions) for _ in range(2)]
    stops = {world.inputs[0]: 60}
    busy = [True, True]
    while any(busy):
        busy = [await one.step(stops, 5) for one in shadows]
    for one in shadows:
        await one.rest()

    await activate(world)
    assert world.said() == await said_without_preparing()


async def test_called_off_it_leaves_nothing_and_can_be_wanted_again(world: SmallWorld) -> None:
    await preparing(world, MemoryScanner(world.log)).run(silent)

    assert await world.versions.call_off(2)

    [_, version] = await world.versions.all()
    assert (version.called_off, dict(version.prepared)) == (True, {})
    assert await (await world.versions.shadow(2)).ids(0) == []
    assert await preparing(world, MemoryScanner(world.log)).run(silent) == 60


async def test_who_prepares_notices_that_it_is_called_off(world: SmallWorld) -> None:
    first = preparing(world, MemoryScanner(world.log))
    await first._begin()
    await world.versions.call_off(2)

    with pytest.raises(FatalError, match="called off"):
        await first._round(silent)


async def test_what_is_being_activated_cannot_be_called_off(world: SmallWorld) -> None:
    await activate(world)

    assert not await world.versions.call_off(2)


async def test_an_older_version_than_the_one_in_force_is_refused(world: SmallWorld) -> None:
    world.append(activation(0, START + 10 * HOUR, activated(3, 2)))
    await world.drain()

    with pytest.raises(FatalError, match="version 3 is in force"):
        await preparing(world, MemoryScanner(world.log)).run(silent)


async def test_another_text_under_the_same_number_is_refused_and_the_logs_own_text_wins(world: SmallWorld) -> None:
    await preparing(world, MemoryScanner(world.log), activated(2, 3)).run(silent)
    with pytest.raises(FatalError, match="another text"):
        await preparing(world, MemoryScanner(world.log)).run(silent)

    await activate(world)

    assert world.said() == await said_without_preparing()
    assert (await world.versions.all())[1].digest == LONGER.digest
