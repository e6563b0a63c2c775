"""The chronicle over a real store: sizes, flows and changes are the truth, whatever dies, repeats or is erased."""

import random
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import date
from typing import Any
from unittest.mock import patch

import pytest

from services.segmentation.bootstrap import COLLECTIONS
from services.segmentation.chronicle import ledgers, listener
from services.segmentation.chronicle.changes import CHANGES, Changes, Said, change_id
from services.segmentation.chronicle.ledgers import NOWHERE, Mark, Tally
from services.segmentation.chronicle.members import MEMBERS, segment_of
from services.segmentation.chronicle.moves import Moves
from shared.processing.mongo import connect, ensure_collection
from tests.support.chronicle_world import Fate, Following, Output, SeatOfAll

pytestmark = pytest.mark.real

SEEDS = range(8)
EVER = (date(2026, 1, 1), date(2027, 1, 1))


@pytest.fixture
async def database(mongo: str) -> AsyncIterator[Any]:
    client = connect(mongo)
    name = f"contract_{uuid.uuid4().hex[:12]}"
    await prepare(client[name])
    yield client[name]
    await client.drop_database(name)
    client.close()


async def prepare(database: Any) -> None:
    for name, indexes in COLLECTIONS.items():
        await ensure_collection(database, name, indexes)


async def clear(database: Any) -> None:
    for name in COLLECTIONS:
        await database[name].delete_many({})


async def lived(database: Any, seed: int) -> tuple[Output, Following]:
    """A story of 150 records, followed by a process that dies five times."""
    chance = random.Random(seed)
    output = Output(chance, people=9)
    output.grow(150)
    fate = Fate({chance.randrange(1, 90) for _ in range(5)}, after=seed % 2 == 0)
    following = Following(database, output, chance, fate)
    await following.catch_up()
    return output, following


async def judge(database: Any, output: Output, following: Following) -> None:
    assert await following.sizes() == output.sizes(), "sizes differ from a count over everybody"
    assert await following.ledgers.flows(*EVER) == output.moves, "moves differ from those that were said"
    listed = {(row["segment"], row["customer"]) async for row in database[MEMBERS].find()}
    assert listed == output.members(), "members are others than those who are there"
    rows = {row["_id"]: row async for row in database[CHANGES].find()}
    wanted = {change_id(p.customer_id, n + 1) for p in output.people if not p.forgotten for n in range(len(p.said))}
    gone = {person.customer_id for person in output.people if person.forgotten}
    assert rows.keys() == wanted | gone, "recorded is something else than was said"
    texts = {row["event"].encode() for row in rows.values()}
    assert texts == {v for p in output.people for v in (p.said[-1:] if p.forgotten else p.said)}


@pytest.mark.parametrize("seed", SEEDS)
async def test_sizes_and_flows_are_the_truth_over_deaths_repeats_and_erasures(database: Any, seed: int) -> None:
    output, following = await lived(database, seed)
    assert following.deaths >= 3
    await judge(database, output, following)
    tallies = await following.ledgers.tallies()
    assert {t.partition: t.mark.offset + 1 for t in tallies} == {p: len(r) for p, r in output.records.items()}


async def test_two_owners_of_one_partition_count_once(database: Any) -> None:
    """A zombie follows the same records at the same time, cut differently."""
    output, chance = Output(random.Random(5), people=6), random.Random(6)
    first, zombie = Following(database, output, chance, Fate()), Following(database, output, chance, Fate())
    for _ in range(6):
        output.grow(20)
        await first.catch_up()
        await zombie.catch_up()
        zombie.position = dict.fromkeys(zombie.position, 0)
    await zombie.catch_up()
    await judge(database, output, first)


@pytest.mark.parametrize("batches", [((0, 1), (1, 3), (1, 2)), ((0, 1), (1, 2), (0, 1), (2, 3), (1, 2))])
async def test_whoever_came_back_is_listed_whatever_a_former_owner_does_late(database: Any, batches: Any) -> None:
    """In, out and in again. The former owner's batches come last: its deletion may take older rows only."""
    output, chance = Output(random.Random(5), people=1), random.Random(6)
    following, (person, *_) = Following(database, output, chance, Fate()), output.people
    for before, after in ((None, "high"), ("high", "low"), ("low", "high")):
        output.move(person, "level", before, after)
    for start, stop in batches:
        await following.chronicle.take(output.records[person.partition][start:stop])
    assert await following.members.page(segment_of("level", "high"), None, 10) == [person.customer_id]


async def test_made_anew_while_it_runs_it_is_the_same(database: Any) -> None:
    output, following = await lived(database, 3)
    await database[CHANGES].delete_many({"partition": 1})
    wrong = (await following.ledgers.tallies())[0]
    spoilt = replace(wrong, sizes={"level": {"high": 1_000}}, mark=replace(wrong.mark, offset=wrong.mark.offset))
    await database["sizes"].replace_one({"_id": wrong.partition}, spoilt.row())
    assert await following.remaking.ask() == 1
    await following.remaking.look(SeatOfAll(following))
    assert [tally.mark.offset for tally in await following.ledgers.tallies()] == [NOWHERE, NOWHERE]
    await following.catch_up()
    await following.remaking.look(SeatOfAll(following))
    await judge(database, output, following)
    assert {tally.generation for tally in await following.ledgers.tallies()} == {1}


def every_record_counts(said: Any, known: Any) -> list[Said]:
    return list(said)


def fence_forgotten(self: Tally, mark: Mark, steps: Any) -> Tally:
    without = Tally(self.partition, Mark(NOWHERE, 0, 0), self.sizes, self.generation)
    return HONEST_AFTER(without, mark, steps)


async def nobody_leaves(self: listener.Chronicle, customer_id: str, last: Any) -> Moves:
    return Counter()


async def forgotten_without_a_trace(self: Changes, said: Said) -> None:
    await self._collection.delete({"customer": said.customer_id})


async def deleted_before_it_is_counted(self: listener.Chronicle, first: Any) -> list[ledgers.Step]:
    for one in first:
        if one.forgets:
            await self._changes.forget(one)
    return await HONEST_STEPS(self, first)


HONEST_AFTER = Tally.after
HONEST_STEPS = listener.Chronicle._steps
DEFECTS: dict[str, tuple[Any, str, Callable[..., Any]]] = {
    "repeats counted": (listener, "first_occurrences", every_record_counts),
    "sizes not fenced": (Tally, "after", fence_forgotten),
    "erasure does not lower": (listener.Chronicle, "_departure", nobody_leaves),
    "erasure leaves no mark": (Changes, "forget", forgotten_without_a_trace),
    "deleted before counted": (listener.Chronicle, "_steps", deleted_before_it_is_counted),
}


@contextmanager
def planted(name: str) -> Iterator[None]:
    owner, attribute, wrong = DEFECTS[name]
    with patch.object(owner, attribute, wrong):
        yield


@pytest.mark.parametrize("name", DEFECTS)
async def test_sizes_that_drift_from_the_truth_are_caught(database: Any, name: str) -> None:
    caught = 0
    for seed in SEEDS:
        with planted(name):
            output, following = await lived(database, seed)
        try:
            await judge(database, output, following)
        except AssertionError:
            caught += 1
            break
        await clear(database)
    assert caught, f"nothing saw: {name}"
