"""State made anew by other code: the numbering goes on, the difference is told once, and nothing half is ever switched in."""

from collections.abc import AsyncIterator

import pytest

from shared.clock import HOUR
from shared.processing.document import Document
from shared.processing.memory import MemoryScanner
from shared.processing.memory_store import MemoryStore
from shared.processing.ports import FatalError
from shared.processing.replay import Replay
from shared.processing.verify import Verdict, Verification, fingerprint
from tests.support.example_domains import FIRST, Counts, activated
from tests.support.happenings import START, activation, customer, happened, purchase, tick
from tests.support.rebuilding import LiveWorld, MemoryControl, rebuild_of
from tests.support.small_world import SmallWorld

ALICE, BOB = customer(1), customer(2)


class Mended(Counts):
    """Other code for the same rules: its hours last twice as long."""

    def __init__(self) -> None:
        super().__init__(True, HOUR, FIRST)
        self._window *= 2


async def rebuilt(world: SmallWorld, domain: Counts) -> MemoryControl:
    """Nobody is at work. The world's store is the fresh one afterwards, if it was switched in."""
    control, fresh = MemoryControl(lambda: world.clock), MemoryStore()
    await rebuild_of(world, domain, LiveWorld(world), control, fresh).run(lambda *_: None)
    world.store, world.domain = fresh, domain
    return control


async def lived() -> SmallWorld:
    world = SmallWorld(Counts(mended=True), partitions=1)
    gone = happened(BOB, "customer.erased", "gone", START + HOUR, receipt_id="r")
    world.append(purchase(ALICE, "a", START), purchase(BOB, "b", START), gone, tick(0, START + 8 * HOUR))
    await world.drain()
    return world


async def test_the_same_code_changes_nothing_and_says_nothing() -> None:
    world = await lived()
    before, said = world.documents(), world.said()

    control = await rebuilt(world, Counts(mended=True))
    await world.drain()

    assert control.collection == "customers_2"
    assert {key: document.state for key, document in world.documents().items()} == {
        key: document.state for key, document in before.items()
    }
    assert world.said() == said


async def test_where_other_code_says_something_else_the_owners_tell_it_as_the_next_number() -> None:
    world = await lived()
    assert [event["data"]["memberships"]["count"] for event in world.said(ALICE)] == ["1", "0"]

    await rebuilt(world, Mended())
    await world.drain()
    await world.drain()

    alice = world.said(ALICE)
    assert [(int(event["sequence"]), event["data"]["memberships"]["count"]) for event in alice] == [
        (1, "1"),
        (2, "0"),
        (3, "1"),
    ]
    assert alice[2]["data"]["memberships"]["reason"] == "rebuild"
    assert alice[2]["causationid"].startswith(f"rebuild:segmentation:{ALICE}:")
    document = await world.document(ALICE)
    assert (document.unsent, document.sequence) == (False, 3)
    assert len(world.said(BOB)) == 2, "the erased are told nothing"


async def test_what_a_rebuild_by_other_code_has_told_is_no_difference_from_the_log() -> None:
    """Not once, and not after the next one: numbers go on, and what really differs would be seen."""
    world = await lived()
    for code in (Mended(), Mended(), Counts(mended=True)):
        await rebuilt(world, code)
        await world.drain()
        assert (await verdict(world)).equal
    said = [int(event["sequence"]) for event in world.said(ALICE)]
    assert said == list(range(1, len(said) + 1))
    document = await world.document(ALICE)
    assert await world.store.save([document.replaced(rev=document.rev + 1, sequence=document.sequence + 1)])
    assert (await verdict(world)).differing == [ALICE]


async def test_one_change_more_told_of_the_past_is_no_difference_either() -> None:
    """As many numbers as the log gives, and yet told at another instant."""
    world = await lived()
    document = (await world.document(ALICE)).replaced(renumbered=0, at=START + 500 * HOUR)
    assert await world.store.save([document.replaced(rev=document.rev + 1)])
    assert (await verdict(world)).equal


async def verdict(world: SmallWorld) -> Verdict:
    live = LiveWorld(world)

    async def each(number: int) -> AsyncIterator[Document]:
        async for page in live.all(number):
            for document in page:
                yield document

    verification = Verification(world.domain, MemoryScanner(world.log), world.inputs, live.stops, each)
    await verification.partition(0)
    return verification.verdict


async def test_what_was_not_yet_sent_is_not_lost() -> None:
    """A timer's event was kept and its owner died before it was sent."""
    world = await lived()
    document = await world.document(ALICE)
    assert await world.store.save([document.replaced(rev=document.rev + 1, unsent=True)])
    said = world.said(ALICE)

    await rebuilt(world, Counts(mended=True))
    await world.drain()

    assert world.said(ALICE) == [*said, said[-1]]


async def test_a_batch_left_in_the_middle_is_refused() -> None:
    world = await lived()
    document = await world.document(ALICE)
    ahead = document.replaced(rev=document.rev + 1, positions={"customers:0": 9})
    assert await world.store.save([ahead])

    with pytest.raises(FatalError, match="left in the middle"):
        await rebuilt(world, Counts(mended=True))


def test_a_view_is_compared_as_the_store_gives_it_back() -> None:
    """A domain may well keep tuples there."""
    made, stored = Document("a", view={"needs": ("tea", "tins")}), Document("a", view={"needs": ["tea", "tins"]})
    assert fingerprint(made) == fingerprint(stored)
    assert fingerprint(made) != fingerprint(Document("a", view={"needs": ["tea"]}))


async def test_a_lost_database_learns_its_versions_from_the_log() -> None:
    world = await lived()
    world.append(activation(0, START + 9 * HOUR, activated(2, 24)))
    await world.drain()
    world.versions = type(world.versions)()

    await rebuilt(world, Counts(mended=True))

    [version] = await world.versions.all()
    assert (version.number, dict(version.positions), set(version.done)) == (2, {0: 4}, {0})
    assert (await world.document(ALICE)).version == 2


async def test_a_succession_after_a_flush_and_steps_of_any_size_give_the_same_documents() -> None:
    """A rebuild flushes before its tail; a shadow goes in small steps; both are silent. Many timers are due at one instant."""
    world = SmallWorld(Counts(mended=True), partitions=1)
    world.append(*(purchase(customer(number), f"e{number}", START) for number in range(9)))
    world.append(activation(0, START + 9 * HOUR, activated(2, 24)), tick(0, START + 40 * HOUR))
    [topic] = world.inputs
    whole = Replay(world.domain, MemoryScanner(world.log), world.inputs, 0)
    whole.emitted = []
    await whole.advance({topic: 11})
    expected = {document.id: fingerprint(document) for document in whole.documents()}
    assert len(expected) == 9
    assert sum(document.sequence for document in whole.documents()) == len(whole.emitted) > 0

    for size in (1, 2, 4):
        store, replay = MemoryStore(), Replay(world.domain, MemoryScanner(world.log), world.inputs, 0)
        for stop in (9, 11):
            while await replay.step({topic: stop}, size):
                pass
            assert await replay.flush(store)
        found = await store.load(expected)
        assert {key: fingerprint(document) for key, document in found.items()} == expected
